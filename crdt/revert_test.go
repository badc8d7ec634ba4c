package crdt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// pad is a replica with what each of its clients has done, as the updates say.
type pad struct {
	*Doc
	inserted, deleted []Range
	updates           [][]byte
}

func newPad(t *testing.T, client uint64, opts ...Option) *pad {
	t.Helper()
	p := &pad{Doc: New(append(opts, WithClientID(client))...)}
	p.OnUpdate(func(u []byte, o Origin) {
		if !o.Local {
			return
		}
		created, deleted, err := Inspect(u)
		if err != nil {
			t.Error(err)
		}
		p.inserted, p.deleted, p.updates = append(p.inserted, created...), append(p.deleted, deleted...), append(p.updates, u)
	})
	return p
}

func (p *pad) edit(t *testing.T, fn func(tx *Txn) error) {
	t.Helper()
	if err := p.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func (p *pad) body() (s string) {
	_ = p.View(func(tx *ReadTxn) error { s = p.Text("body").String(tx); return nil })
	return s
}

// swap gives each replica what the other has.
func swap(t *testing.T, docs ...*Doc) {
	t.Helper()
	for range 2 {
		for _, a := range docs {
			for _, b := range docs {
				u, err := a.EncodeUpdate(nil)
				if err == nil {
					_, err = b.ApplyUpdate(u)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// unforgetting makes the document that has forgotten nothing.
func unforgetting(t *testing.T, pads ...*pad) *Doc {
	t.Helper()
	d := New(WithoutGC())
	for _, p := range pads {
		for _, u := range p.updates {
			if _, err := d.ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d
}

func TestRevert(t *testing.T) {
	ada, ben := newPad(t, 1), newPad(t, 2)
	ada.edit(t, func(tx *Txn) error {
		if err := ada.Text("body").Insert(tx, 0, "The quick 🦊 jumps. Ω"); err != nil {
			return err
		}
		return ada.Map("meta").Set(tx, "title", "Fox")
	})
	swap(t, ada.Doc, ben.Doc)
	ben.edit(t, func(tx *Txn) error { return ben.Text("body").Delete(tx, 4, 9) }) // "quick 🦊 "
	ben.edit(t, func(tx *Txn) error { return ben.Text("body").Insert(tx, 4, "rubbish ") })
	ben.edit(t, func(tx *Txn) error { return ben.Map("meta").Set(tx, "title", "Junk") })
	ben.edit(t, func(tx *Txn) error { return ben.Map("meta").Set(tx, "more", "Junk") })
	swap(t, ada.Doc, ben.Doc)
	ada.edit(t, func(tx *Txn) error { return ada.Text("body").Insert(tx, 0, "Look: ") })
	if got := ada.body(); got != "Look: The rubbish jumps. Ω" {
		t.Fatalf("%q", got)
	}

	source := unforgetting(t, ada, ben)
	var r Reverted
	ada.edit(t, func(tx *Txn) (err error) { r, err = tx.Revert(ben.inserted, ben.deleted, source); return err })
	if got := ada.body(); got != "Look: The quick 🦊 jumps. Ω" {
		t.Errorf("%q", got)
	}
	_ = ada.View(func(tx *ReadTxn) error {
		title, _ := ada.Map("meta").Get(tx, "title")
		if _, more := ada.Map("meta").Get(tx, "more"); title.String() != "Fox" || more {
			t.Errorf("title %q, more %v", title, more)
		}
		return nil
	})
	if r.Deleted != 8+2 || r.Restored != 9+1 || r.Lost != 0 {
		t.Errorf("%+v", r)
	}
	swap(t, ada.Doc, ben.Doc)
	if ada.Digest() != ben.Digest() || ben.body() != ada.body() {
		t.Errorf("%q and %q", ada.body(), ben.body())
	}
	var again Reverted
	ada.edit(t, func(tx *Txn) (err error) { again, err = tx.Revert(ben.inserted, nil, nil); return err })
	if again != (Reverted{}) {
		t.Errorf("a second time: %+v", again)
	}
	// Nor does another replica, which has only seen what the first did.
	before := ben.body()
	ben.edit(t, func(tx *Txn) (err error) { again, err = tx.Revert(ben.inserted, ben.deleted, source); return err })
	if again != (Reverted{}) || ben.body() != before {
		t.Errorf("elsewhere: %+v, %q", again, ben.body())
	}
}

// TestRevertWithoutSource: what was collected stays away, and is counted.
func TestRevertWithoutSource(t *testing.T) {
	ada, ben := newPad(t, 1), newPad(t, 2)
	ada.edit(t, func(tx *Txn) error { return ada.Text("body").Insert(tx, 0, "abcdef") })
	swap(t, ada.Doc, ben.Doc)
	ben.edit(t, func(tx *Txn) error { return ben.Text("body").Delete(tx, 1, 2) })
	swap(t, ada.Doc, ben.Doc)
	var r Reverted
	ada.edit(t, func(tx *Txn) (err error) { r, err = tx.Revert(ben.inserted, ben.deleted, nil); return err })
	if ada.body() != "adef" || r.Deleted != 0 || r.Restored+r.Lost != 2 {
		t.Errorf("%q, %+v", ada.body(), r)
	}
}

// TestRevertConverges: whatever else happens meanwhile, all end with one document, in which nothing of his is left.
func TestRevertConverges(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		pads := []*pad{newPad(t, 1), newPad(t, 2), newPad(t, 3)}
		docs := []*Doc{pads[0].Doc, pads[1].Doc, pads[2].Doc}
		scribble := func(p *pad) {
			p.edit(t, func(tx *Txn) error {
				body := p.Text("body")
				switch n := body.Len(tx); {
				case rng.IntN(5) == 0:
					return p.Map("meta").Set(tx, fmt.Sprint(rng.IntN(2)), rng.IntN(100))
				case n > 3 && rng.IntN(3) == 0:
					return body.Delete(tx, rng.IntN(n-2), 1+rng.IntN(2))
				default:
					return body.Insert(tx, rng.IntN(n+1), fmt.Sprint("x", rng.IntN(100)))
				}
			})
		}
		for range 30 {
			if scribble(pads[rng.IntN(3)]); rng.IntN(4) == 0 {
				swap(t, docs...)
			}
		}
		source := unforgetting(t, pads...)
		bad := pads[2]
		reverted := pads[0].held(bad.inserted) // what has come so far
		pads[0].edit(t, func(tx *Txn) error { _, err := tx.Revert(bad.inserted, bad.deleted, source); return err })
		for range 5 {
			scribble(pads[1])
		}
		swap(t, docs...)
		for _, d := range docs[1:] {
			if d.Digest() != docs[0].Digest() {
				t.Fatalf("seed %d: documents differ", seed)
			}
		}
		for _, d := range append(docs, source) {
			if err := d.selfCheck(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		left := New()
		u, err := docs[1].EncodeUpdate(nil)
		if err == nil {
			_, err = left.ApplyUpdate(u)
		}
		if err != nil || left.Digest() != docs[0].Digest() {
			t.Fatalf("seed %d: what is sent makes another document, %v", seed, err)
		}
		if len(reverted) == 0 {
			continue
		}
		_ = pads[0].View(func(tx *ReadTxn) error {
			text := pads[0].Text("body")
			for run := range text.Authors(tx, 0, text.Len(tx)) {
				for _, r := range reverted {
					if run.Client == r.Client && run.From < r.To && r.From < run.To {
						t.Errorf("seed %d: %v of his is left", seed, run)
					}
				}
			}
			return nil
		})
	}
}

// revert undoes on one replica what a client did, as far as the pads' updates tell.
func revert(t *testing.T, on, bad *pad, all ...*pad) Reverted {
	t.Helper()
	return reverting(t, bad, all...)(on)
}

// reverting returns what does that later, with what is known now.
func reverting(t *testing.T, bad *pad, all ...*pad) func(on *pad) Reverted {
	t.Helper()
	source := unforgetting(t, all...)
	others := slices.DeleteFunc(slices.Clone(all), func(p *pad) bool { return p == bad })
	inserted, deleted := slices.Clone(bad.inserted), because(t, source, others...)
	return func(on *pad) (r Reverted) {
		t.Helper()
		on.edit(t, func(tx *Txn) (err error) { r, err = tx.Revert(inserted, deleted, source); return err })
		if err := on.selfCheck(); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func pads(t *testing.T, n int) (out []*pad) {
	for i := range n {
		out = append(out, newPad(t, uint64(i+1)))
	}
	return out
}

func meet(t *testing.T, ps ...*pad) {
	t.Helper()
	var docs []*Doc
	for _, p := range ps {
		docs = append(docs, p.Doc)
	}
	swap(t, docs...)
	for _, d := range docs {
		if d.Digest() != docs[0].Digest() {
			t.Fatal("documents differ")
		}
	}
}

// TestRevertKeys: former values come back, former types with what was in them; what others have set since stays.
func TestRevertKeys(t *testing.T) {
	ps := pads(t, 3)
	ada, ben, cyd := ps[0], ps[1], ps[2]
	ada.edit(t, func(tx *Txn) error {
		m := ada.Map("m")
		_ = m.Set(tx, "plain", "was")
		_ = m.Set(tx, "stays", "was")
		_ = m.Set(tx, "sub", SubdocOptions{GUID: "page"})
		_ = m.Set(tx, "type", NewMap())
		v, _ := m.Get(tx, "type")
		_ = v.Map().Set(tx, "in", NewText())
		v, _ = v.Map().Get(tx, "in")
		return v.Text().Insert(tx, 0, "words")
	})
	meet(t, ps...)
	want := shows(ada.Doc, ada.Map("m"))
	ben.edit(t, func(tx *Txn) error {
		m := ben.Map("m")
		_ = m.Set(tx, "plain", "junk")
		_ = m.Set(tx, "plain", "more junk")
		_ = m.Set(tx, "stays", "junk")
		_ = m.Set(tx, "type", 1)
		_ = m.Set(tx, "new", 1)
		return m.Delete(tx, "sub")
	})
	cyd.edit(t, func(tx *Txn) error { // meanwhile, in what Ben takes away
		v, _ := cyd.Map("m").Get(tx, "type")
		v, _ = v.Map().Get(tx, "in")
		return v.Text().Insert(tx, 5, "!")
	})
	meet(t, ps...)
	cyd.edit(t, func(tx *Txn) error { return cyd.Map("m").Set(tx, "stays", "hers") })
	meet(t, ps...)
	r := revert(t, ada, ben, ps...)
	want = strings.Replace(strings.Replace(want, `stays:was`, `stays:hers`, 1), `"words"`, `"words!"`, 1)
	if got := shows(ada.Doc, ada.Map("m")); got != want || r.Lost != 0 {
		t.Errorf("%s, want %s; %+v", got, want, r)
	}
	meet(t, ps...)
	if r := revert(t, cyd, ben, ps...); r != (Reverted{}) {
		t.Errorf("again: %+v", r)
	}
}

// TestRevertOwnUndo: he has deleted others' text, undone that, and done it again, with an undo manager.
func TestRevertOwnUndo(t *testing.T) {
	for _, again := range []bool{false, true} {
		ps := pads(t, 2)
		ada, ben := ps[0], ps[1]
		ada.edit(t, func(tx *Txn) error { return ada.Text("body").Insert(tx, 0, "Ada's own words") })
		meet(t, ps...)
		u := NewUndo(ben.Doc, UndoOptions{})
		ben.edit(t, func(tx *Txn) error { return ben.Text("body").Delete(tx, 4, 5) })
		if u.Undo(); again {
			u.Redo()
		}
		meet(t, ps...)
		revert(t, ada, ben, ps...)
		if ada.body() != "Ada's own words" {
			t.Errorf("%q", ada.body())
		}
		meet(t, ps...)
		if r := revert(t, ben, ben, ps...); r != (Reverted{}) {
			t.Errorf("again: %+v", r)
		}
	}
}

// TestRevertKeepsWhatOthersPutIn: a type of his is kept, or comes back, for what others have written in it.
func TestRevertKeepsWhatOthersPutIn(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		ps := pads(t, 2)
		ada, ben := ps[0], ps[1]
		page := ben.XML("page")
		ben.edit(t, func(tx *Txn) error {
			if err := page.Insert(tx, 0, NewXMLElement("p"), NewXMLElement("q")); err != nil {
				return err
			}
			v, _ := page.Get(tx, 0)
			_ = v.XMLElement().SetAttr(tx, "class", "loud")
			_ = v.XMLElement().Insert(tx, 0, NewXMLText())
			v, _ = v.XMLElement().Get(tx, 0)
			return v.XMLText().Insert(tx, 0, "rubbish")
		})
		meet(t, ps...)
		ada.edit(t, func(tx *Txn) error {
			v, _ := ada.XML("page").Get(tx, 0)
			v, _ = v.XMLElement().Get(tx, 0)
			return v.XMLText().Insert(tx, 7, "sense")
		})
		meet(t, ps...)
		if deleted {
			ben.edit(t, func(tx *Txn) error { return page.Delete(tx, 0, 1) })
			meet(t, ps...)
		}
		r := revert(t, ada, ben, ps...)
		if got := shows(ada.Doc, ada.XML("page")); got != "<p>sense</p>" || r.Kept != 2 {
			t.Errorf("%s, %+v", got, r)
		}
		meet(t, ps...)
		if r := revert(t, ben, ben, ps...); r.Deleted+r.Restored+r.Lost+r.Doubles != 0 {
			t.Errorf("again: %+v", r)
		}
	}
}

// TestRevertFormatting: what he made bold is not, what he made plain is bold again, and others' formatting stays.
func TestRevertFormatting(t *testing.T) {
	ps := pads(t, 2)
	ada, ben := ps[0], ps[1]
	body := ada.Text("body")
	ada.edit(t, func(tx *Txn) error {
		_ = body.Insert(tx, 0, "one two three")
		return body.Format(tx, 0, 3, bold)
	})
	meet(t, ps...)
	delta := func(p *pad) (out string) {
		_ = p.View(func(tx *ReadTxn) error {
			for run := range p.Text("body").Delta(tx) {
				out += fmt.Sprint(run)
			}
			return nil
		})
		return out
	}
	want := delta(ada)
	ben.edit(t, func(tx *Txn) error {
		_ = ben.Text("body").Format(tx, 0, 3, Attr{bold.Key, nil})
		return ben.Text("body").Format(tx, 4, 3, bold)
	})
	meet(t, ps...)
	if delta(ada) == want {
		t.Fatal("nothing was formatted")
	}
	if r := revert(t, ada, ben, ps...); delta(ada) != want || r.Lost != 0 {
		t.Errorf("%s, want %s; %+v", delta(ada), want, r)
	}
	meet(t, ps...)
}

// TestRevertAtOnce: two who revert at the same time bring text back twice. The next one makes that one again, and no one
// makes three of it; a type that came back twice stays.
func TestRevertAtOnce(t *testing.T) {
	ps := pads(t, 4)
	ada, ben, cyd, dan := ps[0], ps[1], ps[2], ps[3]
	ada.edit(t, func(tx *Txn) error {
		_ = ada.Text("body").Insert(tx, 0, "The quick fox")
		_ = ada.Array("list").Append(tx, NewText())
		v, _ := ada.Array("list").Get(tx, 0)
		return v.Text().Insert(tx, 0, "inside")
	})
	meet(t, ps...)
	ben.edit(t, func(tx *Txn) error {
		_ = ben.Array("list").Delete(tx, 0, 1)
		return ben.Text("body").Delete(tx, 4, 6)
	})
	meet(t, ps...)
	here, there := reverting(t, ben, ps...), reverting(t, ben, ps...)
	here(ada)
	there(cyd)
	meet(t, ps...)
	if got := dan.body(); got != "The quick quick fox" {
		t.Fatalf("%q", got)
	}
	here, there = reverting(t, ben, ps...), reverting(t, ben, ps...)
	if r, s := here(dan), there(ada); r != s || r.Doubles != 6 || r.Restored != 0 {
		t.Errorf("%+v and %+v", r, s)
	}
	meet(t, ps...)
	if got := shows(dan.Doc, dan.Array("list")); dan.body() != "The quick fox" || got != `["inside" "inside"]` {
		t.Errorf("%q, %s", dan.body(), got)
	}
	if r := revert(t, ben, ben, ps...); r != (Reverted{}) {
		t.Errorf("once more: %+v", r)
	}
}

// TestRevertEdited: what came back and was changed since, also by typing right behind it, does not come back again.
func TestRevertEdited(t *testing.T) {
	ps := pads(t, 2)
	ada, ben := ps[0], ps[1]
	edit := func(p *pad, fn func(*Txn, *Text) error) {
		p.edit(t, func(tx *Txn) error { return fn(tx, p.Text("body")) })
		meet(t, ps...)
	}
	edit(ada, func(tx *Txn, body *Text) error { return body.Insert(tx, 0, "abcdefghij") })
	edit(ben, func(tx *Txn, body *Text) error { return body.Delete(tx, 2, 6) })
	edit(ada, func(tx *Txn, body *Text) error { return body.Insert(tx, 2, "(") })
	revert(t, ada, ben, ps...)
	edit(ada, func(tx *Txn, body *Text) error { return body.Insert(tx, 9, ")") })
	edit(ada, func(tx *Txn, body *Text) error { return body.Delete(tx, 4, 2) })
	edit(ada, func(tx *Txn, body *Text) error { return body.Insert(tx, 4, "-") })
	if r := revert(t, ben, ben, ps...); r != (Reverted{}) || ben.body() != "abcd-gh()ij" {
		t.Errorf("%q, %+v", ben.body(), r)
	}
}

// BenchmarkRevert reverts one of two who wrote 100,000 characters in turns and deleted some of each other's; half of it lies in
// a type that he has deleted.
func BenchmarkRevert(b *testing.B) {
	for _, n := range []int{25_000, 50_000, 100_000, 200_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkRevert(b, n) })
	}
}

func benchmarkRevert(b *testing.B, n int) {
	docs := []*Doc{New(WithClientID(1)), New(WithClientID(2))}
	var inserted, gone, others []Range
	source := New(WithoutGC())
	for i, d := range docs {
		d.OnUpdate(func(u []byte, o Origin) {
			if _, err := source.ApplyUpdate(u); err != nil {
				b.Error(err)
			}
			if !o.Local {
				return
			}
			created, deleted, _ := Inspect(u)
			if i == 1 {
				inserted = append(inserted, created...)
				gone = append(gone, deleted...)
			} else {
				others = append(others, deleted...)
			}
			if _, err := docs[1-i].ApplyUpdate(u); err != nil {
				b.Error(err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	edit(b, docs[0], func(tx *Txn) error { return docs[0].Array("a").Append(tx, NewText()) })
	for i := range n / 10 {
		d := docs[i%2]
		edit(b, d, func(tx *Txn) error {
			text := d.Text("body")
			if i%4 < 2 {
				v, _ := d.Array("a").Get(tx, 0)
				text = v.Text()
			}
			if at := rng.IntN(text.Len(tx) + 1); text.Len(tx) > at+6 && i%8 == 1 {
				_ = text.Delete(tx, at, 5)
			}
			return text.Insert(tx, rng.IntN(text.Len(tx)+1), "ten chars ")
		})
	}
	edit(b, docs[1], func(tx *Txn) error { return docs[1].Array("a").Delete(tx, 0, 1) })
	state, kept := mustEncode(b, docs[0]), mustEncode(b, source)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		d, s := New(WithClientID(3)), New(WithoutGC())
		if _, err := d.ApplyUpdate(state); err != nil {
			b.Fatal(err)
		}
		if _, err := s.ApplyUpdate(kept); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		var r Reverted
		edit(b, d, func(tx *Txn) (err error) { r, err = tx.Revert(inserted, gone, s); return err })
		if r.Lost > 0 || r.Restored == 0 || r.Deleted == 0 {
			b.Fatalf("%+v", r)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/char")
}

// TestRevertUndone: whoever has reverted can undo that, like any edit.
func TestRevertUndone(t *testing.T) {
	ps := pads(t, 2)
	ada, ben := ps[0], ps[1]
	ada.edit(t, func(tx *Txn) error {
		_ = ada.Array("list").Append(tx, NewMap())
		v, _ := ada.Array("list").Get(tx, 0)
		_ = v.Map().Set(tx, "k", "v")
		return ada.Text("body").Insert(tx, 0, "The quick fox")
	})
	meet(t, ps...)
	ben.edit(t, func(tx *Txn) error {
		_ = ben.Array("list").Delete(tx, 0, 1)
		_ = ben.Text("body").Delete(tx, 4, 6)
		return ben.Text("body").Insert(tx, 4, "dull ")
	})
	meet(t, ps...)
	u := NewUndo(ada.Doc, UndoOptions{})
	defer u.Close()
	before := roots(ada.Doc)
	revert(t, ada, ben, ps...)
	after := roots(ada.Doc)
	if !u.Undo() || !maps.Equal(roots(ada.Doc), before) {
		t.Errorf("undone: %v, want %v", roots(ada.Doc), before)
	}
	if !u.Redo() || !maps.Equal(roots(ada.Doc), after) || ada.body() != "The quick fox" {
		t.Errorf("redone: %v, want %v", roots(ada.Doc), after)
	}
	meet(t, ps...)
}
