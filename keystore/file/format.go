package file

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

const magic = "clbv"

// header is the readable part of a vault; all of it is authenticated with the sealed part.
type header struct {
	wire.Head
	Magic      string              `cbor:"3,keyasint"`
	KDF        *seal.Cost          `cbor:"4,keyasint,omitempty"` // absent: sealed under a key
	Salt       [seal.SaltSize]byte `cbor:"5,keyasint"`
	Generation uint64              `cbor:"6,keyasint"` // from 1, one more with every write
}

// container is the whole file. Sum tells damage from a wrong passphrase; it keeps nobody out.
type container struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Sealed []byte
	Sum    [sha256.Size]byte
}

func (c *container) sum() [sha256.Size]byte {
	return derive.ID("vault-sum", wire.Marshal([][]byte{c.Header, c.Sealed}))
}

// entries are the secrets by name.
type entries map[string][]byte

func (e entries) wipe() {
	for _, secret := range e {
		secmem.Wipe(secret)
	}
}

// image is a vault as it lies on the disk, checked as far as that goes without its key.
type image struct {
	raw    []byte
	header header
	aad    []byte
	sealed []byte
}

// parse checks everything that can be checked without the key. It fails with [keystore.ErrDamaged].
func parse(raw []byte) (*image, error) {
	var c container
	if err := wire.Unmarshal(raw, &c, maxFile); err != nil {
		return nil, fmt.Errorf("%w: not a whole vault: %w", keystore.ErrDamaged, err)
	}
	if c.Sum != c.sum() {
		return nil, fmt.Errorf("%w: checksum differs", keystore.ErrDamaged)
	}
	img := &image{raw: raw, aad: aad(c.Header), sealed: c.Sealed}
	h := &img.header
	if err := wire.Unmarshal(c.Header, h, maxHeader); errors.Is(err, wire.ErrVersion) {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	} else if err != nil {
		return nil, fmt.Errorf("%w: header: %w", keystore.ErrDamaged, err)
	}
	if h.Magic != magic {
		return nil, fmt.Errorf("%w: not a vault", keystore.ErrDamaged)
	}
	if err := h.Check(); err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	if h.KDF != nil {
		if err := h.KDF.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", keystore.ErrDamaged, err)
		}
	}
	return img, nil
}

func aad(header []byte) []byte { return append(derive.Domain("vault"), header...) }

// newImage seals e under key with the parameters of h.
func newImage(key [seal.KeySize]byte, h header, e entries) (*image, error) {
	plain := wire.Marshal(e)
	defer secmem.Wipe(plain)
	if len(e) > MaxEntries || len(plain) > maxPlaintext {
		return nil, fmt.Errorf("%w: the vault holds at most %d secrets", keystore.ErrTooBig, MaxEntries)
	}
	raw := wire.Marshal(h)
	var sealed []byte
	var err error
	secmem.Do(func() { sealed, err = seal.Random(rand.Reader, key, aad(raw), plain) })
	if err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	c := container{Header: raw, Sealed: sealed}
	c.Sum = c.sum()
	return &image{raw: wire.Marshal(c), header: h, aad: aad(raw), sealed: sealed}, nil
}

// open returns the secrets. It fails with [keystore.ErrWrongPassphrase].
func (i *image) open(key [seal.KeySize]byte) (entries, error) {
	var plain []byte
	var err error
	secmem.Do(func() { plain, err = seal.OpenRandom(key, i.aad, i.sealed) })
	if err != nil {
		return nil, keystore.ErrWrongPassphrase
	}
	defer secmem.Wipe(plain)
	var e entries
	if err := wire.Unmarshal(plain, &e, maxPlaintext); err != nil {
		return nil, fmt.Errorf("%w: content: %w", keystore.ErrDamaged, err)
	}
	return e, nil
}
