package file

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// source makes the key of a vault from a passphrase or from a key.
type source interface {
	// cost is what a new vault's header says about stretching; nil means none.
	cost() *seal.Cost
	// key makes the key for a header; create tells that the vault is being made.
	key(h *header, create bool) ([seal.KeySize]byte, error)
}

type passSource struct{ ask PassFunc }

func (passSource) cost() *seal.Cost {
	c := seal.DefaultCost()
	return &c
}

func (s passSource) key(h *header, create bool) (key [seal.KeySize]byte, err error) {
	if h.KDF == nil {
		return key, fmt.Errorf("%w: this vault opens with a key, not with a passphrase", keystore.ErrWrongPassphrase)
	}
	pass, err := s.ask(create)
	defer secmem.Wipe(pass)
	if err != nil {
		return key, fmt.Errorf("keystore: vault passphrase: %w", err)
	}
	if len(pass) == 0 {
		return key, fmt.Errorf("%w: it is empty", keystore.ErrWrongPassphrase)
	}
	stretched := h.KDF.Stretch(pass, h.Salt)
	defer secmem.Wipe(stretched[:])
	return vaultKey(stretched[:], h), nil
}

type keySource struct{ secret *secmem.Bytes }

func (keySource) cost() *seal.Cost { return nil }

func (s keySource) key(h *header, _ bool) (key [seal.KeySize]byte, err error) {
	if h.KDF != nil {
		return key, fmt.Errorf("%w: this vault opens with a passphrase, not with a key", keystore.ErrWrongPassphrase)
	}
	return vaultKey(s.secret.Bytes(), h), nil
}

func vaultKey(secret []byte, h *header) (key [seal.KeySize]byte) {
	secmem.Do(func() { key = derive.Key(secret, h.Salt[:], "vault") })
	return key
}
