package assets

import (
	"time"

	"github.com/studio-whip/collab/crypto/seal"
)

// Caps on what others may write. Sizes are in bytes.
const (
	// MaxPath is the longest path of a file.
	MaxPath = 1024
	// MaxSize is the largest file.
	MaxSize = 256 << 30
	// MaxFiles is how many files of a project are seen; of more, the first by path.
	MaxFiles = 1 << 16

	maxManifestParts = 16
	maxManifest      = maxManifestParts * manifestPart
	maxEntry         = 1 << 10
	// maxTime is the latest time of a file, in milliseconds since 1970: what fits RFC 3339.
	maxTime = 253402300799999
)

// The layout of a file: the first smallBlocks blocks are small, so that a reader at the start waits for little and makes
// others wait for little; all further ones are large.
const (
	smallBlock   = 256 << 10
	largeBlock   = 1 << 20
	smallBlocks  = 1024
	manifestPart = 1 << 20
	overhead     = seal.Overhead
	hashSize     = 32
)

// What is under way at a time.
const (
	backgroundWindow = 8       // blocks that one lane of the background fetches
	readAhead        = 8       // blocks that a file fetches beyond the one that is read
	addBatch         = 4 << 20 // bytes that are made durable together
	cachedBlocks     = 4       // opened blocks that a file keeps
)

// Serving. An upload must leave room on the line for the edits of the person who sits before it.
const (
	serveWorkers     = 2       // messages that are being sent, to all peers together
	serveOutstanding = 1 << 20 // bytes on their way to one peer
	serveWants       = 256     // wants that one peer may leave here
	storeWorkers     = 4       // lookups in the block stores
	maxCID           = 64
)

// How peers are dealt with.
const (
	watchEvery  = 250 * time.Millisecond // how often wants are looked at
	stallAfter  = 2 * time.Second        // without a byte from a peer, another is asked
	slowAfter   = 10 * time.Second       // without the block, if its queue should be through by then
	askAgain    = 10 * time.Second       // the only peer, when it says nothing
	lackFor     = 5 * time.Second        // a peer that lacks a block is not asked for it
	restMin     = 2 * time.Second        // a peer that stalled or lied is left alone, doubled each time
	restMax     = time.Minute
	sendTimeout = 10 * time.Second
)

// When things are done.
const (
	missesToHold  = 16                     // blocks in a row that nobody had, before a file is put off
	holdFor       = 3 * time.Second        // how long it is
	failedFor     = 30 * time.Second       // how long the background rests when blocks cannot be stored
	lingerUrgent  = 250 * time.Millisecond // the background waits for so long after the last urgent block
	progressEvery = 250 * time.Millisecond
	collectAfter  = 10 * time.Minute // after joining, and after a file went
	meterSpan     = 2 * time.Second  // over which the speed is averaged
)
