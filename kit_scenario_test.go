package collab

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/keystore/memory"
)

// kit takes a player's revocation kit.
func (p *player) kit(t *testing.T) string {
	t.Helper()
	var page bytes.Buffer
	if err := p.WriteRevocationKit(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// lastOf returns a player's newest event of a kind about somebody.
func (p *player) lastOf(t *testing.T, kind governance.Kind, who MemberID) (id EventID) {
	t.Helper()
	p.s.membership.View(func(log *governance.Log) {
		for e := range log.Audit(EventID{}) {
			if e.Kind == kind && e.Subject == who {
				id = e.ID
			}
		}
	})
	if id.IsZero() {
		t.Fatalf("%s has no %v", p.self.Identity.Display, kind)
	}
	return id
}

// Bob got Cleo's kit from a stranger, who is in none of these projects.
func TestScenario45CarriedByOthers(t *testing.T) {
	scenario.Run(t, 45, "a self-revocation is brought by a member who got it from a stranger, replayed, carried into a project that does not know the identity, forged: it ends the identity once where it is a member, anything else is void with an alert", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Eve")
		ada, bob, cleo, eve := x[0], x[1], x[2], x[3]
		other, err := bob.Create(t.Context(), "Without Cleo", Ceremony{Threshold: 2, Custodians: []Custodian{
			KeyStoreCustodian(memory.New()), KeyStoreCustodian(memory.New()),
		}})
		if err != nil {
			t.Fatal(err)
		}
		alerts := Subscribe[SecurityAlert](t.Context(), ada.s)

		// Forged: by the identity's own key, but not by the revocation key.
		rev, err := identity.NewRevocationKey(identity.Seed{1})
		if err != nil {
			t.Fatal(err)
		}
		forged, err := governance.NewSelfRevoke(rev, cleo.me(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, id := eve.forges(governance.KindCarry, governance.Carry{SelfRevoke: forged.Raw})
		eve.brings(t, ada, raw)
		if x := ada.explains(t, id); x.Counts || x.Reason != governance.ReasonRevocation {
			t.Errorf("the forged one: %v, %s", x.Counts, x.Because)
		}
		told(t, alerts, AlertUnlawfulAct, eve.me(), id)
		role(t, cleo.me(), RoleEditor, x...)

		page := cleo.kit(t)
		if err := bob.RevokeIdentity(t.Context(), strings.NewReader(page)); err != nil {
			t.Fatal(err)
		}
		<-cleo.s.Done()
		if !errors.Is(cleo.s.Err(), ErrRevoked) {
			t.Errorf("her session says %v", cleo.s.Err())
		}
		rest := []*player{ada, bob, eve}
		role(t, cleo.me(), governance.None, rest...)
		if n := len(other.membership.State().Members()); n != 1 || strings.Contains(fmt.Sprint(kinds(other)), "Carry") {
			t.Errorf("the project without her has %d members and events %v", n, kinds(other))
		}

		// Replayed: by her own device, which is out, through an accomplice; and by somebody else.
		record, err := governance.ReadKit(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the key was replaced", func() bool {
			_, owed := ada.s.membership.State().Owed(ada.self.Device.ID)
			return !owed
		})
		again, _ := eve.forges(governance.KindCarry, governance.Carry{SelfRevoke: record.Raw})
		eve.brings(t, ada, again)
		role(t, cleo.me(), governance.None, rest...)
		if err := bob.RevokeIdentity(t.Context(), strings.NewReader(page)); err != nil {
			t.Errorf("once more: %v", err)
		}

		// In the project that does not know her.
		elsewhere := &player{Node: bob.Node, s: other}
		raw, id = elsewhere.forges(governance.KindCarry, governance.Carry{SelfRevoke: record.Raw})
		if _, err := other.membership.Propose(t.Context(), governance.KindCarry, governance.Carry{SelfRevoke: record.Raw}); !errors.As(err, new(*DeniedError)) {
			t.Errorf("an honest program carries it: %v", err)
		}
		guest := newPlayer(t, "Gus")
		guest.join(t, elsewhere)
		elsewhere.brings(t, guest, raw)
		if x := guest.explains(t, id); x.Counts || x.Reason != governance.ReasonRevocation {
			t.Errorf("where nobody knows her: %v, %s", x.Counts, x.Because)
		}

		// She does not come back.
		code, err := ada.s.Invite(t.Context(), InviteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cleo.Join(t.Context(), code); !errors.Is(err, ErrDenied) {
			t.Errorf("she comes back: %v", err)
		}
		eve.write(t, "We go on. ")
		agree(t, rest...)
	})
}

// kinds lists what a session's history is made of.
func kinds(s *Session) (out []string) {
	for e := range s.Audit(EventID{}) {
		out = append(out, e.Kind)
	}
	return out
}

// Cleo is a manager whose device is stolen: the thief raises a friend and writes, until Bob brings the words of her kit.
func TestScenario46CompromisedSince(t *testing.T) {
	scenario.Run(t, 46, "a stolen manager's device grants and writes; the kit names the last good event: what it did after it is void, before it stands, everywhere", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Dan", "Eve")
		ada, bob, cleo, dan, eve := x[0], x[1], x[2], x[3], x[4]
		for _, p := range []*player{dan, eve} {
			if err := ada.s.SetRole(t.Context(), p.me(), RoleViewer); err != nil {
				t.Fatal(err)
			}
			role(t, p.me(), RoleViewer, x...)
		}
		if err := ada.s.SetRole(t.Context(), cleo.me(), RoleManager); err != nil {
			t.Fatal(err)
		}
		role(t, cleo.me(), RoleManager, x...)
		page := cleo.kit(t)

		cleo.write(t, "Cleo herself. ")
		if err := cleo.s.SetRole(t.Context(), dan.me(), RoleEditor); err != nil {
			t.Fatal(err)
		}
		role(t, dan.me(), RoleEditor, x...)
		last := cleo.lastOf(t, governance.KindRoleGrant, dan.me())
		cleo.write(t, "Cleo still. ")
		agree(t, x...)
		if err := cleo.s.SetRole(t.Context(), eve.me(), RoleEditor); err != nil { // the thief
			t.Fatal(err)
		}
		role(t, eve.me(), RoleEditor, x...)
		stolen := cleo.lastOf(t, governance.KindRoleGrant, eve.me())
		cleo.write(t, "The thief. ")
		agree(t, x...)

		for what, id := range map[string]EventID{
			"an event that nobody knows": {1}, "somebody else's event": ada.lastOf(t, governance.KindAdmit, eve.me()),
		} {
			err := bob.RevokeIdentity(t.Context(), strings.NewReader(page), LastGood(last, id))
			if !errors.Is(err, governance.ErrUnknownEvent) || cleo.s.Err() != nil {
				t.Errorf("she vouches for %s: %v, %v", what, err, cleo.s.Err())
			}
		}
		changes := Subscribe[MemberChanged](t.Context(), ada.s)
		if err := bob.RevokeIdentity(t.Context(), strings.NewReader(page), LastGood(last)); err != nil {
			t.Fatal(err)
		}
		<-cleo.s.Done()
		rest := []*player{ada, bob, dan, eve}
		role(t, cleo.me(), governance.None, rest...)
		role(t, dan.me(), RoleEditor, rest...)
		role(t, eve.me(), RoleViewer, rest...)
		for m := range changes {
			if m.Member.ID == eve.me() && m.Member.Role == RoleViewer {
				break
			}
		}
		carry := bob.lastOf(t, governance.KindCarry, cleo.me())
		for _, p := range rest {
			if x := p.explains(t, stolen); x.Counts || x.Culprit != carry {
				t.Errorf("at %s the grant counts: %v, %s", p.self.Identity.Display, x.Counts, x.Because)
			}
			if x := p.explains(t, last); !x.Counts {
				t.Errorf("at %s what she vouches for falls: %s", p.self.Identity.Display, x.Because)
			}
			until(t, "what the thief wrote is gone", func() bool { return p.read(t) == "Cleo still. Cleo herself. " })
		}
		dan.write(t, "We go on. ")
		agree(t, rest...)
	})
}

// Ada founded the project; her record even says that nothing she did is vouched for, and names Dora as her successor.
func TestScenario85FounderRetires(t *testing.T) {
	scenario.Run(t, 85, "the founder ends her identity and vouches for nothing: what a checkpoint settled stands, the others stay and go on, the successor holds no role until granted", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Dora")
		ada, bob, cleo, dora := x[0], x[1], x[2], x[3]
		if err := ada.s.SetRole(t.Context(), bob.me(), RoleManager); err != nil {
			t.Fatal(err)
		}
		role(t, bob.me(), RoleManager, x...)
		ada.settles(t, 1, time.Now(), governance.WithCosigners(bob.author()))
		until(t, "it is settled everywhere", func() bool {
			for _, p := range x {
				if p.s.membership.State().Settled().Number != 1 {
					return false
				}
			}
			return true
		})
		if err := ada.s.SetRole(t.Context(), dora.me(), RoleViewer); err != nil { // not settled
			t.Fatal(err)
		}
		role(t, dora.me(), RoleViewer, x...)

		seed, err := ada.home.seed(t.Context(), vaultRevocation)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := identity.NewRevocationKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		heir := dora.me()
		record, err := governance.NewSelfRevoke(rev, ada.me(), []governance.LastGood{{Device: ada.self.Device.ID}}, &heir)
		if err != nil {
			t.Fatal(err)
		}
		cuts, err := cleo.s.journal.Cuts(ada.me())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cleo.s.membership.Propose(t.Context(), governance.KindCarry, governance.Carry{SelfRevoke: record.Raw, Cuts: cuts}); err != nil {
			t.Fatal(err)
		}
		<-ada.s.Done()
		if !errors.Is(ada.s.Err(), ErrRevoked) {
			t.Errorf("her session says %v", ada.s.Err())
		}
		rest := []*player{bob, cleo, dora}
		role(t, ada.me(), governance.None, rest...)
		role(t, bob.me(), RoleManager, rest...)
		role(t, cleo.me(), RoleEditor, rest...)
		role(t, heir, RoleEditor, rest...) // her lowering was not vouched for, and she inherits nothing
		if err := bob.s.SetRole(t.Context(), heir, RoleManager); err != nil {
			t.Errorf("Bob cannot name a manager: %v", err)
		}
		role(t, heir, RoleManager, rest...)
		newcomer := newPlayer(t, "Gus")
		newcomer.join(t, bob)
		newcomer.write(t, "The roster goes on. ")
		agree(t, append(rest, newcomer)...)
	})
}
