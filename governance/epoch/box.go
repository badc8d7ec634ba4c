package epoch

import (
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// boxCore is the signed part of a box.
type boxCore struct {
	wire.Head
	Epoch  ID                `cbor:"3,keyasint"`
	Device identity.DeviceID `cbor:"4,keyasint"`
	KemID  wire.ID           `cbor:"5,keyasint"`
	Box    []byte            `cbor:"6,keyasint"`
	Giver  identity.DeviceID `cbor:"7,keyasint"`
}

// Box is an epoch's key sealed to one device by another that holds it. It is no event: giving one twice does no harm.
type Box struct {
	Epoch  ID
	Device identity.DeviceID // for whom
	KemID  wire.ID
	Giver  identity.DeviceID

	sealed []byte
	core   []byte
	sig    []byte
}

// SealBox seals an epoch's key to a device that lacks it and signs the result with the giver's device key. Give
// boxes to live devices only.
func SealBox(random io.Reader, k IDKey, to Recipient, giver governance.Author) ([]byte, error) {
	b, err := sealTo(random, k, to)
	if err != nil {
		return nil, fmt.Errorf("epoch: box: %w", err)
	}
	core := wire.Marshal(boxCore{
		Head: wire.NewHead(), Epoch: k.ID, Device: b.Device, KemID: b.KemID, Box: b.Box, Giver: giver.Device,
	})
	return wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{giver.Keys.DK.Sign(sign.EpochBox, core)}}), nil
}

// ParseBox reads a box of at most [MaxBox] bytes. It verifies nothing; [Box.Open] does. The error wraps
// [wire.ErrTooLarge], [wire.ErrMalformed] or [wire.ErrVersion].
func ParseBox(raw []byte) (*Box, error) {
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxBox); err != nil {
		return nil, fmt.Errorf("epoch: box: %w", err)
	}
	var c boxCore
	if err := wire.Unmarshal(signed.Core, &c, MaxBox); err != nil {
		return nil, fmt.Errorf("epoch: box: %w", err)
	}
	if err := c.Head.Check(); err != nil {
		return nil, fmt.Errorf("epoch: box: %w", err)
	}
	if len(signed.Sigs) != 1 {
		return nil, fmt.Errorf("epoch: box: %w: %d signatures, need 1", wire.ErrMalformed, len(signed.Sigs))
	}
	return &Box{
		Epoch: c.Epoch, Device: c.Device, KemID: c.KemID, Giver: c.Giver, sealed: c.Box, core: signed.Core,
		sig: signed.Sigs[0],
	}, nil
}

// Open verifies that giver, the device key of the device named as giver, has signed the box, opens it with the
// device's KEM key and checks the key against the epoch's object. It fails with [sign.ErrSignature], [ErrNoBox],
// [ErrOpen] or [ErrCommit].
func (b *Box) Open(object *governance.KeyEpoch, giver *sign.PublicKey, device identity.DeviceID, key *kem.PrivateKey) ([KeySize]byte, error) {
	if err := giver.Verify(sign.EpochBox, b.core, b.sig); err != nil {
		return [KeySize]byte{}, fmt.Errorf("epoch: box of %s: %w", b.Giver.Short(), err)
	}
	if b.Epoch != object.ID() || b.Device != device || b.KemID != identity.KemID(key.Public()) {
		return [KeySize]byte{}, ErrNoBox
	}
	return openBox(object, governance.EpochBox{Device: b.Device, KemID: b.KemID, Box: b.sealed}, key)
}
