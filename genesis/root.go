package genesis

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// ProjectID names a project for ever: it is the id of its first root record.
type ProjectID wire.ID

// String returns the whole identifier in lower-case hex.
func (id ProjectID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id ProjectID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names no project.
func (id ProjectID) IsZero() bool { return wire.ID(id).IsZero() }

// RootID names one version of a project's root record.
type RootID wire.ID

// String returns the whole identifier in lower-case hex.
func (id RootID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id RootID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names no record.
func (id RootID) IsZero() bool { return wire.ID(id).IsZero() }

// Holder is one of those who hold the root. It need not be a member of the project.
type Holder struct {
	Member identity.MemberID
	Key    *sign.PublicKey
}

// ShareSet is what the root record says about the shares of one holder's key: any K of M rebuild it.
type ShareSet struct {
	Member      identity.MemberID
	Ceremony    [16]byte
	K, M        uint8
	RootPubHash wire.ID   // H("root-pub", key)
	Commitments []wire.ID // of the shares x = 1 to M, in this order
	PhraseBlob  []byte    // the phrase share, sealed; may be absent
}

// Founder is who made the project; he is its first manager and his device the first live one.
type Founder struct {
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
}

// Root is a verified root record. It is immutable and safe for concurrent use.
type Root struct {
	ID        RootID
	Project   ProjectID
	N         uint32 // version of the root, from 1
	Prev      RootID // the version before, zero at version 1
	Title     string
	Policy    Policy
	Holders   []Holder   // ascending by member
	ShareSets []ShareSet // ascending by member
	Founder   Founder    // at version 1 only
	Frontier  []wire.ID  // governance events up to which the version before is in force, ascending
	Abandons  []RootID   // withdrawn proposals for this version, ascending
	Reason    string
	Raw       []byte // the signed record as it travels; must not be changed

	// superseded are the ceremonies of earlier versions of this root, none at version 1.
	superseded [][16]byte
}

// Holder returns one of the root's holders.
func (r *Root) Holder(member identity.MemberID) (Holder, bool) {
	for _, h := range r.Holders {
		if h.Member == member {
			return h, true
		}
	}
	return Holder{}, false
}

// ParseRoot reads a signed root record, at most [MaxRoot] bytes, of version 1 and verifies all of it: caps, the
// founder's certificates, the threshold rule, and the signature of every holder. The error wraps
// [wire.ErrTooLarge], [wire.ErrMalformed], [wire.ErrVersion], [ErrRoot], [ErrUpgradeRequired],
// [sign.ErrPublicKey] or [sign.ErrSignature]; for a record of a later version, which proves nothing alone, it wraps
// [ErrUnsupportedVersion]; see [Chain] and [ParseNext].
func ParseRoot(raw []byte) (*Root, error) {
	r, err := parseRoot(raw)
	if err != nil {
		return nil, fmt.Errorf("genesis: root record: %w", err)
	}
	return r, nil
}

func parseRoot(raw []byte) (*Root, error) {
	signed, core, err := decodeRoot(raw)
	if err != nil {
		return nil, err
	}
	if core.N != 1 {
		return nil, fmt.Errorf("%w: version %d", ErrUnsupportedVersion, core.N)
	}
	founder, err := core.Founder.parse()
	if err != nil {
		return nil, err
	}
	if len(signed.Before) != 0 {
		return nil, fmt.Errorf("%w: version 1 has no holders before it", ErrRoot)
	}
	r, err := core.root(signed.Core)
	if err != nil {
		return nil, err
	}
	if err := verifyHolders(signed.Core, r.Holders, signed.Now); err != nil {
		return nil, err
	}
	r.Project, r.Founder, r.Raw = ProjectID(r.ID), founder, append([]byte(nil), raw...)
	return r, nil
}

// root returns what a core says, with its holders and share sets verified. Signatures are not.
func (c *rootCore) root(raw []byte) (*Root, error) {
	holders, err := c.holders()
	if err != nil {
		return nil, err
	}
	sets, err := c.shareSets(holders)
	if err != nil {
		return nil, err
	}
	r := &Root{
		ID: RootID(derive.ID(string(sign.Root), raw)), N: c.N, Title: c.Title, Policy: c.Policy, Holders: holders,
		ShareSets: sets, Frontier: c.Frontier, Reason: c.Reason,
	}
	if c.Prev != nil {
		r.Prev = RootID(*c.Prev)
	}
	for _, id := range c.Abandons {
		r.Abandons = append(r.Abandons, RootID(id))
	}
	return r, nil
}

// decodeRoot reads a record of any version and checks everything but keys, certificates and signatures.
func decodeRoot(raw []byte) (*signedRoot, *rootCore, error) {
	var signed signedRoot
	if err := wire.Unmarshal(raw, &signed, MaxRoot); err != nil {
		return nil, nil, err
	}
	core, err := decodeRootCore(signed.Core)
	return &signed, core, err
}

func decodeRootCore(raw []byte) (*rootCore, error) {
	var core rootCore
	if err := wire.Unmarshal(raw, &core, MaxRootCore); err != nil {
		return nil, err
	}
	return &core, core.check()
}

// parse reads and verifies the founder's certificates.
func (f *founderRecord) parse() (Founder, error) {
	id, err := identity.ParseIdentityCert(f.Identity)
	if err != nil {
		return Founder{}, fmt.Errorf("founder: %w", err)
	}
	if id.Seq != 0 {
		return Founder{}, fmt.Errorf("%w: the founder's certificate is not his first", ErrRoot)
	}
	device, err := identity.ParseDeviceCert(f.Device)
	if err != nil {
		return Founder{}, fmt.Errorf("founder: %w", err)
	}
	if err := device.VerifyIdentity(id); err != nil {
		return Founder{}, fmt.Errorf("founder: %w", err)
	}
	return Founder{Identity: id, Device: device}, nil
}

// verifyHolders checks that every holder has signed core, in the order of the list.
func verifyHolders(core []byte, holders []Holder, sigs []holderSig) error {
	if len(sigs) != len(holders) {
		return fmt.Errorf("%w: %d of %d holders have signed", ErrRoot, len(sigs), len(holders))
	}
	for i, h := range holders {
		if sigs[i].Member != h.Member {
			return fmt.Errorf("%w: signature %d is not that of holder %s", ErrRoot, i+1, h.Member.Short())
		}
		if err := h.Key.Verify(sign.Root, core, sigs[i].Sig); err != nil {
			return fmt.Errorf("holder %s: %w", h.Member.Short(), err)
		}
	}
	return nil
}

// NewHolderKey derives the key with which a holder signs root records and root acts from his root seed.
func NewHolderKey(seed identity.Seed) *sign.PrivateKey {
	defer seed.Wipe()
	pq := derive.Key(seed[:], nil, "root-mldsa")
	ed := derive.Key(seed[:], nil, "root-ed25519")
	defer clear(pq[:])
	defer clear(ed[:])
	return sign.NewPrivateKey(pq, ed)
}

// rootPubHash is what share sets and shares hold of a holder's key.
func rootPubHash(key *sign.PublicKey) wire.ID { return derive.ID("root-pub", key.Bytes()) }
