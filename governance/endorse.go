package governance

import (
	"fmt"

	"github.com/studio-whip/collab/internal/wire"
)

// Endorse brings acts back that came too late, were pending or contested: it stands, at its place, for admissions,
// grants and invites, as if its author had made them there.
type Endorse struct {
	Events []EventID `cbor:"1,keyasint"` // ascending
}

func (b *Endorse) check() error {
	if len(b.Events) == 0 || len(b.Events) > MaxEndorsed {
		return fmt.Errorf("%w: %d endorsed events, need 1 to %d", ErrEvent, len(b.Events), MaxEndorsed)
	}
	if !wire.SortedIDs(b.Events) {
		return fmt.Errorf("%w: endorsed events are not in ascending order", ErrEvent)
	}
	return nil
}

// endorsable reports whether an act may be brought back that is void for this reason.
func (r Reason) endorsable() bool {
	return r == ReasonLate || r == ReasonPending || r == ReasonEquivocation
}

// judgeEndorse checks that each named act may be brought back and could be made at e's place.
func (h *history) judgeEndorse(e *entry, v view, local bool) fault {
	if len(e.named) != len(e.body.(*Endorse).Events) {
		return simply(ReasonEndorse)
	}
	for _, i := range e.named {
		a := h.entries[i]
		if local {
			if _, f := e.before.why(h, i); !f.reason.endorsable() {
				return because(ReasonEndorse, i)
			}
		}
		if f := h.judgeAgain(e, a, v); !f.ok() {
			return because(f.reason, i)
		}
	}
	return fine
}

// judgeAgain checks the subject of an act as if it were made at e's place, without an invite.
func (h *history) judgeAgain(e, a *entry, v view) fault {
	switch b := a.body.(type) {
	case *InviteCreate:
		return h.judgeInviteCreate(a, b, v)
	case *Admit:
		if a.admission.fault != ReasonNone {
			return simply(a.admission.fault)
		}
		return h.judgeNewcomer(e, a.subject, b.Role, v)
	case *RoleGrant:
		return v.judgeMove(b.Member, b.Role, true)
	}
	return simply(ReasonEndorse)
}
