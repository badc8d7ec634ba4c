package collab

import (
	"time"

	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/sync/membership"
)

// WithClock replaces the clock of a node under test.
func WithClock(now func() time.Time) Option {
	return func(c *config) error {
		c.now = now
		return nil
	}
}

// WithTap shows every byte that a node under test sends and receives.
func WithTap(tap p2p.Tap) Option {
	return func(c *config) error {
		c.tap = tap
		return nil
	}
}

// WithCheckpoints lets a node under test make checkpoints by another rule.
func WithCheckpoints(p membership.CheckpointPolicy) Option {
	return func(c *config) error {
		c.checkpoints = p
		return nil
	}
}
