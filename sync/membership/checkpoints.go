package membership

import (
	"errors"
	"time"

	"github.com/studio-whip/collab/governance"
)

// CheckpointPolicy says when this node proposes checkpoints, and which it signs. It is local: it never changes what
// counts. Zero fields stand for the defaults.
type CheckpointPolicy struct {
	Grace time.Duration // what came here longer ago, a draft must know to be signed; a minute
}

func (c CheckpointPolicy) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return arrivalGrace
}

// cosignCheckpoint signs a checkpoint that says what this device would say. p.mu is held.
func (p *Project) cosignCheckpoint(d *governance.Draft) (*cosignAnswer, error) {
	return &cosignAnswer{Result: cosignRefused}, errors.New("membership: not built")
}
