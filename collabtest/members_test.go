package collabtest_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// state is the digest of what a session's whole history amounts to, worked out anew from its signed events.
func state(t *testing.T, s *collab.Session) string {
	t.Helper()
	var file bytes.Buffer
	if err := s.ExportAudit(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	found, err := governance.VerifyAudit(&file)
	if err != nil {
		t.Fatal(err)
	}
	return found.Log.State().Digest().String()
}

// sameState waits until all sessions hold the same events, and checks that they amount to the same.
func sameState(t *testing.T, net *collabtest.Network, sessions ...*collab.Session) {
	t.Helper()
	net.Wait("all hold the same events", func() bool {
		for _, s := range sessions[1:] {
			if !slices.Equal(events(t, s), events(t, sessions[0])) {
				return false
			}
		}
		return true
	})
	for _, s := range sessions[1:] {
		if state(t, s) != state(t, sessions[0]) {
			t.Errorf("%s and %s are in different states", s.Me().Name, sessions[0].Me().Name)
		}
	}
}

// events lists what a session holds, ascending.
func events(t *testing.T, s *collab.Session) (ids []string) {
	t.Helper()
	for e, err := range s.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID.String())
	}
	slices.Sort(ids)
	return ids
}

// find returns what a session says of somebody.
func find(s *collab.Session, who collab.MemberID) (found collab.Member) {
	for m := range s.Members() {
		if m.ID == who {
			found = m
		}
	}
	return found
}

// company makes a project of Ada and editors, who know one another.
func company(net *collabtest.Network, names ...string) (nodes []*collabtest.Node, s []*collab.Session) {
	nodes = append(nodes, net.Node("Ada"))
	s = append(s, nodes[0].Create("The Last Reel"))
	for _, name := range names {
		n := net.Node(name)
		nodes, s = append(nodes, n), append(s, n.Join(s[0]))
	}
	meet(net, len(names), s...)
	return nodes, s
}

// changedTo waits for the event that somebody's state is another.
func changedTo(t *testing.T, changes <-chan collab.MemberChanged, who collab.MemberID, want collab.MemberState) {
	t.Helper()
	for m := range changes {
		if m.Member.ID == who && m.Member.State == want {
			return
		}
	}
	t.Errorf("no event says that somebody's state is %d", want)
}

func TestScenario20RemovedAndBroughtBack(t *testing.T) {
	scenario.Run(t, 20, "across a partition one manager removes a member, another removes and re-admits him: out everywhere once it heals, his session ends, equal states", func(t *testing.T) {
		collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
			nodes, s := company(net, "Ben", "Cy", "Dora")
			ada, ben, cy, dora := s[0], s[1], s[2], s[3]
			if err := ada.SetRole(t.Context(), ben.Me().ID, collab.RoleManager); err != nil {
				t.Fatal(err)
			}
			net.Wait("all know that Ben is a manager", func() bool {
				return !slices.ContainsFunc(s, func(x *collab.Session) bool { return find(x, ben.Me().ID).Role != collab.RoleManager })
			})
			net.Partition([]*collabtest.Node{nodes[0], nodes[3]}, []*collabtest.Node{nodes[1], nodes[2]})
			changes := collab.Subscribe[collab.MemberChanged](t.Context(), dora)
			revoke(t, ada, cy)
			revoke(t, ben, cy)
			<-cy.Done()
			time.Sleep(time.Minute) // for his old connection to end
			back := nodes[2].Join(ben)
			insert(t, back, "script", "Cy is back. ")
			net.Equal("script", ben, back)
			if find(ben, back.Me().ID).State != collab.MemberActive {
				t.Fatal("he is not back on his side")
			}
			net.Heal()
			<-back.Done()
			if !errors.Is(back.Err(), collab.ErrRevoked) {
				t.Errorf("his session says %v", back.Err())
			}
			changedTo(t, changes, back.Me().ID, collab.MemberRemoved)
			sameState(t, net, ada, ben, dora)
			for _, x := range []*collab.Session{ada, ben, dora} {
				if !removed(x, back.Me().ID) {
					t.Errorf("%s shows him as a member", x.Me().Name)
				}
			}
			net.Equal("script", ada, ben, dora)
		})
	})
}

func TestScenario36Leaves(t *testing.T) {
	scenario.Run(t, 36, "a member leaves: one editor of three mints the key that is owed, the leaver has no box in it and reads nothing more", func(t *testing.T) {
		collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
			_, s := company(net, "Ben", "Cy", "Dora")
			ada, cy := s[0], s[2]
			rest := []*collab.Session{s[0], s[1], s[3]}
			insert(t, cy, "script", "Cy was here. ")
			net.Equal("script", s...)
			leaver := map[collab.DeviceID]bool{}
			for d := range cy.Devices() {
				leaver[d.ID] = d.This
			}
			changes := collab.Subscribe[collab.MemberChanged](t.Context(), s[3])
			before := events(t, ada)
			if err := cy.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			if <-cy.Done(); !errors.Is(cy.Err(), collab.ErrLeft) {
				t.Errorf("his session says %v", cy.Err())
			}
			changedTo(t, changes, cy.Me().ID, collab.MemberRemoved)
			time.Sleep(time.Minute) // for all who might mint
			sameState(t, net, rest...)
			minted := 0
			for e := range ada.Audit(collab.EventID{}) {
				ev, err := governance.ParseEvent(e.Raw)
				if err != nil {
					t.Fatal(err)
				}
				body, err := governance.DecodeBody(ev)
				k, ok := body.(*governance.KeyEpoch)
				if _, old := slices.BinarySearch(before, e.ID.String()); err != nil || !ok || old {
					continue
				}
				minted++
				if len(k.Boxes) != 3 || slices.ContainsFunc(k.Boxes, func(b governance.EpochBox) bool { return leaver[b.Device] }) {
					t.Errorf("the new key has %d boxes, or one for who left", len(k.Boxes))
				}
			}
			if minted != 1 {
				t.Errorf("%d keys were minted", minted)
			}
			insert(t, s[1], "script", "Ben goes on. ")
			net.Equal("script", rest...)
			if got := body(t, cy, "script"); got != "Cy was here. " {
				t.Errorf("who left reads %q", got)
			}
		})
	})
}

func TestScenario56VotesInAPartition(t *testing.T) {
	scenario.Run(t, 56, "of five, two who are alone on their side of a partition vote: not held; the third of three on a side votes: held there, and everywhere once it heals", func(t *testing.T) {
		collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
			nodes, s := company(net, "Ben", "Cy", "Dora", "Eve")
			ada, ben, cy, dora, eve := s[0], s[1], s[2], s[3], s[4]
			net.Partition([]*collabtest.Node{nodes[1], nodes[2]}, []*collabtest.Node{nodes[0], nodes[3], nodes[4]})
			net.Wait("they notice", func() bool { return ben.Status().Peers == 1 && cy.Status().Peers == 1 })
			id, err := ben.ProposeQuarantine(t.Context(), eve.Me().ID, "types over others")
			if err != nil {
				t.Fatal(err)
			}
			vote := func(x *collab.Session) {
				t.Helper()
				net.Wait(x.Me().Name+" sees it", func() bool {
					for p := range x.Proposals() {
						if p.ID == id {
							return true
						}
					}
					return false
				})
				if err := x.Vote(t.Context(), id, true); err != nil {
					t.Fatal(err)
				}
			}
			vote(cy)
			sameState(t, net, ben, cy)
			time.Sleep(time.Minute)
			for _, x := range []*collab.Session{ben, cy} {
				for p := range x.Proposals() {
					if p.InForce || p.Needed != 1 || len(p.For) != 2 {
						t.Errorf("all who are connected have voted: %+v", p)
					}
				}
				if find(x, eve.Me().ID).State != collab.MemberActive {
					t.Errorf("two of four hold her at %s", x.Me().Name)
				}
			}

			net.Partition([]*collabtest.Node{nodes[1], nodes[2], nodes[3]}, []*collabtest.Node{nodes[0], nodes[4]})
			changes := collab.Subscribe[collab.MemberChanged](t.Context(), ada)
			vote(dora)
			held := func(x *collab.Session) bool { return find(x, eve.Me().ID).State == collab.MemberQuarantined }
			net.Wait("three of four hold her on their side", func() bool { return held(ben) && held(cy) && held(dora) })
			if held(ada) || held(eve) {
				t.Error("she is held where nobody knows of it")
			}
			net.Heal()
			changedTo(t, changes, eve.Me().ID, collab.MemberQuarantined)
			sameState(t, net, s...)
			for _, x := range s {
				if !held(x) {
					t.Errorf("%s does not hold her", x.Me().Name)
				}
			}
			if _, err := eve.ProposeQuarantine(t.Context(), ben.Me().ID, ""); !errors.Is(err, collab.ErrQuarantined) {
				t.Errorf("she proposes: %v", err)
			}
		})
	})
}

func TestScenario60MutualVotes(t *testing.T) {
	scenario.Run(t, 60, "two members hold each other with one vote more on each side of a partition: both are held, the manager lifts both, equal states", func(t *testing.T) {
		collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
			nodes, s := company(net, "Ben", "Cy", "Dora")
			ada, ben, cy, dora := s[0], s[1], s[2], s[3]
			net.Partition([]*collabtest.Node{nodes[0], nodes[1]}, []*collabtest.Node{nodes[2], nodes[3]})
			against := func(by, with, who *collab.Session) {
				t.Helper()
				id, err := by.ProposeQuarantine(t.Context(), who.Me().ID, "")
				if err != nil {
					t.Fatal(err)
				}
				net.Wait("it is seen", func() bool { return slices.Collect(with.Proposals()) != nil })
				if err := with.Vote(t.Context(), id, true); err != nil {
					t.Fatal(err)
				}
				net.Wait("it holds", func() bool { return find(by, who.Me().ID).State == collab.MemberQuarantined })
			}
			against(ben, ada, cy)
			against(cy, dora, ben)
			changes := collab.Subscribe[collab.MemberChanged](t.Context(), dora)
			net.Heal()
			sameState(t, net, s...)
			for _, x := range s {
				for _, who := range []*collab.Session{ben, cy} {
					if m := find(x, who.Me().ID); m.State != collab.MemberQuarantined {
						t.Errorf("%s shows %+v", x.Me().Name, m)
					}
				}
			}
			for _, who := range []*collab.Session{ben, cy} {
				if err := ada.LiftQuarantine(t.Context(), who.Me().ID); err != nil {
					t.Fatal(err)
				}
				changedTo(t, changes, who.Me().ID, collab.MemberActive)
			}
			sameState(t, net, s...)
			insert(t, ben, "script", "Ben ")
			insert(t, cy, "script", "Cy ")
			net.Equal("script", s...)
		})
	})
}
