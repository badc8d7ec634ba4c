package crdt

import (
	"fmt"
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
