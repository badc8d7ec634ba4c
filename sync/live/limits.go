package live

import "time"

// Caps of what is carried. Sizes in bytes.
const (
	MaxMessage     = 64 << 10 // one gossip message; larger envelopes are announced and pulled
	MaxPresence    = 4 << 10  // one presence state
	MaxApplication = 32 << 10 // one application message
	MaxTopic       = 64       // an application message's topic
)

// What this device takes from others. None of it changes what counts.
const (
	liveRate  = 40  // live messages a second of one device
	liveBurst = 200 // live messages of one device at once

	hintRate  = 1               // a second: what makes this device look for something that one forwarder says is missing
	hintBurst = 20              // at once
	owedEvery = 2 * time.Second // between two rounds that are asked for because of hints above that, of all forwarders

	faultRate  = 1  // a second: forged messages of one forwarder that are looked at
	faultBurst = 50 // at once

	presenceLife    = 30 * time.Second // a state that was not renewed for so long is dropped
	maxPresences    = 4096             // states kept of all others
	maxPresencesOne = 128              // states kept of one client

	earlyLife  = 10 * time.Second // an ephemeral record that cannot be judged yet is kept for so long
	earlyEvery = 200 * time.Millisecond
	maxEarly   = 8       // of one client and kind, the newest
	maxEarlies = 512     // of all
	earlyBytes = 2 << 20 // of all
	maxLater   = 64      // envelopes on their way to the journal that are not forwarded

	introducedLife = 10 * time.Second // within which the journal has taken an introduction that was passed

	maxSubscriptions = 1024 // topics in one announcement
	maxForeignTopics = 256  // topics of one peer that are not open here
	maxFrame         = 1 << 20
	bufferMessages   = 1024 // between the router and this package, and to each peer
)

// What this device sends.
const (
	coalesce  = 50 * time.Millisecond // between two envelopes of one document
	lastRetry = 5 * time.Second       // the longest time before an envelope that could not be made is tried again

	ownRate  = 36  // messages a second, below what others take
	ownBurst = 180 // at once

	presenceReserve = 10 // of the burst, left to edits
	messageReserve  = 60 // of the burst, left to edits and presence
	maxMessages     = 256
	messageRetry    = 50 * time.Millisecond
	messageWait     = 10 * time.Second // for the session's introduction or a key

	presenceEvery = 250 * time.Millisecond // between two messages of one state
	presenceRenew = 15 * time.Second       // a state is sent again so often

	hailAfter        = time.Second            // own heads are named so long after somebody has come
	heartbeat        = 500 * time.Millisecond // of the router
	introductionWait = 2 * time.Second        // after which an introduction made before this topic was joined is taken to have gone out
	closeWait        = 5 * time.Second        // for what is to be handed over at Close
	publishWait      = time.Second            // for own envelopes to be durable and published at Close
	streamTimeout    = 10 * time.Second       // to open a stream to a peer
	streamRetry      = 300 * time.Millisecond
	streamTries      = 4
)
