package governance

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// QuarantinePropose asks that what a member sends be held back. It is also its author's vote.
type QuarantinePropose struct {
	Member   identity.MemberID `cbor:"1,keyasint"`
	Reason   string            `cbor:"2,keyasint"`
	Evidence []EventID         `cbor:"3,keyasint"` // ascending
	Expires  uint64            `cbor:"4,keyasint"` // Unix seconds, compared with checkpoint time only
	Heads    []Cut             `cbor:"5,keyasint"` // where the voter would hold the member's chains
}

func (b *QuarantinePropose) check() error {
	switch {
	case b.Expires == 0:
		return fmt.Errorf("%w: quarantine without an end", ErrEvent)
	case len(b.Evidence) > MaxEvidence || !wire.SortedIDs(b.Evidence):
		return fmt.Errorf("%w: evidence is too much or not in ascending order", ErrEvent)
	}
	if err := wire.CheckText(b.Reason, MaxReason); err != nil {
		return err
	}
	return checkCuts(b.Heads)
}

// QuarantineVote supports a proposal, or withdraws the support.
type QuarantineVote struct {
	Proposal EventID `cbor:"1,keyasint"`
	Heads    []Cut   `cbor:"2,keyasint"`
	Withdraw uint8   `cbor:"3,keyasint"`
}

func (b *QuarantineVote) check() error {
	if b.Withdraw > 1 {
		return fmt.Errorf("%w: withdraw %d", ErrEvent, b.Withdraw)
	}
	return checkCuts(b.Heads)
}

// LiftQuarantine ends the quarantines of a member that its author knows of, or the suspension of a device. A
// manager's ends the quarantine; that of another voter is one vote to end it.
type LiftQuarantine struct {
	Member *identity.MemberID `cbor:"1,keyasint,omitempty"`
	Device *identity.DeviceID `cbor:"2,keyasint,omitempty"`
	Aprev  *EventID           `cbor:"3,keyasint,omitempty"` // event of the device that its next one follows
}

func (b *LiftQuarantine) check() error {
	if (b.Member == nil) == (b.Device == nil) || b.Device == nil && b.Aprev != nil {
		return fmt.Errorf("%w: a lift is of one member or of one device", ErrEvent)
	}
	return nil
}

// ballot is what a proposal's own past fixes of its vote.
type ballot struct {
	target    identity.MemberID
	role      Role                                      // of the target
	voters    map[identity.MemberID]Role                // who may vote
	above     map[identity.MemberID][]identity.MemberID // whose guests they are, without the founder
	threshold int
	renewals  int // proposals about the target before it that nobody lifted
}

// newBallot says who may vote on a proposal in the state of its past.
func (h *history) newBallot(e *entry, v view) *ballot {
	b := &ballot{
		target: e.subject, role: v.role(e.subject), voters: map[identity.MemberID]Role{},
		above: map[identity.MemberID][]identity.MemberID{},
	}
	for _, m := range h.members {
		role := v.role(m)
		if role == None || m == b.target || !h.mayVote(m, b.target, v) || v.quarantined(m) != none {
			continue
		}
		b.voters[m] = role
		b.above[m] = h.hostsOf(m, v)
	}
	b.threshold = max(2, len(b.voters)*h.policy.voteNum/h.policy.voteDen+1)
	for _, q := range h.proposals[b.target] {
		if v.counts(q) && !v.lifted(q, v.in) {
			b.renewals++
		}
	}
	return b
}

// mayVote reports whether a member has been here for long enough: he founded the project, a manager other than the
// target admitted him, or enough settled checkpoints have his admission in their past.
func (h *history) mayVote(m, target identity.MemberID, v view) bool {
	for _, i := range v.acts(m) {
		e := h.entries[i]
		if i == 0 {
			return true
		}
		if e.kind != KindAdmit && e.kind != KindEndorse {
			continue
		}
		if e.rootAct || e.author != target && e.byManager {
			return true
		}
		age := 0
		for b := v.base; b != none && h.entries[b].past.has(i); b = h.entries[b].base {
			age++
		}
		if age >= h.policy.minAge && age > 0 || h.policy.minAge == 0 {
			return true
		}
	}
	return false
}

// hostsOf returns who invited a member, who invited that one, and so on; the founder is not among them.
func (h *history) hostsOf(m identity.MemberID, v view) []identity.MemberID {
	var out []identity.MemberID
	for {
		host, ok := h.inviter(m, v)
		if !ok || host == h.entries[0].subject || host == m || slices.Contains(out, host) {
			return out
		}
		out = append(out, host)
		m = host
	}
}

// inviter returns the creator of the invite that a member used, or who admitted him without one.
func (h *history) inviter(m identity.MemberID, v view) (identity.MemberID, bool) {
	var admits []int
	for _, i := range v.acts(m) {
		if k := h.entries[i].kind; k == KindAdmit || k == KindEndorse {
			admits = append(admits, i)
		}
	}
	i := h.lowest(v.last(admits))
	if i == none || i == 0 || h.entries[i].rootAct {
		return identity.MemberID{}, false
	}
	e := h.entries[i]
	if e.creates != none {
		c := h.entries[e.creates]
		return c.author, !c.rootAct
	}
	return e.author, true
}

// tally returns the members whose votes for a proposal count in v, ascending, and whether they are enough. Of a
// member's votes the causally last ones count, and a withdrawal among them cancels. Guests of one host count for at
// most half of what is needed.
func (v view) tally(q int) (voters []identity.MemberID, enough bool) {
	b := v.h.entries[q].ballot
	if b == nil || !v.counts(q) {
		return nil, false
	}
	return b.count(v, append([]int{q}, v.h.votes[q]...), func(e *entry) bool {
		vote, ok := e.body.(*QuarantineVote)
		return !ok || vote.Withdraw == 0
	})
}

func (b *ballot) count(v view, events []int, supports func(*entry) bool) (voters []identity.MemberID, enough bool) {
	cast := map[identity.MemberID][]int{}
	for _, i := range events {
		if m := v.h.entries[i].author; v.counts(i) {
			if _, ok := b.voters[m]; ok {
				cast[m] = append(cast[m], i)
			}
		}
	}
	from := map[identity.MemberID]int{}
	for _, m := range sortedMembers(cast) {
		if slices.ContainsFunc(v.last(cast[m]), func(i int) bool { return !supports(v.h.entries[i]) }) {
			continue
		}
		full := func(host identity.MemberID) bool { return from[host] >= b.threshold/2 }
		if slices.ContainsFunc(b.above[m], full) {
			continue
		}
		for _, host := range b.above[m] {
			from[host]++
		}
		voters = append(voters, m)
	}
	return voters, len(voters) >= b.threshold
}

func sortedMembers(m map[identity.MemberID][]int) []identity.MemberID {
	out := make([]identity.MemberID, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	return wire.SortIDs(out)
}

// lifted reports whether a proposal was ended by hand in a part of v: by a manager other than the target, by the
// root, or by as many votes as put it in force.
func (v view) lifted(q int, part bitset) bool {
	b := v.h.entries[q].ballot
	if b == nil {
		return false
	}
	var votes []int
	for _, i := range v.h.reliefs[b.target] {
		e := v.h.entries[i]
		if !part.has(i) || !v.counts(i) || !e.past.has(q) {
			continue
		}
		if e.rootAct || e.byManager && e.author != b.target {
			return true
		}
		votes = append(votes, i)
	}
	_, enough := b.count(view{v.h, part, v.void, v.base}, votes, func(*entry) bool { return true })
	return enough
}

// over reports whether a proposal has ended in the past of an event, with base the last settled checkpoint there.
func (v view) over(q int, past bitset, base int) bool {
	expires := v.h.entries[q].body.(*QuarantinePropose).Expires
	return v.h.timeAt(base) >= expires || v.lifted(q, past)
}

// quarantined returns a proposal that is in force over a member in v, or none: the one with the lowest id.
func (v view) quarantined(m identity.MemberID) int {
	var found []int
	for _, q := range v.h.proposals[m] {
		if _, enough := v.tally(q); enough && !v.over(q, v.in, v.base) {
			found = append(found, q)
		}
	}
	return v.h.lowest(found)
}

// holdable reports whether a quarantine on a ballot takes from its target what e needs. equal says whether somebody
// whose vote counts has at least the target's role.
func (b *ballot) holdable(e *entry, equal bool) bool {
	if e.rootAct || e.author != b.target {
		return false
	}
	switch {
	case e.kind == KindQuarantinePropose || e.kind == KindQuarantineVote || rules[e.kind].class == additive:
		return true
	case e.kind == KindLeave || e.kind == KindCarry || e.kind == KindDeviceRemove && e.onOwn():
		return false
	}
	return e.reductive() && equal
}

// equal reports whether one of the voters has at least the target's role.
func (b *ballot) equal(voters []identity.MemberID) bool {
	return slices.ContainsFunc(voters, func(m identity.MemberID) bool { return b.voters[m] >= b.role })
}

// holds reports whether a proposal that is in force by v voids e, which is neither before it nor after its end.
func (v view) holds(q int, e *entry, voters []identity.MemberID) bool {
	b := v.h.entries[q].ballot
	return e.idx != q && b.holdable(e, b.equal(voters)) && !v.h.entries[q].past.has(e.idx) && !v.over(q, e.past, e.base)
}

// held returns a proposal in force in v that voids e, or none.
func (v view) held(e *entry) int {
	for _, q := range v.h.proposals[e.author] {
		if voters, enough := v.tally(q); enough && v.holds(q, e, voters) {
			return q
		}
	}
	return none
}

// judgePropose checks that the author may vote and that the proposal is not one too many.
func (h *history) judgePropose(e *entry, v view, local bool) fault {
	if v.role(e.subject) == None {
		return because(ReasonAbsent, v.whyOut(e.subject))
	}
	if !local {
		return fine
	}
	if _, ok := e.ballot.voters[e.author]; !ok {
		return simply(ReasonVoter)
	}
	if e.ballot.renewals > 1 && v.standing(e.device) < Manager {
		return simply(ReasonRenewal)
	}
	return fine
}

// judgeVote checks that the proposal stands and is open, and that the author may vote on it.
func (h *history) judgeVote(e *entry, v view) fault {
	if len(e.named) == 0 || !v.counts(e.named[0]) {
		return simply(ReasonAbsent)
	}
	q := e.named[0]
	if _, ok := h.entries[q].ballot.voters[e.author]; !ok {
		return because(ReasonVoter, q)
	}
	if v.over(q, v.in, v.base) {
		return because(ReasonEnded, q)
	}
	return fine
}

// judgeLift checks that there is something to lift and that the author may.
func (h *history) judgeLift(e *entry, b *LiftQuarantine, v view, local bool) fault {
	if b.Device != nil {
		return h.judgeLiftDevice(e, b, v, local)
	}
	open := slices.DeleteFunc(slices.Clone(h.proposals[*b.Member]), func(q int) bool { return !v.counts(q) })
	if len(open) == 0 {
		return simply(ReasonAbsent)
	}
	if e.rootAct || e.byManager && e.author != *b.Member {
		return fine
	}
	votes := func(q int) bool { _, ok := h.entries[q].ballot.voters[e.author]; return ok }
	if !slices.ContainsFunc(open, votes) {
		return because(ReasonVoter, open[0])
	}
	return fine
}

func (h *history) judgeLiftDevice(e *entry, b *LiftQuarantine, v view, local bool) fault {
	if !local {
		return fine
	}
	if !v.suspended(*b.Device) {
		return simply(ReasonAbsent)
	}
	if b.Aprev == nil {
		return fine
	}
	i, ok := h.byID[*b.Aprev]
	if !ok || !v.in.has(i) || h.entries[i].device != *b.Device || h.entries[i].aseq != h.lastAseq(*b.Device, v.in) {
		return simply(ReasonLift)
	}
	return fine
}
