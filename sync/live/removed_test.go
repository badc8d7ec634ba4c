package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/sync/membership"
)

// level says how much of a forwarder's allowance for forgeries is left.
func (s *session) level(forwarder *node) float64 {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if b := s.faults.buckets[forwarder.who.dev.ID]; b != nil {
		return b.tokens
	}
	return s.faults.burst
}

// reaches waits until what a session publishes is passed on to another one, by showing it a presence.
func (s *session) reaches(t *testing.T, other *session, state string) {
	t.Helper()
	if err := s.SetPresence(docA, []byte(state)); err != nil {
		t.Fatal(err)
	}
	eventually(t, other.n.who.name+" hears "+s.n.who.name, func() bool {
		s.Renew() // until the routers in between pass it on
		return slices.Contains(other.present(docA), state)
	})
}

// Ada has removed Ben; Cleo, who is connected to both, does not know yet and passes on what Ben writes, as she does for
// Dora.
//
//	Ben ─── Cleo ─── Ada
//	Dora ─────┘
func TestScenario31HonestForwarder(t *testing.T) {
	scenario.Run(t, 31, "a revoked member gossips through an honest member who does not know yet: rejected, the forwarder loses nothing, and follows once it knows", func(t *testing.T) {
		ada, ben, cleo, dora := newNode(t, "Ada"), newNode(t, "Ben"), newNode(t, "Cleo"), newNode(t, "Dora")
		c := cleo.found(newWorld())
		a, b, d := ada.join(c, governance.Editor), ben.join(c, governance.Editor), dora.join(c, governance.Editor)
		grant := governance.RoleGrant{Member: ada.who.id.Member(), Role: governance.Manager}
		if _, err := c.project.Propose(t.Context(), governance.KindRoleGrant, grant); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Ada is a manager", func() bool {
			return a.project.State().Role(ada.who.id.Member()) == governance.Manager
		})
		settle(t, a, b, c, d)
		d.reaches(t, a, `"first"`)
		b.reaches(t, a, `"Ben"`)
		b.insert("script", "by all")
		await(t, "script", "by all", a, c)

		// Apart from Cleo, Ada removes Ben.
		ada.host.Disconnect(cleo.who.dev.ID)
		eventually(t, "Ada and Cleo are apart", func() bool { return !ada.connected(cleo) && !cleo.connected(ada) })
		member := ben.who.id.Member()
		cuts, err := a.journal.Cuts(member)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.project.Remove(t.Context(), membership.Removal{Member: member, Cuts: cuts, Reason: "test"}); err != nil {
			t.Fatal(err)
		}
		ada.connect(cleo)
		eventually(t, "both hear each other again", func() bool { return ada.subscribed(a.name, cleo) && cleo.subscribed(a.name, ada) })
		d.reaches(t, a, `"again"`)
		if !c.live(ben.who.dev.ID) {
			t.Fatal("Cleo knows already")
		}

		held := a.journal.HeldTo(ben.who.dev.ID, 0)
		for n := range 20 {
			b.insert("script", fmt.Sprintf("evil %d ", n))
			if err := b.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "Cleo has taken it all", func() bool { return strings.Count(c.text("script"), "evil") == 20 })
		eventually(t, "Dora has Ben's from Cleo", func() bool { return strings.Count(d.text("script"), "evil") == 20 })
		d.insert("notes", "honest")
		await(t, "notes", "honest", a) // on the same stream, after what was passed on
		if strings.Contains(a.text("script"), "evil") || a.journal.HeldTo(ben.who.dev.ID, 0) != held {
			t.Error("Ada has taken what the removed wrote")
		}
		if got := a.level(cleo); got != a.faults.burst {
			t.Errorf("the honest forwarder is left %.0f of %.0f", got, a.faults.burst)
		}

		if err := c.project.Pull(t.Context(), ada.who.dev.ID); err != nil {
			t.Fatal(err)
		}
		await(t, "script", "by all", a, c, d)
		eventually(t, "Ben knows", func() bool { return b.project.Removed() && !ben.connected(cleo) })
		for _, s := range []*session{c, d} {
			eventually(t, "all honest hold the same", func() bool {
				return a.project.State().Digest() == s.project.State().Digest() && a.doc("script").CRDT().Digest() == s.doc("script").CRDT().Digest()
			})
		}
		a.insert("script", "still ")
		await(t, "script", "still by all", c)
		if b.text("script") == "still by all" {
			t.Error("the removed hears")
		}
	})
}
