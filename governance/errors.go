package governance

import (
	"errors"
	"fmt"
)

// Errors of reading an event: it is refused and not stored.
var (
	// ErrEvent means that an event breaks a rule of structure: parents, depth, numbering, lists, body.
	ErrEvent = errors.New("governance: event breaks a structural rule")
	// ErrForeign means that an event belongs to another project.
	ErrForeign = errors.New("governance: event of another project")
	// ErrUnknownRoot means that an event rests on a root record that is not held: fetch the root chain first.
	ErrUnknownRoot = errors.New("governance: event rests on a root record that is not held")
	// ErrUnknownDevice means that an event is signed by a device that nothing in its own past introduces.
	ErrUnknownDevice = errors.New("governance: signing device is unknown in the event's past")
	// ErrAhead means that a checkpoint's time has not come by this device's clock: set the clock right or take it later.
	ErrAhead = errors.New("governance: checkpoint is ahead of this device's clock")
	// ErrOrphansFull means that an event with missing parents does not fit into the buffer: fetch its parents first.
	ErrOrphansFull = errors.New("governance: too many events wait for their parents; fetch those first")
)

// Errors of asking the log.
var (
	// ErrUnknownEvent means that the log does not hold an event that was asked for: fetch it first.
	ErrUnknownEvent = errors.New("governance: event is not in the log")
	// ErrUnknownKind means that this build has no body for a kind of event.
	ErrUnknownKind = errors.New("governance: kind of event is not known to this build")
)

// ErrDenied is what every [*DeniedError] is, for callers that only branch.
var ErrDenied = errors.New("governance: the act would not count")

// DeniedError says why an event that was proposed would not count, and what would be needed. Nothing was stored or signed.
type DeniedError struct {
	Kind    Kind
	Reason  Reason
	Need    int     // members who must sign, if Reason is ReasonQuorum,
	Have    int     // and how many would
	Role    Role    // least role needed of the author, if Reason is ReasonRole and it is the author's that does not suffice
	Culprit EventID // event that stands in the way; zero if none does
}

func (e *DeniedError) Error() string {
	s := fmt.Sprintf("governance: %v would not count: %v", e.Kind, e.Reason)
	switch {
	case e.Reason == ReasonQuorum:
		s += fmt.Sprintf(" (needs %d managers, has %d; or the root)", e.Need, e.Have)
	case e.Reason == ReasonRole && e.Role != None && rules[e.Kind].root:
		s += fmt.Sprintf("; needed: a device that acts as %v, or the root", e.Role)
	case e.Reason == ReasonRole && e.Role != None:
		s += fmt.Sprintf("; needed: a device that acts as %v", e.Role)
	case e.Reason.Remedy() != "":
		s += "; needed: " + e.Reason.Remedy()
	}
	if e.Culprit != (EventID{}) {
		s += "; see event " + e.Culprit.Short()
	}
	return s
}

// Unwrap returns [ErrDenied].
func (e *DeniedError) Unwrap() error { return ErrDenied }
