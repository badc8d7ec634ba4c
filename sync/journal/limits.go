package journal

import "time"

// Caps of this room. Sizes in bytes.
const (
	// MaxName is the longest name of a document.
	MaxName = 256
	// MaxUpdate is what one envelope's updates may have together; larger edits are split over several envelopes.
	MaxUpdate = 768 << 10
	// MaxWaiting and MaxWaitingBytes bound what is kept per author until it can be judged; MaxWait is for how long.
	MaxWaiting      = 64
	MaxWaitingBytes = 1 << 20
	MaxWait         = 60 * time.Second
	// MaxWaitingAll bounds what waits of all authors together, in envelopes.
	MaxWaitingAll = 4096
	// MaxHeld is how many bytes of envelopes are kept of a member in quarantine that are not shown. More are not taken
	// before some are released; anti-entropy brings them then.
	MaxHeld = 64 << 20
	// Provisional is for how long a manager's proposal of a quarantine holds by itself.
	Provisional = 10 * time.Minute
	// MaxBranches is how many branches of a forked chain are kept. Of more, those of which least is held are forgotten; anti-entropy
	// brings the one that governance picks.
	MaxBranches = 4
	// MaxSnapshot bounds a whole signed snapshot.
	MaxSnapshot = 64<<20 + 1<<20
	// MaxSnapshotState bounds the document inside a snapshot.
	MaxSnapshotState = 64 << 20
	// MaxFrontier is how many chains a snapshot's frontier names.
	MaxFrontier = 4096
)

const (
	// tailEnvelopes and tailBytes bound how much of a document is replayed on opening: beyond, a new local snapshot
	// is kept.
	tailEnvelopes = 256
	tailBytes     = 1 << 20
	// snapshotChunk is the size of the records that a local snapshot is stored in.
	snapshotChunk = 4 << 20
	// closeWait is how long Close waits for observers of documents that are still running.
	closeWait = 5 * time.Second
	// maxHold is for how long a quarantine holds at most, whatever its author says.
	maxHold = 24 * time.Hour
	// holdCheck is how often the clock is looked at while something is held.
	holdCheck = time.Minute
	// maxSnapshotHeads is how many governance heads a snapshot names.
	maxSnapshotHeads = 256
	// maxBatch is how many updates one envelope carries.
	maxBatch = 1024
)
