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

// TestRevertAuthorNested: documents collect what is deleted, the history does not: a whole tree comes back, and who had a
// handle in it takes the new one.
func TestRevertAuthorNested(t *testing.T) {
	j := newJury(t)
	edit := func(p *player, fn func(tx *crdt.Txn, scenes *crdt.Array) error) {
		t.Helper()
		if err := p.doc.Update(func(tx *crdt.Txn) error { return fn(tx, p.doc.Array("scenes")) }); err != nil {
			t.Fatal(err)
		}
		if err := p.s.live.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		agree(t, j.all()...)
	}
	shown := func(p *player) (out string) {
		_ = p.doc.View(func(tx *crdt.ReadTxn) error {
			for _, v := range p.doc.Array("scenes").All(tx) {
				title, _ := v.Map().Get(tx, "title")
				body, _ := v.Map().Get(tx, "body")
				out += title.String() + ": "
				if body.Text() != nil {
					out += body.Text().String(tx)
				}
				out += ". "
			}
			return nil
		})
		return out
	}
	edit(j.ada, func(tx *crdt.Txn, scenes *crdt.Array) error {
		for i, title := range []string{"One", "Two"} {
			if err := scenes.Append(tx, crdt.NewMap()); err != nil {
				return err
			}
			v, _ := scenes.Get(tx, i)
			if err := errors.Join(v.Map().Set(tx, "title", title), v.Map().Set(tx, "body", crdt.NewText())); err != nil {
				return err
			}
			v, _ = v.Map().Get(tx, "body")
			if err := v.Text().Insert(tx, 0, "by the sea"); err != nil {
				return err
			}
		}
		return nil
	})
	want := shown(j.ada)
	edit(j.dan, func(tx *crdt.Txn, scenes *crdt.Array) error {
		v, _ := scenes.Get(tx, 1)
		return errors.Join(v.Map().Set(tx, "body", "gone"), scenes.Delete(tx, 0, 1))
	})
	if shown(j.bob) == want {
		t.Fatal("nothing was deleted")
	}
	r, err := j.bob.doc.RevertAuthor(t.Context(), j.dan.s.Me().ID)
	if err != nil || r.Lost+r.Unread+r.Kept+r.Doubles != 0 || r.Restored == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	agree(t, j.all()...)
	for _, p := range j.all() {
		if got := shown(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if r, err := j.ada.doc.RevertAuthor(t.Context(), j.dan.s.Me().ID); err != nil || r != (Reverted{}) {
		t.Errorf("a second time: %+v, %v", r, err)
	}
}
