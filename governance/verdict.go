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
	void      bitset
	contested bitset // in force although their device equivocated, as others had built on them in good faith
	log       *voidLog
	n         int // the outcome's void events are the first n of log
}

// why returns the stage and reason of an event; the stage is counts if it is not void.
func (v *verdict) why(i int) (stage, fault) {
	if !v.void.has(i) {
		return counts, fine
	}
	k, _ := slices.BinarySearchFunc(v.log.items[:v.n], i, func(x voided, i int) int { return x.idx - i })
	return v.log.items[k].stage, v.log.items[k].fault
}

// passed reports whether an event stands after the steps up to this one.
func (v *verdict) passed(i int, s stage) bool {
	at, _ := v.why(i)
	return at == counts || at > s
}

// with returns the outcome that has one later event void as well.
func (v *verdict) with(x voided) *verdict {
	log := v.log
	if len(log.items) != v.n { // another outcome went on from here already
		log = &voidLog{items: slices.Clone(v.log.items[:v.n])}
	}
	log.items = append(log.items, x)
	return &verdict{void: v.void.with(x.idx), contested: v.contested, log: log, n: v.n + 1}
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
	v := h.replay(h.closure(heads))
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
// unless it is the second of its device with one number.
func (h *history) extend(before *verdict, e *entry) *verdict {
	if len(h.numbered[e.device][e.aseq]) > 1 {
		for _, i := range h.numbered[e.device][e.aseq] {
			if e.past.has(i) {
				return h.replay(e.past.with(e.idx))
			}
		}
	}
	if f := h.overtaken(e, e.rootN); e.own.ok() && !f.ok() {
		return before.with(voided{e.idx, stageLocal, f})
	}
	if !e.own.ok() {
		return before.with(voided{e.idx, stageLocal, e.own})
	}
	if n, forked := h.forkIn(e.device, e.past); forked && n <= e.aseq && !e.rootAct && !e.reductive() {
		return before.with(voided{e.idx, stageFork, because(ReasonEquivocation, h.otherBranch(e, n, e.past))})
	}
	if e.kind == KindInviteCreate {
		if over := h.earlierRivals(e, before); len(over) > 0 {
			return before.with(voided{e.idx, stageInvite, because(ReasonInvite, h.lowest(over))})
		}
	}
	if e.creates != none {
		taken := h.taken(e.creates, e.past, before)
		if invite := h.entries[e.creates].body.(*InviteCreate); !taken[e.subject] && len(taken) >= int(invite.MaxUses) {
			return before.with(voided{e.idx, stageInvite, because(ReasonInviteUsed, h.taker(e.creates, e.past, before))})
		}
	}
	return before
}

// earlierRivals returns the InviteCreates of e's id in its past that take precedence over it.
func (h *history) earlierRivals(e *entry, before *verdict) []int {
	var over []int
	for _, i := range h.invites[e.invite] {
		if e.past.has(i) && before.passed(i, stageFork) {
			over = append(over, i)
		}
	}
	return over
}
