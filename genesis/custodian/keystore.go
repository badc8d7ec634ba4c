package custodian

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// KeyStore keeps shares in a key store, for example the operating system's keychain. The names under which they lie
// say nothing about the project.
func KeyStore(ks keystore.Store) genesis.Custodian { return &keyStore{ks} }

type keyStore struct{ ks keystore.Store }

func (*keyStore) Label() string { return "key store" }

func (k *keyStore) Keep(ctx context.Context, ref genesis.ShareRef, share []byte) error {
	old, err := k.Recall(ctx, ref)
	defer secmem.Wipe(old)
	switch {
	case err == nil && subtle.ConstantTimeCompare(old, share) == 1:
		return nil
	case err == nil:
		return ErrOccupied
	case !errors.Is(err, genesis.ErrNoShare):
		return err
	}
	if err := k.ks.Put(ctx, shareName(ref), share); err != nil {
		return fmt.Errorf("custodian: keep a share: %w", err)
	}
	back, err := k.Recall(ctx, ref)
	defer secmem.Wipe(back)
	if err == nil && subtle.ConstantTimeCompare(back, share) != 1 {
		err = ErrDamaged
	}
	if err != nil {
		return fmt.Errorf("custodian: read the share back: %w", err)
	}
	return nil
}

func (k *keyStore) Recall(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	share, err := k.ks.Get(ctx, shareName(ref))
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", genesis.ErrNoShare, err)
	}
	if err != nil {
		return nil, fmt.Errorf("custodian: recall a share: %w", err)
	}
	return share, nil
}

// Holds reports whether something lies under ref.
func (k *keyStore) Holds(ctx context.Context, ref genesis.ShareRef) (bool, error) {
	share, err := k.Recall(ctx, ref)
	secmem.Wipe(share)
	return there(err)
}

// there makes an answer of what looking for a share gave.
func there(err error) (bool, error) {
	if errors.Is(err, genesis.ErrNoShare) {
		return false, nil
	}
	return err == nil, err
}

func (k *keyStore) Forget(ctx context.Context, ref genesis.ShareRef) error {
	err := k.ks.Delete(ctx, shareName(ref))
	if err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("custodian: forget a share: %w", err)
	}
	return nil
}

// shareName is where a share lies in a key store: "share-" and H("share-name", project, ceremony, x) in hex.
func shareName(ref genesis.ShareRef) string {
	return "share-" + derive.ListID("share-name", ref.Project, ref.Ceremony, ref.X).String()
}
