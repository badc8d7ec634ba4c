package osring

import "time"

const (
	callTimeout = 10 * time.Second // for one call, the wait for its turn included
	maxProfile  = 64               // bytes
)
