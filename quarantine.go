package collab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
)

// ProposeQuarantine asks the members to hold back what somebody sends from now on, for as long as the root's policy says, by itself a day; it is this device's owner's
// vote as well. It takes effect when more than half of those who may vote have done so, at least two: everybody who was
// admitted by a manager or some time ago, but the member himself; who is connected does not matter, and guests of one host make
// up at most half. The others see it in [Session.Proposals] and answer with [Session.Vote].
//
// In force it keeps what the member wrote meanwhile from being shown, and his presence too; his messages of [Session.Broadcast]
// are dropped. It voids his votes, admissions and grants; with a vote of
// somebody of at least his role also what he takes from others. He goes on reading. A manager ends it at once,
// with [Session.LiftQuarantine]. It is for the hours until a manager can act: see [Session.Revoke].
//
// reason is signed history that every member can read; at most 512 bytes. It fails with [ErrNoQuorum] if no number of votes
// could put it in force, as between two people; with *[DeniedError], and [ErrDenied], that says which rule stands in the way;
// with [ErrTooLarge], [ErrQuarantined] or [ErrUnreachable].
func (s *Session) ProposeQuarantine(ctx context.Context, who MemberID, reason string) (ProposalID, error) {
	if err := s.alive(); err != nil {
		return ProposalID{}, err
	}
	doing := "hold back " + who.Short()
	if err := checkReason(reason); err != nil {
		return ProposalID{}, wrap(doing, err)
	}
	if err := s.electable(who); err != nil {
		return ProposalID{}, wrap(doing, err)
	}
	heads, err := s.journal.Cuts(who)
	if err != nil {
		return ProposalID{}, wrap(doing, err)
	}
	ends := s.node.cfg.now().Add(time.Duration(s.membership.Root().Policy.QuarantineTTL) * time.Second)
	id, err := s.membership.Propose(ctx, governance.KindQuarantinePropose, &governance.QuarantinePropose{
		Member: who, Reason: reason, Heads: heads, Expires: uint64(ends.Unix()),
	})
	return ProposalID(id), s.denied(doing, err)
}

// denied is [wrap] for an act of governance: it says so if a quarantine of this device's owner stands in the way.
func (s *Session) denied(doing string, err error) error {
	if denied := new(DeniedError); errors.As(err, &denied) {
		_, held := s.membership.State().Quarantined(s.node.self.Device.Member)
		if denied.Reason == governance.ReasonQuarantine || held && denied.Reason == governance.ReasonVoter {
			return fmt.Errorf("%w: %s: %w", ErrQuarantined, doing, err)
		}
	}
	return wrap(doing, err)
}

// electable says early that no vote could hold a member back.
func (s *Session) electable(who MemberID) error {
	denied := &DeniedError{Kind: governance.KindQuarantinePropose}
	switch {
	case who == s.node.self.Device.Member:
		denied.Reason = governance.ReasonSubject
		return denied
	case s.membership.State().Role(who) == governance.None:
		denied.Reason = governance.ReasonAbsent
		return denied
	}
	var voters []MemberID
	var needed int
	s.membership.View(func(log *governance.Log) { voters, needed = log.Electorate(who) })
	if len(voters) < needed {
		return fmt.Errorf("%w: %d may, and %d votes are needed; mute them on this device, or ask another manager or the root's holders", ErrNoQuorum, len(voters), needed)
	}
	return nil
}

// LiftQuarantine ends the quarantines of a member, those that still wait for votes too. A manager's word ends them at once;
// that of others is a vote, and *[PendingError] says that it waits for as many as put the quarantine in force. Nobody lifts
// their own. It fails with [ErrNoProposal] if the member is not held and nobody proposed to, with *[DeniedError], and [ErrDenied], or
// [ErrUnreachable].
func (s *Session) LiftQuarantine(ctx context.Context, who MemberID) error {
	if err := s.alive(); err != nil {
		return err
	}
	doing := "end the quarantine of " + who.Short()
	if len(s.ballots(who)) == 0 {
		return fmt.Errorf("%w: %s", ErrNoProposal, doing)
	}
	if _, err := s.membership.Propose(ctx, governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &who}); err != nil {
		return s.denied(doing, err)
	}
	if left := s.ballots(who); len(left) > 0 {
		return s.pending(liftID(left[0]))
	}
	return nil
}

// ballots returns the quarantines of a member that have not ended.
func (s *Session) ballots(who MemberID) []governance.Ballot {
	var all []governance.Ballot
	s.membership.View(func(log *governance.Log) { all = log.Ballots() })
	return slices.DeleteFunc(all, func(b governance.Ballot) bool { return b.Member != who })
}

// holdID and liftID name the proposals of a quarantine and of its end, alike on all devices whoever asked first.
func holdID(b governance.Ballot) ProposalID { return ProposalID(b.Proposal) }
func liftID(b governance.Ballot) ProposalID {
	return ProposalID(derive.ID("lift-proposal", b.Proposal[:]))
}

// quarantines are the proposals to hold a member back, and to end that.
type quarantines struct{ *Session }

func (q quarantines) open() []Proposal {
	var out []Proposal
	for _, b := range q.list() {
		out = append(out, q.hold(b))
		if len(b.Lift.Cast) > 0 {
			out = append(out, q.lift(b))
		}
	}
	return out
}

// list returns the ballots that are still of use: one whose time is over by this device's clock would hold for a moment only.
func (q quarantines) list() []governance.Ballot {
	var all []governance.Ballot
	q.membership.View(func(log *governance.Log) { all = log.Ballots() })
	now := uint64(q.node.cfg.now().Unix())
	return slices.DeleteFunc(all, func(b governance.Ballot) bool { return !b.InForce && b.Expires < now })
}

func (q quarantines) hold(b governance.Ballot) Proposal {
	return Proposal{
		ID: holdID(b), Kind: ProposalQuarantine, Target: b.Member, Reason: b.Reason, By: b.By, InForce: b.InForce,
		For: b.Hold.Counted, Needed: max(0, b.Needed-len(b.Hold.Counted)), Mine: q.mine(b, b.Hold), Ends: time.Unix(int64(b.Expires), 0),
	}
}

func (q quarantines) lift(b governance.Ballot) Proposal {
	return Proposal{
		ID: liftID(b), Kind: ProposalLift, Target: b.Member, By: b.Lift.Cast[0],
		For: b.Lift.Counted, Needed: max(0, b.Needed-len(b.Lift.Counted)), Mine: q.mine(b, b.Lift), Ends: time.Unix(int64(b.Expires), 0),
	}
}

// mine reports whether this device's owner may vote and has not yet.
func (q quarantines) mine(b governance.Ballot, t governance.Tally) bool {
	me := q.node.self.Device.Member
	return slices.Contains(b.Voters, me) && !slices.Contains(t.Cast, me)
}

func (q quarantines) vote(ctx context.Context, id ProposalID, approve bool, _ []Custodian) (bool, error) {
	for _, b := range q.list() {
		hold, lift := holdID(b), liftID(b)
		switch id {
		case hold:
			return true, q.denied("vote on a quarantine", q.voteHold(ctx, b, approve))
		case lift:
			if !approve {
				q.putAside(id)
				return true, nil
			}
			_, err := q.membership.Propose(ctx, governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &b.Member})
			return true, q.denied("vote for the end of a quarantine", err)
		}
	}
	return false, nil
}

// voteHold votes for a quarantine or takes the vote back; without one there is nothing to tell others.
func (q quarantines) voteHold(ctx context.Context, b governance.Ballot, approve bool) error {
	vote := &governance.QuarantineVote{Proposal: b.Proposal}
	switch given := slices.Contains(b.Hold.Cast, q.node.self.Device.Member); {
	case approve:
		heads, err := q.journal.Cuts(b.Member)
		if err != nil {
			return err
		}
		vote.Heads = heads
	case given:
		vote.Withdraw = 1
	default:
		q.putAside(holdID(b))
		return nil
	}
	_, err := q.membership.Propose(ctx, governance.KindQuarantineVote, vote)
	return err
}

// checkReason refuses a reason that no event takes.
func checkReason(reason string) error {
	if len(reason) > governance.MaxReason {
		return fmt.Errorf("%w: the reason has %d bytes, at most %d are kept", ErrTooLarge, len(reason), governance.MaxReason)
	}
	if err := wire.CheckText(reason, governance.MaxReason); err != nil {
		return fmt.Errorf("the reason is not kept, give one of plain UTF-8 text: %w", err)
	}
	return nil
}
