// Package forge makes governance events as a modified program would: signed with real keys, and never asking whether
// they will count. Tests give them to honest devices by the ordinary exchange and look at what comes of it.
//
// Fill in an [Act] and call [Act.Sign]. What is left out is filled in as an honest program would, from what the log
// holds; Edit changes the rest, so that lies about depth, numbers and parents can be told as well.
package forge

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Act is an event that is yet to be signed.
type Act struct {
	On      *governance.Log // what its author claims to know
	Author  governance.Author
	With    []governance.Author // cosigners
	Kind    governance.Kind
	Body    any
	Parents []governance.EventID // nil: the log's heads
	Edit    func(*Core)          // nil: nothing is changed
}

// Core is the signed part of an event, by the numbers of governance/SPEC.md.
type Core struct {
	wire.Head
	Project   genesis.ProjectID     `cbor:"3,keyasint"`
	Kind      governance.Kind       `cbor:"4,keyasint"`
	Device    identity.DeviceID     `cbor:"5,keyasint"`
	Aseq      uint64                `cbor:"6,keyasint"`
	Aprev     *governance.EventID   `cbor:"7,keyasint,omitempty"`
	Parents   []governance.EventID  `cbor:"8,keyasint"`
	Depth     uint64                `cbor:"9,keyasint"`
	Root      genesis.RootID        `cbor:"10,keyasint"`
	Cosigners []governance.Cosigner `cbor:"11,keyasint"`
	Holders   []identity.MemberID   `cbor:"12,keyasint"`
	Body      []byte                `cbor:"13,keyasint"`
	THint     *uint64               `cbor:"14,keyasint,omitempty"`
}

// Sign returns the event as it travels, and its id. It panics if On does not hold Parents.
func (a Act) Sign() ([]byte, governance.EventID) {
	core := a.Core()
	signed := wire.Signed{Core: core}
	for _, s := range append([]governance.Author{a.Author}, a.cosigners()...) {
		signed.Sigs = append(signed.Sigs, s.Keys.DK.Sign(sign.Event, core))
	}
	return wire.Marshal(signed), governance.EventID(derive.ID(string(sign.Event), core))
}

// cosigners lists those who sign beside the author in the order of their signatures.
func (a Act) cosigners() []governance.Author {
	return slices.SortedFunc(slices.Values(a.With), func(x, y governance.Author) int { return bytes.Compare(x.Device[:], y.Device[:]) })
}

// Core returns what Sign signs.
func (a Act) Core() []byte {
	parents := slices.Clone(a.Parents)
	if parents == nil {
		parents = a.On.Heads()
	}
	c := Core{
		Head: wire.NewHead(), Project: a.On.Root().Project, Kind: a.Kind, Device: a.Author.Device, Parents: parents,
		Depth: 1, Root: a.On.Root().ID, Body: wire.Marshal(a.Body),
	}
	for _, id := range parents {
		e := a.On.Get(id)
		if e == nil && !a.On.Has(id) {
			panic(fmt.Sprintf("forge: parent %s is not in the log", id.Short()))
		}
		if e != nil {
			c.Depth = max(c.Depth, e.Depth+1)
		}
	}
	c.Aseq, c.Aprev = a.last(parents, a.Author.Device)
	c.Aseq++
	for _, s := range a.cosigners() {
		n, _ := a.last(parents, s.Device)
		c.Cosigners = append(c.Cosigners, governance.Cosigner{Device: s.Device, Aseq: n})
	}
	if a.Edit != nil {
		a.Edit(&c)
	}
	return wire.Marshal(c)
}

// last returns the number and the id of a device's last event in the closure of heads.
func (a Act) last(heads []governance.EventID, device identity.DeviceID) (aseq uint64, id *governance.EventID) {
	seen := map[governance.EventID]bool{}
	for queue := slices.Clone(heads); len(queue) > 0; queue = queue[1:] {
		e := a.On.Get(queue[0])
		if e == nil || seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		queue = append(queue, e.Parents...)
		if e.Device == device && e.Aseq > aseq {
			aseq, id = e.Aseq, &e.ID
		}
	}
	return aseq, id
}
