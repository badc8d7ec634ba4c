package governance

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// SelfRevoke ends its owner's identity. It is signed by the revocation key, names no project, needs no role, may be
// brought by anybody, and cannot be taken back.
type SelfRevoke struct {
	Member           identity.MemberID
	RevPub           []byte // revocation key
	CompromisedSince []LastGood
	Successor        *identity.MemberID // for attribution only; it gives no role
	Raw              []byte             // the signed record; must not be changed

	core []byte
	sig  []byte
}

// LastGood is the last event that the owner of a device vouches for.
type LastGood struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	Aseq   uint64 // 0: none
	Event  EventID
}

type selfRevokeCore struct {
	wire.Head
	Member           identity.MemberID  `cbor:"3,keyasint"`
	RevAlg           uint8              `cbor:"4,keyasint"`
	RevPub           []byte             `cbor:"5,keyasint"`
	CompromisedSince []LastGood         `cbor:"6,keyasint"`
	Successor        *identity.MemberID `cbor:"7,keyasint,omitempty"`
}

func (c *selfRevokeCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	switch {
	case c.RevAlg != identity.RevocationAlg1:
		return fmt.Errorf("%w: revocation algorithm %d", ErrEvent, c.RevAlg)
	case len(c.RevPub) != sign.RevocationPublicKeySize:
		return fmt.Errorf("%w: revocation key of %d bytes", ErrEvent, len(c.RevPub))
	case len(c.CompromisedSince) > maxLastGood:
		return fmt.Errorf("%w: %d devices, at most %d", wire.ErrTooLarge, len(c.CompromisedSince), maxLastGood)
	}
	for i := 1; i < len(c.CompromisedSince); i++ {
		if wire.ID(c.CompromisedSince[i-1].Device).Compare(wire.ID(c.CompromisedSince[i].Device)) >= 0 {
			return fmt.Errorf("%w: devices are not in ascending order", ErrEvent)
		}
	}
	return nil
}

// NewSelfRevoke signs the end of a member's identity. since is ascending by device; what a device authored after the
// event named there falls, and nothing before the removal if the device is not listed. successor may be nil.
func NewSelfRevoke(key *sign.RevocationKey, member identity.MemberID, since []LastGood, successor *identity.MemberID) (*SelfRevoke, error) {
	core := wire.Marshal(selfRevokeCore{
		Head: wire.NewHead(), Member: member, RevAlg: identity.RevocationAlg1, RevPub: key.Public(),
		CompromisedSince: since, Successor: successor,
	})
	sig, err := key.Sign(sign.SelfRevoke, core)
	if err != nil {
		return nil, fmt.Errorf("governance: self-revocation: %w", err)
	}
	return ParseSelfRevoke(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{sig}}))
}

// ParseSelfRevoke reads a signed self-revocation and checks its form. [SelfRevoke.Verify] checks the signature. The
// error wraps [wire.ErrTooLarge], [wire.ErrMalformed], [wire.ErrVersion] or [ErrEvent].
func ParseSelfRevoke(raw []byte) (*SelfRevoke, error) {
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, maxSelfRevoke); err != nil {
		return nil, fmt.Errorf("governance: self-revocation: %w", err)
	}
	var c selfRevokeCore
	if err := wire.Unmarshal(signed.Core, &c, maxSelfRevoke); err != nil {
		return nil, fmt.Errorf("governance: self-revocation: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("governance: self-revocation: %w", err)
	}
	if len(signed.Sigs) != 1 || len(signed.Sigs[0]) != sign.RevocationSignatureSize {
		return nil, fmt.Errorf("governance: self-revocation: %w: it needs one signature of %d bytes",
			ErrEvent, sign.RevocationSignatureSize)
	}
	return &SelfRevoke{
		Member: c.Member, RevPub: c.RevPub, CompromisedSince: c.CompromisedSince, Successor: c.Successor, Raw: raw,
		core: signed.Core, sig: signed.Sigs[0],
	}, nil
}

// ID returns H("self-revoke", core).
func (r *SelfRevoke) ID() wire.ID { return derive.ID(string(sign.SelfRevoke), r.core) }

// Verify checks that the record ends the identity of cert: the key is the one that the certificate commits to, and it
// signed. The error wraps [sign.ErrSignature] or [identity.ErrMember].
func (r *SelfRevoke) Verify(cert *identity.IdentityCert) error {
	if r.Member != cert.Member() {
		return fmt.Errorf("governance: self-revocation: %w", identity.ErrMember)
	}
	if identity.RevocationCommit(r.RevPub) != cert.RevCommit {
		return fmt.Errorf("governance: self-revocation: %w: not the revocation key of the identity", sign.ErrSignature)
	}
	if err := sign.VerifyRevocation(r.RevPub, sign.SelfRevoke, r.core, r.sig); err != nil {
		return fmt.Errorf("governance: self-revocation: %w", err)
	}
	return nil
}

// Carry brings a [SelfRevoke] into a project.
type Carry struct {
	SelfRevoke []byte `cbor:"1,keyasint"`
	Cuts       []Cut  `cbor:"2,keyasint"`

	record *SelfRevoke
}

func (b *Carry) check() error {
	r, err := ParseSelfRevoke(b.SelfRevoke)
	if err != nil {
		return err
	}
	b.record = r
	return checkCuts(b.Cuts)
}
