package collab

import "time"

// WithClock replaces the clock of a node under test.
func WithClock(now func() time.Time) Option {
	return func(c *config) error {
		c.now = now
		return nil
	}
}
