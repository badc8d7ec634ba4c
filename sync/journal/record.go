package journal

import (
	"bytes"
	"fmt"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// snapshotCore is the signed part of a snapshot: a document as the device that serves it shows it, made of the
// envelopes up to the frontier that count in the closure of heads.
type snapshotCore struct {
	wire.Head
	Project    genesis.ProjectID    `cbor:"3,keyasint"`
	Doc        DocID                `cbor:"4,keyasint"`
	Frontier   []place              `cbor:"5,keyasint"` // ascending by device and chain
	Checkpoint *governance.EventID  `cbor:"6,keyasint,omitempty"`
	Heads      []governance.EventID `cbor:"7,keyasint"` // ascending
	State      []byte               `cbor:"8,keyasint"` // sealed
	Epoch      governance.EpochID   `cbor:"9,keyasint"`
	Nonce      [seal.NonceSize]byte `cbor:"10,keyasint"`

	state []byte // a Yjs v1 update; State opened
}

// place names an envelope by its place.
type place struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
}

func (p place) chain() chainKey { return chainKey{p.Device, p.ChainNo} }

// seal seals the document under the key of c.Epoch and a nonce that was not used before.
func (c *snapshotCore) seal(key [32]byte, giver identity.DeviceID) {
	c.State = seal.Seal(epoch.SnapshotKey(key, c.Epoch, giver, c.Doc), c.Nonce, c.Project[:], c.state)
}

// open is the opposite of seal, and checks that what was sealed is a well-formed update.
func (c *snapshotCore) open(key [32]byte, giver identity.DeviceID) (err error) {
	if c.state, err = seal.Open(epoch.SnapshotKey(key, c.Epoch, giver, c.Doc), c.Nonce, c.Project[:], c.State); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrSnapshot, ErrEpoch, err)
	}
	if _, _, err := crdt.Inspect(c.state); err != nil {
		return fmt.Errorf("%w: document: %w", ErrSnapshot, err)
	}
	return nil
}

// signSnapshot makes the record, [core, signature], of a core that was sealed.
func signSnapshot(dk *sign.PrivateKey, c snapshotCore) []byte {
	c.Head = wire.NewHead()
	core := wire.Marshal(c)
	return wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{dk.Sign(sign.Snapshot, core)}})
}

// parseSnapshot reads a record of at most MaxSnapshot bytes and checks its form. If dk is not nil it also verifies the
// signature. The document has to be opened.
func parseSnapshot(raw []byte, dk *sign.PublicKey) (*snapshotCore, error) {
	c, err := parseSnapshotRecord(raw, dk)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return c, nil
}

func parseSnapshotRecord(raw []byte, dk *sign.PublicKey) (*snapshotCore, error) {
	if len(raw) > MaxSnapshot {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(raw), MaxSnapshot)
	}
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxSnapshot); err != nil {
		return nil, err
	}
	if len(signed.Sigs) != 1 || len(signed.Sigs[0]) != sign.SignatureSize {
		return nil, fmt.Errorf("%w: not one signature", wire.ErrMalformed)
	}
	if dk != nil {
		if err := dk.Verify(sign.Snapshot, signed.Core, signed.Sigs[0]); err != nil {
			return nil, err
		}
	}
	var c snapshotCore
	if err := wire.Unmarshal(signed.Core, &c, MaxSnapshot); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *snapshotCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	switch {
	case len(c.Frontier) > MaxFrontier:
		return fmt.Errorf("%w: frontier of %d chains", wire.ErrTooLarge, len(c.Frontier))
	case len(c.State) > MaxSnapshotState+seal.Overhead:
		return fmt.Errorf("%w: document of %d bytes", wire.ErrTooLarge, len(c.State))
	case len(c.Heads) > maxSnapshotHeads || !wire.SortedIDs(c.Heads):
		return fmt.Errorf("%w: governance heads are too many or not in ascending order", wire.ErrMalformed)
	}
	for i, p := range c.Frontier {
		if p.Seq == 0 || i > 0 && bytes.Compare(c.Frontier[i-1].chain().bytes(), p.chain().bytes()) >= 0 {
			return fmt.Errorf("%w: frontier is not in ascending order, or names an empty chain", wire.ErrMalformed)
		}
	}
	return nil
}
