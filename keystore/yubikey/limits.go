package yubikey

import "time"

// MaxStored is how many sealed secrets one token holds, if no other program uses the slots.
const MaxStored = 20

const (
	callTimeout  = 15 * time.Second // for what needs no person, the wait for the token's turn included
	touchTimeout = 40 * time.Second // for what needs a touch; a YubiKey gives up before
	retryEvery   = 50 * time.Millisecond
	maxObject    = 2800 // bytes of a certificate; the device holds about 3000
	maxRecord    = 2500 // bytes of what it carries
	keySecret    = 24   // bytes of the management key
)
