package epoch

import "github.com/studio-whip/collab/governance"

// Caps of this room's records, in bytes.
const (
	MaxBox       = 8 << 10                          // whole signed box for one device
	maxPrevPlain = 16 + governance.MaxPrevEpochs*72 // list of earlier keys
)
