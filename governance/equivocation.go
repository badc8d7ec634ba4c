package governance

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// EquivocationProof shows that one device signed two things where it may sign one: two events of one number, or two
// envelopes of one place in a chain. Each half is [what was signed, signature], of an envelope also of a later place with
// what lies between; see [NewProofHalf]. It proves what it shows even if the event that carries it is void.
type EquivocationProof struct {
	A []byte `cbor:"1,keyasint"`
	B []byte `cbor:"2,keyasint"`

	place place
}

// place is what a device may sign once: an event of a number, or an envelope of a chain.
type place struct {
	device   identity.DeviceID
	envelope bool
	chain    uint32
	n        uint64
}

// half is one of the two statements in a proof.
type half struct {
	place
	project   genesis.ProjectID
	typ       sign.Type
	signed    wire.Signed
	statement []byte  // of the place: what was signed, or an ancestor of that
	prev      wire.ID // envelope before it
}

// envelopeMark is what an envelope's signature covers.
type envelopeMark struct {
	_       struct{} `cbor:",toarray"`
	Header  []byte
	Content wire.ID
}

// envelopeHeader is the header of an envelope, as package envelope defines it.
type envelopeHeader struct {
	wire.Head
	Project  genesis.ProjectID `cbor:"3,keyasint"`
	Doc      [16]byte          `cbor:"4,keyasint"`
	Kind     uint8             `cbor:"5,keyasint"`
	Device   identity.DeviceID `cbor:"6,keyasint"`
	ChainNo  uint32            `cbor:"7,keyasint"`
	Seq      uint64            `cbor:"8,keyasint"`
	Prev     wire.ID           `cbor:"9,keyasint"`
	GovHeads []EventID         `cbor:"10,keyasint"`
	Epoch    *EpochID          `cbor:"11,keyasint,omitempty"`
	Nonce    *[24]byte         `cbor:"12,keyasint,omitempty"`
}

// NewProofHalf returns one half of an [EquivocationProof]: the signed part of an event or envelope and its author's
// signature. A signature attests all that lies before it in its chain, so that an envelope without one of its own is
// shown by a later one and by before, the signed parts between, newest first, the last of them that of the place itself.
func NewProofHalf(signed, signature []byte, before ...[]byte) []byte {
	return wire.Marshal(wire.Signed{Core: signed, Sigs: append([][]byte{signature}, shorten(signed, before)...)})
}

// ProofHalf returns the event as a half of an [EquivocationProof], nil if it has lost its signatures.
func (e *Event) ProofHalf() []byte {
	if e.Compacted() {
		return nil
	}
	return NewProofHalf(e.core, e.sigs[0])
}

func parseHalf(raw []byte) (*half, error) {
	var h half
	if err := wire.Unmarshal(raw, &h.signed, MaxEventCore); err != nil {
		return nil, err
	}
	if len(h.signed.Sigs[0]) != sign.SignatureSize {
		return nil, fmt.Errorf("%w: half of a proof without its author's signature", ErrEvent)
	}
	var mark envelopeMark
	if wire.Unmarshal(h.signed.Core, &mark, MaxEventCore) == nil {
		return &h, h.readEnvelopes()
	}
	var c eventCore
	if err := wire.Unmarshal(h.signed.Core, &c, MaxEventCore); err != nil {
		return nil, err
	}
	if len(h.signed.Sigs) != 1 {
		return nil, fmt.Errorf("%w: half of a proof about an event has more than one signature", ErrEvent)
	}
	h.typ, h.project, h.statement = sign.Event, c.Project, h.signed.Core
	h.place = place{device: c.Device, n: c.Aseq}
	return &h, nil
}

// readEnvelopes reads a half about an envelope: the signed one, and from it back to that of the place, each the one before.
func (h *half) readEnvelopes() error {
	h.typ = sign.Envelope
	top, _, err := parseMark(h.signed.Core)
	if err != nil {
		return err
	}
	h.statement, h.prev, h.project = h.signed.Core, top.Prev, top.Project
	h.place = place{device: top.Device, envelope: true, chain: top.ChainNo, n: top.Seq}
	if between := h.signed.Sigs[1:]; len(between) > 0 {
		h.statement, h.prev, err = lengthen(top, between)
		h.place.n -= uint64(len(between) - 1)
	}
	return err
}

func (b *EquivocationProof) check() error {
	x, err := parseHalf(b.A)
	if err != nil {
		return err
	}
	y, err := parseHalf(b.B)
	if err != nil {
		return err
	}
	switch {
	case x.place != y.place || x.n == 0 || x.project != y.project:
		return fmt.Errorf("%w: the two statements are not of one place", ErrEvent)
	case bytes.Compare(x.statement, y.statement) >= 0:
		return fmt.Errorf("%w: the two statements are one, or not in ascending order", ErrEvent)
	}
	b.place = x.place
	return nil
}

// verify checks both signatures by the device's key.
func (b *EquivocationProof) verify(project genesis.ProjectID, key *sign.PublicKey) error {
	for _, raw := range [][]byte{b.A, b.B} {
		h, err := parseHalf(raw)
		if err != nil {
			return err
		}
		if h.project != project {
			return ErrForeign
		}
		if err := key.Verify(h.typ, h.signed.Core, h.signed.Sigs[0]); err != nil {
			return err
		}
	}
	return nil
}

// evidence shows that a device used a number twice: any two events of it, or one event that proves it. All events of a number
// are one piece, as whoever signs many of one number would else make as many pieces as they have pairs.
type evidence struct {
	aseq   uint64
	events []int // ascending, at least two; or the one that proves it
	proof  bool
}

// shown returns the events of a piece that a set holds, none if they show nothing there.
func (ev evidence) shown(in bitset) []int {
	var out []int
	for _, i := range ev.events {
		if in.has(i) {
			out = append(out, i)
		}
	}
	if len(out) < 2 && !ev.proof {
		return nil
	}
	return out
}

func (ev evidence) within(in bitset) bool {
	n := 0
	for _, i := range ev.events {
		if in.has(i) {
			n++
		}
		if n == 2 || n == 1 && ev.proof {
			return true
		}
	}
	return false
}

// fork is a proof that a chain was forked: envelopes from seq on are in doubt, prev is the last before them.
type fork struct {
	idx  int // of the event that proves it
	seq  uint64
	prev wire.ID
}

// convict files the evidence that e brings: with earlier events of its number, or as a proof.
func (h *history) convict(e *entry) {
	if same := slices.DeleteFunc(slices.Clone(h.numbered[e.device][e.aseq]), func(i int) bool { return i == e.idx }); len(same) > 0 {
		h.charge(e.device, evidence{aseq: e.aseq, events: append(same, e.idx)})
	}
	if p := e.proof; p != nil && p.envelope {
		key := chainKey{p.device, p.chain}
		h.forks[key] = append(h.forks[key], fork{e.idx, p.n, e.proofPrev})
	} else if p != nil {
		h.charge(p.device, evidence{aseq: p.n, events: []int{e.idx}, proof: true})
	}
}

// charge adds a piece of evidence in its place, by number; of the events of a number it takes the place of the one before.
func (h *history) charge(d identity.DeviceID, ev evidence) {
	list := h.evidence[d]
	k, _ := slices.BinarySearchFunc(list, ev.aseq+1, func(x evidence, n uint64) int { return cmp.Compare(x.aseq, n) })
	for at := k - 1; !ev.proof && at >= 0 && list[at].aseq == ev.aseq; at-- {
		if !list[at].proof {
			list[at].events = ev.events
			return
		}
	}
	h.evidence[d] = slices.Insert(list, k, ev)
}

// doubt returns the lowest number from which on a device's authority is in doubt in v: evidence that no counting
// LiftQuarantine there has seen.
func (v view) doubt(d identity.DeviceID) (aseq uint64, ok bool) {
	for _, ev := range v.h.evidence[d] {
		if v.unforgiven(d, ev, v.in) != none {
			return ev.aseq, true
		}
	}
	return 0, false
}

// unforgiven returns the later of the first two events of a piece of evidence in v, or its proof, that no counting LiftQuarantine in
// a part of v has seen both of; none if there are none.
func (v view) unforgiven(d identity.DeviceID, ev evidence, part bitset) int {
	if !ev.within(v.in) {
		return none
	}
	var lifts []int
	for _, i := range v.h.lifts[d] {
		if part.has(i) && v.counts(i) {
			lifts = append(lifts, i)
		}
	}
	shown := ev.shown(v.in)
	if ev.proof {
		if v.h.seenBy(lifts, shown[0], shown[0]) {
			return none
		}
		return shown[0]
	}
	whole := lifts // those that have seen all so far, which usually is all there is to it
	for k, y := range shown {
		if whole = slices.DeleteFunc(slices.Clone(whole), func(i int) bool { return !v.h.entries[i].past.has(y) }); len(whole) > 0 {
			continue
		}
		for _, x := range shown[:k] {
			if !v.h.seenBy(lifts, x, y) {
				return y
			}
		}
	}
	return none
}

// seenBy reports whether one of some events has two others in its past.
func (h *history) seenBy(of []int, x, y int) bool {
	return slices.ContainsFunc(of, func(i int) bool { return h.entries[i].past.has(x) && h.entries[i].past.has(y) })
}

// suspended reports whether a device lost its governance authority.
func (v view) suspended(d identity.DeviceID) bool { _, ok := v.doubt(d); return ok }
