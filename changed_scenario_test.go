package collab

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/sync/membership"
)

func TestScenario15EditorGrantsHimself(t *testing.T) {
	scenario.Run(t, 15, "an editor's modified program grants him the manager's role and sends it to all: void everywhere, the reason names his role, an alert names him", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo")
		ada, bob, cleo := x[0], x[1], x[2]
		alerts := []<-chan SecurityAlert{Subscribe[SecurityAlert](t.Context(), ada.s), Subscribe[SecurityAlert](t.Context(), cleo.s)}
		raw, id := bob.forges(governance.KindRoleGrant, governance.RoleGrant{Member: bob.me(), Role: RoleManager})
		bob.brings(t, ada, raw)
		for k, p := range []*player{ada, cleo} {
			if x := p.explains(t, id); x.Counts || x.Reason != governance.ReasonRole {
				t.Errorf("at %s it counts: %v, %s", p.self.Identity.Display, x.Counts, x.Because)
			}
			told(t, alerts[k], AlertUnlawfulAct, bob.me(), id)
		}
		role(t, bob.me(), RoleEditor, x...)
		if _, err := bob.s.Invite(t.Context(), InviteOptions{}); !errors.Is(err, ErrDenied) {
			t.Errorf("he invites: %v", err)
		}
		bob.write(t, "Bob goes on. ")
		agree(t, x...)
	})
}

// Cleo, a manager, is removed by the two others, and has an accomplice who is a member still.
func TestScenario21AddsFriendsAfterwards(t *testing.T) {
	scenario.Run(t, 21, "a removed manager admits a friend citing parents from before her removal, an accomplice forwards it: void at all, by the removal or the checkpoint that settled it, the friend is refused with PeerRejected", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Eve")
		ada, bob, cleo, eve := x[0], x[1], x[2], x[3]
		friend := newPlayer(t, "Dan")
		if err := ada.s.SetRole(t.Context(), bob.me(), RoleManager); err != nil {
			t.Fatal(err)
		}
		role(t, bob.me(), RoleManager, x...)
		promote(t, cleo.me(), ada, bob)
		role(t, cleo.me(), RoleManager, x...)
		before := cleo.s.membership.Heads()
		cuts, err := ada.s.journal.Cuts(cleo.me())
		if err != nil {
			t.Fatal(err)
		}
		removal, err := ada.s.membership.Remove(t.Context(), membership.Removal{Member: cleo.me(), Cuts: cuts}, governance.WithCosigners(bob.author()))
		if err != nil {
			t.Fatal(err)
		}
		<-cleo.s.Done()
		rest := []*player{ada, bob, eve}
		agree(t, rest...)
		raw, id := cleo.forges(governance.KindAdmit, governance.Admit{
			Role: RoleEditor, Identity: friend.self.Identity.Raw, Device: friend.self.Device.Raw,
		}, since(before))
		eve.brings(t, ada, raw)
		for _, p := range rest {
			x := p.explains(t, id) // a checkpoint settles a manager's removal as soon as two managers have signed it
			byRemoval := x.Reason == governance.ReasonStripped && x.Culprit == removal
			if x.Counts || !byRemoval && x.Reason != governance.ReasonOvertaken {
				t.Errorf("at %s it counts: %v, %s", p.self.Identity.Display, x.Counts, x.Because)
			}
		}
		role(t, friend.me(), governance.None, rest...)

		rejected := Subscribe[PeerRejected](t.Context(), bob.s)
		rogue := stranger(t, friend, ada, bob)
		if _, err := rogue.Dial(t.Context(), p2p.Target{Device: bob.self.Device.ID, Peer: bob.self.Device.Peer, Addrs: bob.host.Addrs()}); err == nil {
			t.Error("the friend is let in")
		}
		if e := <-rejected; !errors.Is(e.Reason, p2p.ErrNotMember) {
			t.Errorf("Bob is told %+v", e)
		}
		eve.write(t, "We go on. ")
		agree(t, rest...)
	})
}

// promote makes somebody a manager with the signatures of two.
func promote(t *testing.T, who MemberID, by, with *player) {
	t.Helper()
	if _, err := by.s.membership.Propose(t.Context(), governance.KindRoleGrant, &governance.RoleGrant{Member: who, Role: RoleManager},
		governance.WithCosigners(with.author())); err != nil {
		t.Fatal(err)
	}
}

// stranger is a program with a player's device key that takes others for members of its project.
func stranger(t *testing.T, p *player, others ...*player) *p2p.Host {
	t.Helper()
	believes := believer{}
	for _, o := range others {
		believes[o.self.Device.Peer] = o.self.Device
	}
	self := p.self
	if err := p.Node.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := p2p.New(t.Context(), p2p.Config{Device: self.Keys, Cert: self.Device, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Roster: believes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	return h
}

// One device signs two acts of one number; then it has no say until a manager gives it back.
func TestSuspendedDevice(t *testing.T) {
	x := troupe(t, "Ada", "Bob", "Cleo")
	ada, bob, cleo := x[0], x[1], x[2]
	alerts := Subscribe[SecurityAlert](t.Context(), cleo.s)
	at := func(unix uint64) func(*forge.Act) {
		return func(a *forge.Act) { a.Edit = func(c *forge.Core) { c.THint = &unix } }
	}
	one, _ := bob.forges(governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, at(1))
	two, second := bob.forges(governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, at(2))
	bob.brings(t, ada, one)
	bob.brings(t, ada, two)
	told(t, alerts, AlertEquivocation, bob.me(), second)
	agree(t, x...)
	suspended := func(p *player) (found bool) {
		for d := range p.s.Devices() {
			found = found || d.Suspended && d.Owner == bob.me() && d.ID == bob.self.Device.ID
		}
		return found
	}
	for _, p := range x {
		if !suspended(p) {
			t.Errorf("%s does not show it", p.self.Identity.Display)
		}
	}
	if err := cleo.s.LiftSuspension(t.Context(), bob.self.Device.ID); !errors.Is(err, ErrDenied) {
		t.Errorf("an editor lifts it: %v", err)
	}
	if err := ada.s.LiftSuspension(t.Context(), ada.self.Device.ID); !errors.Is(err, ErrNoChange) {
		t.Errorf("one that is not suspended: %v", err)
	}
	if err := ada.s.LiftSuspension(t.Context(), bob.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "it is lifted everywhere", func() bool { return !suspended(ada) && !suspended(bob) && !suspended(cleo) })
	bob.write(t, "Bob goes on. ")
	agree(t, x...)
}

// A manager's device that is suspended is told why it has no say, whatever it tries.
func TestSuspendedManagerIsRefused(t *testing.T) {
	x := troupe(t, "Ada", "Bob", "Cleo")
	ada, bob, cleo := x[0], x[1], x[2]
	ctx := t.Context()
	if err := ada.s.SetRole(ctx, bob.me(), RoleManager); err != nil {
		t.Fatal(err)
	}
	role(t, bob.me(), RoleManager, x...)
	promote(t, cleo.me(), ada, bob)
	role(t, cleo.me(), RoleManager, x...)
	pending := new(PendingError)
	if err := ada.s.Revoke(ctx, cleo.me(), "why"); !errors.As(err, &pending) {
		t.Fatal(err)
	}
	until(t, "Bob is asked", func() bool { return len(bob.s.proposals()) == 1 })
	one, _ := bob.forges(governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, func(a *forge.Act) {
		a.Edit = func(c *forge.Core) { at := uint64(1); c.THint = &at }
	})
	two, _ := bob.forges(governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, func(a *forge.Act) {
		a.Edit = func(c *forge.Core) { at := uint64(2); c.THint = &at }
	})
	bob.brings(t, ada, one)
	bob.brings(t, ada, two)
	until(t, "Bob's device is suspended", func() bool {
		d, _ := bob.s.membership.State().Device(bob.self.Device.ID)
		return d.Suspended
	})
	_, invites := bob.s.Invite(ctx, InviteOptions{})
	for what, err := range map[string]error{
		"invites": invites, "votes": bob.s.Vote(ctx, pending.Proposal, true),
		"lifts it himself": bob.s.LiftSuspension(ctx, bob.self.Device.ID),
	} {
		denied := new(DeniedError)
		if !errors.Is(err, ErrDenied) || !errors.As(err, &denied) || denied.Reason != governance.ReasonEquivocation ||
			!strings.Contains(err.Error(), "a manager who lifts the suspension") {
			t.Errorf("he %s: %v", what, err)
		}
	}
}
