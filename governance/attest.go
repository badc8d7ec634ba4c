package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// attester returns the newest settled checkpoint at least 24 numbers below the newest one, or none.
func (h *history) attester(newest int) int {
	for c := newest; c != none; c = h.entries[c].base {
		if h.numberAt(c)+staleHorizon <= h.numberAt(newest) {
			return c
		}
	}
	return none
}

// unattested returns the first entry without signatures that no settled checkpoint attests, or none. The pinned one attests
// as well: a rival of the newest, which nobody can keep from coming, must not make worthless what was compacted before.
func (h *history) unattested(newest int) int {
	var bare bitset
	for _, e := range h.entries[1:] {
		if e.event.Compacted() {
			bare.add(e.idx)
		}
	}
	for _, last := range []int{h.pin, h.attester(newest)} {
		for c := last; c != none && bare.count() > 0; c = h.entries[c].base {
			bare = bare.without(h.attested(c))
		}
	}
	for i := range bare.members {
		return i
	}
	return none
}

// attested returns what a checkpoint attests: the events of its past whose signatures nobody needs to know by which
// authority it was signed. Those by which one may stay: checkpoints, root acts, and the acts on managers; on whoever
// signed one of these, and so on; and the invites that brought them in. Nobody without the keys of as many managers as
// that asks for can make a past in which a checkpoint of his own is lawful.
func (h *history) attested(checkpoint int) bitset {
	a := &authority{h: h, past: h.entries[checkpoint].past, members: map[identity.MemberID]bool{}, invites: map[InviteID]bool{}}
	a.members[h.entries[0].subject] = true
	a.begin()
	for again := true; again; {
		again = false
		for i := range a.past.without(a.kept).members {
			if i != 0 && a.about(h.entries[i]) {
				a.keep(h.entries[i])
				again = true
			}
		}
	}
	if a.doubtful() {
		return nil
	}
	out := a.past.without(a.kept)
	return out.without(bitset{}.with(0))
}

// authority is what shows by itself who the managers are in the past of a checkpoint.
type authority struct {
	h       *history
	past    bitset
	kept    bitset
	members map[identity.MemberID]bool
	invites map[InviteID]bool
}

// begin finds the checkpoints, the root acts, and who was ever to be a manager.
func (a *authority) begin() {
	for i := range a.past.members {
		e := a.h.entries[i]
		if i == 0 {
			continue
		}
		if e.rootAct || e.kind == KindCheckpoint {
			a.keep(e)
		}
		for _, x := range append([]int{i}, e.named...) {
			if n := a.h.entries[x]; n.about && a.h.givesManager(n) {
				a.members[n.subject] = true
			}
		}
	}
}

func (a *authority) keep(e *entry) {
	a.kept.add(e.idx)
	a.members[e.author] = true
	for _, s := range e.signers {
		a.members[s.member] = true
	}
	for _, id := range a.h.invitesOf(e) {
		a.invites[id] = true
	}
}

// about reports whether an event is about one of the members or the invites that matter.
func (a *authority) about(e *entry) bool {
	return slices.ContainsFunc(a.h.subjects(e), func(m identity.MemberID) bool { return a.members[m] }) ||
		slices.ContainsFunc(a.h.invitesOf(e), func(id InviteID) bool { return a.invites[id] })
}

// doubtful reports whether a device of theirs signed two events of one number or was stolen: then it may depend on anybody's
// events what of theirs counts.
func (a *authority) doubtful() bool {
	for m := range a.members {
		for _, d := range a.h.owned[m] {
			if slices.ContainsFunc(a.h.evidence[d], func(ev evidence) bool { return ev.within(a.past) }) {
				return true
			}
		}
		for _, i := range a.h.acts[m] {
			e := a.h.entries[i]
			if b, ok := e.body.(*DeviceRemove); ok && b.Stolen != 0 && a.past.has(i) {
				return true
			}
		}
	}
	return false
}
