package collab

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Of five, four may vote on Dan, and three must. Eve is removed meanwhile.
func TestScenario58VotesThatDoNotCount(t *testing.T) {
	scenario.Run(t, 58, "a member votes twice, the target votes with a modified program, a removed member's vote is forwarded: counted 1, 0 and 0 at all, alerts name who signed what no program signs", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Dan", "Eve")
		ada, bob, cleo, dan, eve := x[0], x[1], x[2], x[3], x[4]
		alerts := Subscribe[SecurityAlert](t.Context(), ada.s)
		p, err := bob.s.ProposeQuarantine(t.Context(), dan.me(), "")
		if err != nil {
			t.Fatal(err)
		}
		agree(t, x...)
		if err := bob.s.Vote(t.Context(), p, true); err != nil {
			t.Errorf("a second time: %v", err)
		}
		vote := governance.QuarantineVote{Proposal: EventID(p)}
		raw, own := dan.forges(governance.KindQuarantineVote, vote)
		dan.brings(t, ada, raw)
		told(t, alerts, AlertUnlawfulAct, dan.me(), own)
		agree(t, x...)
		before := eve.s.membership.Heads()
		if err := ada.s.Revoke(t.Context(), eve.me(), ""); err != nil {
			t.Fatal(err)
		}
		<-eve.s.Done()
		rest := []*player{ada, bob, cleo, dan}
		agree(t, rest...)
		raw, late := eve.forges(governance.KindQuarantineVote, vote, since(before))
		dan.brings(t, bob, raw)
		for _, o := range rest {
			for id, want := range map[EventID][]governance.Reason{
				own: {governance.ReasonVoter}, late: {governance.ReasonStripped, governance.ReasonOvertaken}, // before and after a checkpoint
			} {
				if x := o.explains(t, id); x.Counts || !slices.Contains(want, x.Reason) {
					t.Errorf("at %s: %v, %s", o.self.Identity.Display, x.Counts, x.Because)
				}
			}
			for shown := range o.s.Proposals() {
				if len(shown.For) != 1 || shown.For[0] != bob.me() || shown.Needed != 2 || shown.InForce {
					t.Errorf("%s is shown %+v", o.self.Identity.Display, shown)
				}
			}
			if _, held := o.s.membership.State().Quarantined(dan.me()); held {
				t.Error("one vote of three holds")
			}
		}
		agree(t, rest...)
	})
}

// settles makes a checkpoint of what a player holds.
func (p *player) settles(t *testing.T, number uint64, at time.Time, opts ...governance.ProposeOption) {
	t.Helper()
	body := &governance.Checkpoint{Number: number, State: p.s.membership.State().Digest(), Time: uint64(at.Unix())}
	if last := p.s.membership.State().Settled(); last.Number > 0 {
		body.Prev = []EventID{last.Event}
	}
	if _, err := p.s.membership.Propose(t.Context(), governance.KindCheckpoint, body, opts...); err != nil {
		t.Fatal(err)
	}
}

// Of the three editors two must vote on Ada, the only manager.
func TestScenario86OnlyManagerHeld(t *testing.T) {
	scenario.Run(t, 86, "editors hold the only manager: his removals count, his admissions and his lifting of himself do not, forged or not; it ends by the first checkpoint after its end", func(t *testing.T) {
		clock := &watch{}
		var x []*player
		for k, name := range []string{"Ada", "Bob", "Cleo", "Dan"} {
			x = append(x, newPlayer(t, name, WithClock(clock.now)))
			if k == 0 {
				x[0].found(t)
			} else {
				x[k].join(t, x[0])
			}
		}
		agree(t, x...)
		ada, bob, cleo, dan := x[0], x[1], x[2], x[3]
		if _, err := bob.s.ProposeQuarantine(t.Context(), ada.me(), ""); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("those whom she has just admitted: %v", err)
		}
		ada.settles(t, 1, clock.now()) // they have been here for a while
		agree(t, x...)
		alerts := Subscribe[SecurityAlert](t.Context(), bob.s)
		changes := Subscribe[MemberChanged](t.Context(), cleo.s)
		p, err := bob.s.ProposeQuarantine(t.Context(), ada.me(), "sends odd things")
		if err != nil {
			t.Fatal(err)
		}
		agree(t, x...)
		if err := cleo.s.Vote(t.Context(), p, true); err != nil {
			t.Fatal(err)
		}
		changed := func(state MemberState) {
			t.Helper()
			for m := range changes {
				if m.Member.ID == ada.me() && m.Member.State == state {
					return
				}
			}
		}
		changed(MemberQuarantined)
		agree(t, x...)

		if _, err := ada.s.Invite(t.Context(), InviteOptions{}); !errors.Is(err, ErrQuarantined) {
			t.Errorf("she invites: %v", err)
		}
		if err := ada.s.LiftQuarantine(t.Context(), ada.me()); !errors.Is(err, ErrDenied) {
			t.Errorf("she frees herself: %v", err)
		}
		me := ada.me()
		raw, lift := ada.forges(governance.KindLiftQuarantine, governance.LiftQuarantine{Member: &me})
		ada.brings(t, bob, raw)
		told(t, alerts, AlertUnlawfulAct, ada.me(), lift)
		guest := newPlayer(t, "Gus")
		raw, admit := ada.forges(governance.KindAdmit, governance.Admit{Role: RoleEditor, Identity: guest.self.Identity.Raw, Device: guest.self.Device.Raw})
		ada.brings(t, bob, raw)
		told(t, alerts, AlertUnlawfulAct, ada.me(), admit)
		role(t, guest.me(), governance.None, x...)
		if err := ada.s.Revoke(t.Context(), dan.me(), "removed from quarantine"); err != nil {
			t.Errorf("she removes: %v", err)
		}
		<-dan.s.Done()
		rest := []*player{ada, bob, cleo}
		role(t, dan.me(), governance.None, rest...)
		for _, o := range rest {
			if _, held := o.s.membership.State().Quarantined(ada.me()); !held {
				t.Errorf("%s does not hold her", o.self.Identity.Display)
			}
		}

		clock.pass(25 * time.Hour)
		ada.settles(t, 2, clock.now())
		changed(MemberActive)
		agree(t, rest...)
		if _, err := ada.s.Invite(t.Context(), InviteOptions{}); err != nil {
			t.Errorf("she invites when it has ended: %v", err)
		}
	})
}
