package crdt

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
)

// loadExtras reads one of the recordings that are no editing sessions.
func loadExtras(t testing.TB, name string, into any) {
	t.Helper()
	file := filepath.Join("..", "testdata", "yjs", "extras", name+".json.gz")
	if dir := fixtureDir(); dir != filepath.Join("..", "testdata", "yjs") {
		file = filepath.Join(dir, "extras", name+".json.gz")
	}
	if err := json.Unmarshal(gunzip(t, file), into); err != nil {
		t.Fatal(err)
	}
}

// neutralEvents is the fixtures' form of deep events.
func neutralEvents(d *Doc, root string, events []Event) (out []any) {
	value := func(v Value) any {
		if v.Shared() == nil {
			return neutral(v.v)
		}
		b := v.Shared().(interface{ branch() *branch }).branch()
		return map[string]any{"type": d.tree(b, fixtureKind(b))}
	}
	for _, e := range events {
		path := []any{}
		for _, s := range e.Path {
			if s.Index >= 0 {
				path = append(path, float64(s.Index))
			} else {
				path = append(path, s.Key)
			}
		}
		delta := []any{}
		for _, s := range e.Text {
			switch {
			case s.Insert != "":
				delta = append(delta, map[string]any{"insert": s.Insert})
			case s.Retain > 0:
				delta = append(delta, map[string]any{"retain": float64(s.Retain)})
			default:
				delta = append(delta, map[string]any{"delete": float64(s.Erase)})
			}
		}
		for _, s := range e.List {
			var values []any
			for _, v := range s.Insert {
				values = append(values, value(v))
			}
			switch {
			case values != nil:
				delta = append(delta, map[string]any{"insert": values})
			case s.Retain > 0:
				delta = append(delta, map[string]any{"retain": float64(s.Retain)})
			default:
				delta = append(delta, map[string]any{"delete": float64(s.Erase)})
			}
		}
		o := map[string]any{"root": root, "path": path, "delta": delta}
		if len(e.Keys) > 0 {
			keys := map[string]any{}
			for _, k := range e.Keys {
				action := map[Action]string{Added: "add", Updated: "update", Removed: "delete"}[k.Action]
				old := neutral(k.Old.v)
				if k.Old.Shared() != nil {
					old = map[string]any{"type": 1.0}
				}
				keys[k.Key] = map[string]any{"action": action, "old": old}
			}
			o["keys"] = keys
		}
		out = append(out, o)
	}
	return out
}

func fixtureKind(b *branch) string {
	return []string{"array", "map", "text", "xmlelement", "xmlfragment", "hook", "xmltext"}[b.typeRef]
}

// TestYjsEvents applies recorded updates and compares what deep observers are told with what Yjs told them. Yjs also
// reports types in which everything that came was deleted again; here nothing has changed there.
func TestYjsEvents(t *testing.T) {
	var scenarios []struct {
		Kind  string
		Roots map[string]string
		Steps []struct {
			U      []byte
			Events []any
		}
		Final any
	}
	loadExtras(t, "events", &scenarios)
	compared := 0
	for n, sc := range scenarios {
		fx := &fixture{Roots: sc.Roots}
		d := New(WithClientID(99))
		var got []any
		for name, kind := range sc.Roots {
			observe := d.Text(name).ObserveDeep
			switch kind {
			case "map":
				observe = d.Map(name).ObserveDeep
			case "array":
				observe = d.Array(name).ObserveDeep
			case "xml":
				observe = d.XML(name).ObserveDeep
			}
			defer observe(func(es []Event) {
				d.mu.RLock()
				defer d.mu.RUnlock()
				got = append(got, neutralEvents(d, name, es)...)
			})()
		}
		for i, step := range sc.Steps {
			got = nil
			if _, err := d.ApplyUpdate(step.U); err != nil {
				t.Fatal(err)
			}
			var want []any
			for _, e := range step.Events {
				e := e.(map[string]any)
				if len(e["delta"].([]any)) > 0 || e["keys"] != nil {
					want = append(want, e)
				}
			}
			if !sameEvents(got, want) {
				t.Errorf("scenario %d (%s) step %d: %s", n, sc.Kind, i, difference(got, want))
				break
			}
			compared += len(want)
		}
		if s := fx.state(d); !reflect.DeepEqual(s, sc.Final) {
			t.Errorf("scenario %d: final state: %s", n, difference(s, sc.Final))
		}
	}
	t.Logf("L5 events: %d compared in %d scenarios", compared, len(scenarios))
}

// sameEvents compares events. Those of equal depth may come in any order: Yjs has them in the order in which it met the
// changes, which depends on how structs were cut.
func sameEvents(got, want []any) bool {
	if len(got) != len(want) {
		return false
	}
	used := make([]bool, len(want))
next:
	for i, g := range got {
		depth := func(e any) int { return len(e.(map[string]any)["path"].([]any)) }
		if depth(g) != depth(want[i]) {
			return false
		}
		for j, w := range want {
			if !used[j] && reflect.DeepEqual(g, w) {
				used[j] = true
				continue next
			}
		}
		return false
	}
	return true
}

// TestYjsXMLText compares XML as Yjs writes it.
func TestYjsXMLText(t *testing.T) {
	compared := 0
	for _, fx := range loadFixtures(t) {
		var want map[string]any
		if err := json.Unmarshal(fx.Final.JSON, &want); err != nil {
			t.Fatal(err)
		}
		d := fx.doc(1)
		if _, err := d.ApplyUpdate(fx.Final.Full1); err != nil {
			t.Fatal(err)
		}
		for name, kind := range fx.Roots {
			if kind != "xml" {
				continue
			}
			_ = d.View(func(tx *ReadTxn) error {
				if got := d.XML(name).String(tx); got != want[name] {
					t.Errorf("%s: %s", fx.name, difference(got, want[name]))
				}
				return nil
			})
			compared++
		}
	}
	t.Logf("%d compared", compared)
}

// TestYjsSnapshots reads recorded snapshots, writes them again, and restores the states they were taken of.
func TestYjsSnapshots(t *testing.T) {
	var scenarios []struct {
		Roots map[string]string
		Full  []byte
		Snaps []struct {
			V1, V2          []byte
			State, Restored any
		}
	}
	loadExtras(t, "snapshots", &scenarios)
	restored := 0
	for n, sc := range scenarios {
		fx := &fixture{Roots: sc.Roots}
		d := New(WithClientID(1), WithoutGC())
		if _, err := d.ApplyUpdate(sc.Full); err != nil {
			t.Fatal(err)
		}
		before := mustEncode(t, d)
		for i, snap := range sc.Snaps {
			s, err := DecodeSnapshot(snap.V1, V1)
			if err != nil {
				t.Fatal(err)
			}
			s2, err := DecodeSnapshot(snap.V2, V2)
			if err != nil || !s.Equal(s2) {
				t.Errorf("scenario %d snapshot %d: the formats differ, %v", n, i, err)
			}
			if err := firstError(
				func() error { return same("v1", s.Encode(V1), snap.V1) },
				func() error { return same("v2", s.Encode(V2), snap.V2) },
			); err != nil {
				t.Errorf("scenario %d snapshot %d: %v", n, i, err)
			}
			old, err := d.Restore(s, WithClientID(2))
			if err != nil {
				t.Fatal(err)
			}
			if got := fx.state(old); !reflect.DeepEqual(got, snap.Restored) {
				t.Errorf("scenario %d snapshot %d: %s", n, i, difference(got, snap.Restored))
			}
			if !old.Snapshot().Equal(s) {
				t.Errorf("scenario %d snapshot %d: the restored document is in another state", n, i)
			}
			restored++
		}
		if same("", mustEncode(t, d), before) != nil {
			t.Error("restoring has changed the document")
		}
	}
	t.Logf("L5 snapshots: %d restored", restored)
	for _, fx := range loadFixtures(t) {
		d := fx.doc(1)
		if _, err := d.ApplyUpdate(fx.Final.Full1); err != nil {
			t.Fatal(err)
		}
		if err := firstError(
			func() error { return same("v1", d.Snapshot().Encode(V1), fx.Final.Snapshot1) },
			func() error { return same("v2", d.Snapshot().Encode(V2), fx.Final.Snapshot2) },
		); err != nil {
			t.Errorf("%s: %v", fx.name, err)
		}
	}
}

// TestYjsPositions makes and resolves the relative positions that were recorded.
func TestYjsPositions(t *testing.T) {
	compared := 0
	at := func(d *Doc, root string, i, assoc int, enc []byte, abs *int) {
		t.Helper()
		_ = d.View(func(tx *ReadTxn) error {
			text := d.Text(root)
			if i >= 0 {
				if p := text.RelPos(tx, i, Side(assoc)); !bytes.Equal(p, enc) {
					t.Errorf("position %d, side %d: %x, want %x", i, assoc, p, enc)
				}
			}
			got, ok := text.AbsPos(tx, enc)
			if ok != (abs != nil) || ok && got != *abs {
				t.Errorf("%x is at %d, %v; want %v", enc, got, ok, abs)
			}
			return nil
		})
		compared++
	}
	for _, fx := range loadFixtures(t) {
		d := fx.doc(1)
		if _, err := d.ApplyUpdate(fx.Final.Full1); err != nil {
			t.Fatal(err)
		}
		for _, p := range fx.RPos {
			at(d, p.Root, p.I, p.Assoc, p.Enc, p.Abs)
		}
	}
	var protocols struct {
		RPos struct {
			Positions []struct {
				I, Assoc int
				Enc      []byte
			}
			Stages []struct {
				Full []byte
				Abs  []*int
			}
		}
	}
	loadExtras(t, "protocols", &protocols)
	for _, stage := range protocols.RPos.Stages {
		d := New(WithClientID(1))
		if _, err := d.ApplyUpdate(stage.Full); err != nil {
			t.Fatal(err)
		}
		for i, p := range protocols.RPos.Positions {
			at(d, "t", -1, p.Assoc, p.Enc, stage.Abs[i])
		}
	}
	t.Logf("L5 positions: %d compared", compared)
}
