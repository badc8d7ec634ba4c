package collab_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/governance"
)

// Every act that somebody's standing forbids says which rule, and what would be needed, whoever asks.
func TestRefusals(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Vera")
	ada, bob, cleo, vera := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	ctx := t.Context()
	if err := ada.SetRole(ctx, vera.Me().ID, collab.RoleViewer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "she is a viewer", func() bool { return vera.Me().Role == collab.RoleViewer })
	nobody := collab.MemberID{9}
	acts := map[string]func(s *collab.Session, target collab.MemberID) error{
		"invite": func(s *collab.Session, _ collab.MemberID) error {
			_, err := s.Invite(ctx, collab.InviteOptions{})
			return err
		},
		"remove": func(s *collab.Session, who collab.MemberID) error { return s.Revoke(ctx, who, "why") },
		"raise":  func(s *collab.Session, who collab.MemberID) error { return s.SetRole(ctx, who, collab.RoleManager) },
		"lower":  func(s *collab.Session, who collab.MemberID) error { return s.SetRole(ctx, who, collab.RoleViewer) },
		"remove a device": func(s *collab.Session, who collab.MemberID) error {
			return s.RemoveDevice(ctx, deviceOf(s, who), false)
		},
		"endorse": func(s *collab.Session, _ collab.MemberID) error { return s.Endorse(ctx, collab.EventID{3}) },
		"hold back": func(s *collab.Session, who collab.MemberID) error {
			_, err := s.ProposeQuarantine(ctx, who, "why")
			return err
		},
	}
	type refused struct {
		by     *collab.Session
		act    string
		target collab.MemberID
		reason governance.Reason
		says   string
	}
	var tests []refused
	for _, s := range []*collab.Session{vera, bob} {
		for _, act := range []string{"invite", "remove", "raise", "lower", "remove a device", "endorse"} {
			tests = append(tests, refused{s, act, cleo.Me().ID, governance.ReasonRole, "needed: a device that acts as manager"})
		}
	}
	for _, s := range []*collab.Session{vera, bob, ada} {
		for _, act := range []string{"remove", "remove a device", "hold back"} {
			tests = append(tests, refused{s, act, s.Me().ID, governance.ReasonSubject, "needed: others who sign"})
		}
		tests = append(tests,
			refused{s, "remove", nobody, governance.ReasonAbsent, "no member"},
			refused{s, "hold back", nobody, governance.ReasonAbsent, "no member"})
	}
	tests = append(tests,
		refused{ada, "lower", ada.Me().ID, governance.ReasonSubject, "needed: others who sign"},
		refused{ada, "endorse", nobody, governance.ReasonEndorse, "needed: "})
	for _, test := range tests {
		err := acts[test.act](test.by, test.target)
		var denied *collab.DeniedError
		if !errors.Is(err, collab.ErrDenied) || !errors.As(err, &denied) || denied.Reason != test.reason || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %s %s: %v", test.by.Me().Name, test.act, test.target.Short(), err)
		}
	}
	if _, err := vera.ProposeQuarantine(ctx, ada.Me().ID, "why"); !errors.Is(err, collab.ErrNoQuorum) || !strings.Contains(err.Error(), "another manager or the root") {
		t.Errorf("against the only manager, who has let everybody in: %v", err)
	}
	for _, reason := range []string{"two\x00words", "\xff"} {
		if err := ada.Revoke(ctx, bob.Me().ID, reason); err == nil || errors.Is(err, collab.ErrDenied) || !strings.Contains(err.Error(), "plain UTF-8 text") {
			t.Errorf("the reason %q: %v", reason, err)
		}
	}
	if err := ada.Endorse(ctx); !errors.Is(err, collab.ErrNoChange) {
		t.Errorf("endorse nothing: %v", err)
	}
	if err := ada.Endorse(ctx, slices.Repeat([]collab.EventID{{1}}, 17)...); !errors.Is(err, collab.ErrTooLarge) {
		t.Errorf("endorse seventeen: %v", err)
	}
}

// What waits for others says for how many, is no refusal, and is told of when it is open no more.
func TestPending(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Dan")
	ctx := t.Context()
	c.managers(t)
	eve := c.admit(t, "Eve") // an editor
	ada, bob, cleo, dan := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	told := collab.Subscribe[collab.ProposalChanged](ctx, bob)
	pending := new(collab.PendingError)
	err := ada.Revoke(ctx, dan.Me().ID, "why")
	if !errors.As(err, &pending) || errors.Is(err, collab.ErrDenied) || pending.Needed != 1 || !strings.Contains(err.Error(), "1 more; ") {
		t.Fatalf("%v", err)
	}
	proposal(t, cleo, pending.Proposal)
	proposal(t, bob, pending.Proposal)
	if err := eve.Vote(ctx, pending.Proposal, true); !errors.Is(err, collab.ErrNoProposal) { // whom it is not put to is not told of it
		t.Errorf("an editor agrees: %v", err)
	}
	if err := ada.Vote(ctx, pending.Proposal, false); err != nil {
		t.Fatal(err)
	}
	for e := range told {
		if e.Proposal.ID == pending.Proposal && e.Gone {
			break
		}
	}
	if !none(bob) {
		t.Error("a proposal is shown that was taken back")
	}
	if err := bob.Vote(ctx, pending.Proposal, true); !errors.Is(err, collab.ErrNoProposal) {
		t.Errorf("a vote on it: %v", err)
	}
}
