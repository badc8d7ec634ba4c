package crdt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestUndoWindow joins edits that follow each other quickly, with a clock of the test's own.
func TestUndoWindow(t *testing.T) {
	d := New(WithClientID(1))
	now := time.Unix(1000, 0)
	var heard []string
	u := NewUndo(d, UndoOptions{
		Window: 500 * time.Millisecond,
		Now:    func() time.Time { return now },
		OnChange: func(e UndoEvent) {
			heard = append(heard, fmt.Sprint(e.Change, e.Redo))
			if e.Change == StepAdded {
				e.Step.Meta["cursor"] = len(heard)
			}
			if e.Change == StepDone && e.Step.Meta["cursor"] == nil {
				t.Error("the step has lost its meta data")
			}
		},
	})
	typeInto(t, d, 0, "a")
	now = now.Add(499 * time.Millisecond)
	typeInto(t, d, 1, "b")
	now = now.Add(500 * time.Millisecond)
	typeInto(t, d, 2, "c")
	u.StopCapturing()
	typeInto(t, d, 3, "d")
	if undo, redo := u.Steps(); undo != 3 || redo != 0 {
		t.Fatalf("%d steps to undo, %d to redo", undo, redo)
	}
	for _, want := range []string{"abc", "ab", ""} {
		if !u.Undo() || textOf(d, "t") != want {
			t.Fatalf("undone to %q, want %q", textOf(d, "t"), want)
		}
	}
	if u.Undo() {
		t.Error("undone more than there was")
	}
	for _, want := range []string{"ab", "abc", "abcd"} {
		if !u.Redo() || textOf(d, "t") != want {
			t.Fatalf("redone to %q, want %q", textOf(d, "t"), want)
		}
	}
	if u.Redo() || !u.Undo() {
		t.Error("redone more than there was")
	}
	now = now.Add(time.Hour)
	typeInto(t, d, 0, "x")
	if u.Redo() {
		t.Error("redone across an edit")
	}
	if want := []string{"1 false", "2 false", "1 false", "1 false", "1 true", "3 false"}; !slices.Equal(heard[:6], want) {
		t.Errorf("heard %v, want %v first", heard, want)
	}
}

// TestUndoScope tracks one type and chosen origins only.
func TestUndoScope(t *testing.T) {
	d, other := New(WithClientID(1)), New(WithClientID(2))
	in, out := d.Text("in"), d.Text("out")
	u := NewUndo(d, UndoOptions{Scope: []Shared{in}, Origins: []any{"editor"}})
	insert := func(text *Text, s string, opts ...TxnOption) {
		t.Helper()
		if err := d.Update(func(tx *Txn) error { return text.Insert(tx, 0, s) }, opts...); err != nil {
			t.Fatal(err)
		}
	}
	insert(in, "1", WithOrigin("editor"))
	insert(in, "2")
	insert(out, "3", WithOrigin("editor"))
	insert(in, "4", WithOrigin("script"))
	edit(t, other, func(tx *Txn) error { return other.Text("in").Insert(tx, 0, "5") })
	if _, err := d.ApplyUpdate(mustEncode(t, other)); err != nil {
		t.Fatal(err)
	}
	if n, _ := u.Steps(); n != 1 {
		t.Fatalf("%d steps", n)
	}
	before := textOf(d, "in")
	if !u.Undo() || textOf(d, "in") == before || textOf(d, "out") != "3" || len(textOf(d, "in")) != 3 {
		t.Errorf("in %q, out %q", textOf(d, "in"), textOf(d, "out"))
	}
	u.AddToScope(out)
	insert(out, "6", WithOrigin("editor"))
	if !u.Undo() || textOf(d, "out") != "3" {
		t.Errorf("out %q", textOf(d, "out"))
	}
	u.Close()
	insert(in, "7", WithOrigin("editor"))
	if u.Undo() {
		t.Error("undone after Close")
	}
}

// TestUndoFilter keeps elements that have something inside from being deleted by undoing, as rich-text editors do, and
// tracks transactions by a function.
func TestUndoFilter(t *testing.T) {
	d := New(WithClientID(1))
	page := d.XML("page")
	var asked []string
	u := NewUndo(d, UndoOptions{
		Track: func(o Origin) bool { return o.Tag != "import" },
		DeleteFilter: func(tx Reader, what UndoDeletion) bool {
			asked = append(asked, fmt.Sprintf("%T %q %v", what.In, what.Key, what.Values))
			if len(what.Values) == 1 && what.Values[0].XMLElement() != nil {
				return what.Values[0].XMLElement().Len(tx) == 0
			}
			return true
		},
	})
	edit(t, d, func(tx *Txn) error { return page.Insert(tx, 0, NewXMLElement("p"), NewXMLElement("q")) })
	if err := d.Update(func(tx *Txn) error {
		v, _ := page.Get(tx, 0)
		return v.XMLElement().Insert(tx, 0, NewXMLText())
	}, WithOrigin("import")); err != nil {
		t.Fatal(err)
	}
	if !u.Undo() || shows(d, page) != "<p></p>" {
		t.Errorf("undone to %s", shows(d, page))
	}
	edit(t, d, func(tx *Txn) error {
		v, _ := page.Get(tx, 0)
		p := v.XMLElement()
		text, _ := p.Get(tx, 0)
		if err := p.SetAttr(tx, "k", 1); err != nil {
			return err
		}
		return text.XMLText().Insert(tx, 0, "words", bold)
	})
	asked = nil
	if !u.Undo() || shows(d, page) != "<p></p>" {
		t.Errorf("undone to %s", shows(d, page))
	}
	want := []string{`*crdt.XMLText "" []`, `*crdt.XMLText "" [words]`, `*crdt.XMLText "" []`, `*crdt.XMLElement "k" [1]`}
	if !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
	if undo, redo := u.Steps(); undo != 0 || redo != 1 {
		t.Errorf("%d steps to undo, %d to redo", undo, redo)
	}
}

// TestUndoRestoresNested deletes a whole tree and brings it back, over and over.
func TestUndoRestoresNested(t *testing.T) {
	d := New(WithClientID(1))
	list := d.Array("list")
	edit(t, d, func(tx *Txn) error {
		if err := list.Append(tx, NewMap(), "plain"); err != nil {
			return err
		}
		v, _ := list.Get(tx, 0)
		if err := v.Map().Set(tx, "text", NewText()); err != nil {
			return err
		}
		x, _ := v.Map().Get(tx, "text")
		if err := x.Text().Insert(tx, 0, "inside 😀"); err != nil {
			return err
		}
		return v.Map().Set(tx, "doc", SubdocOptions{GUID: "g"})
	})
	want := shows(d, list)
	u := NewUndo(d, UndoOptions{})
	edit(t, d, func(tx *Txn) error { return list.Delete(tx, 0, 2) })
	for range 5 {
		if !u.Undo() || shows(d, list) != want {
			t.Fatalf("undone to %s, want %s", shows(d, list), want)
		}
		if len(d.Subdocs()) != 1 {
			t.Errorf("%d subdocuments", len(d.Subdocs()))
		}
		if !u.Redo() || shows(d, list) != "[]" {
			t.Fatalf("redone to %s", shows(d, list))
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
		reloads(t, d)
	}
	// What steps no longer need is collected.
	u.Clear()
	u.Close()
	if undo, redo := u.Steps(); undo+redo > 0 {
		t.Error("steps left after Clear")
	}
}

// TestUndoConverges lets three replicas edit all types, undo and redo while updates arrive late and in any order. They
// must end up equal, and undoing everything must leave nothing of one's own that is visible but what others built on.
func TestUndoConverges(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 11))
		var docs []*Doc
		var undos []*Undo
		var log [][]byte
		for id := uint64(1); id <= 3; id++ {
			d := New(WithClientID(id), WithFormatCleanup())
			d.OnUpdate(func(b []byte, o Origin) {
				if o.Local {
					log = append(log, b)
				}
			})
			docs, undos = append(docs, d), append(undos, NewUndo(d, UndoOptions{}))
		}
		for range 80 {
			i := rng.IntN(len(docs))
			switch d := docs[i]; rng.IntN(6) {
			case 0, 1:
				if len(log) > 0 {
					if _, err := d.ApplyUpdate(log[rng.IntN(len(log))]); err != nil {
						t.Fatal(err)
					}
				}
			case 2:
				undos[i].Undo()
			case 3:
				undos[i].Redo()
			default:
				edit(t, d, func(tx *Txn) error { return anyEdit(rng, tx, d) })
			}
		}
		for done := 0; done < len(log); { // clean-ups add to the log
			done = len(log)
			for _, d := range docs {
				for _, i := range rng.Perm(done) {
					if _, err := d.ApplyUpdate(log[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for i, d := range docs {
			if err := d.selfCheck(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if d.Digest() != docs[0].Digest() {
				t.Fatalf("seed %d: replica %d differs", seed, i)
			}
			reloads(t, d)
		}
	}
}

// anyEdit makes a random edit of a document with nested types.
func anyEdit(rng *rand.Rand, tx *Txn, d *Doc) error {
	m, list := d.Map("m"), d.Array("a")
	switch n := list.Len(tx); rng.IntN(7) {
	case 0:
		return editFormatted(rng, tx, d.Text("t"))
	case 1:
		return m.Set(tx, string(rune('a'+rng.IntN(3))), rng.IntN(9))
	case 2:
		return m.Set(tx, string(rune('a'+rng.IntN(3))), NewText())
	case 3:
		return m.Delete(tx, string(rune('a'+rng.IntN(3))))
	case 4:
		return list.Insert(tx, rng.IntN(n+1), 1, NewText(), 2, NewMap())
	case 5:
		if n > 0 {
			i := rng.IntN(n)
			return list.Delete(tx, i, 1+rng.IntN(min(3, n-i)))
		}
	case 6:
		for i := range n {
			v, _ := list.Get(tx, i)
			if text := v.Text(); text != nil {
				return editFormatted(rng, tx, text)
			}
			if in := v.Map(); in != nil && rng.IntN(2) == 0 {
				return in.Set(tx, "k", NewArray())
			}
		}
	}
	return nil
}

// TestCleanupShowsNothing: a clean-up happens, and changes nothing that can be seen.
func TestCleanupShowsNothing(t *testing.T) {
	cleanups := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 13))
		d := New(WithClientID(1), WithFormatCleanup())
		d.OnUpdate(func(_ []byte, o Origin) {
			if o.Local {
				cleanups++
			}
		})
		d.Text("t").Observe(func(e TextEvent) {
			if e.Origin.Local {
				t.Errorf("seed %d: a clean-up shows as %v", seed, e.Delta)
			}
		})
		a, b := New(WithClientID(3)), New(WithClientID(4))
		for range 30 {
			for _, author := range []*Doc{a, b} {
				edit(t, author, func(tx *Txn) error { return editFormatted(rng, tx, author.Text("t")) })
			}
			for _, pair := range [][2]*Doc{{a, d}, {b, d}, {a, b}, {b, a}} {
				u, err := pair[0].EncodeUpdate(pair[1].StateVector())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := pair[1].ApplyUpdate(u); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if cleanups == 0 {
		t.Error("nothing was cleaned up")
	}
}

// TestPositions sets positions everywhere and edits around them.
func TestPositions(t *testing.T) {
	d := New(WithClientID(1))
	list := d.Array("a")
	edit(t, d, func(tx *Txn) error { return list.Append(tx, NewText(), NewText()) })
	at := func(i int) (text *Text) {
		_ = d.View(func(tx *ReadTxn) error {
			v, _ := list.Get(tx, i)
			text = v.Text()
			return nil
		})
		return text
	}
	text, other := at(0), at(1)
	edit(t, d, func(tx *Txn) error {
		empty := text.RelPos(tx, 0)
		if i, ok := text.AbsPos(tx, empty); i != 0 || !ok {
			t.Errorf("in an empty text: %d, %v", i, ok)
		}
		if err := text.Insert(tx, 0, "hello"); err != nil {
			return err
		}
		if i, ok := text.AbsPos(tx, empty); i != 5 || !ok {
			t.Errorf("the end of the text is at %d, %v", i, ok)
		}
		left, right := text.RelPos(tx, 2, Left), text.RelPos(tx, 2)
		if err := text.Insert(tx, 2, "--"); err != nil {
			return err
		}
		if l, _ := text.AbsPos(tx, left); l != 2 {
			t.Errorf("left is at %d", l)
		}
		if r, _ := text.AbsPos(tx, right); r != 4 {
			t.Errorf("right is at %d", r)
		}
		if _, ok := other.AbsPos(tx, left); ok {
			t.Error("a position was found in another text")
		}
		if s, i, ok := d.Resolve(tx, left); !ok || i != 2 || s.(*Text).nested != text.nested {
			t.Errorf("resolved to %v, %d, %v", s, i, ok)
		}
		for _, bad := range []RelPos{nil, {}, {9}, {0, 1}, {0, 99, 0, 0}, {2, 1, 200, 1}, {2, 1, 5, 0}} {
			if _, _, ok := d.Resolve(tx, bad); ok {
				t.Errorf("%x resolves", []byte(bad))
			}
		}
		return nil
	})
	// Undone and redone content is found again, collected content is lost.
	u := NewUndo(d, UndoOptions{})
	var p RelPos
	_ = d.View(func(tx *ReadTxn) error {
		p = text.RelPos(tx, 3)
		return nil
	})
	edit(t, d, func(tx *Txn) error { return list.Delete(tx, 0, 1) })
	u.Undo()
	_ = d.View(func(tx *ReadTxn) error {
		s, i, ok := d.Resolve(tx, p)
		if !ok || i != 3 || s.(*Text).String(tx) != "he--llo" {
			t.Errorf("after undoing: %v, %d, %v", s, i, ok)
		}
		return nil
	})
	u.Clear()
	u.Close()
	edit(t, d, func(tx *Txn) error { return list.Delete(tx, 0, 1) })
	_ = d.View(func(tx *ReadTxn) error {
		if _, _, ok := d.Resolve(tx, p); ok {
			t.Error("a collected position resolves")
		}
		return nil
	})
}

func TestRestoreRefused(t *testing.T) {
	kept, collected := New(WithClientID(1), WithoutGC()), New(WithClientID(2))
	typeInto(t, kept, 0, "x")
	typeInto(t, collected, 0, "x")
	if _, err := collected.Restore(collected.Snapshot()); err != ErrSnapshot {
		t.Errorf("restoring from a document that collects: %v", err)
	}
	if _, err := kept.Restore(collected.Snapshot()); err != ErrSnapshot {
		t.Errorf("restoring what never arrived: %v", err)
	}
	s := kept.Snapshot()
	typeInto(t, kept, 1, "y")
	if has, err := s.Contains(mustEncode(t, kept)); has || err != nil {
		t.Errorf("the old state contains the new one: %v", err)
	}
	if has, err := kept.Snapshot().Contains(mustEncode(t, kept)); !has || err != nil {
		t.Errorf("the state does not contain itself: %v", err)
	}
	for _, f := range []Format{V1, V2, 9} {
		if _, err := DecodeSnapshot([]byte{1}, f); err == nil {
			t.Errorf("%v: rubbish was read", f)
		}
	}
}
