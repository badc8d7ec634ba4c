package collab_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/governance"
)

// managers makes everybody of a company a manager, each by as many as it needs.
func (c *company) managers(t *testing.T) {
	t.Helper()
	for k, s := range c.sessions[1:] {
		err := c.sessions[0].SetRole(t.Context(), s.Me().ID, collab.RoleManager)
		if pending := new(collab.PendingError); errors.As(err, &pending) && k > 0 {
			proposal(t, c.sessions[1], pending.Proposal)
			err = c.sessions[1].Vote(t.Context(), pending.Proposal, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range c.sessions {
			eventually(t, "everybody knows the manager", func() bool { return member(other, s.Me().ID).Role == collab.RoleManager })
		}
	}
}

// proposal waits until a session knows a proposal.
func proposal(t *testing.T, s *collab.Session, id collab.ProposalID) (found collab.Proposal) {
	t.Helper()
	eventually(t, "the proposal is known", func() bool {
		for p := range s.Proposals() {
			if p.ID == id {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

func none(s *collab.Session) bool {
	for range s.Proposals() {
		return false
	}
	return true
}

// A manager is removed by two others: one proposes, the other agrees, and everybody sees the same.
func TestManagersDecide(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	c.managers(t)
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	ctx := t.Context()
	told := collab.Subscribe[collab.ProposalChanged](ctx, bob)
	pending := new(collab.PendingError)
	if err := ada.Revoke(ctx, cleo.Me().ID, "sells our drafts"); !errors.As(err, &pending) {
		t.Fatalf("a manager alone: %v", err)
	}
	p := proposal(t, bob, pending.Proposal)
	if p.Kind != collab.ProposalRemoval || p.Target != cleo.Me().ID || p.Reason != "sells our drafts" || p.By != ada.Me().ID ||
		p.Needed != 1 || len(p.For) != 1 || !p.Mine || time.Until(p.Ends) < 24*time.Hour {
		t.Errorf("as Bob is shown it: %+v", p)
	}
	if own := proposal(t, ada, pending.Proposal); own.Mine || own.Needed != 1 {
		t.Errorf("as Ada is shown it: %+v", own)
	}
	for e := range told {
		if e.Proposal.ID == pending.Proposal {
			break
		}
	}
	if !none(cleo) {
		t.Error("Cleo is told of her removal")
	}
	if err := bob.Vote(ctx, pending.Proposal, true); err != nil {
		t.Fatal(err)
	}
	<-cleo.Done()
	if !errors.Is(cleo.Err(), collab.ErrRevoked) {
		t.Errorf("Cleo: %v", cleo.Err())
	}
	for _, s := range []*collab.Session{ada, bob} {
		eventually(t, "Cleo is out, and nothing is proposed", func() bool {
			return member(s, cleo.Me().ID).State == collab.MemberRemoved && none(s)
		})
	}
	if err := bob.Vote(ctx, pending.Proposal, true); !errors.Is(err, collab.ErrNoProposal) {
		t.Errorf("a vote on what was decided: %v", err)
	}
}

// What is agreed to can be taken back, what is not can be put away, and who has no say is told so.
func TestManagersChangeTheirMind(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Dora")
	ada, bob, cleo, dora := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	ctx := t.Context()
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bob is a manager", func() bool { return bob.Me().Role == collab.RoleManager })
	pending := new(collab.PendingError)
	if err := ada.SetRole(ctx, cleo.Me().ID, collab.RoleManager); !errors.As(err, &pending) {
		t.Fatalf("Ada alone: %v", err)
	}
	p := proposal(t, bob, pending.Proposal)
	if p.Kind != collab.ProposalGrant || p.Role != collab.RoleManager || p.Kind.String() != "higher role" {
		t.Errorf("as Bob is shown it: %+v", p)
	}
	if err := dora.Vote(ctx, pending.Proposal, true); !errors.Is(err, collab.ErrNoProposal) {
		t.Errorf("an editor votes: %v", err)
	}
	if err := bob.Vote(ctx, pending.Proposal, false); err != nil || !none(bob) {
		t.Errorf("put away: %v", err)
	}
	if err := ada.Vote(ctx, pending.Proposal, false); err != nil || !none(ada) {
		t.Errorf("taken back: %v", err)
	}
	if cleo.Me().Role != collab.RoleEditor {
		t.Error("Cleo is a manager")
	}
	// Asked for again, it is the same thing, and Bob can still agree by asking for it himself.
	if err := bob.SetRole(ctx, cleo.Me().ID, collab.RoleManager); !errors.As(err, &pending) {
		t.Fatalf("Bob alone: %v", err)
	}
	proposal(t, ada, pending.Proposal)
	if err := ada.Vote(ctx, pending.Proposal, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.sessions {
		eventually(t, "Cleo is a manager", func() bool { return member(s, cleo.Me().ID).Role == collab.RoleManager })
	}
}

// Two managers cannot remove each other; whoever holds the root can, and can name a manager though none is left.
func TestRootDecides(t *testing.T) {
	c := gather(t, "Bob")
	ada, bob := c.sessions[0], c.sessions[1]
	ctx := t.Context()
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bob is a manager", func() bool { return bob.Me().Role == collab.RoleManager })
	denied := new(collab.DeniedError)
	if err := ada.Revoke(ctx, bob.Me().ID, "x"); !errors.As(err, &denied) || denied.Need != 2 || !strings.Contains(err.Error(), "or the root") {
		t.Errorf("one of two: %v", err)
	}
	if !none(ada) {
		t.Error("what can never come about was proposed")
	}
	err := ada.Authorize(ctx, c.custodians, func(a *collab.Authority) error {
		if err := a.SetRole(bob.Me().ID, collab.RoleManager); !errors.Is(err, collab.ErrNoChange) {
			t.Errorf("no change: %v", err)
		}
		if err := a.SetRole(bob.Me().ID, collab.RoleEditor); err != nil {
			t.Errorf("lower: %v", err)
		}
		return a.Revoke(bob.Me().ID, "as the root")
	})
	if err != nil {
		t.Fatal(err)
	}
	<-bob.Done()
	var by []string
	for e, err := range ada.Audit(collab.EventID{}) {
		if err == nil && e.Counts && (e.Kind == governance.KindRevoke.String() || e.Kind == governance.KindRoleDrop.String()) {
			by = append(by, e.Summary)
		}
	}
	if got := strings.Join(by, "; "); got != "Ada lowered Bob to editor; Ada removed Bob: as the root" {
		t.Errorf("the audit says %q", got)
	}
}
