package boxkeys

import (
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// State is what has become of a key.
type State uint8

// States of a key, in their order.
const (
	Fresh   State = 1 // kept, and nobody is known to have been told of it
	Current State = 2 // the others seal to it
	Retired State = 3 // another has taken its place; what was sealed to it opens
	Erased  State = 4 // gone: nothing opens with it
)

// String names the state.
func (s State) String() string {
	if names := [...]string{Fresh: "fresh", Current: "current", Retired: "retired", Erased: "erased"}; int(s) < len(names) && s > 0 {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// stored is a key as the vault has it. The first key is without its seed in a project's record: it lies in one place.
type stored struct {
	ID      wire.ID             `cbor:"1,keyasint"`
	Seed    []byte              `cbor:"2,keyasint,omitempty"`
	Made    uint64              `cbor:"3,keyasint"` // Unix seconds
	State   State               `cbor:"4,keyasint"`
	Retired *governance.EventID `cbor:"5,keyasint,omitempty"` // the event that put another in its place
	Swept   bool                `cbor:"6,keyasint"`           // erased, and nothing that the vault keeps beside it has it any more
}

// record is the keys of one project, oldest first, or the first key alone.
type record struct {
	Keys []stored `cbor:"1,keyasint"`
}

// Format and MarshalJSON keep the keys out of logs.
func (stored) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secmem.Redacted) }
func (stored) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }
func (record) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secmem.Redacted) }
func (record) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }

// readRecord reads what a vault holds. first is the device's first key, zero if it is that which is read.
func readRecord(raw []byte, first wire.ID) (*record, error) {
	r := &record{}
	err := wire.Unmarshal(raw, r, maxRecord)
	if err == nil {
		err = r.check(first)
	}
	if err != nil {
		r.wipe()
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, nil
}

func (r *record) check(first wire.ID) error {
	if len(r.Keys) == 0 || len(r.Keys) > maxKeys || first.IsZero() && len(r.Keys) > 1 {
		return fmt.Errorf("%w: %d keys", wire.ErrMalformed, len(r.Keys))
	}
	seen, current, fresh := map[wire.ID]bool{}, 0, 0
	for _, k := range r.Keys {
		if err := k.check(first); err != nil {
			return err
		}
		if seen[k.ID] {
			return fmt.Errorf("%w: a key stands twice", wire.ErrMalformed)
		}
		seen[k.ID] = true
		switch k.State {
		case Current:
			current++
		case Fresh:
			fresh++
		}
	}
	if !first.IsZero() && !seen[first] {
		return fmt.Errorf("%w: nothing of the device's first key", wire.ErrMalformed)
	}
	if current > 1 || fresh > 1 {
		return fmt.Errorf("%w: %d current and %d fresh keys", wire.ErrMalformed, current, fresh)
	}
	return nil
}

func (k stored) check(first wire.ID) error {
	without := k.State == Erased || k.ID == first
	switch {
	case k.State < Fresh || k.State > Erased:
		return fmt.Errorf("%w: %v", wire.ErrMalformed, k.State)
	case without != (len(k.Seed) == 0) || !without && len(k.Seed) != kem.SeedSize:
		return fmt.Errorf("%w: a key that is %v has %d bytes", wire.ErrMalformed, k.State, len(k.Seed))
	case k.Swept && k.State != Erased, k.State == Retired && k.Retired == nil, k.State < Retired && k.Retired != nil:
		return fmt.Errorf("%w: a key that is %v", wire.ErrMalformed, k.State)
	case !without && identity.KemID(kem.NewPrivateKey([kem.SeedSize]byte(k.Seed)).Public()) != k.ID:
		return fmt.Errorf("%w: a key has another name", wire.ErrMalformed)
	}
	return nil
}

func (r *record) wipe() {
	for i := range r.Keys {
		secmem.Wipe(r.Keys[i].Seed)
	}
}
