package governance

import (
	"fmt"
	"slices"
	"sort"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
)

// facts derives of an event, whose parents the log holds, its place and its signers, and checks the structure that
// other events decide. It verifies no signature; readBody does the rest once they are verified.
func (l *Log) facts(ev *Event) (*entry, error) {
	e := &entry{
		id: ev.ID, event: ev, kind: ev.Kind, body: ev.body, device: ev.Device, aseq: ev.Aseq, depth: ev.Depth,
		holders: l.distinctKeys(ev), rootAct: len(ev.Holders) > 0, own: fine, creates: none, base: none,
	}
	if err := l.checkRoot(ev); err != nil {
		return nil, err
	}
	e.setRoot(l.h.roots.known[ev.Root])
	for _, p := range ev.Parents {
		i, ok := l.h.byID[p]
		if !ok {
			return nil, fmt.Errorf("%w: parent %s", ErrUnknownEvent, p.Short())
		}
		e.parents = append(e.parents, i)
	}
	l.h.place(e)
	if err := l.checkPlace(e); err != nil {
		return nil, err
	}
	if err := l.findSigners(e); err != nil {
		return nil, err
	}
	return e, nil
}

// checkPlace verifies depth, numbering and, for the first event, that it is the founder's first key epoch.
func (l *Log) checkPlace(e *entry) error {
	deepest := uint64(0)
	for _, p := range e.parents {
		deepest = max(deepest, l.h.entries[p].depth)
	}
	if e.depth != deepest+1 {
		return fmt.Errorf("%w: depth %d on parents of depth %d", ErrEvent, e.depth, deepest)
	}
	if slices.Contains(e.parents, 0) {
		first := len(e.parents) == 1 && e.kind == KindKeyEpoch && e.aseq == 1 && e.device == l.root.Founder.Device.ID
		if !first {
			return fmt.Errorf("%w: only the founder's first key epoch rests on the root record itself", ErrEvent)
		}
	}
	if e.event.Aprev == nil {
		return nil
	}
	prev, ok := l.h.byID[*e.event.Aprev]
	if !ok || !e.past.has(prev) {
		return fmt.Errorf("%w: its author's previous event is not in its past", ErrEvent)
	}
	if p := l.h.entries[prev]; p.device != e.device || p.aseq != e.aseq-1 {
		return fmt.Errorf("%w: its author's previous event has another author or number", ErrEvent)
	}
	return nil
}

// findSigners looks up the members of the signing devices. Each device must be introduced in e's past, and each
// cosigner must have stated its last own event there.
func (l *Log) findSigners(e *entry) error {
	author, err := l.known(e.device, e.past)
	if err != nil {
		return err
	}
	e.author = author.member
	if author.cert != nil {
		e.ends = author.cert.NotAfter
	}
	if !e.rootAct {
		e.signers = append(e.signers, signer{author.id, author.member})
	}
	for _, c := range e.event.Cosigners {
		d, err := l.known(c.Device, e.past)
		if err != nil {
			return err
		}
		if last := l.h.lastAseq(d.id, e.past); c.Aseq != last {
			return fmt.Errorf("%w: cosigner %s states number %d, its last own event in the past is %d",
				ErrEvent, d.id.Short(), c.Aseq, last)
		}
		e.signers = append(e.signers, signer{d.id, d.member})
	}
	return nil
}

// known returns a device that something in a set introduces.
func (l *Log) known(id identity.DeviceID, in bitset) (*deviceInfo, error) {
	if slices.ContainsFunc(l.h.intro[id], in.has) {
		return l.h.devices[id], nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownDevice, id.Short())
}

// lastAseq returns the greatest number of a device's events in a causally closed set, 0 if there is none. As each
// event has its author's previous one in its past, the numbers there have no gap.
func (h *history) lastAseq(d identity.DeviceID, in bitset) uint64 {
	numbered := h.numbered[d]
	return uint64(sort.Search(len(numbered), func(n int) bool {
		return !slices.ContainsFunc(numbered[uint64(n)+1], in.has)
	}))
}

// readBody takes over what replay needs of the body.
func (l *Log) readBody(e *entry) {
	switch b := e.body.(type) {
	case *KeyEpoch:
		e.readEpoch(b)
	case *InviteCreate:
		e.invite, e.onInvite = b.Invite, true
	case *Admit:
		e.about = true
		if b.Invite != nil {
			e.invite, e.onInvite = *b.Invite, true
		}
		e.admission = l.readAdmission(e, b)
	case *InviteRevoke:
		e.invite, e.onInvite = b.Invite, true
	case *RoleGrant:
		e.subject, e.about = b.Member, true
	case *Revoke:
		e.subject, e.about = b.Member, true
		if b.Epoch != nil {
			e.readEpoch(b.Epoch)
		}
	case *RoleDrop:
		e.subject, e.about = b.Member, true
	case *DeviceRemove:
		e.target = b.Device
		e.subject, e.about = l.h.ownerOf(b.Device, e.past)
		if b.Epoch != nil {
			e.readEpoch(b.Epoch)
		}
	case *Leave:
		e.subject, e.about = e.author, true
	case *Carry:
		e.subject, e.about = b.record.Member, true
		if d := l.h.anyDevice(b.record.Member, e.past); d != nil && b.record.Verify(d.identity) == nil {
			e.revoked = b.record
		}
	default:
		l.readRest(e)
	}
}

// readRest takes over the bodies of the kinds that name other events or devices.
func (l *Log) readRest(e *entry) {
	switch b := e.body.(type) {
	case *Endorse:
		e.named = l.h.inPast(b.Events, e.past)
	case *EquivocationProof:
		if d, err := l.known(b.place.device, e.past); err == nil && b.verify(l.root.Project, d.cert.DK) == nil {
			e.proof = &b.place
			if x, err := parseHalf(b.A); err == nil {
				e.proofPrev = x.prev
			}
		}
	case *QuarantinePropose:
		e.subject, e.about = b.Member, true
	case *QuarantineVote:
		e.vote(l.h, b)
	case *LiftQuarantine:
		if b.Device != nil {
			e.target = *b.Device
			e.subject, e.about = l.h.ownerOf(*b.Device, e.past)
		} else {
			e.subject, e.about = *b.Member, true
		}
	}
}

// vote finds the proposal that a vote is on.
func (e *entry) vote(h *history, b *QuarantineVote) {
	at := h.inPast([]EventID{b.Proposal}, e.past)
	if len(at) == 1 && h.entries[at[0]].kind == KindQuarantinePropose {
		e.named, e.subject, e.about = at, h.entries[at[0]].subject, true
	}
}

// inPast returns the entries of those of ids that lie in a set.
func (h *history) inPast(ids []EventID, past bitset) []int {
	var out []int
	for _, id := range ids {
		if i, ok := h.byID[id]; ok && i != 0 && past.has(i) {
			out = append(out, i)
		}
	}
	return out
}

// anyDevice returns a device of a member that something in a set introduces, nil if nothing does.
func (h *history) anyDevice(m identity.MemberID, in bitset) *deviceInfo {
	for _, d := range h.owned[m] {
		if slices.ContainsFunc(h.intro[d], in.has) {
			return h.devices[d]
		}
	}
	return nil
}

// ownerOf returns the member of a device that something in a set introduces.
func (h *history) ownerOf(d identity.DeviceID, in bitset) (identity.MemberID, bool) {
	if slices.ContainsFunc(h.intro[d], in.has) {
		return h.devices[d].member, true
	}
	return identity.MemberID{}, false
}

func (e *entry) readEpoch(k *KeyEpoch) {
	core, err := k.Decode()
	if err != nil {
		return // refused when the event was parsed
	}
	e.epoch = &epochInfo{id: k.ID(), core: core, object: k}
}

// readAdmission verifies the certificates and the proof in an Admit. What fails is noted: the event is kept and
// counts for nothing.
func (l *Log) readAdmission(e *entry, b *Admit) *admission {
	a := &admission{}
	id, dev := e.event.readCertificates().identity, e.event.readCertificates().device
	if id == nil {
		a.fault = ReasonCertificate
		return a
	}
	e.subject = id.Member()
	if dev == nil {
		a.fault = ReasonCertificate
		return a
	}
	a.device = dev.ID
	a.info = deviceOf(id, dev)
	if b.Invite == nil {
		return a
	}
	a.proof = ProofHash(b.ProofPub)
	key, err := sign.ParsePublicKey(b.ProofPub)
	if err != nil {
		a.fault = ReasonProof
		return a
	}
	msg := InviteProof(l.root.Project, *b.Invite, id.ID, dev.ID, e.device, *b.Th)
	if key.Verify(sign.InviteProof, msg, b.Proof) != nil {
		a.fault = ReasonProof
	}
	return a
}

func deviceOf(id *identity.IdentityCert, dev *identity.DeviceCert) *deviceInfo {
	return &deviceInfo{
		id: dev.ID, member: id.Member(), kem: identity.KemID(dev.KEM), maxRole: Role(dev.MaxRole), cert: dev,
		identity: id,
	}
}

// verify checks the signatures of an event whose facts are known: author, cosigners, root holders.
func (l *Log) verify(e *entry) error {
	ev := e.event
	switch {
	case ev.Compacted() && l.bare, ev.verified && !ev.Compacted():
		return nil
	case ev.Compacted():
		return ErrCompacted
	}
	if err := l.verifyDevice(ev, e.device, ev.sigs[0]); err != nil {
		return err
	}
	for i, c := range ev.Cosigners {
		if err := l.verifyDevice(ev, c.Device, ev.sigs[1+i]); err != nil {
			return err
		}
	}
	return l.verifyHolders(ev)
}

// verifyHolders checks the signatures of the root holders. Some may be blank if the others are as many as must sign: then
// it does not matter for what comes of the event which of them a copy has.
func (l *Log) verifyHolders(ev *Event) error {
	signed := 0
	for i, m := range ev.Holders {
		sig := ev.sigs[1+len(ev.Cosigners)+i]
		if len(sig) == 0 {
			continue
		}
		if err := l.verifyHolder(ev, m, sig); err != nil {
			return err
		}
		signed++
	}
	if signed == len(ev.Holders) {
		return nil
	}
	if r := l.h.roots.known[ev.Root]; r == nil || signed < int(r.Policy.Threshold) {
		return fmt.Errorf("%w: %d of %d root holders have signed, too few to leave one out", ErrEvent, signed, len(ev.Holders))
	}
	for _, m := range ev.Holders {
		if _, err := l.holderKey(ev.Root, m); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) verifyHolder(ev *Event, m identity.MemberID, sig []byte) error {
	key, err := l.holderKey(ev.Root, m)
	if err != nil {
		return err
	}
	if err := key.Verify(sign.EventRoot, ev.core, sig); err != nil {
		return fmt.Errorf("root holder %s: %w", m.Short(), err)
	}
	return nil
}

func (l *Log) verifyDevice(ev *Event, d identity.DeviceID, sig []byte) error {
	if err := l.h.devices[d].cert.DK.Verify(sign.Event, ev.core, sig); err != nil {
		return fmt.Errorf("device %s: %w", d.Short(), err)
	}
	return nil
}

func (l *Log) holderKey(root genesis.RootID, m identity.MemberID) (*sign.PublicKey, error) {
	if r := l.h.roots.known[root]; r != nil {
		if h, ok := r.Holder(m); ok {
			return h.Key, nil
		}
	}
	return nil, fmt.Errorf("%w: %s holds no part of the root", ErrEvent, m.Short())
}

// distinctKeys counts the root holders who are listed by the bytes of their keys.
func (l *Log) distinctKeys(ev *Event) int {
	seen := map[string]bool{}
	for _, m := range ev.Holders {
		if key, err := l.holderKey(ev.Root, m); err == nil {
			seen[string(key.Bytes())] = true
		}
	}
	return len(seen)
}
