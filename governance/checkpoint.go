package governance

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/internal/wire"
)

// Checkpoint settles its causal past: what counts there counts for good.
type Checkpoint struct {
	Number  uint64    `cbor:"1,keyasint"` // 1 + the greatest of Prev's, from 1
	Prev    []EventID `cbor:"2,keyasint"` // ascending
	State   wire.ID   `cbor:"3,keyasint"` // digest of the state of its past
	Content []Cut     `cbor:"4,keyasint"` // chains whose settled part has grown, and up to where
	Time    uint64    `cbor:"5,keyasint"` // Unix seconds; the only time that replay knows
}

func (b *Checkpoint) check() error {
	switch {
	case b.Number == 0:
		return fmt.Errorf("%w: checkpoint 0", ErrEvent)
	case len(b.Prev) > MaxPrev || !wire.SortedIDs(b.Prev):
		return fmt.Errorf("%w: earlier checkpoints are too many or not in ascending order", ErrEvent)
	}
	return checkCuts(b.Content)
}

// checkpoint returns the body of an entry that is known to be one.
func (h *history) checkpoint(i int) *Checkpoint { return h.entries[i].body.(*Checkpoint) }

// timeAt and numberAt return what a settled checkpoint says, 0 before the first.
func (h *history) timeAt(base int) uint64 {
	if base == none {
		return 0
	}
	return h.checkpoint(base).Time
}

func (h *history) numberAt(base int) uint64 {
	if base == none {
		return 0
	}
	return h.checkpoint(base).Number
}

// judgeCheckpoint checks what a checkpoint says of its past.
func (h *history) judgeCheckpoint(e *entry, b *Checkpoint, v view) fault {
	number, clock := uint64(0), h.timeAt(v.base)
	for _, id := range b.Prev {
		i, ok := h.byID[id]
		if !ok || !v.counts(i) || h.entries[i].kind != KindCheckpoint {
			return simply(ReasonCheckpoint)
		}
		number, clock = max(number, h.checkpoint(i).Number), max(clock, h.checkpoint(i).Time)
	}
	switch {
	case b.Number != number+1 || b.Number <= h.numberAt(v.base):
		return because(ReasonCheckpoint, v.base)
	case b.Time < clock:
		return because(ReasonTime, v.base)
	}
	s := h.settledBy(e)
	if s.Digest() != b.State {
		return simply(ReasonDigest)
	}
	e.state = s
	for _, c := range b.Content {
		if cut, ok := s.Cut(c.Device, c.ChainNo); ok && cut.Seq < c.Seq {
			return simply(ReasonContent)
		}
	}
	return fine
}

// settled returns the last settled checkpoint of the closure of heads, or none. Candidates are the checkpoints that
// are allowed where they stand; one is beaten by another beside it that knows of a signer's loss.
func (h *history) settled(heads []int, in bitset) int {
	last := none
	for _, i := range heads {
		known := h.entries[i].after
		if known == nil {
			known = h.entries[i].before // a checkpoint that is just being judged
		}
		if b := known.base; b != none && (last == none || b > last) {
			last = b
		}
	}
	if last == none {
		return h.choose(h.candidates(in, nil), none)
	}
	// A checkpoint that every other candidate rests on, or lies before, was settled by what is in its past.
	for ; last != none; last = h.entries[last].base {
		linear := true
		for _, i := range from(h.checkpoints, h.entries[last].solid) {
			if in.has(i) && i != last && !h.entries[last].past.has(i) && !h.entries[i].past.has(last) {
				linear = false
				break
			}
		}
		if linear {
			e := h.entries[last]
			return h.choose(h.candidatesFrom(e.solid, in, e.past.with(last)), last)
		}
	}
	return h.choose(h.candidates(in, nil), none)
}

// candidates returns the checkpoints in a set but not in another that are allowed where they stand.
func (h *history) candidates(in, but bitset) []int { return h.candidatesFrom(0, in, but) }

// candidatesFrom is candidates where all below an index are among the others.
func (h *history) candidatesFrom(least int, in, but bitset) []int {
	var out []int
	for _, i := range from(h.checkpoints, least) {
		if e := h.entries[i]; in.has(i) && !but.has(i) && !e.late && h.overtaken(e, e.rootN).ok() {
			out = append(out, i)
		}
	}
	return out
}

// choose returns the last of the checkpoints that become settled among candidates, after the one that is.
func (h *history) choose(candidates []int, last int) int {
	var left []int
	for _, c := range candidates {
		if !slices.ContainsFunc(candidates, func(d int) bool { return h.beats(d, c) }) {
			left = append(left, c)
		}
	}
	slices.SortStableFunc(left, func(a, b int) int { return int(h.numberAt(a)) - int(h.numberAt(b)) })
	for {
		next := h.next(left, last)
		if next == none {
			return last
		}
		last = next
	}
}

// next returns the checkpoint that is settled after last: the only one of its number, that has all of lower numbers
// and the last one in its past.
func (h *history) next(left []int, last int) int {
	n := h.numberAt(last)
	if last != none { // what is settled rivals nothing any more
		past := h.entries[last].past
		left = slices.DeleteFunc(slices.Clone(left), past.has)
	}
	for k, c := range left {
		m := h.numberAt(c)
		if m <= n || k > 0 && h.numberAt(left[k-1]) == m || k+1 < len(left) && h.numberAt(left[k+1]) == m {
			continue
		}
		past := h.entries[c].past
		if last != none && !past.has(last) {
			continue
		}
		if !slices.ContainsFunc(left[:k], func(x int) bool { return h.numberAt(x) > n && !past.has(x) }) {
			return c
		}
	}
	return none
}

// beats reports whether checkpoint d shows that a signer of c, beside it, had lost what he needs, and c shows nothing
// of the kind of d's.
func (h *history) beats(d, c int) bool {
	if !h.concurrent(d, c) {
		return false
	}
	x, y := h.entries[d], h.entries[c]
	return h.signerLacks(y, h.pastOf(x)) && !h.signerLacks(x, h.pastOf(y))
}

// pastOf is the state of an event's past.
func (h *history) pastOf(e *entry) view { return view{h, e.past, e.before.void, e.before.base} }

// signerLacks reports whether a signer of e has not the standing in v that e needs.
func (h *history) signerLacks(e *entry, v view) bool {
	for k, s := range e.signers {
		if v.standing(s.device) < e.needs[k] {
			return true
		}
	}
	return false
}

// late judges an event that does not know of the last settled checkpoint: nothing is given to anybody any more, what
// takes away counts from there on, and who lacks the standing in what was settled does nothing.
func (r *replay) late(e *entry) fault {
	if r.base == none || e.past.has(r.base) {
		return fine
	}
	newest := r.h.numberAt(r.base)
	for c := r.base; c != none && !e.past.has(c); c = r.h.entries[c].base {
		x := r.h.entries[c]
		if r.h.numberAt(c)+staleHorizon <= newest {
			return because(ReasonStale, c)
		}
		if e.kind != KindCarry && r.h.signerLacks(e, r.h.pastOf(x)) {
			return because(ReasonOvertaken, c)
		}
	}
	if rules[e.kind].class == additive {
		return because(ReasonLate, r.base)
	}
	return fine
}
