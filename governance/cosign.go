package governance

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Signers says how many members must sign an act, and who may beside its author.
type Signers struct {
	Need    int                 // members whose devices must sign, the author's among them
	Members []identity.MemberID // managers who may, ascending; the author is one of them if he is a manager who may
}

// Signers answers for an act of a device on the current heads. It says nothing about whether the act would count
// otherwise; [Log.Propose] and [Log.Draft] do. It fails with [ErrUnknownDevice], [ErrUnknownKind] or as [ParseEvent].
func (l *Log) Signers(by identity.DeviceID, kind Kind, content any) (Signers, error) {
	e, err := l.drafted(by, kind, content, &proposal{})
	if err != nil {
		return Signers{}, fmt.Errorf("governance: signers: %w", err)
	}
	l.h.judgeInPast(e)
	return l.h.signersOf(e), nil
}

// signersOf returns who must and may sign an event, by what its author saw.
func (h *history) signersOf(e *entry) Signers {
	v := h.pastOf(e)
	var s Signers
	s.Need, _ = h.signersFor(e, v)
	for _, m := range h.members {
		if e.removes() && m == e.subject || v.role(m) != Manager {
			continue
		}
		if slices.ContainsFunc(h.owned[m], func(d identity.DeviceID) bool { return v.standing(d) == Manager && !v.suspended(d) }) {
			s.Members = append(s.Members, m)
		}
	}
	return Signers{s.Need, wire.SortIDs(s.Members)}
}

// Draft is an event that waits for its signatures. The author signs last: until then it has taken no number, and may
// sign something else.
type Draft struct {
	ID        EventID
	Core      []byte // what is signed; must not be changed
	Kind      Kind
	Author    identity.DeviceID
	Aseq      uint64
	Parents   []EventID
	Cosigners []Cosigner
	Holders   []identity.MemberID // of the root, who may sign; see [Log.DraftAsRoot]
	Body      []byte

	event *Event
}

// Draft builds an event of a device on the current heads that others are to sign too. It checks first that the event
// would count with their signatures and fails as [Log.Propose] does. Nothing is signed.
func (l *Log) Draft(by identity.DeviceID, cosigners []identity.DeviceID, kind Kind, content any, opts ...ProposeOption) (*Draft, error) {
	var p proposal
	for _, o := range opts {
		o(&p)
	}
	for _, d := range cosigners {
		p.cosigners = append(p.cosigners, Author{Device: d})
	}
	e, err := l.drafted(by, kind, content, &p)
	if err == nil {
		err = l.denied(e)
	}
	if err != nil {
		return nil, fmt.Errorf("governance: draft %v: %w", kind, err)
	}
	return draftOf(e.event), nil
}

// ParseDraft reads the core of an event as [Draft.Core], and checks what [ParseEvent] does.
func ParseDraft(core []byte) (*Draft, error) {
	if len(core) > MaxEventCore { // before it is copied
		return nil, fmt.Errorf("governance: draft: %w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(core), MaxEventCore)
	}
	ev, err := parseEventCore(bytes.Clone(core))
	if err != nil {
		return nil, fmt.Errorf("governance: draft: %w", err)
	}
	return draftOf(ev), nil
}

func draftOf(ev *Event) *Draft {
	return &Draft{
		ID: ev.ID, Core: ev.core, Kind: ev.Kind, Author: ev.Device, Aseq: ev.Aseq, Parents: ev.Parents,
		Cosigners: ev.Cosigners, Holders: ev.Holders, Body: ev.Body, event: ev,
	}
}

// Content returns the draft's body as [DecodeBody] does.
func (d *Draft) Content() (any, error) { return DecodeBody(d.event) }

// Cosign signs a draft as one of its cosigners. It signs nothing that would not count where it stands, and nothing
// whose past lacks an event that a holds of its own. It fails with [ErrUnknownEvent] if parents are missing here, with
// a [*DeniedError], or as [Log.AddFrom] does.
func (l *Log) Cosign(a Author, d *Draft) ([]byte, error) {
	if err := l.cosignable(a.Device, d); err != nil {
		return nil, fmt.Errorf("governance: co-sign %v: %w", d.Kind, err)
	}
	return a.Keys.DK.Sign(sign.Event, d.Core), nil
}

// cosignable checks that a device may sign a draft.
func (l *Log) cosignable(by identity.DeviceID, d *Draft) error {
	k := slices.IndexFunc(d.Cosigners, func(c Cosigner) bool { return c.Device == by })
	if k < 0 {
		return fmt.Errorf("%w: %s is not among its cosigners", ErrEvent, by.Short())
	}
	if err := l.checkOrigin(d.event); err != nil {
		return err
	}
	if err := l.checkClock(d.event); err != nil {
		return err
	}
	if missing := l.missingOf(d.event); len(missing) > 0 {
		return fmt.Errorf("%w: parent %s", ErrUnknownEvent, missing[0].Short())
	}
	e, err := l.facts(d.event)
	if err != nil {
		return err
	}
	if last := l.NextAseq(by) - 1; d.Cosigners[k].Aseq != last {
		return fmt.Errorf("%w: number %d is stated for cosigner %s, its last own event is %d", ErrEvent, d.Cosigners[k].Aseq, by.Short(), last)
	}
	l.readBody(e)
	return l.denied(e)
}

// Assemble signs a draft as its author, adding the signatures of its cosigners, which it verifies. It fails with
// [ErrEvent] if the author's number has been taken meanwhile or a signature is missing: draft it anew; or with
// [sign.ErrSignature]. The log is not changed, as by [Log.Propose].
func (l *Log) Assemble(a Author, d *Draft, signatures map[identity.DeviceID][]byte) (raw []byte, err error) {
	if err := l.assemblable(a, d, signatures); err != nil {
		return nil, fmt.Errorf("governance: assemble %v: %w", d.Kind, err)
	}
	sigs := [][]byte{a.Keys.DK.Sign(sign.Event, d.Core)}
	for _, c := range d.Cosigners {
		sigs = append(sigs, signatures[c.Device])
	}
	raw = wire.Marshal(wire.Signed{Core: d.Core, Sigs: sigs})
	if len(raw) > MaxEvent {
		return nil, fmt.Errorf("governance: assemble %v: %w: %d bytes, at most %d", d.Kind, wire.ErrTooLarge, len(raw), MaxEvent)
	}
	return raw, nil
}

func (l *Log) assemblable(a Author, d *Draft, signatures map[identity.DeviceID][]byte) error {
	if d.Author != a.Device {
		return fmt.Errorf("%w: it is another device's", ErrEvent)
	}
	if next := l.NextAseq(a.Device); d.Aseq != next {
		return fmt.Errorf("%w: it has number %d, its author's next is %d", ErrEvent, d.Aseq, next)
	}
	e, err := l.facts(d.event)
	if err != nil {
		return err
	}
	for _, c := range d.Cosigners {
		sig, ok := signatures[c.Device]
		if !ok {
			return fmt.Errorf("%w: cosigner %s has not signed", ErrEvent, c.Device.Short())
		}
		if err := l.verifyDevice(d.event, c.Device, sig); err != nil {
			return err
		}
	}
	l.readBody(e)
	return l.denied(e)
}

// Terms is what people agree on when they agree to an act: its body without the cuts and the key, which its author
// adds when it is made. content is a body or a pointer to one. It fails as [ParseEvent] does on a body that has not
// its form.
func Terms(kind Kind, content any) ([]byte, error) {
	r, known := rules[kind]
	if !known {
		return nil, fmt.Errorf("governance: terms: %w: %v", ErrUnknownKind, kind)
	}
	b := r.body()
	if err := decodeBody(wire.Marshal(content), b); err != nil {
		return nil, fmt.Errorf("governance: terms of %v: %w", kind, err)
	}
	switch b := b.(type) {
	case *Revoke:
		b.Cuts, b.Epoch = nil, nil
	case *RoleDrop:
		b.Cuts = nil
	case *DeviceRemove:
		b.Cuts, b.Epoch = nil, nil
	}
	return wire.Marshal(b), nil
}

// DecodeTerms is [DecodeBody] for what [Terms] returns. It fails with [ErrEvent] if there is more in it than terms.
func DecodeTerms(kind Kind, raw []byte) (any, error) {
	r, known := rules[kind]
	if !known {
		return nil, fmt.Errorf("governance: terms: %w: %v", ErrUnknownKind, kind)
	}
	b := r.body()
	if err := decodeBody(raw, b); err != nil {
		return nil, fmt.Errorf("governance: terms of %v: %w", kind, err)
	}
	if terms, err := Terms(kind, b); err != nil || !bytes.Equal(terms, raw) {
		return nil, fmt.Errorf("governance: terms of %v: %w: they name cuts or a key", kind, ErrEvent)
	}
	return b, nil
}

// Subject returns whom an act would be about on the current heads, zero if it is about nobody, somebody unknown, or several.
func (l *Log) Subject(content any) identity.MemberID {
	switch b := content.(type) {
	case *Admit:
		if id, err := identity.ParseIdentityCert(b.Identity); err == nil {
			return id.Member()
		}
	case *RoleGrant:
		return b.Member
	case *RoleDrop:
		return b.Member
	case *Revoke:
		return b.Member
	case *DeviceRemove:
		m, _ := l.h.ownerOf(b.Device, l.h.closure(l.heads))
		return m
	case *LiftQuarantine:
		if b.Device != nil {
			m, _ := l.h.ownerOf(*b.Device, l.h.closure(l.heads))
			return m
		}
		return *b.Member
	}
	return identity.MemberID{}
}

// Overtaken reports whether something that counts, and that the closure of since does not hold, has changed the
// standing of what an act would be about: whoever agreed to the act did so without knowing. It fails with
// [ErrUnknownEvent].
func (l *Log) Overtaken(content any, since []EventID) (bool, error) {
	at, err := l.indices(since)
	if err != nil {
		return false, fmt.Errorf("governance: overtaken: %w", err)
	}
	known, now := l.h.closure(at), l.h.verdictNow(l.h.maximal(l.heads))
	about := []identity.MemberID{l.Subject(content)}
	var device identity.DeviceID
	var lifted identity.MemberID
	var brought []int
	switch b := content.(type) {
	case *DeviceRemove:
		device = b.Device
	case *LiftQuarantine:
		if b.Device != nil {
			device = *b.Device
		} else {
			lifted = *b.Member
		}
	case *Endorse:
		about, brought = nil, l.h.inPast(b.Events, l.h.closure(l.heads))
		for _, i := range brought {
			about = append(about, l.h.entries[i].subject)
		}
	}
	for i := 1; i < len(l.h.entries); i++ {
		if !known.has(i) && !now.void.has(i) && (l.h.moves(l.h.entries[i], about, device, brought) || l.h.entries[i].frees(lifted)) {
			return true, nil
		}
	}
	return false, nil
}

// frees reports whether an event lifts the quarantines of a member. It does so however often it comes, so who has agreed
// to it must not go on making it.
func (e *entry) frees(m identity.MemberID) bool {
	return e.kind == KindLiftQuarantine && e.target.IsZero() && e.subject == m
}

// moves reports whether an event changes the standing of one of some members, of a device, or brings back one of some
// events.
func (h *history) moves(e *entry, about []identity.MemberID, device identity.DeviceID, brought []int) bool {
	on := func(m identity.MemberID) bool { return slices.Contains(about, m) }
	switch e.kind {
	case KindAdmit: // who is a member already may be let in again, and stands as before
		return on(e.subject) && h.pastOf(e).role(e.subject) == None
	case KindRoleGrant, KindRoleDrop, KindRevoke, KindLeave, KindCarry:
		return on(e.subject)
	case KindDeviceRemove, KindLiftQuarantine:
		return e.target == device && device != (identity.DeviceID{})
	case KindEndorse:
		return slices.ContainsFunc(h.subjects(e), on) || slices.ContainsFunc(e.named, func(i int) bool { return slices.Contains(brought, i) })
	}
	return false
}
