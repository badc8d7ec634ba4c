package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// statesSettled is how many checkpoints keep the state of their past, for later states to take over what has not moved.
const statesSettled = 4

// reuse is what a state takes over from the one that its last settled checkpoint has settled: the rows of members,
// invites and epochs that nothing since is about. So a state costs what has happened since, and a copy.
type reuse struct {
	from    *State // nil: nothing is taken over
	past    bitset // what is settled
	members map[identity.MemberID]bool
	keys    map[identity.DeviceID]bool // of which only the KEM key may be another
	opens   map[chainKey]bool          // opened since
	invites map[InviteID]bool
}

// reuse finds what has moved since the last settled checkpoint of v.
func (h *history) reuse(v view) *reuse {
	if v.base == none || h.entries[v.base].state == nil {
		return &reuse{}
	}
	r := &reuse{
		from: h.entries[v.base].state, past: h.entries[v.base].past, members: map[identity.MemberID]bool{},
		keys: map[identity.DeviceID]bool{}, opens: map[chainKey]bool{}, invites: map[InviteID]bool{},
	}
	for i := range v.in.without(r.past).members {
		r.touch(h, h.entries[i])
	}
	return r
}

// touch notes whom and what an event may have moved, void or not.
func (r *reuse) touch(h *history, e *entry) {
	if len(h.evidence[e.device]) > 0 {
		r.members[e.author] = true
	}
	for _, m := range h.subjects(e) {
		r.members[m] = true
	}
	of := func(d identity.DeviceID) {
		if info := h.devices[d]; info != nil {
			r.members[info.member] = true
		}
	}
	if e.proof != nil {
		of(e.proof.device)
	}
	switch b := e.body.(type) {
	case *FrontierExtend:
		for _, c := range b.Cuts {
			of(c.Device)
		}
	case *KeyUpdate:
		r.keys[e.device] = true
	case *ChainOpen:
		r.opens[chainKey{e.device, b.ChainNo}] = true
	}
	for _, id := range h.invitesOf(e) {
		r.invites[id] = true
	}
}

// member reports whether a member's row, devices and chains are those that were settled.
func (r *reuse) member(m identity.MemberID) bool { return r.from != nil && !r.members[m] }

// chain reports whether a chain's row is the one that was settled.
func (r *reuse) chain(key chainKey, m identity.MemberID) bool { return r.member(m) && !r.opens[key] }

// invite reports whether an invite's row is the one that was settled.
func (r *reuse) invite(id InviteID) bool { return r.from != nil && !r.invites[id] }

// epoch returns the row of an epoch that was settled, nil if it was not.
func (r *reuse) epoch(i int) *Epoch {
	if r.from == nil || !r.past.has(i) {
		return nil
	}
	k, found := slices.BinarySearchFunc(r.from.minted, i, func(m minted, i int) int { return m.idx - i })
	if !found {
		return nil
	}
	return r.from.minted[k].epoch
}

// keepState lets later states take over from that of a checkpoint's past, if it is allowed there.
func (h *history) keepState(e *entry) {
	if !e.own.ok() {
		e.state = nil
		return
	}
	h.stated = append(h.stated, e)
	if len(h.stated) > statesSettled {
		h.stated[0].state = nil
		h.stated = h.stated[1:]
	}
}
