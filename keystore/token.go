package keystore

import (
	"context"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/internal/secmem"
)

// TokenReader finds the tokens that are plugged in.
type TokenReader interface {
	// Tokens returns the tokens that are there now, in no particular order. That there is none is no error. It asks
	// nobody, and fails with ErrUnavailable, ErrTimeout or ErrNotBuilt.
	Tokens(ctx context.Context) ([]Token, error)
}

// Token is a small device, such as a YubiKey, with a private key that cannot be taken out and a PIN that it counts the
// tries of. It opens what was sealed to its [TokenKey] and carries a few sealed secrets itself. It is safe for
// concurrent use.
//
// A Token stands for the device, not for the place where it is plugged in: after removal its methods fail with
// [ErrNoToken], and work again once it is back. Every method ends soon after ctx, and by itself with [ErrTimeout] if
// the device does not answer. A method that needs the PIN asks [Prompt] for it at most once, so that it never costs
// more than one of the tries that are left; a caller may call again after [ErrWrongPIN].
type Token interface {
	// Info tells which token this is and what state it is in.
	Info(ctx context.Context) (TokenInfo, error)

	// Prepare makes the token's key, or returns the one that is there. It needs the PIN. It takes nothing away from
	// another program: where the place of the key is in use it fails with ErrTokenOccupied. It fails with
	// ErrFactoryPIN if anybody who finds the token could know its PIN or how to reset it.
	Prepare(ctx context.Context, ask Prompt) (*TokenKey, error)

	// Store writes what TokenKey.Seal made onto the token, in place of what lay under name, and reads it back. It
	// needs the PIN. It fails with ErrWrongToken if it was sealed to another token, with ErrNotPrepared, and with
	// ErrTooBig if the token is full.
	Store(ctx context.Context, ask Prompt, name string, sealed []byte) error

	// Load returns what lies under name, still sealed. It asks nobody, and fails with ErrNotFound if there is nothing.
	Load(ctx context.Context, name string) ([]byte, error)

	// Remove erases what lies under name. It needs the PIN, unless nothing lies there, which is no error.
	Remove(ctx context.Context, ask Prompt, name string) error

	// Open opens what TokenKey.Seal made for this purpose; the caller wipes the result. It needs the PIN and a touch.
	// Before it asks anybody it fails with ErrWrongToken if it was sealed to another token, and with ErrDamaged.
	Open(ctx context.Context, ask Prompt, purpose, sealed []byte) ([]byte, error)
}

// TokenInfo is what a token tells anybody.
type TokenInfo struct {
	Label   string    // for people, such as "YubiKey 5.7.1"
	Serial  string    // as printed on the device
	Retries int       // tries of the PIN that are left; 0 means that it is blocked
	Key     *TokenKey // nil until the token is prepared
}

// Prompt is how a token reaches the person at the machine.
type Prompt struct {
	// PIN returns the PIN, which is wiped after use, or an error, with which the token's method fails. It may wait for
	// the person until ctx ends. A token whose PIN is needed fails with ErrDenied if PIN is nil.
	PIN func(ctx context.Context, ask PINRequest) ([]byte, error)
	// Touch, if not nil, is called when the token is about to wait for a touch. It must not wait itself.
	Touch func(token TokenInfo)
}

// PINRequest says what a person should know before typing a PIN.
type PINRequest struct {
	Token  TokenInfo // its Retries tell how many tries are left
	Action string    // what the PIN is for, such as "open a sealed secret"
}

// Errors of tokens, besides those of finding, storing and keychains.
var (
	// ErrNotBuilt means that this program was built without support for such tokens.
	ErrNotBuilt = errors.New("keystore: not built in")
	// ErrNoToken means that the token is not plugged in: insert it and try again.
	ErrNoToken = errors.New("keystore: token is not plugged in")
	// ErrWrongToken means that a secret was sealed to another token: insert that one.
	ErrWrongToken = errors.New("keystore: sealed to another token")
	// ErrWrongPIN means that the token refused the PIN; it comes within a PINError.
	ErrWrongPIN = errors.New("keystore: wrong PIN")
	// ErrPINBlocked means that no try of the PIN is left: unblock it with the token's own tools and its PUK.
	ErrPINBlocked = errors.New("keystore: PIN is blocked")
	// ErrFactoryPIN means that the token's PIN or PUK is still the one of every new token: change both first.
	ErrFactoryPIN = errors.New("keystore: token has its factory PIN or PUK")
	// ErrNotPrepared means that the token has no key of this library yet: prepare it.
	ErrNotPrepared = errors.New("keystore: token is not prepared")
	// ErrTokenOccupied means that another program uses the place on the token that is needed here.
	ErrTokenOccupied = errors.New("keystore: token is in use by another program")
	// ErrTokenChanged means that another program replaced a part of the token's key: what was sealed to the token is
	// lost. Use other shares.
	ErrTokenChanged = errors.New("keystore: token's key was replaced")
	// ErrNotTouched means that nobody touched the token in time, or that it refused for another reason.
	ErrNotTouched = errors.New("keystore: token was not touched")
)

// PINError is [ErrWrongPIN] with the number of tries that are left. When there are none it is [ErrPINBlocked], too.
type PINError struct{ Retries int }

func (e *PINError) Error() string {
	switch e.Retries {
	case 0:
		return ErrWrongPIN.Error() + ", and the token is blocked now"
	case 1:
		return ErrWrongPIN.Error() + ", one try is left"
	}
	return fmt.Sprintf("%v, %d tries are left", ErrWrongPIN, e.Retries)
}

// Unwrap returns what the error stands for.
func (e *PINError) Unwrap() []error {
	if e.Retries == 0 {
		return []error{ErrWrongPIN, ErrPINBlocked}
	}
	return []error{ErrWrongPIN}
}

// Ask gets the PIN, for those who write a [Token]. It fails with [ErrPINBlocked] without asking if no try is left, and
// with [ErrDenied] if there is nobody to ask or no PIN comes.
func (p Prompt) Ask(ctx context.Context, ask PINRequest) ([]byte, error) {
	if ask.Token.Retries == 0 {
		return nil, ErrPINBlocked
	}
	if p.PIN == nil {
		return nil, fmt.Errorf("%w: the token wants a PIN to %s, and there is nobody to ask", ErrDenied, ask.Action)
	}
	pin, err := p.PIN(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("keystore: PIN of the token: %w", err)
	}
	if len(pin) == 0 {
		return nil, fmt.Errorf("%w: no PIN was given", ErrDenied)
	}
	if err := ctx.Err(); err != nil {
		secmem.Wipe(pin)
		return nil, err
	}
	return pin, nil
}

// CheckSealed tells whether this token can open what [TokenKey.Seal] made, without opening it. It fails with
// [ErrDamaged], [ErrNotPrepared] or [ErrWrongToken].
func (i TokenInfo) CheckSealed(sealed []byte) error {
	to, err := SealedTo(sealed)
	if err != nil {
		return err
	}
	if i.Key == nil {
		return ErrNotPrepared
	}
	if i.Key.ID() != to {
		return fmt.Errorf("%w: it was sealed to %s, this one is %s", ErrWrongToken, to.Short(), i.Key.ID().Short())
	}
	return nil
}
