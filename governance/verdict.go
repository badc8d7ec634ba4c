package governance

import (
	"encoding/binary"
	"slices"
)

// voided is one void event of an outcome, and why.
type voided struct {
	idx   int
	stage stage
	fault fault
}

// voidLog is an append-only list of void events in ascending order. The outcomes of a history that grows without
// concurrency share one.
type voidLog struct{ items []voided }

// verdict is the outcome of one causally closed set of events. It is immutable.
type verdict struct {
	base      int // last settled checkpoint, or none; inside its past the outcome is that of its past, for good
	void      bitset
	contested bitset // in force although their device equivocated, as others had built on them in good faith
	log       *voidLog
	n         int // the void events that are not settled are the first n of log

	lost *losses // computed when first asked for
}

// items returns the void events that are not settled, ascending.
func (v *verdict) items() []voided { return v.log.items[:v.n] }

// why returns the stage and reason of an event; the stage is counts if it is not void.
func (v *verdict) why(h *history, i int) (stage, fault) {
	for v.void.has(i) {
		k, found := slices.BinarySearchFunc(v.items(), i, func(x voided, i int) int { return x.idx - i })
		if found {
			return v.items()[k].stage, v.items()[k].fault
		}
		v = h.entries[v.base].before
	}
	return counts, fine
}

// passed reports whether an event stands after the steps up to this one.
func (v *verdict) passed(h *history, i int, s stage) bool {
	at, _ := v.why(h, i)
	return at == counts || at > s
}

// with returns the outcome that has one later event void as well.
func (v *verdict) with(x voided) *verdict {
	log := v.log
	if len(log.items) != v.n { // another outcome went on from here already
		log = &voidLog{items: slices.Clone(v.log.items[:v.n])}
	}
	log.items = append(log.items, x)
	return &verdict{base: v.base, void: v.void.with(x.idx), contested: v.contested, log: log, n: v.n + 1}
}

// verdict returns the outcome of the closure of heads.
func (h *history) verdict(heads []int) *verdict {
	if len(heads) == 1 {
		return h.entries[heads[0]].after
	}
	heads = h.maximal(heads)
	if len(heads) == 1 {
		return h.entries[heads[0]].after
	}
	key := headsKey(heads)
	if v := h.memo[key]; v != nil {
		return v
	}
	if len(h.memo) >= verdictsKept {
		clear(h.memo)
	}
	in := h.closure(heads)
	v := h.replay(in, h.settled(heads, in))
	h.memo[key] = v
	return v
}

// headsKey is a map key for a list of indices.
func headsKey(heads []int) string {
	b := make([]byte, 0, 8*len(heads))
	for _, i := range heads {
		b = binary.BigEndian.AppendUint64(b, uint64(i))
	}
	return string(b)
}

// extend returns the outcome of e and its past, of which before is the outcome. It equals replaying the set: nothing
// is concurrent with e, so e strips nothing and is stripped by nothing, and no other event's fate can depend on it
// unless it shows an equivocation, counts in a vote, ends an identity from some time on, or settles its past.
func (h *history) extend(before *verdict, e *entry) *verdict {
	if e.kind == KindCheckpoint && e.own.ok() {
		return h.settle(before, e)
	}
	if h.reaches(e) {
		return h.replay(e.past.with(e.idx), before.base)
	}
	if f := h.overtaken(e, e.rootN); e.own.ok() && !f.ok() {
		return before.with(voided{e.idx, stageLocal, f})
	}
	if !e.own.ok() {
		return before.with(voided{e.idx, stageLocal, e.own})
	}
	if e.kind == KindInviteCreate {
		if over := h.earlierRivals(e, before); len(over) > 0 {
			return before.with(voided{e.idx, stageInvite, because(ReasonInvite, h.lowest(over))})
		}
	}
	if e.creates != none {
		taken := h.taken(e.creates, e.past, before)
		if invite := h.entries[e.creates].body.(*InviteCreate); !taken[e.subject] && len(taken) >= int(invite.MaxUses) {
			return h.replay(e.past.with(e.idx), before.base) // which knows who took the uses
		}
	}
	if e.endsAccess() { // who must know of it may be asked of the outcome
		return &verdict{base: before.base, void: before.void, contested: before.contested, log: before.log, n: before.n}
	}
	return before
}

// reaches reports whether e may change what its past amounts to.
func (h *history) reaches(e *entry) bool {
	if e.proof != nil {
		return true
	}
	if len(h.numbered[e.device][e.aseq]) > 1 && slices.ContainsFunc(h.numbered[e.device][e.aseq], e.past.has) {
		return true
	}
	switch e.kind {
	case KindQuarantinePropose, KindQuarantineVote, KindCarry:
		return e.own.ok()
	}
	return false
}

// settle returns the outcome of a checkpoint that is allowed where it stands, and its past.
func (h *history) settle(before *verdict, e *entry) *verdict {
	in := e.past.with(e.idx)
	if h.settled([]int{e.idx}, in) != e.idx {
		return h.replay(in, before.base)
	}
	return &verdict{base: e.idx, void: before.void, contested: before.contested, log: new(voidLog)}
}

// earlierRivals returns the InviteCreates of e's id in its past that take precedence over it.
func (h *history) earlierRivals(e *entry, before *verdict) []int {
	var over []int
	for _, i := range h.invites[e.invite] {
		if e.past.has(i) && before.passed(h, i, stageFork) {
			over = append(over, i)
		}
	}
	return over
}
