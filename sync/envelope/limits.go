package envelope

// Caps of this room. Sizes in bytes.
const (
	MaxEnvelope  = 1 << 20 // a whole envelope, its signature included
	MaxHeads     = 4       // governance heads in a header
	MaxRun       = 256     // envelopes in a run
	MaxRunBytes  = 4 << 20 // a whole run, its signature included
	MaxEphemeral = 64 << 10
	maxHeader    = 1 << 10 // far above the largest header
)
