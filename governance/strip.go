package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// decision is where an event stands while removals are weighed against what is concurrent with them.
type decision uint8

const (
	undecided decision = iota
	inForce
	fallen
)

// contest weighs the events that passed the earlier steps. Positions in its slices are positions in list.
type contest struct {
	r       *replay
	list    []int         // ascending indices
	pos     map[int]int   // index to position
	strips  map[int][]int // removal to what it strips, by position
	out     [][]int       // edges: strips, and what rests on what
	state   []decision
	void    bitset // voided here or before
	settled bitset // decided or voided before
	singles []int  // positions in force although nothing forced it; checked again at the end
}

// strip decides what is concurrent with removals. An event found wanting at the end is void from the start of a new
// attempt; each attempt voids at least one, so it ends.
func (r *replay) strip() {
	if !r.weighs() {
		return
	}
	var wanting bitset
	for {
		c := r.newContest(wanting)
		c.run()
		again := c.wanting()
		if len(again) == 0 {
			c.conclude()
			return
		}
		for _, i := range again {
			wanting.add(i)
		}
	}
}

// weighs reports whether there is anything to weigh: a removal concurrent with what it would strip, or an event
// whose past is judged otherwise than by itself.
func (r *replay) weighs() bool {
	for _, i := range r.list {
		e := r.h.entries[i]
		if r.standing(i) && r.changed(e, r.void, r.in) {
			return true
		}
	}
	return slices.ContainsFunc(r.h.removals, func(i int) bool { return r.standing(i) && len(r.strippedBy(i)) > 0 })
}

// changed reports whether e's past is judged differently from how e's own past judges it: by void for what is
// settled, by e's own past for the rest.
func (r *replay) changed(e *entry, void, settled bitset) bool {
	for w, p := range e.past {
		own := e.before.void.word(w)
		if p&settled.word(w)&(void.word(w)^own) != 0 {
			return true
		}
	}
	return false
}

// judged returns V/e: void for what is settled, e's own past for the rest.
func (r *replay) judged(e *entry, void, settled bitset) bitset {
	out := make(bitset, len(e.past))
	for w := range e.past {
		out[w] = void.word(w)&settled.word(w) | e.before.void.word(w)&^settled.word(w)
	}
	return out
}

// strippedBy returns the events that a reductive event strips: those concurrent with a removal that need the standing
// of the removed as a signer (root acts need nobody's), and the admissions concurrent with their invite's cancelling.
func (r *replay) strippedBy(i int) []int {
	var out []int
	for _, j := range r.h.exposed(i) {
		if r.standing(j) && r.h.concurrent(i, j) {
			out = append(out, j)
		}
	}
	return out
}

// exposed returns the events that a reductive event strips if they are concurrent with it.
func (h *history) exposed(i int) []int {
	e := h.entries[i]
	if e.kind != KindInviteRevoke {
		return h.signed[e.subject]
	}
	var out []int
	for _, c := range h.invites[e.invite] {
		out = append(out, h.admits[c]...)
	}
	return out
}

func (r *replay) newContest(wanting bitset) *contest {
	c := &contest{r: r, pos: map[int]int{}, strips: map[int][]int{}, void: r.void.clone()}
	c.void.addAll(wanting)
	c.settled = c.void.clone()
	c.settled.add(0)
	for _, i := range r.list {
		if !c.void.has(i) {
			c.pos[i] = len(c.list)
			c.list = append(c.list, i)
		}
	}
	c.out = make([][]int, len(c.list))
	c.state = make([]decision, len(c.list))
	for p, i := range c.list {
		c.link(p, r.h.entries[i])
	}
	return c
}

// link adds the edges from a removal to what it strips, and to e from the acts that it rests on: those in its past
// on its signers, on its subject or on its invite.
func (c *contest) link(p int, e *entry) {
	if e.reductive() {
		for _, j := range c.r.strippedBy(e.idx) {
			if q, ok := c.pos[j]; ok {
				c.strips[p] = append(c.strips[p], q)
				c.out[p] = append(c.out[p], q)
			}
		}
	}
	on := func(acts []int) {
		for _, a := range acts {
			if q, ok := c.pos[a]; ok && e.past.has(a) {
				c.out[q] = append(c.out[q], p)
			}
		}
	}
	seen := map[identity.MemberID]bool{}
	for _, s := range e.signers {
		if !seen[s.member] {
			on(c.r.h.acts[s.member])
		}
		seen[s.member] = true
	}
	if e.about && !seen[e.subject] {
		on(c.r.h.acts[e.subject])
	}
	if e.onInvite {
		on(c.r.h.invites[e.invite])
		on(c.r.h.cancels[e.invite])
	}
}

// run decides events until none is left.
func (c *contest) run() {
	for left := len(c.list); left > 0; {
		c.voidUnlawful()
		sources := c.sources()
		c.decide(sources)
		left = 0
		for _, s := range c.state {
			if s == undecided {
				left++
			}
		}
	}
}

// voidUnlawful voids every undecided event that has lost its authority. In causal order one pass is enough.
func (c *contest) voidUnlawful() {
	for p, i := range c.list {
		if c.state[p] == undecided && !c.lawful(c.r.h.entries[i]) {
			c.fall(p)
		}
	}
}

// lawful reports whether e is allowed, if what is decided stands as decided and the rest of its past as its own past
// judges it.
func (c *contest) lawful(e *entry) bool {
	if !c.r.changed(e, c.void, c.settled) {
		return true // as in its own past
	}
	v := view{c.r.h, e.past, c.r.judged(e, c.void, c.settled)}
	return c.r.h.judge(e, v, false).ok()
}

func (c *contest) fall(p int) {
	c.state[p] = fallen
	c.void.add(c.list[p])
	c.settled.add(c.list[p])
}

func (c *contest) enforce(p int) {
	c.state[p] = inForce
	c.settled.add(c.list[p])
}

// decide takes one round's source components. What stands alone counts, but waits while a removal is among the
// sources; of a cycle the removals count and the rest falls. Then falls what the counting removals strip.
func (c *contest) decide(sources [][]int) {
	removal := func(p int) bool { return c.r.h.entries[c.list[p]].reductive() }
	wait := slices.ContainsFunc(sources, func(s []int) bool { return slices.ContainsFunc(s, removal) })
	var removals []int
	for _, s := range sources {
		for _, p := range s {
			switch {
			case removal(p):
				c.enforce(p)
				removals = append(removals, p)
			case len(s) > 1:
				c.fall(p)
			case !wait:
				c.enforce(p)
			}
			if len(s) == 1 && c.state[p] == inForce {
				c.singles = append(c.singles, p)
			}
		}
	}
	for _, p := range removals {
		for _, q := range c.strips[p] {
			if c.state[q] == undecided {
				c.fall(q)
			}
		}
	}
}

// wanting returns the indices of the events that were put in force alone and are not allowed after all.
func (c *contest) wanting() []int {
	var out []int
	for _, p := range c.singles {
		if i := c.list[p]; !c.lawful(c.r.h.entries[i]) {
			out = append(out, i)
		}
	}
	return out
}

// conclude hands the outcome to the replay, with reasons that depend on the outcome alone.
func (c *contest) conclude() {
	r := c.r
	var out []int
	for _, i := range r.list {
		if c.void.has(i) && !r.void.has(i) {
			out = append(out, i)
		}
	}
	for _, i := range out {
		r.why[i] = voided{i, stageStrip, c.reason(r.h.entries[i])}
	}
	r.void = c.void
}

func (c *contest) reason(e *entry) fault {
	var by []int
	for _, i := range c.r.h.removals {
		if c.r.in.has(i) && !c.void.has(i) && slices.Contains(c.r.h.exposed(i), e.idx) && c.r.h.concurrent(i, e.idx) {
			by = append(by, i)
		}
	}
	if len(by) > 0 {
		return because(ReasonStripped, c.r.h.lowest(by))
	}
	if f := c.r.h.judge(e, view{c.r.h, e.past, c.void}, false); !f.ok() {
		return f
	}
	return simply(ReasonCycle)
}
