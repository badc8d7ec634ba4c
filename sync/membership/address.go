package membership

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// addressCore is where a device of a project can be reached, in its own words. A record with a higher number replaces
// one with a lower.
type addressCore struct {
	wire.Head
	Project genesis.ProjectID `cbor:"3,keyasint"`
	Device  identity.DeviceID `cbor:"4,keyasint"`
	Seq     uint64            `cbor:"5,keyasint"`
	Addrs   []string          `cbor:"6,keyasint"` // multiaddresses, best first
}

// addressRecord is a signed address record.
type addressRecord struct {
	addressCore
	raw  []byte // [core, signature by the device key]
	core []byte
	sig  []byte
}

// newAddressRecord signs a record of the device whose keys are given.
func newAddressRecord(keys *identity.DeviceKeys, c addressCore) (*addressRecord, error) {
	c.Head = wire.NewHead()
	if err := c.check(); err != nil {
		return nil, err
	}
	core := wire.Marshal(c)
	return parseAddressRecord(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{keys.DK.Sign(sign.Address, core)}}))
}

// parseAddressRecord reads a record and checks its form. Whether the device signed it, verify says.
func parseAddressRecord(raw []byte) (*addressRecord, error) {
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, maxRecordSize); err != nil {
		return nil, fmt.Errorf("membership: address record: %w", err)
	}
	var c addressCore
	if err := wire.Unmarshal(signed.Core, &c, maxRecordSize); err != nil {
		return nil, fmt.Errorf("membership: address record: %w", err)
	}
	if len(signed.Sigs) != 1 || len(signed.Sigs[0]) != sign.SignatureSize {
		return nil, fmt.Errorf("membership: address record: %w: not one signature", wire.ErrMalformed)
	}
	return &addressRecord{addressCore: c, raw: raw, core: signed.Core, sig: signed.Sigs[0]}, c.check()
}

func (c *addressCore) check() error {
	if err := c.Head.Check(); err != nil {
		return fmt.Errorf("membership: address record: %w", err)
	}
	if c.Seq == 0 || len(c.Addrs) > MaxAddresses {
		return fmt.Errorf("membership: address record: %w: number %d, %d addresses", wire.ErrMalformed, c.Seq, len(c.Addrs))
	}
	for _, a := range c.Addrs {
		if err := wire.CheckText(a, MaxAddressSize); err != nil {
			return fmt.Errorf("membership: address record: %w", err)
		}
	}
	return nil
}

func (r *addressRecord) verify(dk *sign.PublicKey) error {
	return dk.Verify(sign.Address, r.core, r.sig)
}
