package collabtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
)

// four is a project of four nodes that know one another.
func four(net *collabtest.Network) (nodes []*collabtest.Node, sessions []*collab.Session) {
	nodes, sessions = three(net)
	nodes = append(nodes, net.Node("Dee"))
	sessions = append(sessions, nodes[3].Join(sessions[0]))
	meet(net, 3, sessions...)
	return nodes, sessions
}

// TestRemovalInAPartition removes Cy where he cannot hear of it:
//
//	   Ada, Ben │ Cy, Dee
//	removes Cy  │ type on
//
// When they meet, what Cy wrote before is kept, what he wrote after counts nowhere, and what Dee wrote meanwhile counts.
func TestRemovalInAPartition(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := four(net)
		ada, ben, cy, dee := s[0], s[1], s[2], s[3]
		honest := []*collab.Session{ada, ben, dee}
		insert(t, cy, "script", "Cy before. ")
		net.Equal("script", s...)

		net.Partition(nodes[:2])
		if err := ada.Revoke(t.Context(), cy.Me().ID, "in a partition"); err != nil {
			t.Fatal(err)
		}
		insert(t, cy, "script", "Cy after. ")
		insert(t, cy, "notes", "Cy after. ")
		net.Equal("script", cy, dee)
		net.Equal("notes", cy, dee)
		insertAt(t, dee, "script", len("Cy after. Cy before. "), "Dee meanwhile. ")
		insertAt(t, ben, "script", len("Cy before. "), "Ben meanwhile. ")
		net.Equal("script", cy, dee)
		net.Equal("script", ada, ben)
		time.Sleep(time.Minute)

		net.Heal()
		select {
		case <-cy.Done():
		case <-time.After(2 * time.Minute):
			t.Fatal("Cy's session goes on")
		}
		if err := cy.Err(); !errors.Is(err, collab.ErrRevoked) {
			t.Errorf("Cy's session ended: %v", err)
		}
		net.Wait("Ada reads Dee", func() bool { return strings.Contains(body(t, ada, "script"), "Dee meanwhile. ") })
		net.Equal("script", honest...)
		net.Equal("notes", honest...)
		for _, s := range honest {
			script := body(t, s, "script")
			for _, want := range []string{"Cy before. ", "Dee meanwhile. ", "Ben meanwhile. "} {
				if !strings.Contains(script, want) {
					t.Errorf("%s reads %q, without %q", s.Me().Name, script, want)
				}
			}
			if notes := body(t, s, "notes"); strings.Contains(script+notes, "after") {
				t.Errorf("%s reads what the removed wrote after: %q, %q", s.Me().Name, script, notes)
			}
		}
		insert(t, dee, "script", "Dee goes on. ")
		insert(t, ada, "script", "Ada goes on. ")
		net.Equal("script", honest...)
	})
}

// TestTypedInsideTheRemoved lets Dee type inside a sentence that will turn out not to count, as Cy was removed before he
// wrote it. What she put there is shown nowhere; she and everybody else go on in the same document.
func TestTypedInsideTheRemoved(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := four(net)
		ada, ben, cy, dee := s[0], s[1], s[2], s[3]
		honest := []*collab.Session{ada, ben, dee}
		net.Partition(nodes[:2])
		if err := ada.Revoke(t.Context(), cy.Me().ID, "in a partition"); err != nil {
			t.Fatal(err)
		}
		insert(t, cy, "script", "Cy after. ")
		net.Equal("script", cy, dee)
		insertAt(t, dee, "script", 3, "Dee inside. ")
		net.Equal("script", cy, dee)
		net.Heal()
		net.Wait("nobody reads what does not count", func() bool {
			return body(t, ada, "script")+body(t, ben, "script")+body(t, dee, "script") == ""
		})
		meet(net, 2, honest...)
		for _, text := range []string{"Dee goes on. ", "Ada goes on. "} {
			insert(t, map[byte]*collab.Session{'D': dee, 'A': ada}[text[0]], "script", text)
			net.Equal("script", honest...)
		}
		nodes[3].Restart()
		honest[2] = nodes[3].Reopen(ada.ID())
		insert(t, honest[2], "script", "Dee is back. ")
		net.Equal("script", honest...)
		if got := body(t, ben, "script"); got != "Dee is back. Ada goes on. Dee goes on. " {
			t.Errorf("Ben reads %q", got)
		}
	})
}
