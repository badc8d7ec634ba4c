package memory

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// FactoryPIN is the PIN of a new token; a [Token] with it cannot be prepared.
const FactoryPIN = "123456"

const (
	pinTries  = 3
	maxStored = 20 // sealed secrets on one token
)

// Token is a [keystore.Token] in memory. It starts plugged in, without a key, and is touched at once; Unplug, Plug,
// OnTouch and Rekey do what a person or another program does to a real one.
type Token struct {
	serial string

	mu       sync.Mutex
	away     bool
	pin      *secmem.Bytes
	tries    int
	touch    func(context.Context) error
	secret   secmem.Hidden[tokenSecret] // empty until prepared
	public   *keystore.TokenKey
	replaced bool
	stored   map[string][]byte
}

// tokenSecret is the private key that does not leave the token.
type tokenSecret struct {
	pq   *mlkem.DecapsulationKey768
	half *ecdh.PrivateKey
}

// NewToken returns a token with this serial number and PIN.
func NewToken(serial, pin string) *Token {
	return &Token{
		serial: serial, pin: secmem.New([]byte(pin)), tries: pinTries,
		touch:  func(context.Context) error { return nil },
		stored: map[string][]byte{},
	}
}

// Unplug takes the token out of the machine.
func (t *Token) Unplug() { t.set(func() { t.away = true }) }

// Plug puts it back.
func (t *Token) Plug() { t.set(func() { t.away = false }) }

// OnTouch makes fn the person who touches the token: an error, or the end of its context, is a touch that did not come.
func (t *Token) OnTouch(fn func(context.Context) error) { t.set(func() { t.touch = fn }) }

// Rekey does what a program does that replaces the token's secret without asking this one.
func (t *Token) Rekey() { t.set(func() { t.replaced = true }) }

// Unblock gives all tries of the PIN back, as the owner can with the PUK.
func (t *Token) Unblock() { t.set(func() { t.tries = pinTries }) }

func (t *Token) set(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn()
}

// Info tells which token this is.
func (t *Token) Info(ctx context.Context) (keystore.TokenInfo, error) {
	if err := ctx.Err(); err != nil {
		return keystore.TokenInfo{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away {
		return keystore.TokenInfo{}, keystore.ErrNoToken
	}
	return t.info(), nil
}

func (t *Token) info() keystore.TokenInfo {
	return keystore.TokenInfo{Label: "token in memory", Serial: t.serial, Retries: t.tries, Key: t.public}
}

// Prepare makes the token's key.
func (t *Token) Prepare(ctx context.Context, ask keystore.Prompt) (*keystore.TokenKey, error) {
	info, err := t.Info(ctx)
	if err != nil || info.Key != nil {
		return info.Key, err
	}
	if err := t.login(ctx, ask, "prepare the token"); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(t.pin.Bytes()) == FactoryPIN {
		return nil, keystore.ErrFactoryPIN
	}
	if t.public != nil {
		return t.public, nil
	}
	secret, err := newTokenSecret()
	if err != nil {
		return nil, err
	}
	public, err := keystore.NewTokenKey(secret.pq.Encapsulator(), secret.half.PublicKey())
	if err != nil {
		return nil, err
	}
	t.secret, t.public = secmem.Hide(*secret), public
	return public, nil
}

func newTokenSecret() (*tokenSecret, error) {
	pq, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, fmt.Errorf("keystore: token: %w", err)
	}
	half, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keystore: token: %w", err)
	}
	return &tokenSecret{pq, half}, nil
}

// Store keeps a copy of a sealed secret.
func (t *Token) Store(ctx context.Context, ask keystore.Prompt, name string, sealed []byte) error {
	if err := keystore.CheckName(name); err != nil {
		return err
	}
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	if err := info.CheckSealed(sealed); err != nil {
		return err
	}
	if err := t.login(ctx, ask, "store a sealed secret"); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.stored[name]; !there && len(t.stored) == maxStored {
		return fmt.Errorf("%w: the token holds %d secrets", keystore.ErrTooBig, maxStored)
	}
	t.stored[name] = bytes.Clone(sealed)
	return nil
}

// Load returns a copy of what Store kept.
func (t *Token) Load(ctx context.Context, name string) ([]byte, error) {
	if err := keystore.CheckName(name); err != nil {
		return nil, err
	}
	if _, err := t.Info(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sealed, ok := t.stored[name]
	if !ok {
		return nil, keystore.ErrNotFound
	}
	return bytes.Clone(sealed), nil
}

// Remove erases what Store kept.
func (t *Token) Remove(ctx context.Context, ask keystore.Prompt, name string) error {
	if _, err := t.Load(ctx, name); errors.Is(err, keystore.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if err := t.login(ctx, ask, "erase a sealed secret"); err != nil {
		return err
	}
	t.set(func() { delete(t.stored, name) })
	return nil
}

// Open opens a sealed secret after PIN and touch.
func (t *Token) Open(ctx context.Context, ask keystore.Prompt, purpose, sealed []byte) ([]byte, error) {
	info, err := t.Info(ctx)
	if err != nil {
		return nil, err
	}
	if err := info.CheckSealed(sealed); err != nil {
		return nil, err
	}
	if err := t.login(ctx, ask, "open a sealed secret"); err != nil {
		return nil, err
	}
	if err := t.touched(ctx, ask); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return keystore.OpenSealed(t.secret.Get().pq, t.secret.Get().half, purpose, sealed)
}

// login asks for the PIN and checks it, at the cost of one try if it is wrong.
func (t *Token) login(ctx context.Context, ask keystore.Prompt, action string) error {
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	pin, err := ask.Ask(ctx, keystore.PINRequest{Token: info, Action: action})
	if err != nil {
		return err
	}
	defer secmem.Wipe(pin)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.away:
		return keystore.ErrNoToken
	case t.tries == 0:
		return keystore.ErrPINBlocked
	case subtle.ConstantTimeCompare(pin, t.pin.Bytes()) == 0:
		t.tries--
		return &keystore.PINError{Retries: t.tries}
	}
	t.tries = pinTries
	if t.replaced {
		return keystore.ErrTokenChanged
	}
	return nil
}

// touched waits for the touch.
func (t *Token) touched(ctx context.Context, ask keystore.Prompt) error {
	t.mu.Lock()
	info, touch := t.info(), t.touch
	t.mu.Unlock()
	if ask.Touch != nil {
		ask.Touch(info)
	}
	err := touch(ctx)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if err != nil {
		return fmt.Errorf("%w: %w", keystore.ErrNotTouched, err)
	}
	if _, err := t.Info(ctx); err != nil {
		return err // taken out meanwhile
	}
	return nil
}

// Tokens is a [keystore.TokenReader] over tokens in memory.
type Tokens []*Token

// Tokens returns those that are plugged in.
func (r Tokens) Tokens(ctx context.Context) ([]keystore.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found []keystore.Token
	for _, t := range r {
		if _, err := t.Info(ctx); err == nil {
			found = append(found, t)
		}
	}
	return found, nil
}

var _ keystore.TokenReader = Tokens(nil)
