// Package kem seals small secrets to a public key: HPKE base mode (RFC 9180) with the X-Wing KEM (X25519 and
// ML-KEM-768, code point 0x647a), HKDF-SHA256 and ChaCha20-Poly1305.
package kem

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cloudflare/circl/hpke"
	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/xwing"

	"github.com/studio-whip/collab/internal/secmem"
)

// Sizes in bytes. A sealed secret is [Overhead] bytes longer than the secret.
const (
	SeedSize       = xwing.SeedSize       // 32
	PublicKeySize  = xwing.PublicKeySize  // 1216
	CiphertextSize = xwing.CiphertextSize // 1120
	Overhead       = CiphertextSize + 16
	MaxSecretSize  = 4096
)

var (
	// ErrPublicKey means that bytes are not an X-Wing public key.
	ErrPublicKey = errors.New("kem: unusable public key")
	// ErrOpen means that a sealed secret was altered, or sealed to another key or for another purpose.
	ErrOpen = errors.New("kem: sealed secret cannot be opened with this key for this purpose")
	// ErrWiped means that the key was wiped: nothing opens with it any more.
	ErrWiped = errors.New("kem: the key was wiped")
)

var suite = hpke.NewSuite(hpke.KEM_XWING, hpke.KDF_HKDF_SHA256, hpke.AEAD_ChaCha20Poly1305)

// PublicKey seals secrets to the holder of its [PrivateKey]. It is immutable and safe for concurrent use.
type PublicKey struct {
	raw []byte
	key kem.PublicKey
}

// ParsePublicKey reads [PublicKeySize] bytes. It fails with [ErrPublicKey].
func ParsePublicKey(raw []byte) (*PublicKey, error) {
	if len(raw) != PublicKeySize {
		return nil, fmt.Errorf("%w: %d bytes, need %d", ErrPublicKey, len(raw), PublicKeySize)
	}
	key, err := xwing.Scheme().UnmarshalBinaryPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	return &PublicKey{raw: append([]byte(nil), raw...), key: key}, nil
}

// Bytes returns the encoding that [ParsePublicKey] reads. The caller must not change it.
func (p *PublicKey) Bytes() []byte { return p.raw }

// Seal encrypts secret, at most [MaxSecretSize] bytes, so that only the private key's holder opens it, and only
// with the same info (the purpose) and aad. The result is the KEM ciphertext followed by the AEAD's.
func (p *PublicKey) Seal(random io.Reader, info, aad, secret []byte) ([]byte, error) {
	if len(secret) > MaxSecretSize {
		return nil, fmt.Errorf("kem: secret of %d bytes, at most %d can be sealed", len(secret), MaxSecretSize)
	}
	sender, err := suite.NewSender(p.key, info)
	if err != nil {
		return nil, fmt.Errorf("kem: %w", err)
	}
	enc, sealer, err := sender.Setup(random)
	if err != nil {
		return nil, fmt.Errorf("kem: encapsulate: %w", err)
	}
	ct, err := sealer.Seal(secret, aad)
	if err != nil {
		return nil, fmt.Errorf("kem: seal: %w", err)
	}
	return append(enc, ct...), nil
}

// PrivateKey opens what was sealed to its public key. It must be kept secret and prints as "[redacted]". It is safe for
// concurrent use.
type PrivateKey struct {
	secret secmem.Hidden[*secret]
	public *PublicKey
}

// secret is all that is kept of a private key: the key itself is made of the seed anew each time it opens something, so
// that [PrivateKey.Wipe] has only one place to overwrite.
type secret struct {
	mu   sync.Mutex
	seed *secmem.Bytes
}

// NewPrivateKey makes the key of a 32-byte seed; equal seeds give equal keys.
func NewPrivateKey(seed [SeedSize]byte) *PrivateKey {
	defer secmem.Wipe(seed[:])
	k := &PrivateKey{secret: secmem.Hide(&secret{seed: secmem.New(append([]byte(nil), seed[:]...))})}
	secmem.Do(func() {
		pub, _ := xwing.Scheme().DeriveKeyPair(seed[:])
		raw, err := pub.MarshalBinary()
		if err != nil {
			panic("kem: public key: " + err.Error()) // a key just derived always has an encoding
		}
		k.public = &PublicKey{raw: raw, key: pub}
	})
	return k
}

// Public returns the key that seals to k, also after Wipe.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Wipe overwrites the key; whoever has k opens nothing with it from then on. What garbage of earlier calls is left in memory is
// the Go runtime's to reuse; see [secmem.Do].
func (k *PrivateKey) Wipe() {
	s := *k.secret.Get()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seed.Wipe()
}

// Open decrypts what [PublicKey.Seal] made with the same info and aad. It fails with [ErrOpen] or [ErrWiped].
func (k *PrivateKey) Open(info, aad, sealed []byte) (plain []byte, err error) {
	if len(sealed) < Overhead || len(sealed) > Overhead+MaxSecretSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrOpen, len(sealed))
	}
	s := *k.secret.Get()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seed.Len() != SeedSize {
		return nil, ErrWiped
	}
	secmem.Do(func() {
		_, key := xwing.Scheme().DeriveKeyPair(s.seed.Bytes())
		plain, err = open(key, info, aad, sealed)
	})
	return plain, err
}

func open(key kem.PrivateKey, info, aad, sealed []byte) ([]byte, error) {
	receiver, err := suite.NewReceiver(key, info)
	if err != nil {
		return nil, fmt.Errorf("kem: %w", err)
	}
	opener, err := receiver.Setup(sealed[:CiphertextSize])
	if err != nil {
		return nil, ErrOpen
	}
	secret, err := opener.Open(sealed[CiphertextSize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return secret, nil
}

// String, GoString, Format and MarshalJSON never show the key.
func (PrivateKey) String() string               { return secmem.Redacted }
func (PrivateKey) GoString() string             { return secmem.Redacted }
func (PrivateKey) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secmem.Redacted) }
func (PrivateKey) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }
