package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// view is Fold(in, void): what the events of a causally closed set amount to, if those in void count for nothing.
// Its answers are computed when asked, from the few events that are about what is asked.
type view struct {
	h    *history
	in   bitset
	void bitset
}

func (v view) counts(i int) bool { return v.in.has(i) && !v.void.has(i) }

// acts returns the acts on a member that have effect, in causal order. An Admit of somebody who is present at its
// place is the repetition of his admission and has none.
func (v view) acts(m identity.MemberID) []int {
	var acts []int
	for _, i := range v.h.acts[m] {
		if !v.counts(i) {
			continue
		}
		e := v.h.entries[i]
		if e.kind == KindAdmit && len(acts) > 0 && v.h.outcome(v.h.within(acts, e.past)) != None {
			continue
		}
		acts = append(acts, i)
	}
	return acts
}

// within returns those of acts that lie in past.
func (h *history) within(acts []int, past bitset) []int {
	out := make([]int, 0, len(acts))
	for _, i := range acts {
		if past.has(i) {
			out = append(out, i)
		}
	}
	return out
}

// last returns the causally maximal ones of acts, which are in causal order.
func (h *history) last(acts []int) []int {
	var out []int
	for k, i := range acts {
		later := slices.ContainsFunc(acts[k+1:], func(j int) bool { return h.entries[j].past.has(i) })
		if !later {
			out = append(out, i)
		}
	}
	return out
}

// outcome returns the role that effective acts on one member give: none if one of the maximal ones removes him,
// else the highest that they give.
func (h *history) outcome(acts []int) Role {
	role := None
	for _, i := range h.last(acts) {
		switch b := h.entries[i].body.(type) {
		case *Revoke:
			return None
		case *Admit:
			role = max(role, b.Role)
		case *RoleGrant:
			role = max(role, b.Role)
		}
	}
	return role
}

func (v view) role(m identity.MemberID) Role { return v.h.outcome(v.acts(m)) }

// live reports whether a device is live: every maximal act on it adds it, and its member has a role.
func (v view) live(d *deviceInfo) bool {
	acts := v.acts(d.member)
	return v.h.outcome(acts) != None && v.h.adds(acts, d.id)
}

// adds reports whether, of effective acts on a device's member, the maximal ones on the device add it.
func (h *history) adds(acts []int, d identity.DeviceID) bool {
	var on []int
	for _, i := range acts {
		e := h.entries[i]
		if e.kind == KindRevoke || e.kind == KindAdmit && e.admission.device == d {
			on = append(on, i)
		}
	}
	on = h.last(on)
	return len(on) > 0 && !slices.ContainsFunc(on, func(i int) bool { return h.entries[i].kind == KindRevoke })
}

// standing returns the role in which a device acts: its member's, at most that of its certificate, and none unless
// it is live.
func (v view) standing(id identity.DeviceID) Role {
	d := v.h.devices[id]
	if d == nil || !v.live(d) {
		return None
	}
	return min(v.role(d.member), d.maxRole)
}

// suspended reports whether a device lost its governance authority: two different events of it bear one number.
func (v view) suspended(d identity.DeviceID) bool { _, ok := v.h.forkIn(d, v.in); return ok }

// forkIn returns the lowest number that stands on two events of a device in a set.
func (h *history) forkIn(d identity.DeviceID, in bitset) (aseq uint64, ok bool) {
	for _, n := range h.forks[d] {
		found := 0
		for _, i := range h.numbered[d][n] {
			if in.has(i) {
				found++
			}
		}
		if found > 1 {
			return n, true
		}
	}
	return 0, false
}

// managers counts the members, but one, who are managers and have a live, unsuspended device that may act as one.
func (v view) managers(except identity.MemberID) int {
	n := 0
	for _, m := range v.h.members {
		if m == except || v.role(m) != Manager {
			continue
		}
		if slices.ContainsFunc(v.h.owned[m], func(d identity.DeviceID) bool {
			return v.standing(d) == Manager && !v.suspended(d)
		}) {
			n++
		}
	}
	return n
}

// inviteOf returns the InviteCreate of an invite that counts, or none. Of several, which only a cycle or an
// equivocation brings about, it is the one with the lowest id.
func (v view) inviteOf(id InviteID) int {
	var found []int
	for _, i := range v.h.invites[id] {
		if v.counts(i) {
			found = append(found, i)
		}
	}
	return v.h.lowest(found)
}

// cancelled returns a counting InviteRevoke of an invite, or none: the one with the lowest id.
func (v view) cancelled(id InviteID) int {
	var found []int
	for _, i := range v.h.cancels[id] {
		if v.counts(i) {
			found = append(found, i)
		}
	}
	return v.h.lowest(found)
}

// removed returns a counting removal of a member, or none: the one with the lowest id.
func (v view) removed(m identity.MemberID) int {
	var found []int
	for _, i := range v.h.acts[m] {
		if v.counts(i) && v.h.entries[i].kind == KindRevoke {
			found = append(found, i)
		}
	}
	return v.h.lowest(found)
}

// admitted reports whether a counting Admit of a member on an invite is there.
func (v view) admitted(m identity.MemberID, invite InviteID) bool {
	return slices.ContainsFunc(v.h.acts[m], func(i int) bool {
		e := v.h.entries[i]
		return v.counts(i) && e.kind == KindAdmit && e.onInvite && e.invite == invite
	})
}

// whyOut returns the event that keeps a member out, for people: a removal, else a void admission, else none.
func (v view) whyOut(m identity.MemberID) int {
	if r := v.removed(m); r != none {
		return r
	}
	var found []int
	for _, i := range v.h.acts[m] {
		if v.in.has(i) && v.void.has(i) && v.h.entries[i].kind == KindAdmit {
			found = append(found, i)
		}
	}
	return v.h.lowest(found)
}

// roster returns the live devices but those of one member, with their KEM keys.
func (v view) roster(without identity.MemberID) []RosterEntry {
	var out []RosterEntry
	for _, m := range v.h.members {
		if m == without {
			continue
		}
		for _, id := range v.h.owned[m] {
			if d := v.h.devices[id]; v.live(d) {
				out = append(out, RosterEntry{Device: id, KemID: d.kem})
			}
		}
	}
	return out
}
