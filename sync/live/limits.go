package live

import "time"

// Caps and rates. Those marked local are this device's policy and change nothing for others.
const (
	MaxMessage     = 64 << 10 // bytes of one gossip message; larger envelopes are announced and pulled
	MaxPresence    = 4 << 10  // bytes of one presence state
	MaxApplication = 32 << 10 // bytes of one application message
	MaxTopic       = 64       // bytes of an application message's topic

	rate  = 40  // live messages a second of one device
	burst = 200 // live messages of one device at once

	coalesce         = 50 * time.Millisecond  // between two envelopes of one document (local)
	presenceEvery    = 250 * time.Millisecond // between two presence messages (local)
	presenceRenew    = 15 * time.Second       // a state is sent again so often (local)
	presenceLife     = 30 * time.Second       // a state not renewed for so long is dropped (local)
	maxPresences     = 4096                   // states kept of all peers (local)
	subscriberBuffer = 1024                   // messages between the router and this package
)
