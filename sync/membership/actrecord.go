package membership

import (
	"fmt"

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

// actCore proposes an act that other managers have to sign as well.
type actCore struct {
	wire.Head
	Project genesis.ProjectID    `cbor:"3,keyasint"`
	Kind    governance.Kind      `cbor:"4,keyasint"`
	Terms   []byte               `cbor:"5,keyasint"` // see governance.Terms
	Device  identity.DeviceID    `cbor:"6,keyasint"` // who proposes
	Since   []governance.EventID `cbor:"7,keyasint"` // newest events that the proposer knew, ascending
	Expires uint64               `cbor:"8,keyasint"` // Unix seconds; honest managers sign nothing later
	Note    string               `cbor:"9,keyasint"` // for people
}

// actRecord is a signed proposal. It is its author's vote as well.
type actRecord struct {
	actCore
	id      ActID
	content any // pointer to the body that the terms decode to
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
	core, sig, err := parseSigned(raw, &c, maxActRecord)
	if err == nil {
		err = c.check()
	}
	var content any
	if err == nil {
		content, err = governance.DecodeTerms(c.Kind, c.Terms)
	}
	if err != nil {
		return nil, fmt.Errorf("membership: proposed act: %w", err)
	}
	return &actRecord{
		actCore: c, id: ActID(derive.ID(string(sign.ActProposal), core)), content: content, raw: raw, core: core, sig: sig,
	}, nil
}

func (c *actCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	switch {
	case !proposable(c.Kind):
		return fmt.Errorf("%w: %v is not decided by several managers", wire.ErrMalformed, c.Kind)
	case len(c.Terms) > maxActTerms:
		return fmt.Errorf("%w: terms of %d bytes", wire.ErrTooLarge, len(c.Terms))
	case len(c.Since) == 0 || len(c.Since) > maxActSince || !wire.SortedIDs(c.Since):
		return fmt.Errorf("%w: %d events known, need 1 to %d in ascending order", wire.ErrMalformed, len(c.Since), maxActSince)
	}
	return wire.CheckText(c.Note, MaxActNote)
}

// proposable reports whether acts of a kind are proposed to other managers. Checkpoints are not: devices agree on them
// without people.
func proposable(k governance.Kind) bool {
	switch k {
	case governance.KindRoleGrant, governance.KindRoleDrop, governance.KindRevoke, governance.KindDeviceRemove,
		governance.KindEndorse, governance.KindLiftQuarantine:
		return true
	}
	return false
}

func (r *actRecord) verify(dk *sign.PublicKey) error {
	return dk.Verify(sign.ActProposal, r.core, r.sig)
}

// voteCore is a manager's word on a proposed act. Of a member's votes the one with the greatest number stands.
type voteCore struct {
	wire.Head
	Project genesis.ProjectID `cbor:"3,keyasint"`
	Act     ActID             `cbor:"4,keyasint"`
	Device  identity.DeviceID `cbor:"5,keyasint"`
	N       uint64            `cbor:"6,keyasint"` // Unix seconds, or one more than the member's last
	Approve uint8             `cbor:"7,keyasint"` // 0: an approval is withdrawn
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
		err = c.Head.Check()
	}
	if err == nil && (c.N == 0 || c.Approve > 1) {
		err = fmt.Errorf("%w: number %d, approve %d", wire.ErrMalformed, c.N, c.Approve)
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
}

const maxStoredAct = maxActRecord + (maxVotes+1)*maxVoteRecord
