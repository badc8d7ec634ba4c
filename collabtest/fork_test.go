package collabtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
)

// TestForkOfACopiedStore sets Cy's device back to a copy of its store, which does not know what it has sent since:
//
//	common ─ one      before the copy came back, seen by Ada and Ben
//	       └ two      after it, alone
//
// Both are signed, on one chain, at one place. Nothing beyond the common part counts until a manager has picked a branch; then
// that one does everywhere, also after a restart, and what Cy writes on goes to a new chain.
func TestForkOfACopiedStore(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		dir := filepath.Join(t.TempDir(), "cy")
		ada, ben, cy := net.Node("Ada"), net.Node("Ben"), net.Node("Cy", collab.WithDir(dir))
		a := ada.Create("Film")
		b, c := ben.Join(a), cy.Join(a)
		meet(net, 2, a, b, c)
		id := a.ID()
		insert(t, c, "script", "common. ")
		net.Equal("script", a, b, c)
		cy.Stop()
		old := filepath.Join(t.TempDir(), "copy")
		move(t, dir, old)
		cy.Start()
		c = cy.Reopen(id)
		insert(t, c, "script", "one. ")
		net.Equal("script", a, b, c)
		cy.Stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		move(t, old, dir)

		net.Partition([]*collabtest.Node{ada, ben})
		cy.Start()
		c = cy.Reopen(id)
		if err := insert(t, c, "script", "two. ").WaitSaved(t.Context()); err != nil {
			t.Fatal(err)
		}
		alerts := collab.Subscribe[collab.SecurityAlert](t.Context(), a)
		if err := a.PickBranch(t.Context(), collab.Branch{}); !errors.Is(err, collab.ErrDenied) {
			t.Errorf("a branch of nothing is picked: %v", err)
		}
		net.Heal()
		for alert := range alerts {
			if alert.Kind == collab.AlertEquivocation && alert.Who == c.Me().ID {
				break
			}
		}
		sessions := []*collab.Session{a, b, c}
		for _, s := range sessions {
			net.Wait(s.Me().Name+" is shown the proof", func() bool {
				forks := s.Forks()
				return len(forks) == 1 && forks[0].Proven && len(forks[0].Branches) == 2
			})
		}
		net.Equal("script", sessions...)
		if got := body(t, a, "script"); got != "common. " {
			t.Errorf("forked: %q", got)
		}
		proofs := 0
		for e := range a.Audit(collab.EventID{}) {
			if strings.Contains(e.Summary, "signed two things in one place") {
				proofs++
			}
		}
		if proofs != 1 {
			t.Errorf("the fork was proven %d times", proofs)
		}
		if err := b.PickBranch(t.Context(), b.Forks()[0].Branches[0]); !errors.Is(err, collab.ErrDenied) {
			t.Errorf("an editor picks a branch: %v", err)
		}

		seen := map[string]bool{}
		for k := range 2 {
			branch := a.Forks()[0].Branches[k]
			if branch.Counts || branch.Edits == 0 {
				t.Fatalf("branch %d before it is picked: %+v", k, branch)
			}
			if err := a.PickBranch(t.Context(), branch); err != nil {
				t.Fatal(err)
			}
			net.Wait("what was picked counts at Ada", func() bool { return a.Forks()[0].Branches[k].Counts })
			time.Sleep(time.Minute)
			net.Equal("script", sessions...)
			seen[body(t, a, "script")] = true
		}
		if !seen["one. common. "] || !seen["two. common. "] {
			t.Errorf("picked one after the other: %v", seen)
		}
		insert(t, c, "script", "Cy goes on. ")
		net.Equal("script", sessions...)
		want := body(t, a, "script")
		if !strings.HasPrefix(want, "Cy goes on. ") {
			t.Errorf("in the end: %q", want)
		}
		for i, n := range []*collabtest.Node{ada, ben, cy} {
			n.Restart()
			sessions[i] = n.Reopen(id)
		}
		net.Equal("script", sessions...)
		if got := body(t, sessions[0], "script"); got != want {
			t.Errorf("after a restart: %q, want %q", got, want)
		}
	})
}

// move copies a folder for its owner alone.
func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
