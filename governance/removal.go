package governance

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// RoleDrop lowers a member's role. What the member wrote counts up to the cuts, if the new role may not write.
type RoleDrop struct {
	Member identity.MemberID `cbor:"1,keyasint"`
	Role   Role              `cbor:"2,keyasint"`
	Cuts   []Cut             `cbor:"3,keyasint"` // ascending by device and chain; 0 for a chain not listed
}

func (b *RoleDrop) check() error { return checkCuts(b.Cuts) }

// DeviceRemove removes one device: one of the author's own, or a member's by a manager.
type DeviceRemove struct {
	Device identity.DeviceID `cbor:"1,keyasint"`
	Cuts   []Cut             `cbor:"2,keyasint"` // ascending by device and chain; 0 for a chain not listed
	Stolen uint8             `cbor:"3,keyasint"` // 1: what it authored beside the removal falls, unless others built on it
	Epoch  *KeyEpoch         `cbor:"4,keyasint,omitempty"`
}

func (b *DeviceRemove) check() error {
	if b.Stolen > 1 {
		return fmt.Errorf("%w: stolen %d", ErrEvent, b.Stolen)
	}
	if err := checkCuts(b.Cuts); err != nil {
		return err
	}
	if b.Epoch != nil {
		return b.Epoch.check()
	}
	return nil
}

// Leave ends the author's own membership on all devices.
type Leave struct {
	Cuts []Cut `cbor:"1,keyasint"` // the author's own heads
}

func (b *Leave) check() error { return checkCuts(b.Cuts) }

// FrontierExtend lets more of chains count that a loss of write had cut.
type FrontierExtend struct {
	Cuts []Cut `cbor:"1,keyasint"`
}

func (b *FrontierExtend) check() error { return checkCuts(b.Cuts) }

// KeyUpdate gives the author's device a new KEM key.
type KeyUpdate struct {
	KEM []byte `cbor:"1,keyasint"`

	key *kem.PublicKey
}

func (b *KeyUpdate) check() (err error) {
	if b.key, err = kem.ParsePublicKey(b.KEM); err != nil {
		return fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return nil
}

// checkCuts verifies the form that every list of cuts has.
func checkCuts(cuts []Cut) error {
	if len(cuts) > MaxCuts {
		return fmt.Errorf("%w: %d cuts, at most %d", wire.ErrTooLarge, len(cuts), MaxCuts)
	}
	for i := 1; i < len(cuts); i++ {
		if compareCuts(cuts[i-1], cuts[i]) >= 0 {
			return fmt.Errorf("%w: cuts are not in ascending order", ErrEvent)
		}
	}
	return nil
}
