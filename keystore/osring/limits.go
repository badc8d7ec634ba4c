package osring

import "time"

const (
	callTimeout  = 10 * time.Second // for one call, the wait for its turn included
	readyTimeout = 5 * time.Second  // to find out whether there is a keychain; nobody is asked for that
	maxProfile   = 64               // bytes
)
