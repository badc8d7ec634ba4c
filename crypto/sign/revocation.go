package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/studio-whip/collab/internal/secmem"
)

// Sizes of the revocation key in bytes: SLH-DSA-SHA2-128s, FIPS 205.
const (
	RevocationMaterialSize  = 48
	RevocationPublicKeySize = 32
	RevocationSignatureSize = 7856
)

// RevocationKey is the offline key that ends its owner's identity. Making one takes about 0.1 s and a signature
// about 0.4 s: it is used once in a lifetime. It must be kept secret and prints as "[redacted]".
type RevocationKey struct {
	private secmem.Hidden[slhdsa.PrivateKey]
	public  []byte
}

// NewRevocationKey makes the key of 48 bytes of secret material; equal material gives equal keys.
func NewRevocationKey(material [RevocationMaterialSize]byte) (*RevocationKey, error) {
	pub, priv, err := slhdsa.GenerateKey(bytes.NewReader(material[:]), slhdsa.SHA2_128s)
	if err != nil {
		return nil, errors.New("sign: revocation key cannot be made of this material")
	}
	raw, err := pub.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("sign: revocation public key: %w", err)
	}
	return &RevocationKey{private: secmem.Hide(priv), public: raw}, nil
}

// Public returns the 32-byte public key.
func (k *RevocationKey) Public() []byte { return bytes.Clone(k.public) }

// Sign signs msg as a record of the given type; equal inputs give equal signatures of [RevocationSignatureSize] bytes.
func (k *RevocationKey) Sign(typ Type, msg []byte) ([]byte, error) {
	sig, err := slhdsa.SignDeterministic(k.private.Get(), slhdsa.NewMessage(message(typ, msg)), context(typ))
	if err != nil {
		return nil, fmt.Errorf("sign: SLH-DSA: %w", err)
	}
	return sig, nil
}

// String, GoString, Format and MarshalJSON never show the key.
func (RevocationKey) String() string               { return secmem.Redacted }
func (RevocationKey) GoString() string             { return secmem.Redacted }
func (RevocationKey) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secmem.Redacted) }
func (RevocationKey) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }

// VerifyRevocation checks a signature made by a [RevocationKey]. It fails with [ErrPublicKey] or [ErrSignature].
func VerifyRevocation(public []byte, typ Type, msg, sig []byte) error {
	if len(public) != RevocationPublicKeySize {
		return fmt.Errorf("%w: revocation key of %d bytes, need %d", ErrPublicKey, len(public), RevocationPublicKeySize)
	}
	key := slhdsa.PublicKey{ID: slhdsa.SHA2_128s}
	if err := key.UnmarshalBinary(public); err != nil {
		return fmt.Errorf("%w: revocation key: %w", ErrPublicKey, err)
	}
	if len(sig) != RevocationSignatureSize ||
		!slhdsa.Verify(&key, slhdsa.NewMessage(message(typ, msg)), sig, context(typ)) {
		return fmt.Errorf("%w: %s by revocation key", ErrSignature, typ)
	}
	return nil
}
