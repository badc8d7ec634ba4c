package crdt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func deltaOf(d *Doc) (out []string) {
	_ = d.View(func(tx *ReadTxn) error {
		for run := range d.Text("t").Delta(tx) {
			s := run.Insert
			for _, a := range run.Attrs {
				s += fmt.Sprintf(" %s=%s", a.Key, a.Value)
			}
			out = append(out, s)
		}
		return nil
	})
	return out
}

var (
	bold   = Attr{"bold", json.RawMessage("true")}
	unbold = Attr{"bold", json.RawMessage("null")}
	link   = Attr{"link", json.RawMessage(`{ "href": "u" }`)}
)

func TestFormat(t *testing.T) {
	d := New(WithClientID(1))
	text := d.Text("t")
	for _, step := range []struct {
		do   func(*Txn) error
		want []string
	}{
		{func(tx *Txn) error { return text.Insert(tx, 0, "hello world") }, []string{"hello world"}},
		{func(tx *Txn) error { return text.Format(tx, 0, 5, bold) }, []string{"hello bold=true", " world"}},
		{func(tx *Txn) error { return text.Insert(tx, 5, "!") }, []string{"hello! bold=true", " world"}},
		{func(tx *Txn) error { return text.Insert(tx, 6, "?", []Attr{}...) }, []string{"hello! bold=true", "? world"}},
		{func(tx *Txn) error { return text.Insert(tx, 13, "x", link) }, []string{"hello! bold=true", "? world", `x link={"href":"u"}`}},
		{func(tx *Txn) error { return text.Format(tx, 0, 14, unbold) }, []string{"hello!? world", `x link={"href":"u"}`}},
		{func(tx *Txn) error { return text.Delete(tx, 5, 9) }, []string{"hello"}},
	} {
		edit(t, d, step.do)
		if got := joinRuns(deltaOf(d)); !slices.Equal(got, joinRuns(step.want)) {
			t.Fatalf("got %q, want %q", got, step.want)
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, d, func(tx *Txn) error {
		if err := text.Format(tx, 0, 1, Attr{"a", json.RawMessage("{")}); !errors.Is(err, ErrValue) {
			t.Errorf("bad JSON: %v", err)
		}
		if err := text.Format(tx, 0, 6, bold); !errors.Is(err, ErrRange) {
			t.Errorf("beyond the end: %v", err)
		}
		return nil
	})
}

// joinRuns joins neighbouring runs without attributes, which marks without effect may separate.
func joinRuns(runs []string) (out []string) {
	plain := func(s string) bool { return !slices.Contains([]byte(s), '=') }
	for _, r := range runs {
		if n := len(out); n > 0 && plain(out[n-1]) && plain(r) {
			out[n-1] += r
			continue
		}
		out = append(out, r)
	}
	return out
}

// TestFormatConverges formats, types and deletes on several replicas at once.
func TestFormatConverges(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		docs := []*Doc{New(WithClientID(3)), New(WithClientID(1)), New(WithClientID(2))}
		var all [][]byte
		for _, d := range docs {
			d.OnUpdate(func(u []byte, o Origin) { all = collectLocal(all, u, o) })
		}
		for range 80 {
			d := docs[r.IntN(len(docs))]
			edit(t, d, func(tx *Txn) error { return richEdit(tx, d.Text("t"), r) })
			for _, u := range all {
				if r.IntN(12) == 0 {
					if _, err := docs[r.IntN(len(docs))].ApplyUpdate(u); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for _, d := range docs {
			for _, i := range r.Perm(len(all)) {
				if _, err := d.ApplyUpdate(all[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.selfCheck(); err != nil {
				t.Fatal(err)
			}
			if d.Digest() != docs[0].Digest() || !slices.Equal(deltaOf(d), deltaOf(docs[0])) {
				t.Fatalf("seed %d: replicas differ", seed)
			}
		}
	}
}

func richEdit(tx *Txn, text *Text, r *rand.Rand) error {
	n := text.Len(tx)
	at := r.IntN(n + 1)
	attrs := [][]Attr{nil, {}, {bold}, {link, bold}, {unbold}}[r.IntN(5)]
	switch span := r.IntN(min(n-at, 6) + 1); r.IntN(4) {
	case 0:
		return text.Delete(tx, at, span)
	case 1:
		return text.Format(tx, at, span, attrs...)
	}
	return text.Insert(tx, at, "xyz"[:1+r.IntN(3)], attrs...)
}

// TestManyMarks formats a text that is long enough for an index of several levels, on two replicas at once, and checks
// at every place that the index knows the attributes in force there.
func TestManyMarks(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	a, b := New(WithClientID(1)), New(WithClientID(2))
	for round := range 12 {
		for i := range 400 {
			d := a
			if i%2 == 1 {
				d = b
			}
			if err := d.Update(func(tx *Txn) error { return scatterMark(tx, d.Text("t"), r) }); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range [][2]*Doc{{a, b}, {b, a}} {
			u, err := d[0].EncodeUpdate(d[1].StateVector())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d[1].ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []*Doc{a, b} {
			if err := d.selfCheck(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	if a.Digest() != b.Digest() {
		t.Fatal("replicas differ")
	}
}

// scatterMark inserts, erases or formats at a random place.
func scatterMark(tx *Txn, text *Text, r *rand.Rand) error {
	length := text.Len(tx)
	at := r.IntN(length + 1)
	n := min(r.IntN(9), length-at)
	attr := Attr{[]string{"bold", "link", "colour", "size"}[r.IntN(4)], json.RawMessage([]string{"null", "true", `"x"`, "7"}[r.IntN(4)])}
	switch r.IntN(6) {
	case 0:
		return text.Delete(tx, at, n)
	case 1:
		return text.Insert(tx, at, "plain")
	case 2:
		return text.Insert(tx, at, "marked", attr)
	case 3:
		return text.Apply(tx, Delta{Retain: at}, Delta{Insert: "step", Attrs: []Attr{attr}})
	}
	return text.Format(tx, at, n, attr)
}
