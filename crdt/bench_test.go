package crdt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/traces"
)

// trace is a sequence of edits by one author.
type trace struct{ traces.Trace }

// typist makes up a trace.
func typist(seed uint64, n int) trace { return trace{traces.Typist(seed, n)} }

// allTraces lists the made-up trace and, if COLLAB_TRACES names a folder, the recorded ones in it.
func allTraces(tb testing.TB) []trace {
	out := []trace{typist(1, 100_000)}
	if dir := os.Getenv(traces.Env); dir != "" {
		recorded, err := traces.Recorded(dir)
		if err != nil {
			tb.Fatal(err)
		}
		for _, t := range recorded {
			out = append(out, trace{t})
		}
	}
	return out
}

// play makes the edits, one transaction each.
func (t trace) play(d *Doc) error {
	text := d.Text("text")
	for i, p := range t.Patches {
		err := d.Update(func(tx *Txn) error {
			if p.Del > 0 {
				if err := text.Delete(tx, p.At, p.Del); err != nil {
					return err
				}
			}
			return text.Insert(tx, p.At, p.Ins)
		})
		if err != nil {
			return fmt.Errorf("edit %d: %w", i, err)
		}
	}
	return nil
}

// record plays the trace and returns every update and the full state.
func (t trace) record(tb testing.TB) (updates [][]byte, full []byte) {
	d := New(WithClientID(1))
	d.OnUpdate(func(u []byte, _ Origin) { updates = append(updates, u) })
	if err := t.play(d); err != nil {
		tb.Fatal(err)
	}
	full, err := d.EncodeUpdate(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return updates, full
}

// TestTraces checks that a trace ends in the text that a plain string ends in, and that replicas fed edit by edit or
// with the full state agree.
func TestTraces(t *testing.T) {
	for _, tr := range allTraces(t) {
		t.Run(tr.Name, func(t *testing.T) {
			if tr.Name == "typist" {
				tr = typist(1, 20_000)
			}
			want := tr.Text()
			updates, full := tr.record(t)
			a, b := New(), New()
			for _, u := range updates {
				if _, err := a.ApplyUpdate(u); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.ApplyUpdate(full); err != nil {
				t.Fatal(err)
			}
			if a.Digest() != b.Digest() {
				t.Fatal("replicas differ")
			}
			if err := a.selfCheck(); err != nil {
				t.Fatal(err)
			}
			got := textOf(a, "text")
			if got != want {
				t.Fatalf("text differs from the plain string, %d and %d bytes", len(got), len(want))
			}
		})
	}
}

func textOf(d *Doc, name string) (s string) {
	text := d.Text(name)
	_ = d.View(func(tx *ReadTxn) error {
		s = text.String(tx)
		return nil
	})
	return s
}

func BenchmarkLocalTrace(b *testing.B) {
	for _, tr := range allTraces(b) {
		b.Run(tr.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := New(WithClientID(1))
				n := 0
				d.OnUpdate(func(u []byte, _ Origin) { n += len(u) })
				if err := tr.play(d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(tr.Patches)), "ns/edit")
		})
	}
}

func BenchmarkApplyEach(b *testing.B) {
	for _, tr := range allTraces(b) {
		updates, _ := tr.record(b)
		b.Run(tr.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := New(WithClientID(2))
				for _, u := range updates {
					if _, err := d.ApplyUpdate(u); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(updates)), "ns/update")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, tr := range allTraces(b) {
		_, full := tr.record(b)
		b.Run(tr.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := New(WithClientID(2))
				if _, err := d.ApplyUpdate(full); err != nil {
					b.Fatal(err)
				}
				if strings.TrimSpace(textOf(d, "text")) == "" {
					b.Fatal("no text")
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, tr := range allTraces(b) {
		_, full := tr.record(b)
		d := New(WithClientID(2))
		if _, err := d.ApplyUpdate(full); err != nil {
			b.Fatal(err)
		}
		b.Run(tr.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.EncodeUpdate(nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(full)), "bytes")
		})
	}
}

// The benchmarks below measure one call of a main operation each, on a document that has seen some work.

// benchDoc is a replica with a text, listened to, and what it has emitted.
func benchDoc(b *testing.B, opts ...Option) (d *Doc, text *Text, emitted *int) {
	b.ReportAllocs()
	d = New(append(opts, WithClientID(1))...)
	emitted = new(int)
	d.OnUpdate(func(u []byte, _ Origin) { *emitted += len(u) })
	text = d.Text("text")
	if err := typist(1, 20_000).play(d); err != nil {
		b.Fatal(err)
	}
	return d, text, emitted
}

// each runs op once per iteration, in a transaction of its own.
func each(b *testing.B, d *Doc, op func(tx *Txn) error) {
	b.Helper()
	for b.Loop() {
		if err := d.Update(op); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInsert(b *testing.B) {
	b.Run("typing", func(b *testing.B) {
		d, text, _ := benchDoc(b)
		at := text.length()
		each(b, d, func(tx *Txn) error {
			at++
			return text.Insert(tx, at-1, "x")
		})
	})
	b.Run("scattered", func(b *testing.B) {
		d, text, _ := benchDoc(b)
		r := rand.New(rand.NewPCG(1, 1))
		each(b, d, func(tx *Txn) error { return text.Insert(tx, r.IntN(text.Len(tx)), "x") })
	})
	b.Run("array", func(b *testing.B) {
		d, _, _ := benchDoc(b)
		list := d.Array("list")
		each(b, d, func(tx *Txn) error { return list.Append(tx, 7) })
	})
}

func BenchmarkDelete(b *testing.B) {
	for _, where := range []string{"backspace", "scattered"} {
		b.Run(where, func(b *testing.B) {
			d, text, _ := benchDoc(b)
			r := rand.New(rand.NewPCG(1, 1))
			each(b, d, func(tx *Txn) error {
				n := text.Len(tx)
				if n == 0 { // all gone: once in a while something new
					return text.Insert(tx, 0, strings.Repeat("abcdefgh", 4000))
				}
				at := n - 1
				if where == "scattered" {
					at = r.IntN(n)
				}
				return text.Delete(tx, at, 1)
			})
		})
	}
}

func BenchmarkMapSet(b *testing.B) {
	d, _, _ := benchDoc(b)
	m := d.Map("map")
	keys := []string{"title", "width", "height", "colour"}
	i := 0
	each(b, d, func(tx *Txn) error {
		i++
		return m.Set(tx, keys[i%len(keys)], i)
	})
}

// BenchmarkFormat makes formatted edits at random places of a text that has seen as many as the name says. They must cost
// little more where there have been more: what makes them so is in inforce.go.
func BenchmarkFormat(b *testing.B) {
	for _, edits := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(edits), func(b *testing.B) {
			d, text, _ := benchDoc(b)
			r := rand.New(rand.NewPCG(1, 1))
			for range edits {
				if err := d.Update(func(tx *Txn) error { return scatterMark(tx, text, r) }); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			each(b, d, func(tx *Txn) error { return scatterMark(tx, text, r) })
		})
	}
}

// BenchmarkApplyOne applies what another replica does, edit by edit: typing at the end, and edits at random places.
func BenchmarkApplyOne(b *testing.B) {
	for _, where := range []string{"typing", "scattered"} {
		b.Run(where, func(b *testing.B) {
			from, text, _ := benchDoc(b)
			full, err := from.EncodeUpdate(nil)
			if err != nil {
				b.Fatal(err)
			}
			to := New(WithClientID(2))
			if _, err := to.ApplyUpdate(full); err != nil {
				b.Fatal(err)
			}
			var updates [][]byte
			from.OnUpdate(func(u []byte, _ Origin) { updates = append(updates, u) })
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if len(updates) == 0 {
					b.StopTimer()
					for range 1000 {
						at := text.length()
						if where == "scattered" {
							at = r.IntN(at)
						}
						edit(b, from, func(tx *Txn) error { return text.Insert(tx, at, "x") })
					}
					b.StartTimer()
				}
				if _, err := to.ApplyUpdate(updates[0]); err != nil {
					b.Fatal(err)
				}
				updates = updates[1:]
			}
		})
	}
}

func (t *Text) length() (n int) {
	_ = t.doc.View(func(tx *ReadTxn) error {
		n = t.Len(tx)
		return nil
	})
	return n
}

// BenchmarkWhole does with a whole document what can be done with one.
func BenchmarkWhole(b *testing.B) {
	d := New(WithClientID(1))
	if err := typist(1, 100_000).play(d); err != nil {
		b.Fatal(err)
	}
	half := New(WithClientID(1))
	v1, err := d.EncodeUpdate(nil)
	if err != nil {
		b.Fatal(err)
	}
	v2, err := d.EncodeUpdateV2(nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := typist(1, 50_000).play(half); err != nil {
		b.Fatal(err)
	}
	other := New(WithClientID(3))
	edit(b, other, func(tx *Txn) error { return other.Text("text").Insert(tx, 0, "other") })
	theirs, err := other.EncodeUpdate(nil)
	if err != nil {
		b.Fatal(err)
	}
	sv := half.StateVector()
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"parse v1", func() error { _, err := New(WithClientID(4)).ApplyUpdate(v1); return err }},
		{"parse v2", func() error { _, err := New(WithClientID(4)).ApplyUpdate(v2, V2); return err }},
		{"encode v1", func() error { _, err := d.EncodeUpdate(nil); return err }},
		{"encode v2", func() error { _, err := d.EncodeUpdateV2(nil); return err }},
		{"encode half", func() error { _, err := d.EncodeUpdate(sv); return err }},
		{"diff", func() error { _, err := DiffUpdate(V1, v1, sv); return err }},
		{"merge", func() error { _, err := MergeUpdates(V1, v1, theirs); return err }},
	} {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := op.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUndo takes back an edit and makes it again.
func BenchmarkUndo(b *testing.B) {
	d, text, _ := benchDoc(b)
	undo := NewUndo(d, UndoOptions{Scope: []Shared{text}})
	edit(b, d, func(tx *Txn) error { return text.Insert(tx, 10, "something") })
	for b.Loop() {
		if !undo.Undo() || !undo.Redo() {
			b.Fatal("nothing to undo")
		}
	}
}
