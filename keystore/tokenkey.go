package keystore

import (
	"crypto"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/internal/wire"
)

// TokenKey is the public key of a token; it seals secrets to it, also while the token is away. It is the hybrid
// MLKEM768-P256 of draft-ietf-hpke-pq (HPKE KEM 0x0050): whoever breaks one half has nothing. It is immutable and safe
// for concurrent use.
type TokenKey struct {
	raw []byte
	id  wire.ID
	key hpke.PublicKey
}

// TokenKeySize is the size in bytes of a [TokenKey]: an ML-KEM-768 key, then an uncompressed point of P-256.
const TokenKeySize = 1184 + 65

// NewTokenKey makes a public key of its halves.
func NewTokenKey(pq crypto.Encapsulator, half *ecdh.PublicKey) (*TokenKey, error) {
	key, err := hpke.NewHybridPublicKey(pq, half)
	if err != nil {
		return nil, fmt.Errorf("%w: public key of a token: %w", ErrDamaged, err)
	}
	return ParseTokenKey(key.Bytes())
}

// ParseTokenKey reads what [TokenKey.Bytes] returned. It fails with [ErrDamaged].
func ParseTokenKey(raw []byte) (*TokenKey, error) {
	if len(raw) != TokenKeySize {
		return nil, fmt.Errorf("%w: public key of a token has %d bytes, not %d", ErrDamaged, TokenKeySize, len(raw))
	}
	key, err := hpke.MLKEM768P256().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: public key of a token: %w", ErrDamaged, err)
	}
	return &TokenKey{raw: key.Bytes(), id: derive.ID("token-key", raw), key: key}, nil
}

// Bytes returns the encoding, of [TokenKeySize] bytes. The caller must not change it.
func (k *TokenKey) Bytes() []byte { return k.raw }

// ID is the fingerprint of the key. It tells tokens apart, and one token before and after it was prepared anew.
func (k *TokenKey) ID() wire.ID { return k.id }

// Seal encrypts a secret of at most [MaxTokenSecret] bytes to the token. Only [Token.Open] with the same purpose opens
// it. The result says to which token it was sealed, and nothing else.
func (k *TokenKey) Seal(purpose, secret []byte) ([]byte, error) {
	if len(secret) == 0 {
		return nil, fmt.Errorf("%w: the secret is empty", ErrInvalid)
	}
	if len(secret) > MaxTokenSecret {
		return nil, fmt.Errorf("%w: secret of %d bytes, at most %d fit onto a token", ErrTooBig, len(secret), MaxTokenSecret)
	}
	sealed, err := hpke.Seal(k.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(k.id, purpose), secret)
	if err != nil {
		return nil, fmt.Errorf("keystore: seal to a token: %w", err)
	}
	return wire.Marshal(sealedRecord{Head: wire.NewHead(), Magic: sealedMagic, Token: k.id, Sealed: sealed}), nil
}

const sealedMagic = "clbt"

// sealedRecord is a secret that was sealed to a token.
type sealedRecord struct {
	wire.Head
	Magic  string  `cbor:"3,keyasint"`
	Token  wire.ID `cbor:"4,keyasint"` // fingerprint of the token's key
	Sealed []byte  `cbor:"5,keyasint"` // encapsulation, then ciphertext
}

const sealOverhead = 1088 + 65 + 16 // of HPKE

func sealInfo(token wire.ID, purpose []byte) []byte {
	return append(derive.Domain("token-seal"), wire.Marshal([]any{token, purpose})...)
}

func parseSealed(raw []byte) (*sealedRecord, error) {
	var r sealedRecord
	if err := wire.Unmarshal(raw, &r, MaxTokenSealed); err != nil {
		return nil, fmt.Errorf("%w: not a secret sealed to a token: %w", ErrDamaged, err)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("keystore: secret sealed to a token: %w", err)
	}
	if n := len(r.Sealed) - sealOverhead; r.Magic != sealedMagic || n < 1 || n > MaxTokenSecret {
		return nil, fmt.Errorf("%w: not a secret sealed to a token", ErrDamaged)
	}
	return &r, nil
}

// SealedTo returns the fingerprint of the token to whose key a secret was sealed. It fails with [ErrDamaged] or
// [wire.ErrVersion].
func SealedTo(sealed []byte) (wire.ID, error) {
	r, err := parseSealed(sealed)
	if err != nil {
		return wire.ID{}, err
	}
	return r.Token, nil
}

// OpenSealed is for those who write a [Token]: it opens what [TokenKey.Seal] made, with the two halves of the private
// key. The P-256 half may lie in a device; if it fails, so does OpenSealed, with its error.
func OpenSealed(pq crypto.Decapsulator, half ecdh.KeyExchanger, purpose, sealed []byte) ([]byte, error) {
	r, err := parseSealed(sealed)
	if err != nil {
		return nil, err
	}
	public, err := NewTokenKey(pq.Encapsulator(), half.PublicKey())
	if err != nil {
		return nil, err
	}
	if public.id != r.Token {
		return nil, ErrWrongToken
	}
	device := &device{KeyExchanger: half}
	key, err := hpke.NewHybridPrivateKey(pq, device)
	if err != nil {
		return nil, fmt.Errorf("keystore: private key of a token: %w", err)
	}
	// Not within secmem.Do: a device is reached through C, and Go 1.26 crashes where runtime/secret meets cgo.
	secret, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(r.Token, purpose), r.Sealed)
	if device.failed != nil {
		return nil, device.failed
	}
	if err != nil {
		return nil, fmt.Errorf("%w: it was altered, or sealed for another purpose", ErrDamaged)
	}
	return secret, nil
}

// device remembers why a key agreement failed, which HPKE does not tell.
type device struct {
	ecdh.KeyExchanger
	failed error
}

func (d *device) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	shared, err := d.KeyExchanger.ECDH(peer)
	if err == nil && len(shared) != 32 {
		err = errors.New("keystore: token: the shared secret does not have 32 bytes")
	}
	d.failed = err
	return shared, err
}
