package coordinator

import "time"

// This device's policy; none of it changes anything for others.
const (
	roundEvery   = 20 * time.Second // a round with every connected device,
	roundJitter  = 10 * time.Second // give or take so much
	roundTimeout = 12 * time.Minute // the tiers have deadlines of their own, which are shorter
	minPause     = 100 * time.Millisecond
	maxPause     = 10 * time.Second // between rounds that hints ask for and that bring nothing

	maxRounds = 8                // at a time, without those
	slowRound = 30 * time.Second // that have taken so long

	dialTimeout  = 15 * time.Second
	maxDials     = 8                      // at a time
	firstBackoff = 500 * time.Millisecond // after a dial or a round that failed; doubles
	lastBackoff  = 30 * time.Second
	guestPause   = time.Second      // before a device is dialed again that is our guest and is about to dial us
	stable       = 10 * time.Second // a connection that lasts so long ends the growth of the pause between dials

	exchangeCounts = time.Second // a round that lasts so long is urgent, until it is a slowRound
	maxBurst       = 1 << 30     // bytes that the background's limit holds at most, else a second's worth
)

// MaxTurns is how many background turns a node has at once.
const MaxTurns = 4
