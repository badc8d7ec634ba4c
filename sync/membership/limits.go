package membership

import "time"

// Caps of the events protocol. Sizes are in bytes.
const (
	maxFrame      = 1 << 20   // one message
	maxBatchBytes = 512 << 10 // events of one batch, and one event more
	maxBatch      = 256       // events of one batch
	maxHave       = 256       // events that a hello names
	maxNeeds      = 16        // epoch keys that a hello asks for
	maxBook       = 2048      // devices whose address records a hello names
	maxRecords    = 64        // address records in one message
	maxPushed     = 128 << 10 // events that a hello carries
	maxExchanges  = 16        // exchanges that one device may have open with us, of all projects
)

// Caps of the exchange of root records.
const (
	maxRootsHad     = 64        // records that a hello names
	maxRootBatch    = 64        // records of one batch
	maxRootBatches  = 256       // batches of one exchange
	maxProposals    = 8         // proposals of the next root that are kept
	maxWelcomeRoots = 384 << 10 // bytes of records after the pinned one that a newcomer is given with its admission
)

// Caps of proposed acts.
const (
	MaxActNote    = 512      // what is said for it
	maxActTerms   = 8 << 10  // what is to be agreed on
	maxActSince   = 64       // newest events that its proposer knew
	maxActRecord  = 16 << 10 // proposal, without the draft of a root act
	maxVoteRecord = 8 << 10  // with a root holder's signature
	maxActs       = 32       // proposals that are kept,
	maxMemberActs = 8        // of one member,
	maxVotes      = 64       // and devices whose votes are kept on each
	maxActsHad    = 2048
	maxActBatch   = 64 // records of one batch
	maxActBatches = 256
)

// How long a proposed act is open.
const (
	DefaultActLife = 7 * 24 * time.Hour
	MaxActLife     = 30 * 24 * time.Hour
)

// Caps of address records.
const (
	MaxAddresses   = 8   // of one device
	MaxAddressSize = 256 // bytes of one address
	maxRecordSize  = 8 << 10
)

// Deadlines.
const (
	exchangeTime  = time.Minute      // one exchange of events
	farewellTime  = 5 * time.Second  // telling a removed device of its removal
	cosignTime    = 10 * time.Second // one co-signature
	handshakeTime = 15 * time.Second // invite handshake without a person
	approvalTime  = 2 * time.Minute  // a person's decision; then the answer is "pending"
	joinTime      = approvalTime + 2*handshakeTime
)

// Rates of invite handshakes that this host takes on. What is above is closed without a word.
const (
	maxHandshakes    = 8
	maxDecisions     = 16 // handshakes that wait for a person
	handshakesPerSec = 4
	handshakeBurst   = 16
	perAddressPerSec = 1
	perAddressBurst  = 8
	maxAddressesSeen = 4096

	// What a device in quarantine may ask.
	heldPerSec = 0.5
	heldBurst  = 8
)

// Invites.
const (
	DefaultInviteLife = 72 * time.Hour
	MaxInviteLife     = 30 * 24 * time.Hour
	inviteMemory      = 30 * 24 * time.Hour // how long an ended invite's holder is told why
)

// mintStep is how long each further editor waits before minting an epoch that is owed, so that one of them does; each
// further manager too, before making an act on which enough have agreed.
const mintStep = 2 * time.Second

// Making an event together.
const (
	arrivalGrace = time.Minute      // what came here longer ago, a draft must know to be signed
	cosignPause  = 30 * time.Second // who signed a draft of an act makes none of his own for so long
	cosignTries  = 4                // drafts of one attempt
	maxGathers   = 64               // events in a row that bring others together: each 15, of one device each
)

// What a newcomer is given with its admission: so many keys (4.7 KiB each) and address records (at most 5.6 KiB) that
// they fit the answer of the invite handshake, 512 KiB, beside the largest admission. Others are asked for later.
const (
	maxBoxes          = 32
	maxWelcomeRecords = 32
)

// KEM keys of this device.
const (
	DefaultKeyLife = 30 * 24 * time.Hour // how long one is used before another takes its place

	boxKeyLook  = time.Minute // how often it is looked whether one is due,
	boxKeyPause = time.Hour   // and after one was refused, at the earliest

	boxKeyHold = MaxInviteLife + 24*time.Hour // how long a key that is settled to be replaced may still be needed
)

// Checkpoints.
const (
	DefaultCheckpointEvents = 100            // unsettled events at which one is made,
	DefaultCheckpointAge    = 24 * time.Hour // and the time after the last one, if anything is unsettled
	DefaultCheckpointPause  = time.Hour      // between two of them, so that who is away for a day misses fewer than 24

	checkpointLook  = time.Minute      // how often it is looked whether one is due,
	proofRetry      = 10 * time.Second // after the proof of a fork could not be published
	proofPause      = time.Minute      // before it is published that a chain parts further down than was proven; each time twice as long,
	maxProofPauses  = 10               // up to so many times
	checkpointRetry = 2 * time.Second  // and after one could not be made, at the earliest
)
