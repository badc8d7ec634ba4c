package collab

import (
	"slices"

	"github.com/studio-whip/collab/sync/journal"
)

// WithoutProvisionalHold lets a manager's proposal of a quarantine have no effect on this device before enough others have
// voted. By default what the member writes is held back for ten minutes from the proposal on, once
// in a day or two for each manager and member.
func WithoutProvisionalHold() Option {
	return func(c *config) error {
		c.provisional = -1
		return nil
	}
}

// holdChanged passes on what the journal tells.
func (s *Session) holdChanged(h journal.Hold) {
	s.events.Send(QuarantineChanged{Member: h.Member, Held: h.Held, Until: h.Until, Detail: h.Why.String()})
	s.live.HoldsChanged()
	if !h.Held {
		s.coordinator.Gap() // content is exchanged with the member again
	}
}

// heldByOthers reports whether the others hold back what this device's owner writes.
func (s *Session) heldByOthers() bool {
	me := s.node.self.Device.Member
	return slices.ContainsFunc(s.journal.Holds(), func(h journal.Hold) bool { return h.Member == me })
}
