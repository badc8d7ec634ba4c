package coordinator

import "time"

// This device's policy; none of it changes anything for others.
const (
	roundEvery   = 20 * time.Second // anti-entropy with every connected device,
	roundJitter  = 10 * time.Second // give or take so much
	dialTimeout  = 15 * time.Second
	roundTimeout = 60 * time.Second
	firstBackoff = 500 * time.Millisecond // before a device that could not be reached is dialed again; doubles
	lastBackoff  = 30 * time.Second
	maxDials     = 4 // at a time
)
