package journal

import (
	"math/rand/v2"
	"testing"

	"github.com/studio-whip/collab/crdt"
)

func TestWithout(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func() (out []crdt.Range) {
		for range rng.IntN(6) {
			from := uint64(rng.IntN(20))
			out = append(out, crdt.Range{Client: uint64(rng.IntN(3)), From: from, To: from + uint64(rng.IntN(6))})
		}
		return out
	}
	units := func(rs []crdt.Range) map[ident]bool {
		out := map[ident]bool{}
		for _, r := range rs {
			for c := r.From; c < r.To; c++ {
				out[ident{r.Client, c}] = true
			}
		}
		return out
	}
	for range 2000 {
		a, b := draw(), draw()
		want := units(a)
		for u := range units(b) {
			delete(want, u)
		}
		got := without(a, b)
		have := units(got)
		if len(have) != len(want) {
			t.Fatalf("%v without %v: %v", a, b, got)
		}
		for u := range want {
			if !have[u] {
				t.Fatalf("%v without %v: %v", a, b, got)
			}
		}
	}
}

// TestWrote: what others have deleted too, what is held back and what does not count is left out.
func TestWrote(t *testing.T) {
	q := newQuartet(t)
	erase := func(n *node, at, length int) {
		r := n.doc("script")
		n.edit(r, func(tx *crdt.Txn) error { return r.CRDT().Text("body").Delete(tx, at, length) })
	}
	q.ada.write("script", "xyz")
	q.spread() // AB1xyz
	erase(q.ben, 3, 2)
	erase(q.cyd, 4, 2)
	q.spread() // AB1
	sees(t, "script", "AB1", q.nodes()...)
	q.quarantine(q.ben, q.cyd, q.dan)
	q.ben.write("script", "held")
	q.spread()
	w, err := q.ada.Wrote(t.Context(), q.ada.doc("script").ID, func(e Written) bool { return e.Device == q.ben.person.dev.ID })
	if err != nil {
		t.Fatal(err)
	}
	count := func(rs []crdt.Range) (n uint64) {
		for _, r := range rs {
			n += r.To - r.From
		}
		return n
	}
	if count(w.Inserted) != 2 || count(w.Deleted) != 1 { // of two that he deleted, Cyd has deleted one
		t.Errorf("inserted %v, deleted %v", w.Inserted, w.Deleted)
	}
	if o, ok := q.ada.Author(w.Inserted[0].Client); !ok || o.Device != q.ben.person.dev.ID {
		t.Errorf("author %v, %v", o, ok)
	}
	var r crdt.Reverted
	q.ada.edit(q.ada.doc("script"), func(tx *crdt.Txn) (err error) {
		r, err = tx.Revert(w.Inserted, w.Deleted, w.Source)
		return err
	})
	sees(t, "script", "Ax", q.ada)
	if r.Deleted != 2 || r.Restored != 1 || r.Lost != 0 {
		t.Errorf("%+v", r)
	}
	q.lift(q.ada, q.ben)
	q.spread()
	agree(t, q.nodes(), "script")
}
