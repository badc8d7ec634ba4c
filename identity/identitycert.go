package identity

import (
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

var (
	// ErrMember means that a certificate speaks of another member than the identity it is checked against.
	ErrMember = errors.New("identity: certificate belongs to another member")
	// ErrSuccession means that an identity certificate does not follow the one before it.
	ErrSuccession = errors.New("identity: certificate does not follow the previous one")
)

// identityCore is the signed part of an identity certificate.
type identityCore struct {
	wire.Head
	IK          []byte   `cbor:"3,keyasint"`
	RevAlg      uint8    `cbor:"4,keyasint"`
	RevCommit   wire.ID  `cbor:"5,keyasint"`
	Display     string   `cbor:"6,keyasint"`
	Created     uint64   `cbor:"7,keyasint"`
	Seq         uint32   `cbor:"8,keyasint"`
	Prev        *wire.ID `cbor:"9,keyasint,omitempty"`
	Attestation []byte   `cbor:"10,keyasint,omitempty"`
}

// IdentityCert binds a person's identity key to a display name and to the revocation key that can end it. It is
// immutable and safe for concurrent use once [IdentityCert.VerifySuccessor], if it is called, has returned.
type IdentityCert struct {
	ID          wire.ID         // H("identity-cert", core)
	IK          *sign.PublicKey // the identity key
	RevAlg      uint8           // algorithm of the revocation key
	RevCommit   wire.ID         // commitment to the revocation key
	Display     string          // name to show; self-chosen, proves nothing
	Created     uint64          // Unix seconds, a hint from the owner's clock
	Seq         uint32          // 0 for the first certificate of a member
	Prev        *wire.ID        // the certificate before this one, nil if Seq is 0
	Attestation []byte          // opaque, without meaning in version 1
	Raw         []byte          // the signed certificate as it travels; must not be changed

	core   []byte
	sigs   [][]byte // own; then none, that of the previous key, or revocation key and signature
	member MemberID
}

// NewIdentityCert makes a member's first certificate. display is at most [MaxDisplay] bytes and is put into
// normal form C; revCommit is the [RevocationCommit] of the member's revocation key.
func NewIdentityCert(ik *sign.PrivateKey, display string, revCommit wire.ID, created time.Time) (*IdentityCert, error) {
	core := wire.Marshal(identityCore{
		Head: wire.NewHead(), IK: ik.Public().Bytes(), RevAlg: RevocationAlg1, RevCommit: revCommit,
		Display: wire.NFC(display), Created: uint64(max(created.Unix(), 0)),
	})
	return ParseIdentityCert(wire.Marshal(wire.Signed{
		Core: core, Sigs: [][]byte{ik.Sign(sign.IdentityCert, core)},
	}))
}

// ParseIdentityCert reads a signed identity certificate, at most [MaxIdentityCert] bytes, and verifies that the
// key it names has signed it. The error wraps [wire.ErrTooLarge], [wire.ErrMalformed], [wire.ErrVersion],
// [sign.ErrPublicKey] or [sign.ErrSignature].
//
// A certificate that replaces another one (Seq > 0) proves no membership by itself: see
// [IdentityCert.VerifySuccessor].
func ParseIdentityCert(raw []byte) (*IdentityCert, error) {
	c, err := parseIdentityCert(raw)
	if err != nil {
		return nil, fmt.Errorf("identity: identity certificate: %w", err)
	}
	return c, nil
}

func parseIdentityCert(raw []byte) (*IdentityCert, error) {
	if len(raw) > MaxIdentityCert { // before it is copied
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(raw), MaxIdentityCert)
	}
	raw = append([]byte(nil), raw...)
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxIdentityCert); err != nil {
		return nil, err
	}
	var core identityCore
	if err := wire.Unmarshal(signed.Core, &core, MaxIdentityCert); err != nil {
		return nil, err
	}
	if err := core.check(len(signed.Sigs)); err != nil {
		return nil, err
	}
	ik, err := sign.ParsePublicKey(core.IK)
	if err != nil {
		return nil, err
	}
	if err := ik.Verify(sign.IdentityCert, signed.Core, signed.Sigs[0]); err != nil {
		return nil, err
	}
	c := &IdentityCert{
		ID: derive.ID(string(sign.IdentityCert), signed.Core), IK: ik, RevAlg: core.RevAlg, RevCommit: core.RevCommit,
		Display: core.Display, Created: core.Created, Seq: core.Seq, Prev: core.Prev, Attestation: core.Attestation,
		Raw: raw, core: signed.Core, sigs: signed.Sigs,
	}
	if c.Seq == 0 {
		c.member = MemberID(c.ID)
	}
	return c, nil
}

// check verifies everything that needs no key: version, fields, caps and the number of signatures.
func (c *identityCore) check(sigs int) error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	if c.RevAlg != RevocationAlg1 {
		return fmt.Errorf("%w: revocation algorithm %d", wire.ErrVersion, c.RevAlg)
	}
	if err := wire.CheckText(c.Display, MaxDisplay); err != nil {
		return fmt.Errorf("display name: %w", err)
	}
	if len(c.Attestation) > MaxAttestation {
		return fmt.Errorf("%w: attestation of %d bytes, at most %d are allowed",
			wire.ErrTooLarge, len(c.Attestation), MaxAttestation)
	}
	first := c.Seq == 0
	if first != (c.Prev == nil) {
		return fmt.Errorf("%w: number %d and previous certificate do not fit", wire.ErrMalformed, c.Seq)
	}
	if first && sigs != 1 || !first && sigs != 2 && sigs != 3 {
		return fmt.Errorf("%w: %d signatures under certificate number %d", wire.ErrMalformed, sigs, c.Seq)
	}
	return nil
}

// Member returns the member that the certificate belongs to: its own id if it is the first one, else that of the
// chain which [IdentityCert.VerifySuccessor] has verified, and zero before that.
func (c *IdentityCert) Member() MemberID { return c.member }

// VerifySuccessor checks that c replaces prev: it names prev, has the next number, and is signed by prev's key or
// by the revocation key that prev commits to. The commitment may change only under the revocation key. On success
// c belongs to prev's member. The error wraps [ErrSuccession], [sign.ErrSignature] or [sign.ErrPublicKey].
//
// Whether the succession counts in a project (who else must sign, which of two wins) is governance's question.
func (c *IdentityCert) VerifySuccessor(prev *IdentityCert) error {
	if prev.member.IsZero() {
		return fmt.Errorf("%w: the previous certificate was not verified against its own", ErrSuccession)
	}
	if c.Prev == nil || *c.Prev != prev.ID || prev.Seq == ^uint32(0) || c.Seq != prev.Seq+1 {
		return fmt.Errorf("%w: it does not name certificate %s as number %d", ErrSuccession, prev.ID.Short(), prev.Seq)
	}
	byRevocation := len(c.sigs) == 3
	if !byRevocation && c.RevCommit != prev.RevCommit {
		return fmt.Errorf("%w: only the revocation key may replace the revocation key", ErrSuccession)
	}
	if byRevocation {
		if RevocationCommit(c.sigs[1]) != prev.RevCommit {
			return fmt.Errorf("%w: signed by another revocation key", ErrSuccession)
		}
		if err := sign.VerifyRevocation(c.sigs[1], sign.IdentityCert, c.core, c.sigs[2]); err != nil {
			return fmt.Errorf("identity: succession: %w", err)
		}
	} else if err := prev.IK.Verify(sign.IdentityCert, c.core, c.sigs[1]); err != nil {
		return fmt.Errorf("identity: succession: %w", err)
	}
	c.member = prev.member
	return nil
}
