package sign

import (
	"crypto/ed25519"
	"fmt"

	"filippo.io/edwards25519"
)

// CheckEd25519 refuses an Ed25519 public key that is not canonically encoded or has small order: one such key
// verifies signatures of any message, and crypto/ed25519 accepts it. It fails with [ErrPublicKey].
func CheckEd25519(pub []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: Ed25519 key of %d bytes, need %d", ErrPublicKey, len(pub), ed25519.PublicKeySize)
	}
	p, err := new(edwards25519.Point).SetBytes(pub)
	if err != nil {
		return fmt.Errorf("%w: Ed25519 half is not a point", ErrPublicKey)
	}
	if string(p.Bytes()) != string(pub) {
		return fmt.Errorf("%w: Ed25519 half is not canonically encoded", ErrPublicKey)
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return fmt.Errorf("%w: Ed25519 half has small order", ErrPublicKey)
	}
	return nil
}
