package collabtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// revoke removes a session's owner.
func revoke(t *testing.T, by, who *collab.Session) {
	t.Helper()
	if err := by.Revoke(t.Context(), who.Me().ID, "test"); err != nil {
		t.Fatal(err)
	}
}

// removed reports whether a session shows somebody as removed.
func removed(s *collab.Session, who collab.MemberID) bool {
	for m := range s.Members() {
		if m.ID == who {
			return m.State == collab.MemberRemoved
		}
	}
	return false
}

// epochs counts the project keys that count in a session's history.
func epochs(t *testing.T, s *collab.Session) (mints, removals int) {
	t.Helper()
	for e, err := range s.Audit(collab.EventID{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Counts && strings.Contains(e.Summary, "minted"):
			mints++
		case e.Counts && strings.Contains(e.Summary, "removed"):
			removals++
		}
	}
	return mints, removals
}

// Two managers remove one member each, on the two sides of a partition.
func TestScenario37AcrossAPartition(t *testing.T) {
	scenario.Run(t, 37, "two managers remove one member each across a partition: held edits go out under one further key, nobody removed reads them", func(t *testing.T) {
		collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
			nodes, s := three(net)
			dora := net.Node("Dora")
			nodes, s = append(nodes, dora), append(s, dora.Join(s[0]))
			meet(net, 3, s...)
			ada, ben, cy, do := s[0], s[1], s[2], s[3]
			if err := ada.SetRole(t.Context(), ben.Me().ID, collab.RoleManager); err != nil {
				t.Fatal(err)
			}
			insert(t, cy, "script", "all ")
			net.Equal("script", s...)
			net.Wait("Ben is a manager", func() bool { return ben.Me().Role == collab.RoleManager })

			net.Partition([]*collabtest.Node{nodes[0], nodes[2]}, []*collabtest.Node{nodes[1], nodes[3]})
			revoke(t, ada, cy)
			revoke(t, ben, do)
			<-cy.Done()
			<-do.Done()
			insert(t, ada, "script", "Ada ")
			insert(t, ben, "script", "Ben ")
			time.Sleep(time.Minute)
			if mints, _ := epochs(t, ada); mints != 1 {
				t.Fatalf("%d keys were minted before the two removals met", mints)
			}
			net.Heal()
			net.Wait("both know of both removals", func() bool {
				return removed(ada, do.Me().ID) && removed(ben, cy.Me().ID)
			})
			insert(t, ada, "script", "both ") // held or not, as it happens
			meet(net, 1, ada, ben)
			net.Equal("script", ada, ben)
			net.Wait("nothing is held", func() bool { return ada.Status().Held == 0 && ben.Status().Held == 0 })
			for _, want := range []string{"Ada ", "Ben ", "both ", "all "} {
				if got := body(t, ben, "script"); !strings.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
			for _, x := range []*collab.Session{ada, ben} {
				if mints, removals := epochs(t, x); mints != 2 || removals != 2 {
					t.Errorf("%s counts %d keys minted and %d removals", x.Me().Name, mints, removals)
				}
			}
			for _, x := range []*collab.Session{cy, do} {
				if got := body(t, x, "script"); !errors.Is(x.Err(), collab.ErrRevoked) || got != "all " {
					t.Errorf("%s: %v, reads %q", x.Me().Name, x.Err(), got)
				}
			}
		})
	})
}

// Who was away, and meets only members who know, hears nothing: nobody is reachable, nothing hangs, and work goes on
// offline. The members are told who tries.
func TestRemovedWhoHearsNothing(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		ada, ben, cy := s[0], s[1], s[2]
		insert(t, cy, "script", "early ")
		net.Equal("script", s...)
		net.Partition(nodes[2:])
		revoke(t, ada, cy)
		net.Wait("Ben knows", func() bool { return removed(ben, cy.Me().ID) })
		time.Sleep(time.Minute)
		rejected := collab.Subscribe[collab.PeerRejected](t.Context(), ada)
		net.Heal()
		if e := <-rejected; e.Peer == "" || e.Reason == nil {
			t.Errorf("told of %+v", e)
		}
		time.Sleep(time.Hour)
		if cy.Err() != nil || cy.Status().Peers != 0 || cy.Me().State != collab.MemberActive {
			t.Errorf("Cy: %v, %+v", cy.Err(), cy.Status())
		}
		d := insert(t, cy, "script", "offline ")
		if err := d.WaitSaved(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.WaitSynced(ctx); !errors.Is(err, collab.ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitSynced: %v", err)
		}
		if got := body(t, ada, "script"); got != "early " {
			t.Errorf("Ada reads %q", got)
		}
		if err := cy.Close(); err != nil {
			t.Error(err)
		}
	})
}
