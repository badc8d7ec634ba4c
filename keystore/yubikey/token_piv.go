//go:build piv

package yubikey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// token is one device, wherever it is plugged in.
type token struct{ serial uint32 }

var _ keystore.Token = (*token)(nil)

// Tokens returns the YubiKeys that are plugged in. It fails with [keystore.ErrUnavailable] where there is no card reader
// service, and with [keystore.ErrInUse] if another program holds the only ones.
func (Reader) Tokens(ctx context.Context) ([]keystore.Token, error) {
	serials, err := list(ctx)
	if err != nil {
		return nil, err
	}
	tokens := make([]keystore.Token, len(serials))
	for i, serial := range serials {
		tokens[i] = &token{serial}
	}
	return tokens, nil
}

func (t *token) String() string { return "YubiKey " + strconv.FormatUint(uint64(t.serial), 10) }

// Info tells which token this is.
func (t *token) Info(ctx context.Context) (keystore.TokenInfo, error) {
	return use(ctx, t.serial, callTimeout, (*card).info)
}

// Prepare makes the token's key.
func (t *token) Prepare(ctx context.Context, ask keystore.Prompt) (*keystore.TokenKey, error) {
	info, err := t.Info(ctx)
	if err != nil || info.Key != nil {
		return info.Key, err
	}
	pin, err := ask.Ask(ctx, keystore.PINRequest{Token: info, Action: "prepare the token"})
	if err != nil {
		return nil, err
	}
	defer secmem.Wipe(pin)
	return use(ctx, t.serial, callTimeout, func(c *card) (*keystore.TokenKey, error) { return c.prepare(string(pin)) })
}

// Store writes a sealed secret onto the token.
func (t *token) Store(ctx context.Context, ask keystore.Prompt, name string, sealed []byte) error {
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
	// The call may outlive this one, so it works on a copy of its own.
	sealed = bytes.Clone(sealed)
	return t.write(ctx, ask, info, "store a sealed secret", func(c *card, key []byte) error {
		return c.store(key, name, sealed)
	})
}

// Load reads a sealed secret.
func (t *token) Load(ctx context.Context, name string) ([]byte, error) {
	if err := keystore.CheckName(name); err != nil {
		return nil, err
	}
	return use(ctx, t.serial, callTimeout, func(c *card) ([]byte, error) {
		_, r, err := c.find(name)
		return r.Sealed, err
	})
}

// Remove erases a sealed secret.
func (t *token) Remove(ctx context.Context, ask keystore.Prompt, name string) error {
	if _, err := t.Load(ctx, name); errors.Is(err, keystore.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	return t.write(ctx, ask, info, "erase a sealed secret", func(c *card, key []byte) error { return c.erase(key, name) })
}

// write asks for the PIN and lets fn change the token with its management key.
func (t *token) write(ctx context.Context, ask keystore.Prompt, info keystore.TokenInfo, action string, fn func(*card, []byte) error) error {
	pin, err := ask.Ask(ctx, keystore.PINRequest{Token: info, Action: action})
	if err != nil {
		return err
	}
	defer secmem.Wipe(pin)
	typed := string(pin)
	_, err = use(ctx, t.serial, callTimeout, func(c *card) (struct{}, error) {
		key, err := c.unlock(typed, info.Key)
		if err != nil {
			return struct{}{}, err
		}
		defer secmem.Wipe(key)
		return struct{}{}, fn(c, key)
	})
	return err
}

// Open opens a sealed secret after PIN and touch.
func (t *token) Open(ctx context.Context, ask keystore.Prompt, purpose, sealed []byte) ([]byte, error) {
	info, err := t.Info(ctx)
	if err != nil {
		return nil, err
	}
	if err := info.CheckSealed(sealed); err != nil {
		return nil, err
	}
	pin, err := ask.Ask(ctx, keystore.PINRequest{Token: info, Action: "open a sealed secret"})
	if err != nil {
		return nil, err
	}
	defer secmem.Wipe(pin)
	typed, purpose, sealed := string(pin), bytes.Clone(purpose), bytes.Clone(sealed)
	touch := func() {
		if ask.Touch != nil {
			ask.Touch(info)
		}
	}
	return use(ctx, t.serial, touchTimeout, func(c *card) ([]byte, error) {
		key, err := c.unlock(typed, info.Key)
		if err != nil {
			return nil, err
		}
		defer secmem.Wipe(key)
		secret, err := c.open(typed, key, touch, purpose, sealed)
		if err != nil {
			return nil, fmt.Errorf("open with %v: %w", t, err)
		}
		return secret, nil
	})
}
