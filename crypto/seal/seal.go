// Package seal encrypts under a key that both sides share: XChaCha20-Poly1305 with 24-byte nonces.
//
// Use [Random] and [OpenRandom] for records; [Seal] and [Open] where the nonce travels elsewhere or a key is used
// exactly once; [NewWriter] and [NewReader] for streams of any length; [Cost.Stretch] to make a key of a passphrase.
package seal

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// Sizes in bytes.
const (
	KeySize   = chacha20poly1305.KeySize    // 32
	NonceSize = chacha20poly1305.NonceSizeX // 24
	Overhead  = chacha20poly1305.Overhead   // 16
)

// ErrOpen means that a ciphertext was altered, truncated, or sealed under another key or for another place.
var ErrOpen = errors.New("seal: ciphertext does not open under this key")

// Seal encrypts plaintext. One nonce must never seal two plaintexts under one key: take it at random, or use the
// key once.
func Seal(key [KeySize]byte, nonce [NonceSize]byte, aad, plaintext []byte) []byte {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("seal: " + err.Error()) // the key's size is fixed by its type
	}
	return aead.Seal(nil, nonce[:], plaintext, aad)
}

// Open decrypts what [Seal] made with the same key, nonce and aad. It fails with [ErrOpen].
func Open(key [KeySize]byte, nonce [NonceSize]byte, aad, ciphertext []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("seal: " + err.Error())
	}
	plaintext, err := aead.Open(nil, nonce[:], ciphertext, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

// NewNonce draws a nonce.
func NewNonce(random io.Reader) (nonce [NonceSize]byte, err error) {
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nonce, fmt.Errorf("seal: nonce: %w", err)
	}
	return nonce, nil
}

// Random seals plaintext under a fresh random nonce and returns nonce || ciphertext.
func Random(random io.Reader, key [KeySize]byte, aad, plaintext []byte) ([]byte, error) {
	nonce, err := NewNonce(random)
	if err != nil {
		return nil, err
	}
	return append(nonce[:], Seal(key, nonce, aad, plaintext)...), nil
}

// OpenRandom decrypts what [Random] made. It fails with [ErrOpen].
func OpenRandom(key [KeySize]byte, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < NonceSize+Overhead {
		return nil, fmt.Errorf("%w: only %d bytes", ErrOpen, len(sealed))
	}
	return Open(key, [NonceSize]byte(sealed[:NonceSize]), aad, sealed[NonceSize:])
}
