package collab

import (
	"context"
	"fmt"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/membership"
)

// leaveTime is how long Leave waits for somebody to take the last edits.
const leaveTime = 30 * time.Second

// Leave ends the membership of this device's owner, on all their devices: it gives the last edits and the news to the members
// who are connected, and ends the session, whose Err is [ErrLeft] then. What is on this device can still be read until Close
// and after [Node.OpenProject]. What was written stays in the project. A member who may mint a new key does so, so that what
// is written from then on is closed to who has left. The way back is a new invite.
//
// Leave asks nothing, a program should: if no other manager is left, nobody can invite, remove or name one but the holders of
// the root, wherever its shares are brought together; if nobody else is left, nobody has the project.
//
// Edits made while Leave runs are refused with [ErrLeft]. It fails, and the membership goes on, with [ErrUnreachable] if
// nobody is connected who could take the news or the last edits, and with [ErrDenied]. Should everybody vanish in its last moment,
// the session has ended and the error says that the others may not know: ask a manager to remove you.
func (s *Session) Leave(ctx context.Context) error {
	return s.goneBy(ctx, "leave the project", ErrLeft, s.partFrom, func(ctx context.Context) (int, error) {
		cuts, err := s.journal.Cuts(s.node.self.Device.Member)
		if err != nil {
			return 0, err
		}
		return s.membership.Leave(ctx, cuts)
	})
}

// goneBy ends the owner's membership by an act of this device, which has prepared for it before. Until the act is made, nothing
// has happened if something fails.
func (s *Session) goneBy(ctx context.Context, doing string, why error, prepare func(context.Context) error, act func(context.Context) (told int, err error)) error {
	if err := s.depart(); err != nil {
		return err
	}
	told, others, err := 0, s.others(), prepare(ctx)
	if err == nil {
		told, err = act(ctx)
	}
	if err != nil {
		s.stay()
		if s.membership.Removed() { // by somebody else meanwhile, which nobody has acted on
			s.expelled()
		}
		return s.denied(doing, err)
	}
	s.ended(why)
	if told == 0 && others > 0 {
		return fmt.Errorf("%w: %s: it is done here, but nobody has confirmed to know; ask a manager to remove you", ErrUnreachable, doing)
	}
	return nil
}

// depart keeps edits and acts away while the owner leaves.
func (s *Session) depart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.departing {
		return ErrLeft
	}
	s.departing = true
	return nil
}

// stay undoes depart.
func (s *Session) stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.departing = false
}

// others is how many further members there are.
func (s *Session) others() (n int) {
	for _, m := range s.membership.State().Members() {
		if m.Present && m.ID != s.node.self.Device.Member {
			n++
		}
	}
	return n
}

// partFrom signs the last edits and gives them to somebody.
func (s *Session) partFrom(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := s.live.Flush(ctx); err != nil {
		return err
	}
	if n := s.journal.Held(); n > 0 && s.membership.State().May(s.node.self.Device.ID, governance.ActWrite) {
		return fmt.Errorf("%w: %d edits cannot be signed yet", membership.ErrNoEpoch, n)
	}
	if s.others() == 0 {
		return nil
	}
	if len(s.coordinator.Online()) == 0 {
		return fmt.Errorf("%w: nobody is connected who could tell the others", ErrUnreachable)
	}
	return s.coordinator.WaitSynced(ctx)
}
