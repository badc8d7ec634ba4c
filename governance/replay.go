package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// replay is one run of the rules over what a causally closed set holds beyond its last settled checkpoint.
type replay struct {
	h         *history
	in        bitset
	base      int   // last settled checkpoint, or none
	list      []int // members of in that are not settled, ascending, without the root record
	settled   bitset
	void      bitset
	contested bitset
	why       map[int]voided
	root      uint32 // version that the root has come to
}

// replay computes the outcome of a set, whose last settled checkpoint is base, from what base settled, with the root at
// the newest version that its events name.
func (h *history) replay(in bitset, base int) *verdict {
	version := uint32(0)
	if len(h.roots.force) > 0 {
		for i := range in.members {
			version = max(version, h.entries[i].rootN)
		}
	}
	return h.replayAt(in, base, version)
}

func (h *history) replayAt(in bitset, base int, version uint32) *verdict {
	r := &replay{h: h, in: in, base: base, why: map[int]voided{}, root: version}
	r.settled.add(0)
	if base != none {
		r.settled = h.entries[base].past.with(base)
		r.void, r.contested = h.entries[base].before.void.clone(), h.entries[base].before.contested.clone()
	}
	for i := range in.without(r.settled).members {
		r.list = append(r.list, i)
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
	return &verdict{base: r.base, void: r.void, contested: r.contested, log: log, n: len(log.items)}
}

func (r *replay) reject(i int, s stage, f fault) {
	r.void.add(i)
	r.why[i] = voided{i, s, f}
}

// view is what the set amounts to by what is void so far.
func (r *replay) view() view { return view{r.h, r.in, r.void, r.base} }

// local voids what is wrong in itself, too late, not allowed in its own past, and what the root has left behind.
func (r *replay) local() {
	for _, i := range r.list {
		e := r.h.entries[i]
		if f := e.own; !f.ok() {
			r.reject(i, stageLocal, f)
		} else if f := r.h.overtaken(e, r.root); !f.ok() {
			r.reject(i, stageLocal, f)
		} else if f := r.late(e); !f.ok() {
			r.reject(i, stageLocal, f)
		}
	}
}

// equivocation judges what a device authored from the first number on that it used twice. What reduces goes on
// counting on every branch, so that nobody is brought back; what others had built on before they could see the
// second branch stays; what a lift was made before is spared; the rest is void.
func (r *replay) equivocation() {
	var out []voided
	for _, i := range r.list {
		e := r.h.entries[i]
		if len(r.h.evidence[e.device]) == 0 || r.void.has(i) || e.rootAct || e.reductive() || !r.doubted(e) {
			continue
		}
		if r.builtOn(e) {
			r.contested.add(i)
			continue
		}
		out = append(out, voided{i, stageFork, because(ReasonEquivocation, r.h.shows(e, r.in))})
	}
	for _, x := range out {
		r.reject(x.idx, x.stage, x.fault)
	}
}

// doubted reports whether there is evidence against e's device at or before e that no lift in e's past has seen.
func (r *replay) doubted(e *entry) bool {
	v := r.view()
	return slices.ContainsFunc(r.h.evidence[e.device], func(ev evidence) bool {
		return ev.aseq <= e.aseq && v.unforgiven(e.device, ev, e.past) != none
	})
}

// builtOn reports whether another member's lawful event has e in its past and was made without knowing that e's
// device had equivocated.
func (r *replay) builtOn(e *entry) bool {
	return slices.ContainsFunc(r.list, func(i int) bool {
		f := r.h.entries[i]
		return f.past.has(e.idx) && f.author != e.author && f.own.ok() && !r.h.convicted(e, f.past)
	})
}

// convicted reports whether a set holds evidence against e's device at or before e.
func (h *history) convicted(e *entry, in bitset) bool {
	return slices.ContainsFunc(h.evidence[e.device], func(ev evidence) bool { return ev.aseq <= e.aseq && ev.within(in) })
}

// shows returns the event that shows e's device to have equivocated: of those on no branch of e the one with the
// lowest id, else of all.
func (h *history) shows(e *entry, in bitset) int {
	var others, all []int
	for _, ev := range h.evidence[e.device] {
		if ev.aseq > e.aseq {
			continue
		}
		for _, i := range ev.shown(in) {
			if i == e.idx {
				continue
			}
			all = append(all, i)
			if !e.past.has(i) {
				others = append(others, i)
			}
		}
	}
	if len(others) > 0 {
		return h.lowest(others)
	}
	return h.lowest(all)
}

// rivals leaves one InviteCreate of each invite: not one that has another in its past, and of concurrent ones the
// one with the lowest id.
func (r *replay) rivals() {
	var out []voided
	for _, i := range r.list {
		e := r.h.entries[i]
		if e.kind != KindInviteCreate || r.void.has(i) {
			continue
		}
		var over []int
		for _, j := range r.h.invites[e.invite] {
			if i != j && r.standing(j) && (e.past.has(j) || r.h.concurrent(i, j) && r.h.lowest([]int{i, j}) == j) {
				over = append(over, j)
			}
		}
		if len(over) > 0 {
			out = append(out, voided{i, stageInvite, because(ReasonInvite, r.h.lowest(over))})
		}
	}
	for _, x := range out {
		r.reject(x.idx, x.stage, x.fault)
	}
}

// standing reports whether an event is in the set and not void so far.
func (r *replay) standing(i int) bool { return r.in.has(i) && !r.void.has(i) }

// overuse gives out the uses of each invite in an order that its users cannot choose, and voids the admissions that
// come after the last use. What is settled has taken its use.
func (r *replay) overuse() {
	open := map[int][]int{}
	for _, i := range r.list {
		if c := r.h.entries[i].creates; c != none && !r.void.has(i) && r.invited(c) {
			open[c] = append(open[c], i)
		}
	}
	for c, admits := range open {
		var earlier []int
		if r.base != none {
			earlier = r.h.users(c, r.settled, r.h.entries[r.base].before)
		}
		limit := int(r.h.entries[c].body.(*InviteCreate).MaxUses)
		if len(admits)+len(earlier) > limit {
			r.giveOut(earlier, r.h.useOrder(c, admits), limit)
		}
	}
}

// invited reports whether an InviteCreate stands so far, by itself or endorsed.
func (r *replay) invited(c int) bool {
	return r.standing(c) || slices.ContainsFunc(r.h.endorsed[c], r.standing)
}

// giveOut lets the first admissions of an invite stand, as many members as it has uses left.
func (r *replay) giveOut(earlier, order []int, limit int) {
	taken := map[identity.MemberID]bool{}
	for _, i := range earlier {
		taken[r.h.entries[i].subject] = true
	}
	var over []int
	users := slices.Clone(earlier)
	for _, i := range order {
		m := r.h.entries[i].subject
		if !taken[m] && len(taken) >= limit {
			over = append(over, i)
			continue
		}
		if !taken[m] { // once, however often he is admitted
			taken[m] = true
			users = append(users, i)
		}
	}
	for _, i := range over {
		e := r.h.entries[i]
		before := map[identity.MemberID]bool{}
		for _, j := range slices.Concat(earlier, order) {
			if m := r.h.entries[j].subject; e.past.has(j) && m != e.subject {
				before[m] = true
			}
		}
		reason := ReasonPending
		if len(before) >= limit {
			reason = ReasonInviteUsed
		}
		r.reject(i, stageInvite, because(reason, r.h.lowest(users)))
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

// users returns the admissions that hold a use of an invite in an outcome; those of one member share one.
func (h *history) users(c int, in bitset, v *verdict) []int {
	var out []int
	for _, i := range h.admits[c] {
		if in.has(i) && v.passed(h, i, stageInvite) {
			out = append(out, i)
		}
	}
	return out
}

// taken returns the members who hold a use of an invite in an outcome.
func (h *history) taken(c int, in bitset, v *verdict) map[identity.MemberID]bool {
	members := map[identity.MemberID]bool{}
	for _, i := range h.users(c, in, v) {
		members[h.entries[i].subject] = true
	}
	return members
}
