package governance

import (
	"bytes"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// EventID names an event: H("event", core). Signatures are not part of it. The id of the project's first root
// record stands for the state in which the log begins.
type EventID wire.ID

// String returns the whole identifier in lower-case hex.
func (id EventID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id EventID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names no event.
func (id EventID) IsZero() bool { return wire.ID(id).IsZero() }

// Cosigner is a device that signs an event beside its author.
type Cosigner struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	Aseq   uint64 // of the cosigner's last own event, 0 if it has none
}

// eventCore is the signed part of an event.
type eventCore struct {
	wire.Head
	Project   genesis.ProjectID   `cbor:"3,keyasint"`
	Kind      Kind                `cbor:"4,keyasint"`
	Device    identity.DeviceID   `cbor:"5,keyasint"`
	Aseq      uint64              `cbor:"6,keyasint"`
	Aprev     *EventID            `cbor:"7,keyasint,omitempty"`
	Parents   []EventID           `cbor:"8,keyasint"`
	Depth     uint64              `cbor:"9,keyasint"`
	Root      genesis.RootID      `cbor:"10,keyasint"`
	Cosigners []Cosigner          `cbor:"11,keyasint"`
	Holders   []identity.MemberID `cbor:"12,keyasint"`
	Body      []byte              `cbor:"13,keyasint"`
	THint     *uint64             `cbor:"14,keyasint,omitempty"`
}

// Event is one signed act. It is immutable; its byte slices must not be changed.
type Event struct {
	ID        EventID
	Project   genesis.ProjectID
	Kind      Kind
	Device    identity.DeviceID   // author
	Aseq      uint64              // number among the author's events, from 1
	Aprev     *EventID            // the author's previous event, nil for the first
	Parents   []EventID           // heads that the author held, ascending
	Depth     uint64              // 1 + the greatest depth of the parents
	Root      genesis.RootID      // version of the root record that it rests on
	Cosigners []Cosigner          // ascending by device
	Holders   []identity.MemberID // root holders who may sign, ascending: all have, or as many as must; then it is a root act
	Body      []byte              // see [DecodeBody]
	THint     *uint64             // Unix seconds by the author's clock; for people, never for replay
	Raw       []byte              // the signed event as it travels

	core     []byte
	sigs     [][]byte
	body     body // nil if the kind is unknown
	certs    *certificates
	verified bool // every signature was verified by the key that the device's id binds
}

// ParseEvent reads a signed event of at most [MaxEvent] bytes and checks everything that neither keys nor other
// events are needed for: caps, encoding, order of the lists, number of signatures, and the body of a known kind. It
// verifies no signature; [Log.Add] does. The error wraps [wire.ErrTooLarge], [wire.ErrMalformed],
// [wire.ErrVersion] or [ErrEvent].
func ParseEvent(raw []byte) (*Event, error) {
	e, err := parseEvent(raw)
	if err != nil {
		return nil, fmt.Errorf("governance: event: %w", err)
	}
	return e, nil
}

func parseEvent(raw []byte) (*Event, error) {
	if len(raw) > MaxEvent { // before it is copied
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(raw), MaxEvent)
	}
	raw = bytes.Clone(raw)
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxEvent); err != nil {
		return nil, err
	}
	e, err := parseEventCore(signed.Core)
	if err != nil {
		return nil, err
	}
	if want := 1 + len(e.Cosigners) + len(e.Holders); len(signed.Sigs) != want {
		return nil, fmt.Errorf("%w: %d signatures, need %d", ErrEvent, len(signed.Sigs), want)
	}
	for i, s := range signed.Sigs {
		blank := len(s) == 0 && i > len(e.Cosigners) // a root holder who has not signed
		if len(s) != sign.SignatureSize && !blank {
			return nil, fmt.Errorf("%w: signature of %d bytes, need %d", ErrEvent, len(s), sign.SignatureSize)
		}
	}
	e.Raw, e.sigs = raw, signed.Sigs
	return e, nil
}

// parseEventCore reads the signed part of an event and checks its structure.
func parseEventCore(raw []byte) (*Event, error) {
	var c eventCore
	if err := wire.Unmarshal(raw, &c, MaxEventCore); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	e := &Event{
		ID: EventID(derive.ID(string(sign.Event), raw)), Project: c.Project, Kind: c.Kind, Device: c.Device,
		Aseq: c.Aseq, Aprev: c.Aprev, Parents: c.Parents, Depth: c.Depth, Root: c.Root, Cosigners: c.Cosigners,
		Holders: c.Holders, Body: c.Body, THint: c.THint, core: raw,
	}
	r, known := rules[c.Kind]
	if !known {
		return e, nil
	}
	e.body = r.body()
	if err := decodeBody(c.Body, e.body); err != nil {
		return nil, fmt.Errorf("%v: %w", c.Kind, err)
	}
	return e, nil
}

// check verifies the rules that need nothing but the core itself.
func (c *eventCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	switch {
	case len(c.Parents) == 0 || len(c.Parents) > MaxParents:
		return fmt.Errorf("%w: %d parents, need 1 to %d", ErrEvent, len(c.Parents), MaxParents)
	case !wire.SortedIDs(c.Parents):
		return fmt.Errorf("%w: parents are not in ascending order", ErrEvent)
	case c.Aseq == 0 || (c.Aseq == 1) != (c.Aprev == nil):
		return fmt.Errorf("%w: number %d of its author, and only the first has no previous one", ErrEvent, c.Aseq)
	case c.Depth == 0:
		return fmt.Errorf("%w: depth 0", ErrEvent)
	case len(c.Cosigners) > MaxCosigners:
		return fmt.Errorf("%w: %d cosigners, at most %d", ErrEvent, len(c.Cosigners), MaxCosigners)
	case len(c.Holders) > MaxHolders:
		return fmt.Errorf("%w: %d root holders, at most %d", ErrEvent, len(c.Holders), MaxHolders)
	case !wire.SortedIDs(c.Holders):
		return fmt.Errorf("%w: root holders are not in ascending order", ErrEvent)
	}
	for i, s := range c.Cosigners {
		if s.Device == c.Device {
			return fmt.Errorf("%w: the author is among the cosigners", ErrEvent)
		}
		if i > 0 && bytes.Compare(c.Cosigners[i-1].Device[:], s.Device[:]) >= 0 {
			return fmt.Errorf("%w: cosigners are not in ascending order", ErrEvent)
		}
	}
	return nil
}
