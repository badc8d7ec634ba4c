package governance

import (
	"bytes"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Ballot is a proposal of a quarantine that has not ended, and how the votes on it stand.
type Ballot struct {
	Proposal EventID
	Member   identity.MemberID // whom it would hold back
	By       identity.MemberID // who proposed it
	Reason   string
	Evidence []EventID
	Expires  uint64              // Unix seconds, compared with checkpoint time
	Voters   []identity.MemberID // who may vote, ascending
	Needed   int                 // votes that put it in force, or end it
	Hold     Tally               // for it
	Lift     Tally               // for ending it; a manager's lift ends it at once
	InForce  bool
}

// Tally is how votes stand, members ascending.
type Tally struct {
	Cast    []identity.MemberID // who has voted and stands by it
	Counted []identity.MemberID // of these, whose votes count: guests of one host make up at most half of what is needed
}

// Electorate says who could vote on a quarantine of a member that is proposed now, ascending, and how many votes it would
// take. There may be more needed than there are.
func (l *Log) Electorate(target identity.MemberID) (voters []identity.MemberID, needed int) {
	b := l.h.newBallot(&entry{subject: target}, l.viewNow())
	return b.eligible(), b.threshold
}

func (l *Log) viewNow() view {
	heads := l.h.maximal(l.heads)
	out := l.h.verdictNow(heads)
	return view{l.h, l.h.closure(heads), out.void, out.base}
}

// Ballots returns the proposals of quarantines that count and have not ended, ascending by proposal. Who proposed or voted
// under a quarantine of their own is not among those who count.
func (l *Log) Ballots() []Ballot {
	h, v := l.h, l.viewNow()
	var open []Ballot
	for _, m := range h.members {
		if v.role(m) == None {
			continue
		}
		for _, q := range h.proposals[m] {
			if e := h.entries[q]; e.ballot != nil && v.counts(q) && !v.over(q, v.in, v.base) {
				open = append(open, v.ballot(q, e))
			}
		}
	}
	slices.SortFunc(open, func(a, b Ballot) int { return bytes.Compare(a.Proposal[:], b.Proposal[:]) })
	return open
}

// ballot says how the votes on a proposal stand in v.
func (v view) ballot(q int, e *entry) Ballot {
	var lifts []int
	for _, i := range v.h.reliefs[e.subject] {
		if v.in.has(i) && v.h.entries[i].past.has(q) {
			lifts = append(lifts, i)
		}
	}
	body, b := e.body.(*QuarantinePropose), e.ballot
	out := Ballot{
		Proposal: e.id, Member: b.target, By: e.author, Reason: body.Reason, Evidence: body.Evidence, Expires: body.Expires,
		Voters: b.eligible(), Needed: b.threshold,
		Hold: b.stand(v, append([]int{q}, v.h.votes[q]...), func(x *entry) bool { return !x.withdraws() }),
		Lift: b.stand(v, lifts, func(*entry) bool { return true }),
	}
	out.InForce = len(out.Hold.Counted) >= b.threshold
	return out
}

// stand says how the votes for something stand in v.
func (b *ballot) stand(v view, votes []int, supports func(*entry) bool) (t Tally) {
	t.Cast = sortedMembers(b.supporters(v, votes, supports))
	t.Counted, _ = b.count(span{v, v}, votes, supports)
	return t
}

// eligible returns who may vote, ascending.
func (b *ballot) eligible() []identity.MemberID {
	out := make([]identity.MemberID, 0, len(b.voters))
	for m := range b.voters {
		out = append(out, m)
	}
	return wire.SortIDs(out)
}
