package crdt

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestUndoneByYjs replays what Yjs emitted while edits were undone and redone beside a remote writer. Redone content
// stands between neighbours that Yjs chose long after they were written; none of it may be taken for forged.
func TestUndoneByYjs(t *testing.T) {
	f, err := os.Open("../testdata/yjs/extras/undo.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var scenarios []struct {
		Kind, Root string
		Steps      []struct {
			Emitted []string
			Remote  string
			State   map[string]json.RawMessage
		}
	}
	if err := json.NewDecoder(zr).Decode(&scenarios); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for n, sc := range scenarios {
		d := New(WithClientID(99))
		for i, step := range sc.Steps {
			for _, u := range append([]string{step.Remote}, step.Emitted...) {
				b, err := base64.StdEncoding.DecodeString(u)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) == 0 {
					continue
				}
				if _, err := d.ApplyUpdate(b); err != nil {
					t.Fatalf("scenario %d step %d: %v", n, i, err)
				}
			}
			var state struct {
				Kind  string
				Delta []struct{ Insert any }
			}
			if json.Unmarshal(step.State[sc.Root], &state) != nil || state.Kind != "text" {
				continue
			}
			var want strings.Builder
			for _, run := range state.Delta {
				if s, ok := run.Insert.(string); ok {
					want.WriteString(s)
				}
			}
			var got string
			_ = d.View(func(tx *ReadTxn) error {
				got = strings.ReplaceAll(d.Text(sc.Root).String(tx), "\ufffc", "")
				return nil
			})
			if got != want.String() {
				t.Fatalf("scenario %d (%s) step %d: %q, want %q", n, sc.Kind, i, got, want.String())
			}
			compared++
		}
		if err := d.selfCheck(); err != nil {
			t.Errorf("scenario %d: %v", n, err)
		}
	}
	if compared < 300 {
		t.Errorf("only %d states were compared", compared)
	}
}
