package governance

import (
	"slices"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// view is Fold(in, void): what the events of a causally closed set amount to, if those in void count for nothing and
// base is the last settled checkpoint. Its answers are computed when asked, from the few events that are about what is
// asked.
type view struct {
	h    *history
	in   bitset
	void bitset
	base int
}

func (v view) counts(i int) bool { return v.in.has(i) && !v.void.has(i) }

// before reports whether act i stands before act j: it lies in j's past, or a checkpoint that j came too late for has
// settled it.
func (v view) before(i, j int) bool {
	if v.h.entries[j].past.has(i) {
		return true
	}
	for b := v.base; b != none; b = v.h.entries[b].base {
		past := v.h.entries[b].past
		if !past.has(i) {
			return false
		}
		if !past.has(j) {
			return true
		}
	}
	return false
}

// last returns those of acts that stand before no other.
func (v view) last(acts []int) []int {
	var out []int
	for _, i := range acts {
		later := false
		for _, j := range slices.Backward(acts) { // the last of all most often stands after the others
			if later = j != i && v.before(i, j); later {
				break
			}
		}
		if !later {
			out = append(out, i)
		}
	}
	return out
}

// prior returns those of acts that stand before one.
func (v view) prior(acts []int, j int) []int {
	out := make([]int, 0, len(acts))
	for _, i := range acts {
		if v.before(i, j) {
			out = append(out, i)
		}
	}
	return out
}

// acts returns the acts on a member that have effect, in causal order. An Admit of somebody who is present at its
// place is the repetition of his admission and has none.
func (v view) acts(m identity.MemberID) []int {
	var acts []int
	for _, i := range v.h.acts[m] {
		if !v.counts(i) {
			continue
		}
		e := v.h.entries[i]
		if e.kind == KindAdmit && len(acts) > 0 && v.outcome(m, v.h.within(acts, e.past)) != None {
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

// gives returns the highest role that an additive act gives a member.
func (h *history) gives(e *entry, m identity.MemberID) Role {
	switch b := e.body.(type) {
	case *Admit:
		return b.Role
	case *RoleGrant:
		return b.Role
	case *Endorse:
		role := None
		for _, i := range e.named {
			if a := h.entries[i]; a.about && a.subject == m {
				role = max(role, h.gives(a, m))
			}
		}
		return role
	}
	return None
}

// outcome returns the role that effective acts on one member give. If one of the last takes standing away it is the
// lowest that such a one leaves, else the highest that they give.
func (v view) outcome(m identity.MemberID, acts []int) Role {
	acts = slices.DeleteFunc(slices.Clone(acts), func(i int) bool { return v.h.entries[i].kind == KindDeviceRemove })
	given, left, taken := None, Manager, false
	for _, i := range v.last(acts) {
		e := v.h.entries[i]
		switch b := e.body.(type) {
		case *Revoke, *Leave, *Carry:
			return None
		case *RoleDrop:
			taken = true
			left = min(left, b.Role, v.outcome(m, v.prior(acts, i)))
		default:
			given = max(given, v.h.gives(e, m))
		}
	}
	if taken {
		return left
	}
	return given
}

func (v view) role(m identity.MemberID) Role {
	if b := v.unmoved(m); b != nil {
		role, known := b.roles[m]
		if !known {
			role = v.h.pastOf(b).role(m)
			b.remember(v.h)
			b.roles[m] = role
		}
		return role
	}
	return v.outcome(m, v.acts(m))
}

// unmoved returns the last settled checkpoint if nothing that counts since is about a member, and what is about him
// before is judged as it judges it: then he stands as in its past.
func (v view) unmoved(m identity.MemberID) *entry {
	if v.base == none {
		return nil
	}
	b := v.h.entries[v.base]
	for _, i := range slices.Backward(v.h.acts[m]) {
		if b.past.has(i) {
			if v.void.has(i) != b.before.void.has(i) {
				return nil // where a rival unsettles it, its past may be judged otherwise
			}
		} else if v.counts(i) {
			return nil
		}
	}
	return b
}

// remember makes room for what is remembered of the members at a settled checkpoint, and forgets what an earlier one
// remembered.
func (e *entry) remember(h *history) {
	if e.roles != nil {
		return
	}
	e.roles, e.standings = map[identity.MemberID]Role{}, map[identity.DeviceID]Role{}
	if e.base != none && h.entries[e.base].base != none {
		old := h.entries[h.entries[e.base].base]
		old.roles, old.standings = nil, nil
	}
}

// live reports whether a device is live: every last act on it adds it, and its member has a role.
func (v view) live(d *deviceInfo) bool {
	if d.maxRole > None {
		return v.standing(d.id) != None
	}
	acts := v.acts(d.member)
	return v.outcome(d.member, acts) != None && v.adds(acts, d.id)
}

// adds reports whether, of effective acts on a device's member, the last ones on the device add it.
func (v view) adds(acts []int, d identity.DeviceID) bool {
	var on []int
	for _, i := range acts {
		if v.h.takes(v.h.entries[i], d) || v.h.admitsDevice(v.h.entries[i], d) {
			on = append(on, i)
		}
	}
	on = v.last(on)
	return len(on) > 0 && !slices.ContainsFunc(on, func(i int) bool { return v.h.takes(v.h.entries[i], d) })
}

// takes reports whether an act on a device's member ends the device.
func (h *history) takes(e *entry, d identity.DeviceID) bool {
	switch e.kind {
	case KindRevoke, KindLeave, KindCarry:
		return true
	case KindDeviceRemove:
		return e.target == d
	}
	return false
}

// admitsDevice reports whether an act adds a device.
func (h *history) admitsDevice(e *entry, d identity.DeviceID) bool {
	switch e.kind {
	case KindAdmit:
		return e.admission.device == d
	case KindEndorse:
		return slices.ContainsFunc(e.named, func(i int) bool { return h.admitsDevice(h.entries[i], d) })
	}
	return false
}

// standing returns the role in which a device acts: its member's, at most that of its certificate, and none unless
// it is live.
func (v view) standing(id identity.DeviceID) Role {
	d := v.h.devices[id]
	if d == nil {
		return None
	}
	if b := v.unmoved(d.member); b != nil {
		role, known := b.standings[id]
		if !known {
			role = v.h.pastOf(b).standing(id)
			b.remember(v.h)
			b.standings[id] = role
		}
		return role
	}
	acts := v.acts(d.member)
	role := v.outcome(d.member, acts)
	if role == None || !v.adds(acts, id) {
		return None
	}
	return min(role, d.maxRole)
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

// inviteOf returns the InviteCreate of an invite that counts or is endorsed, or none. Of several, which only a cycle,
// an equivocation or an Endorse brings about, it is the one with the lowest id.
func (v view) inviteOf(id InviteID) int {
	var found []int
	for _, i := range v.h.invites[id] {
		if v.counts(i) || v.in.has(i) && slices.ContainsFunc(v.h.endorsed[i], v.counts) {
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

// removed returns a counting removal of a member by others, or none: the one with the lowest id.
func (v view) removed(m identity.MemberID) int {
	var found []int
	for _, i := range v.h.acts[m] {
		if k := v.h.entries[i].kind; v.counts(i) && (k == KindRevoke || k == KindCarry) {
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

// roster returns the live devices but those of one member and but one, with their KEM keys.
func (v view) roster(without identity.MemberID, device identity.DeviceID) []RosterEntry {
	var out []RosterEntry
	for _, m := range v.h.members {
		if m == without {
			continue
		}
		for _, id := range v.h.owned[m] {
			if d := v.h.devices[id]; id != device && v.live(d) {
				kemID, _ := v.kem(d)
				out = append(out, RosterEntry{Device: id, KemID: kemID})
			}
		}
	}
	return out
}

// kem returns the key to which secrets for a device are sealed: that of its last KeyUpdate, else its certificate's. Of
// updates beside each other it is the one of the event with the lowest id.
func (v view) kem(d *deviceInfo) (wire.ID, *kem.PublicKey) {
	var found []int
	for _, i := range slices.Backward(v.h.updates[d.id]) {
		if v.counts(i) && !slices.ContainsFunc(found, func(j int) bool { return v.before(i, j) }) {
			found = append(found, i)
		}
		if len(v.h.evidence[d.id]) == 0 && len(found) > 0 {
			break // one line of events, of which this is the last
		}
	}
	if i := v.h.lowest(v.last(found)); i != none {
		if key := v.h.entries[i].body.(*KeyUpdate).key; key != nil {
			return identity.KemID(key), key
		}
	}
	if d.cert == nil {
		return d.kem, nil
	}
	return d.kem, d.cert.KEM
}
