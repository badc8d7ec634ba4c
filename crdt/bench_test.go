package crdt

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// patch is one edit of a trace: at, delete, insert.
type patch struct {
	at, del int
	ins     string
}

// trace is a sequence of edits by one author.
type trace struct {
	name    string
	patches []patch
}

// typist makes up a trace: bursts of typing and backspacing at a place that now and then moves.
func typist(seed uint64, n int) trace {
	r := rand.New(rand.NewPCG(seed, 7))
	t := trace{name: "typist"}
	length, at := 0, 0
	for len(t.patches) < n {
		if r.IntN(5) == 0 && length > 0 {
			at = r.IntN(length + 1)
		}
		for i := 1 + r.IntN(40); i > 0; i-- {
			t.patches = append(t.patches, patch{at: at, ins: string(rune('a' + r.IntN(26)))})
			at++
			length++
		}
		for i := r.IntN(18); i > 0 && at > 0; i-- {
			at--
			length--
			t.patches = append(t.patches, patch{at: at, del: 1})
		}
	}
	t.patches = t.patches[:n]
	return t
}

// traces lists the made-up trace and, if COLLAB_TRACES names a folder, the recorded sequential ones in it.
func traces(tb testing.TB) []trace {
	out := []trace{typist(1, 100_000)}
	dir := os.Getenv("COLLAB_TRACES")
	if dir == "" {
		return out
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json.gz"))
	for _, f := range files {
		var raw struct {
			Name    string
			Patches [][3]any
		}
		if err := json.Unmarshal(gunzip(tb, f), &raw); err != nil {
			tb.Fatal(err)
		}
		t := trace{name: raw.Name}
		for _, p := range raw.Patches {
			t.patches = append(t.patches, patch{int(p[0].(float64)), int(p[1].(float64)), p[2].(string)})
		}
		if len(t.patches) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// play makes the edits, one transaction each.
func (t trace) play(d *Doc) error {
	text := d.Text("text")
	for i, p := range t.patches {
		err := d.Update(func(tx *Txn) error {
			if p.del > 0 {
				if err := text.Delete(tx, p.at, p.del); err != nil {
					return err
				}
			}
			return text.Insert(tx, p.at, p.ins)
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
	for _, tr := range traces(t) {
		t.Run(tr.name, func(t *testing.T) {
			if tr.name == "typist" {
				tr.patches = tr.patches[:20_000]
			}
			var want []rune
			for _, p := range tr.patches {
				want = slices.Replace(want, p.at, p.at+p.del, []rune(p.ins)...)
			}
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
			if got != string(want) {
				t.Fatalf("text differs from the plain string, %d and %d bytes", len(got), len(string(want)))
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
	for _, tr := range traces(b) {
		b.Run(tr.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := New(WithClientID(1))
				n := 0
				d.OnUpdate(func(u []byte, _ Origin) { n += len(u) })
				if err := tr.play(d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(tr.patches)), "ns/edit")
		})
	}
}

func BenchmarkApplyEach(b *testing.B) {
	for _, tr := range traces(b) {
		updates, _ := tr.record(b)
		b.Run(tr.name, func(b *testing.B) {
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
	for _, tr := range traces(b) {
		_, full := tr.record(b)
		b.Run(tr.name, func(b *testing.B) {
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
	for _, tr := range traces(b) {
		_, full := tr.record(b)
		d := New(WithClientID(2))
		if _, err := d.ApplyUpdate(full); err != nil {
			b.Fatal(err)
		}
		b.Run(tr.name, func(b *testing.B) {
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
