package foundation

import "time"

// Caps on what a peer may send. Sizes are in bytes.
const (
	MaxHello     = 1 << 20       // an opening with a frontier
	MaxRun       = 4<<20 + 4<<10 // one run of envelopes with its frame
	MaxSnapshot  = 64 << 20      // one document's snapshot
	MaxSnapshots = 4096          // documents of one answer

	answerTimeout = 10 * time.Second // for the first answer
	idleTimeout   = 20 * time.Second // between two frames
)
