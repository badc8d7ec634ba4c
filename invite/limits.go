package invite

// Caps of a code.
const (
	MaxHosts    = 4       // hosts in a code
	MaxAddrs    = 4       // addresses of one host
	MaxAddrSize = 256     // bytes of one address
	MaxCode     = 8 << 10 // bytes of a code before base32
	maxText     = 32 << 10
)

// Caps of the handshake's frames, in bytes.
const (
	maxSmall = 8 << 10   // key request, M0, M1, M5
	maxLarge = 512 << 10 // M2, M3, M4
)

// keyRequestSize is the size of the frame that asks for M0: the hash of the invite. No M1 is that small.
const keyRequestSize = 32

// Caps of what messages hold.
const (
	maxSuites  = 16
	maxCT1     = 2 << 10 // sealed session key
	maxRecords = 1024    // root records in M2
	maxHeads   = 256     // governance heads in M4
	maxBoxes   = 256     // epoch boxes in M4
	maxAddrs   = 128     // address records in M4
)

// sasWords is how many words the two sides compare: 66 bits. Never fewer, as a joiner can try many M3.
const sasWords = 6
