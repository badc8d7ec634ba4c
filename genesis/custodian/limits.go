package custodian

// Caps of the files that custodians read. Sizes are in bytes.
const (
	MaxShareFile    = 1 << 20  // file of a File custodian
	MaxShares       = 256      // shares in it
	MaxRecoveryFile = 16 << 20 // file of a Phrase custodian
	MaxBlobs        = 16       // sealed shares in it; each costs a stretched phrase to try
	MaxHeader       = 512      // header of a sealed share
	MaxRecords      = 512      // root records beside one share
	phraseWords     = 12       // 128 bits
	phraseTries     = 3        // times that a new phrase may be typed back wrongly, or be too weak
	MaxPhrase       = 256      // phrase of a person's own, as typed
	minPhraseBits   = 70       // least estimate for it: six words drawn from a dictionary, stretched by Argon2id
	wordBits        = 13       // most that one word counts: a place among 8192
)
