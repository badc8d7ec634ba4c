package custodian

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

// Token keeps shares on a hardware token, sealed to its key: reading one back takes the token, its PIN and a touch. The
// sealed share lies on the token itself, so that the token alone is the whole factor. A token without a key of this
// library is prepared with the first share.
//
// name is what the person calls the token, such as the serial number printed on it; it is part of the label. ask reaches
// the person; keeping a share needs the PIN once or twice, the ceremony's reading back once more with a touch.
func Token(t keystore.Token, name string, ask keystore.Prompt) genesis.Custodian {
	return &token{t, name, ask}
}

type token struct {
	device keystore.Token
	name   string
	ask    keystore.Prompt
}

func (t *token) Label() string { return "token " + t.name }

// Keep seals the share to the token's key and writes it onto the token. That the token opens it again is proved by the
// Recall with which every ceremony reads its shares back.
func (t *token) Keep(ctx context.Context, ref genesis.ShareRef, share []byte) error {
	if len(share) == 0 || len(share) > genesis.MaxShare {
		return fmt.Errorf("custodian: a share of %d bytes, 1 to %d can be kept", len(share), genesis.MaxShare)
	}
	old, err := t.Recall(ctx, ref)
	defer secmem.Wipe(old)
	switch {
	case err == nil && subtle.ConstantTimeCompare(old, share) == 1:
		return nil
	case err == nil:
		return ErrOccupied
	case !errors.Is(err, genesis.ErrNoShare):
		return err
	}
	key, err := t.device.Prepare(ctx, t.ask)
	if err != nil {
		return fmt.Errorf("custodian: prepare the token: %w", err)
	}
	sealed, err := key.Seal(sealPurpose(ref), share)
	if err != nil {
		return fmt.Errorf("custodian: seal a share to the token: %w", err)
	}
	if err := t.device.Store(ctx, t.ask, shareName(ref), sealed); err != nil {
		return fmt.Errorf("custodian: keep a share on the token: %w", err)
	}
	back, err := t.device.Load(ctx, shareName(ref))
	if err == nil && !bytes.Equal(back, sealed) {
		err = ErrDamaged
	}
	if err != nil {
		return fmt.Errorf("custodian: read the share back from the token: %w", err)
	}
	return nil
}

// find returns the sealed share under ref. It asks nobody.
func (t *token) find(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	sealed, err := t.device.Load(ctx, shareName(ref))
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", genesis.ErrNoShare, err)
	}
	if err != nil {
		return nil, fmt.Errorf("custodian: look for a share on the token: %w", err)
	}
	return sealed, nil
}

// Holds reports whether a sealed share lies on the token.
func (t *token) Holds(ctx context.Context, ref genesis.ShareRef) (bool, error) {
	_, err := t.find(ctx, ref)
	return there(err)
}

func (t *token) Recall(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	sealed, err := t.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	share, err := t.device.Open(ctx, t.ask, sealPurpose(ref), sealed)
	if err != nil {
		return nil, fmt.Errorf("custodian: open a share with the token: %w", err)
	}
	return share, nil
}

func (t *token) Forget(ctx context.Context, ref genesis.ShareRef) error {
	if err := t.device.Remove(ctx, t.ask, shareName(ref)); err != nil {
		return fmt.Errorf("custodian: erase a share from the token: %w", err)
	}
	return nil
}

// sealPurpose binds a sealed share to its reference: one that is moved to another place on the token does not open.
func sealPurpose(ref genesis.ShareRef) []byte {
	return append(derive.Domain("token-share"), wire.Marshal([]any{ref.Project, ref.Ceremony, ref.X})...)
}
