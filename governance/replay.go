package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// replay is one run of the rules over a causally closed set.
type replay struct {
	h         *history
	in        bitset
	list      []int // members of in, ascending, without the root record
	void      bitset
	contested bitset
	why       map[int]voided
	root      uint32 // version that the root has come to
}

// replay computes the outcome of a set from the beginning, with the root at the newest version that its events name.
func (h *history) replay(in bitset) *verdict {
	version := uint32(0)
	for i := range in.members {
		version = max(version, h.entries[i].rootN)
	}
	return h.replayAt(in, version)
}

func (h *history) replayAt(in bitset, version uint32) *verdict {
	r := &replay{h: h, in: in, why: map[int]voided{}, root: version}
	for i := range in.members {
		if i != 0 {
			r.list = append(r.list, i)
		}
	}
	r.local()
	r.equivocation()
	r.rivals()
	r.overuse()
	r.strip()
	return r.verdict()
}

func (r *replay) verdict() *verdict {
	log := &voidLog{items: make([]voided, 0, len(r.why))}
	for _, x := range r.why {
		log.items = append(log.items, x)
	}
	slices.SortFunc(log.items, func(a, b voided) int { return a.idx - b.idx })
	return &verdict{void: r.void, contested: r.contested, log: log, n: len(log.items)}
}

func (r *replay) reject(i int, s stage, f fault) {
	r.void.add(i)
	r.why[i] = voided{i, s, f}
}

// local voids what is wrong in itself or not allowed in its own past, and what the root has left behind.
func (r *replay) local() {
	for _, i := range r.list {
		e := r.h.entries[i]
		if f := e.own; !f.ok() {
			r.reject(i, stageLocal, f)
		} else if f := r.h.overtaken(e, r.root); !f.ok() {
			r.reject(i, stageLocal, f)
		}
	}
}

// equivocation judges what a device authored from the first number on that it used twice. What reduces goes on
// counting on every branch, so that nobody is brought back; what others had built on before they could see the
// second branch stays; the rest is void.
func (r *replay) equivocation() {
	var out []voided
	for d := range r.h.forks {
		n, forked := r.h.forkIn(d, r.in)
		if !forked {
			continue
		}
		for _, i := range r.h.authored[d] {
			e := r.h.entries[i]
			if !r.in.has(i) || r.void.has(i) || e.aseq < n || e.rootAct || e.reductive() {
				continue
			}
			if r.builtOn(e) {
				r.contested.add(i)
				continue
			}
			out = append(out, voided{i, stageFork, because(ReasonEquivocation, r.h.otherBranch(e, n, r.in))})
		}
	}
	for _, x := range out {
		r.reject(x.idx, x.stage, x.fault)
	}
}

// builtOn reports whether another member's lawful event has e in its past and was made without knowing that e's
// device had equivocated.
func (r *replay) builtOn(e *entry) bool {
	return slices.ContainsFunc(r.list, func(i int) bool {
		f := r.h.entries[i]
		if !f.past.has(e.idx) || f.author == e.author || !f.own.ok() {
			return false
		}
		n, known := r.h.forkIn(e.device, f.past)
		return !known || n > e.aseq
	})
}

// otherBranch returns an event that shows that e's device used the number n twice, one that e does not rest on: the
// one with the lowest id.
func (h *history) otherBranch(e *entry, n uint64, in bitset) int {
	var found []int
	for _, i := range h.numbered[e.device][n] {
		if in.has(i) && i != e.idx && !e.past.has(i) {
			found = append(found, i)
		}
	}
	if len(found) == 0 { // e rests on both
		for _, i := range h.numbered[e.device][n] {
			if in.has(i) && i != e.idx {
				found = append(found, i)
			}
		}
	}
	return h.lowest(found)
}

// rivals leaves one InviteCreate of each invite: not one that has another in its past, and of concurrent ones the
// one with the lowest id.
func (r *replay) rivals() {
	var out []voided
	for _, all := range r.h.invites {
		for _, i := range all {
			var over []int
			for _, j := range all {
				if !r.standing(i) || !r.standing(j) || i == j {
					continue
				}
				if r.h.entries[i].past.has(j) || r.h.concurrent(i, j) && r.h.lowest([]int{i, j}) == j {
					over = append(over, j)
				}
			}
			if len(over) > 0 {
				out = append(out, voided{i, stageInvite, because(ReasonInvite, r.h.lowest(over))})
			}
		}
	}
	for _, x := range out {
		r.reject(x.idx, x.stage, x.fault)
	}
}

// standing reports whether an event is in the set and not void so far.
func (r *replay) standing(i int) bool { return r.in.has(i) && !r.void.has(i) }

// overuse gives out the uses of each invite in an order that its users cannot choose, and voids the admissions that
// come after the last use.
func (r *replay) overuse() {
	for c, all := range r.h.admits {
		if !r.standing(c) {
			continue
		}
		var admits []int
		for _, i := range all {
			if r.standing(i) {
				admits = append(admits, i)
			}
		}
		limit := int(r.h.entries[c].body.(*InviteCreate).MaxUses)
		if len(admits) <= limit {
			continue
		}
		r.giveOut(r.h.useOrder(c, admits), limit)
	}
}

// giveOut lets the first admissions of an invite stand, as many members as it has uses.
func (r *replay) giveOut(order []int, limit int) {
	taken := map[identity.MemberID]int{}
	last := none
	var over []int
	for _, i := range order {
		m := r.h.entries[i].subject
		if _, again := taken[m]; again {
			continue // the same admission
		}
		if len(taken) < limit {
			taken[m], last = i, i
			continue
		}
		over = append(over, i)
	}
	for _, i := range over {
		e := r.h.entries[i]
		before := map[identity.MemberID]bool{}
		for _, j := range order {
			if e.past.has(j) && r.h.entries[j].subject != e.subject {
				before[r.h.entries[j].subject] = true
			}
		}
		reason := ReasonPending
		if len(before) >= limit {
			reason = ReasonInviteUsed
		}
		r.reject(i, stageInvite, because(reason, last))
	}
}

// useOrder orders the admissions on an invite: repeatedly, of those with no earlier one left in their past, that of
// the host listed earliest, then the lowest number, then the lowest id.
func (h *history) useOrder(c int, admits []int) []int {
	rank := map[identity.DeviceID]int{}
	for k, host := range h.entries[c].body.(*InviteCreate).Hosts {
		rank[host.Device] = k
	}
	better := func(i, j int) bool {
		a, b := h.entries[i], h.entries[j]
		if rank[a.device] != rank[b.device] {
			return rank[a.device] < rank[b.device]
		}
		if a.aseq != b.aseq {
			return a.aseq < b.aseq
		}
		return h.lowest([]int{i, j}) == i
	}
	waits := make([]int, len(admits)) // how many not yet ordered lie in its past
	for k, i := range admits {
		waits[k] = len(h.within(admits, h.entries[i].past))
	}
	order := make([]int, 0, len(admits))
	for range admits {
		best := none
		for k, i := range admits {
			if waits[k] == 0 && (best == none || better(i, admits[best])) {
				best = k
			}
		}
		next := admits[best]
		order = append(order, next)
		waits[best] = none
		for k, i := range admits {
			if h.entries[i].past.has(next) {
				waits[k]--
			}
		}
	}
	return order
}

// taken returns the members who hold a use of an invite in an outcome.
func (h *history) taken(c int, in bitset, v *verdict) map[identity.MemberID]bool {
	members := map[identity.MemberID]bool{}
	for _, i := range h.admits[c] {
		if in.has(i) && v.passed(i, stageInvite) {
			members[h.entries[i].subject] = true
		}
	}
	return members
}

// taker returns the admission that took the last use of an invite.
func (h *history) taker(c int, in bitset, v *verdict) int {
	var admits []int
	for _, i := range h.admits[c] {
		if in.has(i) && v.passed(i, stageFork) {
			admits = append(admits, i)
		}
	}
	limit := int(h.entries[c].body.(*InviteCreate).MaxUses)
	seen := map[identity.MemberID]bool{}
	for _, i := range h.useOrder(c, admits) {
		if seen[h.entries[i].subject] = true; len(seen) == limit {
			return i
		}
	}
	return none
}
