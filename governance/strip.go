package governance

import (
	"bytes"
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
	r         *replay
	list      []int         // ascending indices
	pos       map[int]int   // index to position
	strips    map[int][]int // removal to what it strips, by position
	fixed     [][]int       // edges: strips, and what rests on what
	out       [][]int       // these and the edges of quarantines that may come into force, in one round
	state     []decision
	void      bitset // voided here or before
	settled   bitset // decided or voided before
	proposals []int  // indices of the proposals whose targets authored something here
}

// strip decides what is concurrent with removals. What it puts in force alone stays allowed: it is decided after all
// that this depends on.
func (r *replay) strip() {
	proposals := r.contended()
	if len(proposals) == 0 && !r.weighs() {
		return
	}
	c := r.newContest(proposals)
	c.run()
	c.conclude()
}

// contended returns the proposals that stand and whose targets authored something that is not settled.
func (r *replay) contended() []int {
	var out []int
	seen := map[identity.MemberID]bool{}
	for _, i := range r.list {
		m := r.h.entries[i].author
		if seen[m] {
			continue
		}
		seen[m] = true
		for _, q := range r.h.proposals[m] {
			if r.standing(q) {
				out = append(out, q)
			}
		}
	}
	return out
}

// weighs reports whether there is anything to weigh: a removal concurrent with what it would strip, or an event
// whose past is judged otherwise than by itself.
func (r *replay) weighs() bool {
	for _, i := range r.list {
		e := r.h.entries[i]
		if !r.standing(i) {
			continue
		}
		if r.changed(e, r.void, r.in) || e.reductive() && len(r.strippedBy(i)) > 0 {
			return true
		}
	}
	return false
}

// changed reports whether e's past is judged differently from how e's own past judges it: by void for what is
// settled, by e's own past for the rest.
func (r *replay) changed(e *entry, void, settled bitset) bool {
	for k, past := range e.past {
		v, own := void.piece(k), e.before.void.piece(k)
		if past == nil || v == own {
			continue
		}
		s := settled.piece(k)
		for w := range past {
			if past[w]&s[w]&(v[w]^own[w]) != 0 {
				return true
			}
		}
	}
	return false
}

// judged returns V/e: void for what is settled, e's own past for the rest.
func (r *replay) judged(e *entry, void, settled bitset) bitset {
	return e.past.chosen(settled, void, e.before.void)
}

// strippedBy returns the events that a reductive event strips.
func (r *replay) strippedBy(i int) []int {
	var out []int
	for _, j := range r.exposed(i) {
		if r.standing(j) && !r.settled.has(j) && r.strips(i, j) {
			out = append(out, j)
		}
	}
	return out
}

// exposed returns the events that a reductive event may strip, without most of those that are settled.
func (r *replay) exposed(i int) []int {
	h, e := r.h, r.h.entries[i]
	switch e.kind {
	case KindRevoke, KindRoleDrop, KindDeviceRemove, KindCarry:
		return from(h.signed[e.subject], h.solidAt(r.base))
	case KindInviteRevoke:
		var out []int
		for _, c := range h.invites[e.invite] {
			out = append(out, h.admits[c]...)
		}
		return out
	}
	return nil
}

// strips reports whether a reductive event takes from one of those exposed to it what it needs. Beside a removal that
// is the standing of a signer; root acts need nobody's. Leaving strips nothing, nor does removing an own device that
// was not stolen. The end of an identity reaches back to the last events that its owner vouches for. Quarantines are
// weighed apart.
func (r *replay) strips(i, j int) bool {
	e, f := r.h.entries[i], r.h.entries[j]
	if i == j || f.kind == KindCarry {
		return false
	}
	switch b := e.body.(type) {
	case *Carry:
		return r.h.concurrent(i, j) || e.past.has(j) && r.h.compromised(e.revoked, f)
	case *DeviceRemove:
		if e.onOwn() && (b.Stolen == 0 || r.knownToOthers(e, f)) {
			return false
		}
		return r.h.concurrent(i, j) && f.signedBy(func(s signer, _ Role) bool { return s.device == b.Device })
	case *RoleDrop:
		return r.h.concurrent(i, j) && f.signedBy(func(s signer, need Role) bool {
			return s.member == e.subject && need > b.Role
		})
	}
	return r.h.concurrent(i, j)
}

// signedBy reports whether one of e's signers, with the role that it needs, is such.
func (e *entry) signedBy(such func(s signer, need Role) bool) bool {
	for k, s := range e.signers {
		if such(s, e.needs[k]) {
			return true
		}
	}
	return false
}

// knownToOthers reports whether another member built on f without knowing that its device was reported stolen by e.
func (r *replay) knownToOthers(e, f *entry) bool {
	return slices.ContainsFunc(r.list, func(i int) bool {
		x := r.h.entries[i]
		return x.past.has(f.idx) && x.author != f.author && x.own.ok() && !x.past.has(e.idx)
	})
}

// compromised reports whether an event was authored by a device after the last event that its owner vouches for.
func (h *history) compromised(r *SelfRevoke, f *entry) bool {
	if f.rootAct || f.author != r.Member {
		return false
	}
	k, listed := slices.BinarySearchFunc(r.CompromisedSince, f.device, func(l LastGood, d identity.DeviceID) int {
		return bytes.Compare(l.Device[:], d[:])
	})
	return listed && f.aseq > r.CompromisedSince[k].Aseq
}

func (r *replay) newContest(proposals []int) *contest {
	c := &contest{r: r, pos: map[int]int{}, strips: map[int][]int{}, void: r.void.clone(), proposals: proposals}
	c.settled = r.settled.clone()
	for _, i := range r.list {
		if c.void.has(i) {
			c.settled.add(i)
			continue
		}
		c.pos[i] = len(c.list)
		c.list = append(c.list, i)
	}
	c.fixed = make([][]int, len(c.list))
	c.out = make([][]int, len(c.list))
	c.state = make([]decision, len(c.list))
	for p, i := range c.list {
		c.link(p, r.h.entries[i])
	}
	return c
}

// link adds the edges from a removal to what it strips, and to e from the acts in its past that it rests on.
func (c *contest) link(p int, e *entry) {
	if e.reductive() {
		for _, j := range c.r.strippedBy(e.idx) {
			if q, ok := c.pos[j]; ok {
				c.strips[p] = append(c.strips[p], q)
				c.fixed[p] = append(c.fixed[p], q)
			}
		}
	}
	for _, acts := range c.r.h.grounds(e) {
		for _, a := range acts {
			if q, ok := c.pos[a]; ok && e.past.has(a) {
				c.fixed[q] = append(c.fixed[q], p)
			}
		}
	}
}

// grounds returns the lists that hold all on which it depends whether e is allowed: acts on its signers and its
// subject, its invite, and the quarantines and suspensions that it speaks of or must be free of.
func (h *history) grounds(e *entry) [][]int {
	var out [][]int
	seen := map[identity.MemberID]bool{}
	on := func(m identity.MemberID) {
		if !seen[m] {
			out = append(out, h.acts[m])
		}
		seen[m] = true
	}
	for k, s := range e.signers {
		on(s.member)
		if k > 0 {
			out = append(out, h.lifts[s.device])
		}
	}
	for _, m := range h.subjects(e) {
		on(m)
	}
	for _, id := range h.invitesOf(e) {
		out = append(out, h.invites[id], h.cancels[id])
		for _, i := range h.invites[id] {
			out = append(out, h.endorsed[i])
		}
	}
	out = append(out, h.lifts[e.device])
	switch e.kind {
	case KindQuarantineVote:
		out = append(out, e.named, h.reliefs[e.subject])
	case KindLiftQuarantine:
		out = append(out, h.proposals[e.subject])
	}
	return out
}

// invitesOf returns the invites that e makes, uses, cancels or brings back.
func (h *history) invitesOf(e *entry) []InviteID {
	if e.onInvite {
		return []InviteID{e.invite}
	}
	var out []InviteID
	if e.kind == KindEndorse {
		for _, i := range e.named {
			if a := h.entries[i]; a.kind == KindInviteCreate && !slices.Contains(out, a.invite) {
				out = append(out, a.invite)
			}
		}
	}
	return out
}

// span is what the votes and lifts of quarantines amount to by what is decided so far.
func (c *contest) span() span {
	least, most := c.void.clone(), c.void.clone()
	for p, i := range c.list {
		if c.state[p] != undecided {
			continue
		}
		switch e := c.r.h.entries[i]; {
		case e.kind == KindLiftQuarantine || e.withdraws():
			most.add(i)
		case e.kind == KindQuarantinePropose || e.kind == KindQuarantineVote:
			least.add(i)
		}
	}
	return span{view{c.r.h, c.r.in, least, c.r.base}, view{c.r.h, c.r.in, most, c.r.base}}
}

// voidHeld voids what a quarantine holds whatever becomes of what is undecided, and reports whether there was any.
func (c *contest) voidHeld() bool {
	var out []int
	c.held(func(_, p int, surely bool) {
		if surely {
			out = append(out, p)
		}
	})
	for _, p := range out {
		if c.state[p] == undecided {
			c.fall(p)
		}
	}
	return len(out) > 0
}

// linkHeld adds, for this round, the edges to what a quarantine may hold: from the proposal, from its votes, and from
// its lifts in the past of what it may hold.
func (c *contest) linkHeld() {
	for p := range c.out {
		c.out[p] = slices.Clone(c.fixed[p])
	}
	h := c.r.h
	c.held(func(q, p int, _ bool) {
		e := h.entries[c.list[p]]
		for _, x := range slices.Concat([]int{q}, h.votes[q], h.within(h.reliefs[e.author], e.past)) {
			if k, ok := c.pos[x]; ok && k != p && c.state[k] == undecided {
				c.out[k] = append(c.out[k], p)
			}
		}
	})
}

// held tells of each proposal and each undecided event that it voids, surely or perhaps.
func (c *contest) held(tell func(q, p int, surely bool)) {
	if len(c.proposals) == 0 {
		return
	}
	s := c.span()
	for _, q := range c.proposals {
		sure, maybe := s.tally(q)
		if maybe == nil {
			continue
		}
		for p, i := range c.list {
			if c.state[p] != undecided {
				continue
			}
			if surely, perhaps := s.holds(q, c.r.h.entries[i], sure, maybe); perhaps {
				tell(q, p, surely)
			}
		}
	}
}

// run decides events until none is left.
func (c *contest) run() {
	c.enforceCarries()
	for left := len(c.list); left > 0; {
		for c.voidUnlawful(); c.voidHeld(); c.voidUnlawful() {
		}
		c.linkHeld()
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

// enforceCarries lets the ends of identities count before all else, as nothing strips them, and voids what they strip.
func (c *contest) enforceCarries() {
	for p, i := range c.list {
		if c.r.h.entries[i].kind == KindCarry {
			c.enforce(p)
		}
	}
	for p, i := range c.list {
		if c.r.h.entries[i].kind != KindCarry {
			continue
		}
		for _, q := range c.strips[p] {
			if c.state[q] == undecided {
				c.fall(q)
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
	v := view{c.r.h, e.past, c.r.judged(e, c.void, c.settled), e.base}
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
	for _, i := range c.list {
		if c.r.h.entries[i].reductive() && !c.void.has(i) && slices.Contains(c.r.exposed(i), e.idx) && c.r.strips(i, e.idx) {
			by = append(by, i)
		}
	}
	if len(by) > 0 {
		return because(ReasonStripped, c.r.h.lowest(by))
	}
	if q := (view{c.r.h, c.r.in, c.void, c.r.base}).held(e); q != none {
		return because(ReasonQuarantine, q)
	}
	if f := c.r.h.judge(e, view{c.r.h, e.past, c.void, e.base}, false); !f.ok() {
		return f
	}
	return simply(ReasonCycle)
}
