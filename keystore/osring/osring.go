// Package osring keeps secrets in the operating system's keychain: Secret Service (GNOME Keyring, KWallet, KeePassXC)
// on Linux, Keychain on macOS, Credential Manager on Windows.
//
// On Linux [Open] fails at once where there is no keychain or it is locked, and nothing here makes the system ask a
// person. On macOS and Windows that shows with the first call; macOS may put up a dialog of its own. Every call ends within
// ten seconds, even if the keychain hangs. Nothing falls back to another place: the program decides.
//
// This module's tests use a real keychain on Linux only, GNOME Keyring. The backends of macOS and Windows build, and pass
// the suite with a keychain in memory in their place; what their errors mean was taken from headers, not tried. KWallet and
// KeePassXC were not tried either.
//
// Other programs of the same user may read what lies in a keychain; see the operating system's own promises. Values
// pass through Go strings there, which cannot be wiped: keep one small key here and the rest in a vault under it
// (package file).
package osring

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"

	"github.com/zalando/go-keyring"

	"github.com/studio-whip/collab/internal/gate"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// process is the gate of all rings: the keychain's library is one per process.
var process = gate.New()

// Ring is a [keystore.Store] in the keychain.
type Ring struct {
	service string
	gate    *gate.Gate
	ready   func(context.Context) error // tells whether the keychain can be used without asking a person
}

var _ keystore.Store = (*Ring)(nil)

// Open returns the secrets of a profile: 1 to 64 bytes of a-z, A-Z, 0-9, '-', '_' and '.'. Programs that use one
// profile share its secrets. It fails with [keystore.ErrUnavailable], [keystore.ErrLocked] or [keystore.ErrTimeout].
func Open(profile string) (*Ring, error) { return open(profile, process, ready) }

func open(profile string, g *gate.Gate, ready func(context.Context) error) (*Ring, error) {
	if err := checkProfile(profile); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := ready(ctx); err != nil {
		return nil, late(err)
	}
	return &Ring{service: "collab-" + profile, gate: g, ready: ready}, nil
}

func checkProfile(profile string) error {
	if len(profile) == 0 || len(profile) > maxProfile {
		return fmt.Errorf("%w: a profile's name has 1 to %d bytes", keystore.ErrInvalid, maxProfile)
	}
	for _, c := range []byte(profile) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("%w: a profile's name has letters, digits, '-', '_' and '.' only", keystore.ErrInvalid)
		}
	}
	return nil
}

// Get returns a secret.
func (r *Ring) Get(ctx context.Context, name string) ([]byte, error) {
	if err := keystore.CheckName(name); err != nil {
		return nil, err
	}
	return r.call(ctx, func() ([]byte, error) { return r.get(name) })
}

// Put stores a secret and reads it back: a keychain may report success and keep less than it was given.
func (r *Ring) Put(ctx context.Context, name string, secret []byte) error {
	if err := keystore.CheckName(name); err != nil {
		return err
	}
	if err := keystore.CheckSecret(secret); err != nil {
		return err
	}
	// The call may outlive this one, so it works on a copy of its own.
	value := base64.StdEncoding.EncodeToString(secret)
	_, err := r.call(ctx, func() ([]byte, error) { return nil, r.put(name, value) })
	return err
}

// Delete removes a secret.
func (r *Ring) Delete(ctx context.Context, name string) error {
	if err := keystore.CheckName(name); err != nil {
		return err
	}
	_, err := r.call(ctx, func() ([]byte, error) {
		err := translate(keyring.Delete(r.service, name))
		if errors.Is(err, keystore.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	})
	return err
}

// call runs fn once the keychain is found usable.
func (r *Ring) call(ctx context.Context, fn func() ([]byte, error)) ([]byte, error) {
	secret, err := gate.Call(ctx, r.gate, callTimeout, func(ctx context.Context) ([]byte, error) {
		if err := r.ready(ctx); err != nil {
			return nil, err
		}
		return fn()
	}, secmem.Wipe)
	return secret, late(err)
}

// late makes a deadline that passed, whoever set it, one of package keystore's errors.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, keystore.ErrTimeout) {
		return fmt.Errorf("%w: %w", keystore.ErrTimeout, err)
	}
	return err
}

func (r *Ring) get(name string) ([]byte, error) {
	value, err := keyring.Get(r.service, name)
	if err != nil {
		return nil, translate(err)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(value)
	if err == nil {
		err = keystore.CheckSecret(secret)
	}
	if err != nil {
		secmem.Wipe(secret)
		// The cause may show a part of the value.
		return nil, fmt.Errorf("%w: the keychain's item %q is not a secret that was stored here", keystore.ErrDamaged, name)
	}
	return secret, nil
}

func (r *Ring) put(name, value string) error {
	if err := keyring.Set(r.service, name, value); err != nil {
		return translate(err)
	}
	kept, err := keyring.Get(r.service, name)
	if err != nil {
		return fmt.Errorf("keystore: reading back what was stored: %w", translate(err))
	}
	if subtle.ConstantTimeCompare([]byte(kept), []byte(value)) == 0 {
		return fmt.Errorf("%w: the keychain did not keep what it was given", keystore.ErrDamaged)
	}
	return nil
}

// translate makes a keychain's error one of package keystore's. No keychain error holds a secret: they carry exit
// codes and D-Bus messages.
func translate(err error) error {
	var missing *exec.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keyring.ErrNotFound):
		return keystore.ErrNotFound
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return fmt.Errorf("%w: %w", keystore.ErrTooBig, err)
	case errors.Is(err, keyring.ErrUnsupportedPlatform), errors.As(err, &missing):
		return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
	default:
		return translatePlatform(err)
	}
}
