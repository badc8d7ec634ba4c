package p2p

import "time"

// Caps on what peers may send and on what a listener spends before it knows who is there.
const (
	MaxFrame = 32 << 10 // bytes of one proof frame, without its length prefix

	ProofDeadline = 5 * time.Second // from the first packet of a connection to the end of both proofs

	// Half-open connections, those whose proof is not finished. Beyond either number a new one is dropped.
	HalfOpenPerAddress = 4 // per IPv4 address or IPv6 /64; loopback counts towards the total only
	HalfOpen           = 32

	openTimeout = 10 * time.Second // of opening a stream, if the caller's context has no deadline

	// Refusals are reported in bursts of at most refusalBurst, then one per refusalEvery.
	refusalBurst = 8
	refusalEvery = time.Second

	// Finished connections: libp2p's connection manager trims strangers' (there are none) above connsHigh down to
	// connsLow and leaves members alone.
	connsLow, connsHigh = 160, 192
	connsPerAddress     = 256 // members behind one router share its address
)
