package governance

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// EpochID names a key epoch: H("epoch", core).
type EpochID wire.ID

// String returns the whole identifier in lower-case hex.
func (id EpochID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id EpochID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names no epoch.
func (id EpochID) IsZero() bool { return wire.ID(id).IsZero() }

// EpochCore says what a key epoch is for; package epoch makes it.
type EpochCore struct {
	wire.Head
	Project      genesis.ProjectID `cbor:"3,keyasint"`
	Device       identity.DeviceID `cbor:"4,keyasint"` // author and number of the event that carries the epoch
	Aseq         uint64            `cbor:"5,keyasint"`
	Roster       wire.ID           `cbor:"6,keyasint"` // [RosterHash] of the live devices after the event's own act
	Prev         []EpochID         `cbor:"7,keyasint"` // epochs whose keys EncPrev hands on, ascending
	Salt         [16]byte          `cbor:"8,keyasint"`
	SecretCommit wire.ID           `cbor:"9,keyasint"` // H("epoch-commit", project, salt, key)
}

// EpochBox is the epoch's key sealed to one device.
type EpochBox struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	KemID  wire.ID
	Box    []byte
}

// KeyEpoch is the epoch object: the body of an event of its kind, and what a removal carries.
type KeyEpoch struct {
	Core      []byte     `cbor:"1,keyasint"` // an encoded [EpochCore]
	Boxes     []EpochBox `cbor:"2,keyasint"` // at most [MaxInlineBoxes]
	BoxesHash *wire.ID   `cbor:"3,keyasint,omitempty"`
	EncPrev   []byte     `cbor:"4,keyasint,omitempty"`
}

// ID returns the epoch's id.
func (k *KeyEpoch) ID() EpochID { return EpochID(derive.ID("epoch", k.Core)) }

// Decode returns the core. The error wraps [wire.ErrTooLarge], [wire.ErrMalformed], [wire.ErrVersion] or
// [ErrEvent].
func (k *KeyEpoch) Decode() (*EpochCore, error) {
	var c EpochCore
	if err := wire.Unmarshal(k.Core, &c, maxEpochCore); err != nil {
		return nil, fmt.Errorf("governance: epoch core: %w", err)
	}
	if err := c.Head.Check(); err != nil {
		return nil, fmt.Errorf("governance: epoch core: %w", err)
	}
	if len(c.Prev) > MaxPrevEpochs || !wire.SortedIDs(c.Prev) {
		return nil, fmt.Errorf("%w: earlier epochs are too many or not in ascending order", ErrEvent)
	}
	return &c, nil
}

func (k *KeyEpoch) check() error {
	if _, err := k.Decode(); err != nil {
		return err
	}
	if len(k.Boxes) > MaxInlineBoxes {
		return fmt.Errorf("%w: %d sealed keys, at most %d", wire.ErrTooLarge, len(k.Boxes), MaxInlineBoxes)
	}
	for _, b := range k.Boxes {
		if len(b.Box) > maxBox {
			return fmt.Errorf("%w: sealed key of %d bytes", wire.ErrTooLarge, len(b.Box))
		}
	}
	if len(k.EncPrev) > maxEncPrev {
		return fmt.Errorf("%w: sealed earlier keys of %d bytes", wire.ErrTooLarge, len(k.EncPrev))
	}
	return nil
}

// RosterEntry is a device and the KEM key to which epoch keys are sealed for it.
type RosterEntry struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	KemID  wire.ID
}

// RosterHash returns H("roster", entries sorted by device), which an epoch's core names. It sorts entries in place.
func RosterHash(entries []RosterEntry) wire.ID {
	slices.SortFunc(entries, func(a, b RosterEntry) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return derive.ID("roster", wire.Marshal(entries))
}
