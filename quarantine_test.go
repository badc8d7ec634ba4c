package collab_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/governance"
)

// proposed waits until a session knows an open proposal as ok says.
func proposed(t *testing.T, s *collab.Session, what string, ok func(collab.Proposal) bool) (found collab.Proposal) {
	t.Helper()
	eventually(t, what, func() bool {
		for p := range s.Proposals() {
			if ok(p) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

func TestQuarantine(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Dan")
	ada, bob, cleo, dan := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	ctx := t.Context()
	told := collab.Subscribe[collab.ProposalChanged](ctx, cleo)
	held := collab.Subscribe[collab.MemberChanged](ctx, bob)

	id, err := bob.ProposeQuarantine(ctx, dan.Me().ID, "typed over the whole script")
	if err != nil {
		t.Fatal(err)
	}
	p := (<-told).Proposal
	if p.ID != id || p.Kind != collab.ProposalQuarantine || p.Target != dan.Me().ID || p.By != bob.Me().ID || p.Reason != "typed over the whole script" ||
		!slices.Equal(p.For, []collab.MemberID{bob.Me().ID}) || p.Needed != 1 || !p.Mine || p.InForce || time.Until(p.Ends) > 24*time.Hour || time.Until(p.Ends) < 23*time.Hour {
		t.Errorf("Cleo is shown %+v", p)
	}
	if own := proposed(t, dan, "the member sees it", func(p collab.Proposal) bool { return p.ID == id }); own.Mine {
		t.Error("the member may vote on himself")
	}
	var denied *collab.DeniedError
	if err := dan.Vote(ctx, id, true); !errors.Is(err, collab.ErrDenied) || !errors.As(err, &denied) || denied.Reason != governance.ReasonVoter {
		t.Errorf("the member votes: %v", err)
	}

	if err := cleo.Vote(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.sessions {
		eventually(t, "he is held", func() bool { return member(s, dan.Me().ID).State == collab.MemberQuarantined })
		proposed(t, s, "the proposal is in force", func(p collab.Proposal) bool { return p.ID == id && p.InForce && p.Needed == 0 })
	}
	if m := (<-held).Member; m.ID != dan.Me().ID || m.State != collab.MemberQuarantined {
		t.Errorf("Bob is told %+v", m)
	}
	if _, err := dan.ProposeQuarantine(ctx, bob.Me().ID, "in return"); !errors.Is(err, collab.ErrQuarantined) || !errors.Is(err, collab.ErrDenied) {
		t.Errorf("the held proposes: %v", err)
	}

	// Of the three who may vote two must ask for the end; a manager's word would do.
	var pending *collab.PendingError
	if err := bob.LiftQuarantine(ctx, dan.Me().ID); !errors.As(err, &pending) {
		t.Fatalf("an editor ends it alone: %v", err)
	}
	lift := proposed(t, cleo, "the end is proposed", func(p collab.Proposal) bool { return p.ID == pending.Proposal })
	if lift.Kind != collab.ProposalLift || lift.Target != dan.Me().ID || lift.Needed != 1 || !lift.Mine || lift.By != bob.Me().ID {
		t.Errorf("Cleo is shown %+v", lift)
	}
	if err := cleo.Vote(ctx, lift.ID, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.sessions {
		eventually(t, "it has ended", func() bool { return member(s, dan.Me().ID).State == collab.MemberActive })
		eventually(t, "nothing is open", func() bool { return slices.Collect(s.Proposals()) == nil })
	}
	if err := ada.Vote(ctx, id, true); !errors.Is(err, collab.ErrNoProposal) {
		t.Errorf("a vote when it has ended: %v", err)
	}
}

// A vote is taken back, what is not wanted is put away, and a manager decides alone.
func TestQuarantineWithdrawn(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Dan")
	ada, bob, cleo, dan := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	ctx := t.Context()
	id, err := bob.ProposeQuarantine(ctx, dan.Me().ID, "")
	if err != nil {
		t.Fatal(err)
	}
	this := func(p collab.Proposal) bool { return p.ID == id }
	for _, s := range []*collab.Session{ada, cleo} {
		proposed(t, s, "it has come", this)
	}
	if err := cleo.Vote(ctx, id, false); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(slices.Collect(cleo.Proposals()), this) {
		t.Error("what was put away is shown")
	}
	if err := bob.Vote(ctx, id, false); err != nil {
		t.Fatal(err)
	}
	proposed(t, ada, "the vote was taken back", func(p collab.Proposal) bool { return this(p) && len(p.For) == 0 && p.Needed == 2 })
	for _, s := range []*collab.Session{bob, ada} {
		if err := s.Vote(ctx, id, true); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "he is held", func() bool { return member(dan, dan.Me().ID).State == collab.MemberQuarantined })
	if err := dan.LiftQuarantine(ctx, dan.Me().ID); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("he frees himself: %v", err)
	}
	if err := ada.LiftQuarantine(ctx, dan.Me().ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has ended", func() bool { return member(dan, dan.Me().ID).State == collab.MemberActive })
	if err := ada.LiftQuarantine(ctx, dan.Me().ID); !errors.Is(err, collab.ErrNoProposal) {
		t.Errorf("a second time: %v", err)
	}
}

// Between two people there is nobody to decide.
func TestQuarantineOfTwo(t *testing.T) {
	c := gather(t, "Bob")
	ada, bob := c.sessions[0], c.sessions[1]
	for _, s := range c.sessions {
		other := ada
		if s == ada {
			other = bob
		}
		if _, err := s.ProposeQuarantine(t.Context(), other.Me().ID, ""); !errors.Is(err, collab.ErrNoQuorum) {
			t.Errorf("%s: %v", s.Me().Name, err)
		}
	}
	if _, err := ada.ProposeQuarantine(t.Context(), collab.MemberID{1}, ""); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("a stranger: %v", err)
	}
}
