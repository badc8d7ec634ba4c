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

// span is what votes and lifts amount to while some are undecided: in least those for a quarantine are void and those
// against it count, in most it is the other way round.
type span struct{ least, most view }

// tally returns the members whose votes for a proposal count in v, ascending, and whether they are enough.
func (v view) tally(q int) (voters []identity.MemberID, enough bool) {
	voters, _ = span{v, v}.tally(q)
	return voters, voters != nil
}

// tally returns the members whose votes for a proposal surely and perhaps count, ascending, or nil if they are not
// enough. Of a member's votes the causally last ones count, and a withdrawal among them cancels.
func (s span) tally(q int) (surely, perhaps []identity.MemberID) {
	h := s.least.h
	b := h.entries[q].ballot
	if b == nil {
		return nil, nil
	}
	surely, perhaps = b.count(s, append([]int{q}, h.votes[q]...), func(e *entry) bool { return !e.withdraws() })
	if !s.least.counts(q) || len(surely) < b.threshold {
		surely = nil
	}
	if !s.most.counts(q) || len(perhaps) < b.threshold {
		perhaps = nil
	}
	return surely, perhaps
}

// withdraws reports whether e takes a vote for a quarantine back.
func (e *entry) withdraws() bool {
	vote, ok := e.body.(*QuarantineVote)
	return ok && vote.Withdraw != 0
}

// count returns the members who surely and perhaps support something, ascending. Guests of one host count for at most
// half of what is needed: somebody surely passes if he does beside all who perhaps pass, and the other way round.
func (b *ballot) count(s span, events []int, supports func(*entry) bool) (surely, perhaps []identity.MemberID) {
	sure, maybe := b.supporters(s.least, events, supports), b.supporters(s.most, events, supports)
	fewest, most := map[identity.MemberID]int{}, map[identity.MemberID]int{} // guests of a host so far
	full := func(m identity.MemberID, guests map[identity.MemberID]int) bool {
		return slices.ContainsFunc(b.above[m], func(host identity.MemberID) bool { return guests[host] >= b.threshold/2 })
	}
	for _, m := range sortedMembers(maybe) {
		certain, possible := sure[m] && !full(m, most), !full(m, fewest)
		if certain {
			surely = append(surely, m)
		}
		if possible {
			perhaps = append(perhaps, m)
		}
		for _, host := range b.above[m] {
			if certain {
				fewest[host]++
			}
			if possible {
				most[host]++
			}
		}
	}
	return surely, perhaps
}

// supporters returns the voters all of whose last events, of those that count in v, support what is voted on.
func (b *ballot) supporters(v view, events []int, supports func(*entry) bool) map[identity.MemberID]bool {
	cast := map[identity.MemberID][]int{}
	for _, i := range events {
		if m := v.h.entries[i].author; v.counts(i) {
			if _, ok := b.voters[m]; ok {
				cast[m] = append(cast[m], i)
			}
		}
	}
	out := map[identity.MemberID]bool{}
	for m, of := range cast {
		if !slices.ContainsFunc(v.last(of), func(i int) bool { return !supports(v.h.entries[i]) }) {
			out[m] = true
		}
	}
	return out
}

func sortedMembers(m map[identity.MemberID]bool) []identity.MemberID {
	out := make([]identity.MemberID, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	return wire.SortIDs(out)
}

// lifted reports whether a proposal was ended by hand in a part of v.
func (v view) lifted(q int, part bitset) bool {
	surely, _ := span{v, v}.lifted(q, part)
	return surely
}

// lifted reports whether a proposal was surely, and perhaps, ended by hand in a part of a set: by a manager other than
// the target, by the root, or by as many votes as put it in force.
func (s span) lifted(q int, part bitset) (surely, perhaps bool) {
	h := s.least.h
	b := h.entries[q].ballot
	if b == nil {
		return false, false
	}
	var votes []int
	for _, i := range h.reliefs[b.target] {
		e := h.entries[i]
		switch {
		case !part.has(i) || !e.past.has(q):
		case e.rootAct || e.byManager && e.author != b.target:
			surely = surely || s.most.counts(i)
			perhaps = perhaps || s.least.counts(i)
		default:
			votes = append(votes, i)
		}
	}
	if len(votes) == 0 {
		return surely, perhaps
	}
	against := span{s.most, s.least}
	against.least.in, against.most.in = part, part
	certain, possible := b.count(against, votes, func(*entry) bool { return true })
	return surely || len(certain) >= b.threshold, perhaps || len(possible) >= b.threshold
}

// expired reports whether the project's time at a settled checkpoint is past a proposal's end.
func (h *history) expired(q, base int) bool {
	return h.timeAt(base) >= h.entries[q].body.(*QuarantinePropose).Expires
}

// over reports whether a proposal has ended in the past of an event, with base the last settled checkpoint there.
func (v view) over(q int, past bitset, base int) bool {
	return v.h.expired(q, base) || v.lifted(q, past)
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

// holds reports whether a proposal surely, and perhaps, voids e, which is neither before it nor after its end, if
// these are its voters surely and perhaps.
func (s span) holds(q int, e *entry, sure, maybe []identity.MemberID) (surely, perhaps bool) {
	h := s.least.h
	b := h.entries[q].ballot
	surely, perhaps = sure != nil && b.holdable(e, b.equal(sure)), maybe != nil && b.holdable(e, b.equal(maybe))
	if !surely && !perhaps || e.idx == q || h.entries[q].past.has(e.idx) || h.expired(q, e.base) {
		return false, false
	}
	lifted, liftable := s.lifted(q, e.past)
	return surely && !liftable, perhaps && !lifted
}

// held returns a proposal in force in v that voids e, or none.
func (v view) held(e *entry) int {
	exact := span{v, v}
	for _, q := range v.h.proposals[e.author] {
		sure, maybe := exact.tally(q)
		if holds, _ := exact.holds(q, e, sure, maybe); holds {
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
