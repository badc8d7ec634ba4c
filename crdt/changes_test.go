package crdt

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// changeScenario was recorded from Yjs: toDelta of a text at snapshots and between them.
type changeScenario struct {
	Kind  string
	Full  []byte
	Snaps []struct {
		V1    []byte
		Delta []map[string]any
	}
	Pairs []struct {
		Before, Now   int
		Marked, Named []map[string]any
	}
}

func changeExtras(t testing.TB) (out []extra) {
	var scenarios []changeScenario
	loadExtras(t, "changes", &scenarios)
	for n, sc := range scenarios {
		out = append(out, extra{fmt.Sprintf("changes %d (%s)", n, sc.Kind), sc.run})
	}
	return out
}

func (sc *changeScenario) run() error {
	d := New(WithClientID(1), WithoutGC())
	if _, err := d.ApplyUpdate(sc.Full); err != nil {
		return err
	}
	digest := d.Digest()
	var snaps []Snapshot
	for _, s := range sc.Snaps {
		snap, err := DecodeSnapshot(s.V1, V1)
		if err != nil {
			return err
		}
		snaps = append(snaps, snap)
	}
	text := d.Text("t")
	err := d.View(func(tx *ReadTxn) error {
		for i, s := range sc.Snaps {
			if err := sameRuns(slices.Collect(text.DeltaAt(tx, snaps[i])), s.Delta); err != nil {
				return fmt.Errorf("snapshot %d: %w", i, err)
			}
		}
		for _, p := range sc.Pairs {
			o := ChangeOptions{Before: snaps[p.Before], Now: &snaps[p.Now]}
			if err := sameRuns(slices.Collect(text.Changes(tx, o)), p.Marked); err != nil {
				return fmt.Errorf("snapshots %d and %d: %w", p.Before, p.Now, err)
			}
			o.Mark = func(c Change) json.RawMessage {
				kind := map[bool]string{false: "added", true: "removed"}[c.Removed]
				return fmt.Appendf(nil, `{"type":%q,"user":%d}`, kind, c.By.Client)
			}
			if err := sameRuns(slices.Collect(text.Changes(tx, o)), p.Named); err != nil {
				return fmt.Errorf("snapshots %d and %d, named: %w", p.Before, p.Now, err)
			}
		}
		return nil
	})
	if err == nil && d.Digest() != digest {
		err = fmt.Errorf("looking at past states has changed the document")
	}
	return err
}

// sameRuns compares runs with those of Yjs, which cuts text with equal attributes where its items end, and marks embedded
// objects like the text before them.
func sameRuns(got []Delta, want []map[string]any) error {
	var runs []map[string]any
	for _, d := range got {
		run := map[string]any{"insert": any(d.Insert)}
		if d.Embed != nil {
			run["insert"] = neutral(d.Embed.v)
		}
		if len(d.Attrs) > 0 {
			attrs := map[string]any{}
			for _, a := range d.Attrs {
				var v any
				if err := json.Unmarshal(a.Value, &v); err != nil {
					return err
				}
				attrs[a.Key] = v
			}
			run["attributes"] = attrs
		}
		runs = append(runs, run)
	}
	if g, w := joined(runs), joined(want); !reflect.DeepEqual(g, w) {
		return fmt.Errorf("runs differ: %s", difference(g, w))
	}
	return nil
}

// joined makes one run of neighbours with equal attributes.
func joined(runs []map[string]any) (out []map[string]any) {
	for _, r := range runs {
		s, isText := r["insert"].(string)
		if n := len(out); n > 0 && isText && reflect.DeepEqual(out[n-1]["attributes"], r["attributes"]) {
			if before, ok := out[n-1]["insert"].(string); ok {
				out[n-1]["insert"] = before + s
				continue
			}
		}
		c := map[string]any{"insert": r["insert"]}
		if a, ok := r["attributes"].(map[string]any); ok {
			if a = maps.Clone(a); !isText {
				delete(a, changeKey)
			}
			if len(a) > 0 {
				c["attributes"] = a
			}
		}
		out = append(out, c)
	}
	return out
}

// TestChanges looks at two states at once, also inside a surrogate pair, and at the present.
func TestChanges(t *testing.T) {
	d, other := New(WithClientID(1), WithoutGC()), New(WithClientID(2))
	text := d.Text("t")
	edit(t, d, func(tx *Txn) error { return text.Insert(tx, 0, "one 😀 two") })
	before := d.Snapshot()
	if _, err := other.ApplyUpdate(mustEncode(t, d)); err != nil {
		t.Fatal(err)
	}
	edit(t, d, func(tx *Txn) error { return text.Delete(tx, 0, 4) })
	edit(t, other, func(tx *Txn) error { return other.Text("t").Insert(tx, 10, "!", bold) })
	if _, err := d.ApplyUpdate(mustEncode(t, other)); err != nil {
		t.Fatal(err)
	}
	after := d.Snapshot()
	edit(t, d, func(tx *Txn) error { return text.Embed(tx, 0, 7) })
	runs := func(ds []Delta) string {
		var out []string
		for _, x := range ds {
			s := x.Insert
			for _, a := range x.Attrs {
				s += fmt.Sprintf(" %s=%s", a.Key, a.Value)
			}
			out = append(out, s)
		}
		return strings.Join(out, "|")
	}
	mark := func(c Change) json.RawMessage { return fmt.Appendf(nil, `"%v %d"`, c.Removed, c.By.Client) }
	_ = d.View(func(tx *ReadTxn) error {
		for _, tc := range []struct{ got, want string }{
			{runs(slices.Collect(text.DeltaAt(tx, before))), "one 😀 two"},
			{runs(slices.Collect(text.DeltaAt(tx, after))), "😀 two|! bold=true"},
			{runs(slices.Collect(text.DeltaAt(tx, Snapshot{}))), ""},
			{runs(slices.Collect(text.Changes(tx, ChangeOptions{Before: before, Now: &after}))),
				`one  ychange={"type":"removed"}|😀 two|! bold=true ychange={"type":"added"}`},
			{runs(slices.Collect(text.Changes(tx, ChangeOptions{Before: before, Mark: mark}))),
				"one  ychange=\"true 1\"|\uFFFC ychange=\"false 1\"|😀 two|! bold=true ychange=\"false 2\""},
			{runs(slices.Collect(text.Changes(tx, ChangeOptions{Now: &before, Mark: mark}))), `one 😀 two ychange="false 1"`},
		} {
			if tc.got != tc.want {
				t.Errorf("got  %s\nwant %s", tc.got, tc.want)
			}
		}
		for range text.Changes(tx, ChangeOptions{Before: before}) {
			break
		}
		return nil
	})
	half := before
	half.state = stateVector{1: 5} // inside the pair
	digest := d.Digest()
	_ = d.View(func(tx *ReadTxn) error {
		if got := runs(slices.Collect(text.DeltaAt(tx, half))); got != "one \uFFFD" {
			t.Errorf("a state that ends inside a pair shows %q", got)
		}
		return nil
	})
	if d.Digest() != digest {
		t.Error("looking has changed the document")
	}
}
