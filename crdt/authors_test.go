package crdt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAuthors(t *testing.T) {
	a, b := New(WithClientID(1)), New(WithClientID(2))
	exchange := func() {
		t.Helper()
		for _, p := range [][2]*Doc{{a, b}, {b, a}} {
			if _, err := p[1].ApplyUpdate(mustEncode(t, p[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	typeInto(t, a, 0, "hello world")
	exchange()
	typeInto(t, b, 5, " 😀")
	exchange()
	edit(t, a, func(tx *Txn) error { return a.Text("t").Delete(tx, 0, 2) })
	edit(t, a, func(tx *Txn) error { return a.Text("t").Format(tx, 0, 2, bold) })
	edit(t, a, func(tx *Txn) error { return a.Array("a").Append(tx, 1, 2, []byte{3}, NewMap()) })
	exchange()
	at := func(d *Doc, index, n int) (out string) {
		_ = d.View(func(tx *ReadTxn) error {
			out = fmt.Sprint(slices.Collect(d.Text("t").Authors(tx, index, n)))
			return nil
		})
		return out
	}
	for _, d := range []*Doc{a, b} {
		for _, tc := range []struct {
			index, n int
			want     string
		}{
			{0, 100, "[{0 {1 2 5}} {3 {2 0 3}} {6 {1 5 11}}]"},
			{1, 4, "[{1 {1 3 5}} {3 {2 0 2}}]"},
			{4, 1, "[{4 {2 1 2}}]"},
			{11, 3, "[{11 {1 10 11}}]"},
			{12, 3, "[]"}, {-1, 3, "[]"}, {2, 0, "[]"},
		} {
			if got := at(d, tc.index, tc.n); got != tc.want {
				t.Errorf("%d units from %d on are by %s, want %s", tc.n, tc.index, got, tc.want)
			}
		}
	}
	_ = b.View(func(tx *ReadTxn) error {
		if got := slices.Collect(b.Array("a").Authors(tx, 1, 9)); len(got) != 1 || got[0].Index != 1 || got[0].To-got[0].From != 3 {
			t.Errorf("elements are by %v", got)
		}
		if got := slices.Collect(b.XML("x").Authors(tx, 0, 9)); got != nil {
			t.Errorf("nothing is by %v", got)
		}
		return nil
	})
}

// TestAuthorsCover asks for random ranges of a long text by three authors: the runs cover the range, and each unit is by
// whom the units one by one are.
func TestAuthorsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	docs := []*Doc{New(WithClientID(1)), New(WithClientID(2)), New(WithClientID(3))}
	for range 300 {
		d := docs[rng.IntN(3)]
		edit(t, d, func(tx *Txn) error {
			text := d.Text("t")
			n := text.Len(tx)
			if n > 10 && rng.IntN(3) == 0 {
				return text.Delete(tx, rng.IntN(n-5), 1+rng.IntN(5))
			}
			return text.Insert(tx, rng.IntN(n+1), "abcdefgh"[:1+rng.IntN(8)])
		})
		if _, err := docs[rng.IntN(3)].ApplyUpdate(mustEncode(t, d)); err != nil {
			t.Fatal(err)
		}
	}
	d := docs[0]
	text := d.Text("t")
	edit(t, d, func(tx *Txn) error {
		var unit []Range
		for i := range text.Len(tx) {
			one := slices.Collect(text.Authors(tx, i, 1))
			if len(one) != 1 || one[0].To-one[0].From != 1 {
				t.Fatalf("unit %d is by %v", i, one)
			}
			unit = append(unit, one[0].Range)
		}
		for range 100 {
			i := rng.IntN(len(unit))
			n := 1 + rng.IntN(len(unit)-i)
			at := i
			for run := range text.Authors(tx, i, n) {
				for clock := run.From; clock < run.To; clock++ {
					if want := (Range{run.Client, clock, clock + 1}); run.Index+int(clock-run.From) != at || unit[at] != want {
						t.Fatalf("unit %d is in %v, alone it is %v", at, run, unit[at])
					}
					at++
				}
			}
			if at != i+n {
				t.Fatalf("%d units of %d are by somebody", at-i, n)
			}
		}
		return nil
	})
}
