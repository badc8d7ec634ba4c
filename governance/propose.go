package governance

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Author is a device that signs events.
type Author struct {
	Keys   *identity.DeviceKeys // must be kept secret; prints as "[redacted]"
	Device identity.DeviceID
}

// HolderSigner signs with a root holder's key; *[genesis.Authority] is one.
type HolderSigner interface {
	Member() identity.MemberID
	Sign(typ sign.Type, core []byte) ([]byte, error)
}

// ProposeOption changes how [Log.Propose] builds an event.
type ProposeOption func(*proposal)

type proposal struct {
	cosigners []Author
	holders   []HolderSigner
	listed    []identity.MemberID // root holders who may sign later, ascending; see DraftAsRoot
	hint      *uint64
}

// WithCosigners adds devices, of other managers, that sign too.
func WithCosigners(cosigners ...Author) ProposeOption {
	return func(p *proposal) { p.cosigners = append(p.cosigners, cosigners...) }
}

// WithHolders makes the event a root act. The author's device carries it and needs no role.
func WithHolders(holders ...HolderSigner) ProposeOption {
	return func(p *proposal) { p.holders = append(p.holders, holders...) }
}

// WithTime notes the author's clock, in Unix seconds, for people; replay never looks at it.
func WithTime(unix uint64) ProposeOption { return func(p *proposal) { p.hint = &unix } }

// NextAseq returns the number of a device's next event; an epoch's core must name it.
func (l *Log) NextAseq(d identity.DeviceID) uint64 { return l.h.lastAseq(d, l.h.closure(l.heads)) + 1 }

// StateFor returns what a device's next event rests on, by which an epoch that it carries is judged: the state of all events,
// unless there are more heads than an event names.
func (l *Log) StateFor(d identity.DeviceID) *State { return l.stateOf(l.parentsFor(d)) }

// Propose builds and signs an event on the current heads, with a body of the kind's type. It checks first that the
// event will count and fails with a [*DeniedError] if it will not; nothing is signed then. The log is not changed:
// store the result, [Log.Add] it, then send it. It also fails with [ErrUnknownDevice], [ErrUnknownKind], or an error
// of [ParseEvent] if the body breaks a cap.
func (l *Log) Propose(a Author, kind Kind, content any, opts ...ProposeOption) (raw []byte, id EventID, err error) {
	raw, id, err = l.propose(a, kind, content, opts)
	if err != nil {
		return nil, EventID{}, fmt.Errorf("governance: propose %v: %w", kind, err)
	}
	return raw, id, nil
}

func (l *Log) propose(a Author, kind Kind, content any, opts []ProposeOption) ([]byte, EventID, error) {
	var p proposal
	for _, o := range opts {
		o(&p)
	}
	e, err := l.drafted(a.Device, kind, content, &p)
	if err != nil {
		return nil, EventID{}, err
	}
	if err := l.denied(e); err != nil {
		return nil, EventID{}, err
	}
	raw, err := p.sign(a, e.event.core)
	return raw, e.id, err
}

// drafted builds an event of a device on the current heads that nobody has signed yet.
func (l *Log) drafted(by identity.DeviceID, kind Kind, content any, p *proposal) (*entry, error) {
	slices.SortFunc(p.cosigners, func(x, y Author) int { return bytes.Compare(x.Device[:], y.Device[:]) })
	slices.SortFunc(p.holders, func(x, y HolderSigner) int {
		mx, my := x.Member(), y.Member()
		return bytes.Compare(mx[:], my[:])
	})
	if !kind.Known() {
		return nil, ErrUnknownKind
	}
	ev, err := parseEventCore(wire.Marshal(l.draft(Author{Device: by}, kind, content, p)))
	if err != nil {
		return nil, err
	}
	e, err := l.facts(ev)
	if err != nil {
		return nil, err
	}
	l.readBody(e)
	return e, nil
}

// draft fills in an event's core on the current heads.
func (l *Log) draft(a Author, kind Kind, content any, p *proposal) eventCore {
	heads := l.parentsFor(a.Device)
	in := l.h.closure(heads)
	c := eventCore{
		Head: wire.NewHead(), Project: l.root.Project, Kind: kind, Device: a.Device,
		Aseq: l.h.lastAseq(a.Device, in) + 1, Parents: l.ids(heads), Root: l.Root().ID, Body: wire.Marshal(content),
		THint: p.hint,
	}
	if prev := l.lastEvent(a.Device, in); prev != none {
		id := l.h.entries[prev].id
		c.Aprev = &id
	}
	for _, i := range heads {
		c.Depth = max(c.Depth, l.h.entries[i].depth+1)
	}
	for _, s := range p.cosigners {
		c.Cosigners = append(c.Cosigners, Cosigner{Device: s.Device, Aseq: l.h.lastAseq(s.Device, in)})
	}
	for _, s := range p.holders {
		c.Holders = append(c.Holders, s.Member())
	}
	c.Holders = append(c.Holders, p.listed...)
	return c
}

// lastEvent returns a device's event with the greatest number in a set, of several that with the lowest id, or none.
func (l *Log) lastEvent(d identity.DeviceID, in bitset) int {
	aseq := l.h.lastAseq(d, in)
	var found []int
	for _, i := range l.h.numbered[d][aseq] {
		if in.has(i) {
			found = append(found, i)
		}
	}
	return l.h.lowest(found)
}

// denied fails with a [*DeniedError] if e would not count on top of its past.
func (l *Log) denied(e *entry) error {
	l.h.judgeInPast(e)
	f := e.own
	if f.ok() && e.kind != KindCheckpoint && !l.h.reaches(e) {
		_, f = l.h.extend(e.before, e).why(l.h, e.idx)
	}
	if f.ok() {
		return nil
	}
	n, _ := l.h.signersFor(e, l.h.pastOf(e))
	d := &DeniedError{Kind: e.kind, Reason: f.reason, Need: n, Have: len(e.signers)}
	if len(e.needs) > 0 && l.h.pastOf(e).standing(e.device) < e.needs[0] {
		d.Role = e.needs[0]
	}
	if f.culprit != none {
		d.Culprit = l.h.entries[f.culprit].id
	}
	return d
}

// sign signs a core by the author, the cosigners and the root holders.
func (p *proposal) sign(a Author, core []byte) ([]byte, error) {
	signed := wire.Signed{Core: core, Sigs: [][]byte{a.Keys.DK.Sign(sign.Event, core)}}
	for _, s := range p.cosigners {
		signed.Sigs = append(signed.Sigs, s.Keys.DK.Sign(sign.Event, core))
	}
	for _, s := range p.holders {
		sig, err := s.Sign(sign.EventRoot, core)
		if err != nil {
			return nil, err
		}
		signed.Sigs = append(signed.Sigs, sig)
	}
	raw := wire.Marshal(signed)
	if len(raw) > MaxEvent {
		return nil, fmt.Errorf("%w: event of %d bytes, at most %d", wire.ErrTooLarge, len(raw), MaxEvent)
	}
	return raw, nil
}
