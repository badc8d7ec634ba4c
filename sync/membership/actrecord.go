package membership

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// ActID names a proposed act: the hash of exactly what is proposed.
type ActID wire.ID

// Short returns the first four bytes in hex.
func (id ActID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id names nothing.
func (id ActID) IsZero() bool { return wire.ID(id).IsZero() }

// actCore proposes an act that other managers have to sign as well, or other holders of the root.
type actCore struct {
	wire.Head
	Project genesis.ProjectID    `cbor:"3,keyasint"`
	Kind    governance.Kind      `cbor:"4,keyasint"`
	Terms   []byte               `cbor:"5,keyasint"` // see governance.Terms
	Device  identity.DeviceID    `cbor:"6,keyasint"` // who proposes
	Since   []governance.EventID `cbor:"7,keyasint"` // newest events that the proposer knew, ascending
	Expires uint64               `cbor:"8,keyasint"` // Unix seconds; honest managers sign nothing later
	Note    string               `cbor:"9,keyasint"` // for people

	Draft []byte `cbor:"10,keyasint,omitempty"` // of a root act: the event's core, which holders sign
}

// actRecord is a signed proposal. A manager's is his vote as well.
type actRecord struct {
	actCore
	id      ActID
	content any               // pointer to the body that the terms decode to
	draft   *governance.Draft // of a root act, else nil
	raw     []byte
	core    []byte
	sig     []byte
}

func newActRecord(keys *identity.DeviceKeys, c actCore) (*actRecord, error) {
	c.Head = wire.NewHead()
	core := wire.Marshal(c)
	return parseActRecord(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{keys.DK.Sign(sign.ActProposal, core)}}))
}

// parseActRecord reads a proposal and checks its form. Whether the device signed it, verify says.
func parseActRecord(raw []byte) (*actRecord, error) {
	var c actCore
	core, sig, err := parseSigned(raw, &c, maxActRecord+governance.MaxEventCore)
	if err == nil {
		err = c.check(len(raw))
	}
	r := &actRecord{actCore: c, id: ActID(derive.ID(string(sign.ActProposal), core)), raw: raw, core: core, sig: sig}
	if err == nil {
		r.content, err = governance.DecodeTerms(c.Kind, c.Terms)
	}
	if err == nil && len(c.Draft) > 0 {
		r.draft, err = c.readDraft()
	}
	if err != nil {
		return nil, fmt.Errorf("membership: proposed act: %w", err)
	}
	return r, nil
}

// readDraft reads the draft of a root act and checks that it is what is proposed.
func (c *actCore) readDraft() (*governance.Draft, error) {
	d, err := governance.ParseDraft(c.Draft)
	if err != nil {
		return nil, err
	}
	content, err := d.Content()
	if err != nil {
		return nil, err
	}
	terms, err := governance.Terms(d.Kind, content)
	if err != nil {
		return nil, err
	}
	if d.Kind != c.Kind || d.Author != c.Device || !bytes.Equal(terms, c.Terms) || !slices.Equal(d.Parents, c.Since) ||
		len(d.Cosigners) > 0 || len(d.Holders) == 0 {
		return nil, fmt.Errorf("%w: the draft is not what is proposed", wire.ErrMalformed)
	}
	return d, nil
}

func (c *actCore) check(size int) error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	switch {
	case size > maxActRecord+len(c.Draft):
		return fmt.Errorf("%w: %d bytes, %d of them a draft", wire.ErrTooLarge, size, len(c.Draft))
	case !proposable(c.Kind, len(c.Draft) > 0):
		return fmt.Errorf("%w: %v is not decided by several", wire.ErrMalformed, c.Kind)
	case len(c.Terms) > maxActTerms:
		return fmt.Errorf("%w: terms of %d bytes", wire.ErrTooLarge, len(c.Terms))
	case len(c.Since) == 0 || len(c.Since) > maxActSince || !wire.SortedIDs(c.Since):
		return fmt.Errorf("%w: %d events known, need 1 to %d in ascending order", wire.ErrMalformed, len(c.Since), maxActSince)
	}
	return wire.CheckText(c.Note, MaxActNote)
}

// proposable reports whether acts of a kind are proposed to other managers, or holders of the root. Checkpoints are not:
// devices agree on them without people. Nor are invites and what else a single manager does: the root names one.
func proposable(k governance.Kind, asRoot bool) bool {
	switch k {
	case governance.KindRoleGrant, governance.KindRoleDrop, governance.KindRevoke, governance.KindDeviceRemove,
		governance.KindEndorse, governance.KindLiftQuarantine:
		return true
	case governance.KindAdmit: // managers let people in by invites
		return asRoot
	}
	return false
}

func (r *actRecord) verify(dk *sign.PublicKey) error {
	return dk.Verify(sign.ActProposal, r.core, r.sig)
}

// voteCore is a manager's word on a proposed act, or a holder's on a root act. Of a member's votes the one with the greatest
// number stands.
type voteCore struct {
	wire.Head
	Project genesis.ProjectID `cbor:"3,keyasint"`
	Act     ActID             `cbor:"4,keyasint"`
	Device  identity.DeviceID `cbor:"5,keyasint"`
	N       uint64            `cbor:"6,keyasint"` // Unix seconds, or one more than the member's last
	Approve uint8             `cbor:"7,keyasint"` // 0: an approval is withdrawn

	Holder    *identity.MemberID `cbor:"8,keyasint,omitempty"` // on a root act: whose word it is,
	Signature []byte             `cbor:"9,keyasint,omitempty"` // and the holder's signature of the draft, if it approves
}

func (c *voteCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	signs := c.Holder != nil && c.Approve == 1
	switch {
	case c.N == 0 || c.Approve > 1:
		return fmt.Errorf("%w: number %d, approve %d", wire.ErrMalformed, c.N, c.Approve)
	case signs && len(c.Signature) != sign.SignatureSize, !signs && len(c.Signature) > 0:
		return fmt.Errorf("%w: approve %d with a signature of %d bytes", wire.ErrMalformed, c.Approve, len(c.Signature))
	}
	return nil
}

// voice is who speaks in a vote: a device for its owner, or for a holder of the root, who may be somebody else.
type voice struct {
	device identity.DeviceID
	holder identity.MemberID // zero on acts of managers
}

func (c *voteCore) voice() voice {
	v := voice{device: c.Device}
	if c.Holder != nil {
		v.holder = *c.Holder
	}
	return v
}

func (v voice) compare(with voice) int {
	return cmp.Or(bytes.Compare(v.device[:], with.device[:]), bytes.Compare(v.holder[:], with.holder[:]))
}

type voteRecord struct {
	voteCore
	raw  []byte
	core []byte
	sig  []byte
}

func newVoteRecord(keys *identity.DeviceKeys, c voteCore) (*voteRecord, error) {
	c.Head = wire.NewHead()
	core := wire.Marshal(c)
	return parseVoteRecord(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{keys.DK.Sign(sign.ActVote, core)}}))
}

// parseVoteRecord reads a vote and checks its form. Whether the device signed it, verify says.
func parseVoteRecord(raw []byte) (*voteRecord, error) {
	var c voteCore
	core, sig, err := parseSigned(raw, &c, maxVoteRecord)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("membership: vote on an act: %w", err)
	}
	return &voteRecord{voteCore: c, raw: raw, core: core, sig: sig}, nil
}

func (r *voteRecord) verify(dk *sign.PublicKey) error { return dk.Verify(sign.ActVote, r.core, r.sig) }

// id names a vote where peers tell each other what they have.
func (r *voteRecord) id() wire.ID { return derive.ID(string(sign.ActVote), r.core) }

// newer reports whether r takes the place of another vote of its member: a withdrawal goes before an approval.
func (r *voteRecord) newer(than *voteRecord) bool {
	return than == nil || r.N > than.N || r.N == than.N && r.Approve < than.Approve
}

// parseSigned reads a record that one device signs: [core, signature].
func parseSigned(raw []byte, c any, limit int) (core, sig []byte, err error) {
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, limit); err != nil {
		return nil, nil, err
	}
	if err := wire.Unmarshal(signed.Core, c, limit); err != nil {
		return nil, nil, err
	}
	if len(signed.Sigs) != 1 || len(signed.Sigs[0]) != sign.SignatureSize {
		return nil, nil, fmt.Errorf("%w: not one signature", wire.ErrMalformed)
	}
	return signed.Core, signed.Sigs[0], nil
}

// storedAct is a proposed act as the store keeps it.
type storedAct struct {
	Record   []byte   `cbor:"1,keyasint"`
	Votes    [][]byte `cbor:"2,keyasint"`
	Declined bool     `cbor:"3,keyasint"` // this device's owner does not want to see it

	Marks []governance.Cut `cbor:"4,keyasint,omitempty"` // see openAct
}

const maxStoredAct = 2*governance.MaxEventCore + maxActRecord + (maxVotes+1)*maxVoteRecord
