// Package sign is the composite signature of suite 1: ML-DSA-65 (FIPS 204) and Ed25519 (RFC 8032) over one
// message; both halves must verify. A [RevocationKey] signs with SLH-DSA-SHA2-128s (FIPS 205) instead, another
// family on purpose.
//
// Every signature names the type of the record it signs, one of the [Type] constants, and the suite is inside the
// signed message, so that a signature for one purpose never stands for another and no half can be stripped.
package sign

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// Sizes in bytes.
const (
	SeedSize      = 32                                            // of each half
	PublicKeySize = mldsa65.PublicKeySize + ed25519.PublicKeySize // 1984
	SignatureSize = mldsa65.SignatureSize + ed25519.SignatureSize // 3373
)

// Type is the kind of record that a signature is for; it is the signature's context.
type Type string

// The types of signed records. Keys sign nothing else.
const (
	IdentityCert   Type = "identity-cert"
	DeviceCert     Type = "device-cert"
	Root           Type = "root"
	Event          Type = "event"
	EventRoot      Type = "event-root"
	Envelope       Type = "envelope"
	Ephemeral      Type = "ephemeral"
	EpochBox       Type = "epoch-box"
	Snapshot       Type = "snapshot"
	Address        Type = "address"
	TransportProof Type = "transport-proof"
	InviteHost     Type = "invite-host"
	InviteJoiner   Type = "invite-joiner"
	InviteProof    Type = "invite-proof"
	TransferClaim  Type = "transfer-claim"
	ShareRequest   Type = "share-request"
	SelfRevoke     Type = "self-revoke"
	ActProposal    Type = "act-proposal"
	ActVote        Type = "act-vote"
)

var (
	// ErrSignature means that a signature does not verify: the record was altered, or signed by another key.
	ErrSignature = errors.New("sign: signature does not verify")
	// ErrPublicKey means that bytes are not a public key, or one that verifies anything (small order).
	ErrPublicKey = errors.New("sign: unusable public key")
)

// message builds M' = "collab/v1/sig" || 0x00 || suite || len || context || len || message.
func message(typ Type, msg []byte) []byte {
	const prefix = "collab/v1/sig\x00"
	m := make([]byte, 0, len(prefix)+2+1+len(typ)+4+len(msg))
	m = append(m, prefix...)
	m = binary.BigEndian.AppendUint16(m, wire.Suite1)
	m = append(m, byte(len(typ)))
	m = append(m, typ...)
	m = binary.BigEndian.AppendUint32(m, uint32(len(msg)))
	return append(m, msg...)
}

// context is the FIPS 204 and FIPS 205 context string.
func context(typ Type) []byte { return []byte("collab/v1/" + string(typ)) }

// PrivateKey signs records. It is safe for concurrent use, must be kept secret, and prints as "[redacted]".
type PrivateKey struct {
	secret secmem.Hidden[secretHalves]
	public *PublicKey
}

type secretHalves struct {
	pq *mldsa65.PrivateKey
	ed ed25519.PrivateKey
}

// NewPrivateKey makes the key of two independent 32-byte seeds; equal seeds give equal keys.
func NewPrivateKey(mldsaSeed, ed25519Seed [SeedSize]byte) *PrivateKey {
	pqPub, pq := mldsa65.NewKeyFromSeed(&mldsaSeed)
	ed := ed25519.NewKeyFromSeed(ed25519Seed[:])
	edPub := ed.Public().(ed25519.PublicKey)
	raw := append(pqPub.Bytes(), edPub...)
	return &PrivateKey{
		secret: secmem.Hide(secretHalves{pq: pq, ed: ed}),
		public: &PublicKey{raw: raw, pq: pqPub, ed: edPub},
	}
}

// Public returns the key that verifies what k signs.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Sign signs msg as a record of the given type. The ML-DSA half is hedged: two signatures of one message differ.
// The result has [SignatureSize] bytes.
func (k *PrivateKey) Sign(typ Type, msg []byte) []byte {
	m := message(typ, msg)
	sig := make([]byte, mldsa65.SignatureSize, SignatureSize)
	if err := mldsa65.SignTo(k.secret.Get().pq, m, context(typ), true, sig); err != nil {
		panic("sign: ML-DSA: " + err.Error()) // only an over-long context can fail, and ours are constants
	}
	return append(sig, ed25519.Sign(k.secret.Get().ed, m)...)
}

// String, GoString, Format and MarshalJSON never show the key.
func (PrivateKey) String() string               { return secmem.Redacted }
func (PrivateKey) GoString() string             { return secmem.Redacted }
func (PrivateKey) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secmem.Redacted) }
func (PrivateKey) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }

// PublicKey verifies signatures. It keeps the unpacked ML-DSA key, so verifying twice unpacks once. It is
// immutable and safe for concurrent use.
type PublicKey struct {
	raw []byte
	pq  *mldsa65.PublicKey
	ed  ed25519.PublicKey
}

// ParsePublicKey reads [PublicKeySize] bytes: the ML-DSA-65 key, then the Ed25519 key. It fails with
// [ErrPublicKey] if the size is wrong or the Ed25519 half is small-order or not canonically encoded.
func ParsePublicKey(raw []byte) (*PublicKey, error) {
	if len(raw) != PublicKeySize {
		return nil, fmt.Errorf("%w: %d bytes, need %d", ErrPublicKey, len(raw), PublicKeySize)
	}
	raw = append([]byte(nil), raw...)
	pq := new(mldsa65.PublicKey)
	if err := pq.UnmarshalBinary(raw[:mldsa65.PublicKeySize]); err != nil {
		return nil, fmt.Errorf("%w: ML-DSA half: %w", ErrPublicKey, err)
	}
	ed := ed25519.PublicKey(raw[mldsa65.PublicKeySize:])
	if err := CheckEd25519(ed); err != nil {
		return nil, err
	}
	return &PublicKey{raw: raw, pq: pq, ed: ed}, nil
}

// Bytes returns the encoding that [ParsePublicKey] reads. The caller must not change it.
func (p *PublicKey) Bytes() []byte { return p.raw }

// Equal reports whether both are the same key.
func (p *PublicKey) Equal(other *PublicKey) bool {
	return p != nil && other != nil && string(p.raw) == string(other.raw)
}

// Verify checks that sig is a signature of msg as a record of the given type. It fails with [ErrSignature].
func (p *PublicKey) Verify(typ Type, msg, sig []byte) error {
	if len(sig) != SignatureSize {
		return fmt.Errorf("%w: %d bytes, need %d", ErrSignature, len(sig), SignatureSize)
	}
	m := message(typ, msg)
	edOK := ed25519.Verify(p.ed, m, sig[mldsa65.SignatureSize:])
	pqOK := mldsa65.Verify(p.pq, m, context(typ), sig[:mldsa65.SignatureSize])
	if !edOK || !pqOK {
		return fmt.Errorf("%w: %s", ErrSignature, typ)
	}
	return nil
}
