package genesis

// Caps of this room's records. Sizes are in bytes.
const (
	MaxRootCore    = 128 << 10 // signed part of a root record
	MaxRoot        = 384 << 10 // whole root record
	MaxTitle       = 128       // project title
	MaxReason      = 512       // reason of a root record
	MaxLabel       = 64        // label of a share
	MaxHolders     = 32        // holders of the root
	MaxShares      = 16        // shares of one holder
	MinThreshold   = 2         // shares that must agree; one would be the key itself
	MaxPhraseBlob  = 4 << 10   // sealed phrase share inside a root record
	MaxFrontier    = 64        // governance heads that a root record names
	MaxAbandons    = 16
	MaxHeals       = 4
	MaxFeatures    = 64
	MaxMembers     = 1000
	MaxShare       = 1024      // share record
	MaxJournal     = 2000      // record of a journal: what a keychain holds
	maxSets        = 4         // ceremonies whose shares a journal follows
	maxSigned      = 8         // records in it that were signed and never came into force
	maxQuarantine  = 24 * 3600 // seconds
	shareSeedBytes = 32
)

// Caps of what becomes a root record.
const (
	MaxProposal    = MaxRoot + 64   // proposal with its signatures
	MaxOffer       = 16 << 10       // offer of a holder
	MaxProposalAge = 30 * 24 * 3600 // seconds ahead that a proposal may end
)

// Caps of what a chain keeps besides the records in force.
const (
	maxSiblings   = 16      // records that follow one record
	maxRivals     = 64      // records that are not in force,
	maxAwaited    = 1024    // or so many while the settled version has not come
	maxAhead      = 32      // records that wait for those before them
	maxAheadBytes = 4 << 20 // their sizes together
)
