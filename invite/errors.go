package invite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/studio-whip/collab/identity"
)

// Errors of reading a code.
var (
	// ErrNotACode means that the text is no invite code at all.
	ErrNotACode = errors.New("invite: this is no invite code; copy the whole code from the invitation")
	// ErrDamaged means that the text began as a code but lost or changed characters on its way.
	ErrDamaged = errors.New("invite: the code is damaged; copy it again, from its first to its last character")
	// ErrVersion means that the code was made by a newer program.
	ErrVersion = errors.New("invite: the code was made by a newer version; update the program")
)

// Errors that a joiner meets.
var (
	// ErrHost means that the other end is not the host that the code names, or speaks for another project.
	ErrHost = errors.New("invite: the other end is not the host that the code names; ask for a new code")
	// ErrInvalid means that the other end broke the handshake's rules.
	ErrInvalid = errors.New("invite: the handshake is broken; try again, or ask for a new code")
	// ErrNoAnswer means that the host closed without a word: it does not know the invite, or the connection was lost.
	ErrNoAnswer = errors.New("invite: the host gave no answer; it does not know this invite, or the connection was lost")
	// ErrExpired means that the invite's time is over by the host's clock.
	ErrExpired = errors.New("invite: expired; ask for a new code")
	// ErrUsed means that the invite has been used up. A [*UsedError] wraps it and says by whom.
	ErrUsed = errors.New("invite: already used; ask for a new code")
	// ErrCancelled means that a member cancelled the invite.
	ErrCancelled = errors.New("invite: cancelled; ask for a new code")
	// ErrDenied means that the host's rules, or the person at the host, said no.
	ErrDenied = errors.New("invite: the host refused; talk to the one who invited you")
	// ErrVoid means that the project's rules give the invite no force, as when it grants more than its maker could.
	ErrVoid = errors.New("invite: the project gives this invite no force; ask a manager for a new code")
	// ErrFull means that the project has as many members as its rules allow.
	ErrFull = errors.New("invite: the project is full")
)

// Errors that a host meets. The joiner was told nothing.
var (
	// ErrStranger means that the other end did not prove to hold the code on this channel.
	ErrStranger = errors.New("invite: the other end does not hold this code")
	// ErrProof means that the code's holder presented certificates or signatures that do not belong together.
	ErrProof = errors.New("invite: the joiner's proof does not hold")
	// ErrNotConfirmed means that the joiner did not confirm the outcome: it may not have got it.
	ErrNotConfirmed = errors.New("invite: the joiner did not confirm; it may come again for the same answer")
)

// UsedError says who used the invite first, so that a newcomer whose code was stolen learns of it.
type UsedError struct {
	First identity.MemberID
}

func (e *UsedError) Error() string {
	return fmt.Sprintf("invite: already used by the member whose fingerprint is %q; if that is not you, tell the one who invited you",
		strings.Join(identity.Fingerprint(e.First), " "))
}

// Unwrap returns [ErrUsed].
func (e *UsedError) Unwrap() error { return ErrUsed }

// Reason is why a host refuses the code's holder.
type Reason uint8

// The reasons.
const (
	ReasonExpired   Reason = 1
	ReasonUsed      Reason = 2
	ReasonCancelled Reason = 3
	ReasonDenied    Reason = 4
	ReasonVoid      Reason = 5
	ReasonFull      Reason = 6
)

var reasonErrors = map[Reason]error{
	ReasonExpired:   ErrExpired,
	ReasonUsed:      ErrUsed,
	ReasonCancelled: ErrCancelled,
	ReasonDenied:    ErrDenied,
	ReasonVoid:      ErrVoid,
	ReasonFull:      ErrFull,
}

// Err returns the error that a joiner gets for r; [ErrDenied] if r is unknown here.
func (r Reason) Err() error {
	if err, ok := reasonErrors[r]; ok {
		return err
	}
	return ErrDenied
}

// ReasonOf returns the reason that stands for err, [ReasonDenied] if there is no other.
func ReasonOf(err error) Reason {
	for r, e := range reasonErrors {
		if errors.Is(err, e) {
			return r
		}
	}
	return ReasonDenied
}
