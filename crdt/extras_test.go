package crdt

import (
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
