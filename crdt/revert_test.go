package crdt

import (
	"fmt"
	"math/rand/v2"
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
