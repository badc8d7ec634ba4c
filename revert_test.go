package collab

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario91RevertAuthor(t *testing.T) {
	scenario.Run(t, 91, "what a removed member wrote before the cut is undone while others write beside it: an ordinary edit, signed by who undid it, and all converge", func(t *testing.T) {
		j := newJury(t)
		j.writeAt(j.ada, 0, "A scene by the sea. ")
		agree(t, j.all()...)
		erase := func(p *player, at, n int) {
			if err := p.doc.Update(func(tx *crdt.Txn) error { return p.doc.Text("body").Delete(tx, at, n) }); err != nil {
				t.Fatal(err)
			}
			if err := p.s.live.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		erase(j.dan, 2, 6) // "scene "
		j.writeAt(j.dan, 2, "HACK ")
		agree(t, j.all()...)
		if got := j.ada.read(t); got != "A HACK by the sea. Dan. " {
			t.Fatalf("%q", got)
		}
		if err := j.ada.s.Revoke(t.Context(), j.dan.s.Me().ID, "vandalism"); err != nil {
			t.Fatal(err)
		}
		<-j.dan.s.Done()
		for _, p := range j.others() {
			until(t, "the removal is known", func() bool { return p.s.membership.State().Role(j.dan.self.Device.Member) == governance.None })
		}
		if _, err := j.dan.doc.RevertAuthor(t.Context(), j.ada.s.Me().ID); !errors.Is(err, ErrRevoked) {
			t.Errorf("the removed undoes: %v", err)
		}

		// Both at once: neither has seen what the other does.
		done := make(chan error)
		go func() {
			done <- j.bob.doc.Update(func(tx *crdt.Txn) error { return j.bob.doc.Text("body").Insert(tx, 4, "(Bob)") })
		}()
		r, err := j.ada.doc.RevertAuthor(t.Context(), j.dan.self.Device.Member)
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		agree(t, j.others()...)
		got := j.ada.read(t)
		if plain := strings.Replace(got, "(Bob)", "", 1); plain != "A scene by the sea. " || plain == got {
			t.Errorf("%q", got)
		}
		if r.Deleted != 5+5 || r.Restored != 6 || r.Lost != 0 {
			t.Errorf("%+v", r)
		}
		var last Edit
		for e, err := range j.bob.doc.History() {
			if err != nil {
				t.Fatal(err)
			}
			if e.By == j.ada.s.Me().ID {
				last = e
			}
		}
		if _, deleted, err := crdt.Inspect(last.Updates[0]); err != nil || len(deleted) == 0 || !last.Counts {
			t.Errorf("the edit that undid it is not in the history as Ada's: %v", err)
		}
		// Undone once, there is nothing more to undo; from a later place on, neither.
		if r, err := j.bob.doc.RevertAuthor(t.Context(), j.dan.self.Device.Member); err != nil || r != (Reverted{}) || j.bob.read(t) != got {
			t.Errorf("a second time: %+v, %v", r, err)
		}
		agree(t, j.others()...)
	})
}

func TestRevertAuthorSince(t *testing.T) {
	j := newJury(t)
	j.write(j.dan, "good ")
	j.write(j.dan, "bad ")
	j.write(j.dan, "worse ")
	agree(t, j.all()...)
	var edits []Edit
	for e, err := range j.ada.doc.History() {
		if err != nil {
			t.Fatal(err)
		}
		if e.By == j.dan.s.Me().ID {
			edits = append(edits, e)
		}
	}
	r, err := j.ada.doc.RevertAuthor(t.Context(), j.dan.s.Me().ID, edits[len(edits)-2])
	if err != nil || r.Deleted != 10 {
		t.Fatalf("%+v, %v", r, err)
	}
	agree(t, j.all()...)
	j.shows("good Dan. ", j.all()...)
}
