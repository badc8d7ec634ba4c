package foundation

import (
	"time"

	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// Caps on what a peer may send. Sizes are in bytes.
const (
	MaxRun           = envelope.MaxRunBytes // one run of envelopes
	MaxSnapshot      = 64 << 20             // one document's signed snapshot; a larger document comes as envelopes
	MaxSnapshots     = wire.MaxElements     // documents that are offered at once
	MaxSnapshotBytes = 512 << 20            // of all snapshots together; what is beyond comes as envelopes
	MaxChains        = 1 << 16              // chains that one side compares

	maxOpening  = 128
	maxPlaces   = wire.MaxElements // chains in one frame of a frontier
	maxForks    = wire.MaxElements
	maxFrontier = 1 << 20 // a frame with so many of both
	maxAsks     = 64      // chains that are asked about at once
	maxAsk      = 16 << 10
	answerBytes = 4 << 20 // an answer about one chain ends with the run that reaches this
	maxOffer    = 128 << 10
	maxWishes   = 4 // snapshots that are asked for at once
	maxWish     = 256
)

// Caps on what one device may have under way with us in one project.
const (
	maxSyncs     = 2
	maxFetches   = 1
	maxBuildings = 2 // snapshots that are made at the same time, for whomever
)

// Deadlines. A frame of more than one part has idleTime for each: a slow line may take long, a silent one may not.
const (
	openTime     = 10 * time.Second // to open a stream
	answerTime   = 10 * time.Second // until the opening, or the first answer to it
	idleTime     = 30 * time.Second // between two parts
	buildTime    = time.Minute      // until the first part of a snapshot, which may have to be made
	wishTime     = 2 * time.Minute  // until the next wish: what was sent has to be taken in first
	exchangeTime = 10 * time.Minute // a whole exchange; what came until then stays
	part         = 64 << 10
)
