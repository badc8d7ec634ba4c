package governance

import (
	"bytes"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// losses is what an epoch's author must have known for the epoch to be usable: every event that ended somebody's
// standing, and one of each group that shows why an admission fell. What the last settled checkpoint settled is in
// settled; who knows the checkpoint knows all of it.
type losses struct {
	all     bitset
	oneOf   []bitset
	base    int
	settled *losses
}

// losses collects them for an outcome.
func (h *history) losses(in bitset, v *verdict) *losses {
	if v.lost != nil {
		return v.lost
	}
	l := &losses{base: v.base}
	var settled bitset
	if v.base != none {
		b := h.entries[v.base]
		l.settled, settled = h.losses(b.past, b.before), b.past
	}
	for i := range in.without(settled).without(v.void).members {
		if h.entries[i].endsAccess() {
			l.all.add(i)
		}
	}
	for _, x := range v.items() {
		h.lossOf(l, x, in, v)
	}
	v.lost = l
	return l
}

// endsAccess reports whether a counting event takes the keys from a device.
func (e *entry) endsAccess() bool {
	switch e.kind {
	case KindRevoke, KindDeviceRemove, KindLeave, KindCarry:
		return true
	}
	return false
}

// lossOf adds what shows that an act fell that had let somebody in where it stood.
func (h *history) lossOf(l *losses, x voided, in bitset, v *verdict) {
	e := h.entries[x.idx]
	letsIn := e.kind == KindAdmit || e.kind == KindInviteCreate || e.kind == KindRoleGrant || e.kind == KindEndorse
	if !letsIn || e.after.void.has(x.idx) {
		return // nobody ever saw it in force, or it lets nobody in
	}
	switch {
	case x.stage == stageLocal: // too late for a checkpoint, or superseded with the root
		if x.fault.culprit != none {
			l.all.add(x.fault.culprit)
		}
	case x.stage == stageFork:
		l.oneOf = append(l.oneOf, h.branches(e, in))
	case x.stage == stageInvite && e.kind == KindAdmit:
		for _, i := range h.users(e.creates, in, v) {
			l.all.add(i)
		}
	case x.stage == stageInvite && x.fault.culprit != none:
		l.all.add(x.fault.culprit)
	case x.stage == stageStrip && (x.fault.reason == ReasonStripped || x.fault.reason == ReasonQuarantine):
		if c := h.entries[x.fault.culprit]; !c.endsAccess() {
			l.oneOf = append(l.oneOf, h.strippers(e, x, in, v))
		}
	}
}

// strippers returns what strips an act and takes no keys by itself: cancelled invites, lower roles, quarantines. To
// know one of them is to know that the act fell.
func (h *history) strippers(e *entry, x voided, in bitset, v *verdict) bitset {
	var out bitset
	r := &replay{h: h, in: in, base: v.base, void: v.void}
	for _, i := range h.removals {
		if k := h.entries[i].kind; k != KindInviteRevoke && k != KindRoleDrop || !in.has(i) || v.void.has(i) {
			continue
		}
		if slices.Contains(r.exposed(i), e.idx) && r.strips(i, e.idx) {
			out.add(i)
		}
	}
	if x.fault.reason == ReasonQuarantine {
		out.add(x.fault.culprit)
	}
	return out
}

// branches returns the events that show that e's device equivocated at or before e, other than e's own branch.
func (h *history) branches(e *entry, in bitset) bitset {
	var out bitset
	for _, ev := range h.evidence[e.device] {
		if ev.aseq > e.aseq {
			break
		}
		for _, i := range ev.events {
			if in.has(i) && i != e.idx && !e.past.has(i) {
				out.add(i)
			}
		}
	}
	return out
}

// covers reports whether the author of e knew of all losses.
func (l *losses) covers(e *entry) bool {
	known := e.past.with(e.idx)
	for ; l != nil; l = l.settled {
		if !l.knownTo(known) {
			return false
		}
		if l.base != none && known.has(l.base) {
			return true
		}
	}
	return true
}

// knownTo reports whether a set holds what is lost beyond the last settled checkpoint.
func (l *losses) knownTo(known bitset) bool {
	return known.contains(l.all) && !slices.ContainsFunc(l.oneOf, func(group bitset) bool { return known.disjoint(group) })
}

// coveredSince is covers for an event in the past of the last settled checkpoint that knew of all losses there.
func (l *losses) coveredSince(e *entry) bool { return l.knownTo(e.past.with(e.idx)) }

// owed reports whether the devices live in an outcome have no usable epoch.
func (h *history) owed(in bitset, v *verdict) bool {
	l := h.losses(in, v)
	for _, i := range slices.Backward(h.epochs) {
		e := h.entries[i]
		if in.has(i) && !v.void.has(i) && e.epoch.valid && l.covers(e) {
			return false
		}
	}
	return true
}

// Epoch is a key under which content is sealed.
type Epoch struct {
	ID      EpochID
	Event   EventID // that carries it
	Device  identity.DeviceID
	Prev    []EpochID
	Object  *KeyEpoch // must not be changed
	usable  bool
	settled int // settled checkpoints before it
	rank    int // epochs before it
}

// buildEpochs fills in the epochs of a state, ascending by id.
func (s *State) buildEpochs(v view, out *verdict) {
	l := v.h.losses(v.in, out)
	var valid []int
	for _, i := range v.h.epochs {
		if v.counts(i) && v.h.entries[i].epoch.valid {
			valid = append(valid, i)
		}
	}
	s.epochs = map[EpochID]*Epoch{}
	for _, i := range valid {
		x := s.epochRow(v, l, valid, i)
		s.minted = append(s.minted, minted{i, x})
		if old := s.epochs[x.ID]; old == nil || x.better(old) {
			s.epochs[x.ID] = x
		}
	}
	for _, x := range s.epochs {
		s.epochList = append(s.epochList, x)
		if x.usable && (s.sending == nil || x.before(s.sending)) {
			s.sending = x
		}
	}
	slices.SortFunc(s.epochList, func(a, b *Epoch) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for ; l != nil && len(s.owing) == 0; l = l.settled {
		for i := range l.all.members {
			s.owing = append(s.owing, v.h.entries[i].id)
		}
	}
	wire.SortIDs(s.owing)
}

// minted is an epoch that counts and the entry that carries it; two may carry one.
type minted struct {
	idx   int
	epoch *Epoch
}

// epochRow fills in one epoch. Of a settled one only whether it is usable can have changed.
func (s *State) epochRow(v view, l *losses, valid []int, i int) *Epoch {
	e := v.h.entries[i]
	if old := s.reuse.epoch(i); old != nil && (!old.usable || l.coveredSince(e)) {
		return old
	} else if old != nil {
		return v.h.epochOf(e)
	}
	x := v.h.epochOf(e)
	if x.usable = l.covers(e); x.usable {
		x.rank = len(v.h.within(valid, e.past))
		for b := v.base; b != none; b = v.h.entries[b].base {
			if e.past.has(b) {
				x.settled++
			}
		}
	}
	return x
}

func (h *history) epochOf(e *entry) *Epoch {
	return &Epoch{
		ID: e.epoch.id, Event: e.id, Device: e.device, Prev: e.epoch.core.Prev, Object: e.epoch.object,
	}
}

// better picks one of two events that carry one epoch.
func (x *Epoch) better(old *Epoch) bool {
	if x.usable != old.usable {
		return x.usable
	}
	return bytes.Compare(x.Event[:], old.Event[:]) < 0
}

// before is the choice of the epoch to send under: the most settled checkpoints before it, then the most epochs, then
// the lowest id.
func (x *Epoch) before(y *Epoch) bool {
	if x.settled != y.settled {
		return x.settled > y.settled
	}
	if x.rank != y.rank {
		return x.rank > y.rank
	}
	return bytes.Compare(x.ID[:], y.ID[:]) < 0
}

// Epochs returns the epochs that count, ascending by id. All of them are for reading.
func (s *State) Epochs() []*Epoch { return s.epochList }

// Epoch returns an epoch that counts.
func (s *State) Epoch(id EpochID) (*Epoch, bool) { e, ok := s.epochs[id]; return e, ok }

// Usable reports whether content may be sealed under an epoch: its author knew of every loss of standing.
func (s *State) Usable(id EpochID) bool { e := s.epochs[id]; return e != nil && e.usable }

// SendingEpoch returns the epoch to seal under, which all who hold this state agree on. There is none if a rotation
// is owed: see [State.Owed].
func (s *State) SendingEpoch() (*Epoch, bool) { return s.sending, s.sending != nil }

// EpochTips returns the epochs that no other names as earlier, ascending by id: whoever holds their keys can open
// those of all earlier ones, and a new epoch hands them on.
func (s *State) EpochTips() []*Epoch {
	named := map[EpochID]bool{}
	for _, e := range s.epochList {
		for _, p := range e.Prev {
			named[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(s.epochList), func(e *Epoch) bool { return named[e.ID] })
}

// Owed reports whether a new epoch is owed, and the place of a device in the order in which those who may mint
// offer it, so that not all do: 0 is the first. place is -1 if the device may not mint.
func (s *State) Owed(device identity.DeviceID) (place int, owed bool) {
	if s.sending != nil {
		return -1, false
	}
	if !s.May(device, ActMint) {
		return -1, true
	}
	mine := s.mintOrder(device)
	for _, d := range s.live {
		if d.ID != device && s.May(d.ID, ActMint) {
			if o := s.mintOrder(d.ID); o.Compare(mine) < 0 {
				place++
			}
		}
	}
	return place, true
}

// mintOrder is H("mint", owing event, device); the owing event is the lowest of the losses that are not settled, or of
// the last that were, zero before the first.
func (s *State) mintOrder(d identity.DeviceID) wire.ID {
	var owing EventID
	if len(s.owing) > 0 {
		owing = s.owing[0]
	}
	return derive.ListID("mint", owing, d)
}
