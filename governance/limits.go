package governance

import "time"

// Caps of this room's records. Sizes are in bytes.
const (
	MaxEventCore = 64 << 10  // signed part of an event
	MaxEvent     = 192 << 10 // whole event
	MaxParents   = 16        // heads that an event names
	MaxCosigners = 8
	MaxHolders   = 32  // root holders who sign one event
	MaxCuts      = 512 // chains whose end one removal names
	MaxHosts     = 4   // devices that may admit on one invite
	MaxReason    = 512 // reason of a removal

	MaxInlineBoxes  = 32      // sealed keys inside an epoch object; more go into a blob
	MaxBoxBlob      = 4 << 20 // blob of further sealed keys
	MaxPrevEpochs   = 16      // earlier epochs whose keys an epoch hands on
	maxBox          = 2 << 10 // one sealed key
	maxEncPrev      = 4 << 10 // sealed keys of earlier epochs
	maxEpochCore    = 2 << 10
	maxMacBox       = 2 << 10 // secret of an invite sealed to a host
	maxSignatures   = 1 + MaxCosigners + MaxHolders
	maxDeviceEvents = 200 // events of a device that is not a manager's, until a checkpoint settles them
	maxDeviceChains = 64  // chains that a device opens, until a checkpoint settles them
)

// Caps of the buffer for events whose parents have not arrived.
const (
	MaxOrphans         = 1024
	MaxOrphanBytes     = 8 << 20
	MaxPeerOrphans     = 128 // of one peer
	MaxPeerOrphanBytes = 1 << 20
)

// verdictsKept is how many outcomes of sets with several heads are remembered, and statesKept how many states. They
// bound memory only.
const (
	verdictsKept = 512
	statesKept   = 128
)

// Caps of records that later kinds carry.
const (
	MaxEndorsed = 16 // acts that one Endorse brings back
	MaxEvidence = 16 // events that a quarantine names as its grounds
	MaxPrev     = 4  // checkpoints that a checkpoint follows

	maxLastGood   = 16       // devices in a self-revocation
	maxSelfRevoke = 16 << 10 // signed record
	staleHorizon  = 24       // checkpoints after which what did not know of one counts for nothing
)

// MaxAhead is how far a checkpoint's time may be ahead of the local clock.
const MaxAhead = 10 * time.Minute

// Caps of an audit file.
const (
	maxAuditRoots     = 1024     // root records,
	maxAuditRootBytes = 64 << 20 // their sizes together
	maxAuditEvents    = 1 << 20
	maxAuditEnd       = 1 << 20 // size of the end
)

// Caps of an [Import].
const (
	MaxImport       = 128 << 20 // bytes
	MaxImportEvents = 1 << 18

	maxCompacted = MaxEventCore + 16
)
