package crdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/studio-whip/collab/crdt/lib0"
)

// loadExtras reads a file of recordings that are no editing sessions, and says whether there is one.
func loadExtras(t testing.TB, name string, into any) bool {
	t.Helper()
	file := filepath.Join(fixtureDir(), "extras", name+".json.gz")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err := json.Unmarshal(gunzip(t, file), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return true
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

// eventScenario was recorded from Yjs: what deep observers are told while updates come in.
type eventScenario struct {
	Kind  string
	Roots map[string]string
	Steps []struct {
		U      []byte
		Events []any
	}
	Final any
}

func eventExtras(t testing.TB) (out []extra) {
	var scenarios []eventScenario
	loadExtras(t, "events", &scenarios)
	for n, sc := range scenarios {
		out = append(out, extra{fmt.Sprintf("events %d (%s)", n, sc.Kind), sc.run})
	}
	return out
}

// run applies the updates and compares what deep observers are told with what Yjs told them. Yjs also reports types in
// which everything that came was deleted again; here nothing has changed there.
func (sc *eventScenario) run() error {
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
			return err
		}
		var want []any
		for _, e := range step.Events {
			e := e.(map[string]any)
			if len(e["delta"].([]any)) > 0 || e["keys"] != nil {
				want = append(want, e)
			}
		}
		if !sameEvents(got, want) {
			return fmt.Errorf("step %d: %s", i, difference(got, want))
		}
	}
	if s := fx.state(d); !reflect.DeepEqual(s, sc.Final) {
		return fmt.Errorf("final state: %s", difference(s, sc.Final))
	}
	return nil
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

// loaded is a document in the final state of the fixture.
func (fx *fixture) loaded() (*Doc, error) {
	d := fx.doc(1)
	_, err := d.ApplyUpdate(fx.Final.Full1)
	return d, err
}

// xmlText compares XML as Yjs writes it.
func (fx *fixture) xmlText() error {
	var want map[string]any
	if err := json.Unmarshal(fx.Final.JSON, &want); err != nil {
		return err
	}
	d, err := fx.loaded()
	if err != nil {
		return err
	}
	for name, kind := range fx.Roots {
		if kind != "xml" {
			continue
		}
		if err := d.View(func(tx *ReadTxn) error {
			if got := d.XML(name).String(tx); got != want[name] {
				return fmt.Errorf("XML: %s", difference(got, want[name]))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// snapshots compares the bytes of a snapshot of the final state.
func (fx *fixture) snapshots() error {
	d, err := fx.loaded()
	if err != nil {
		return err
	}
	return firstError(
		func() error { return same("snapshot v1", d.Snapshot().Encode(V1), fx.Final.Snapshot1) },
		func() error { return same("snapshot v2", d.Snapshot().Encode(V2), fx.Final.Snapshot2) },
	)
}

// positions makes and resolves the relative positions.
func (fx *fixture) positions() error {
	d, err := fx.loaded()
	if err != nil {
		return err
	}
	for _, p := range fx.RPos {
		if err := resolves(d, p.Root, p.I, p.Assoc, p.Enc, p.Abs); err != nil {
			return err
		}
	}
	return nil
}

// resolves checks that the position at an index, unless that is negative, is enc, and that enc is at abs, or lost.
func resolves(d *Doc, root string, i, assoc int, enc []byte, abs *int) error {
	return d.View(func(tx *ReadTxn) error {
		text := d.Text(root)
		if i >= 0 {
			if p := text.RelPos(tx, i, Side(assoc)); !bytes.Equal(p, enc) {
				return fmt.Errorf("position %d, side %d: %x, want %x", i, assoc, p, enc)
			}
		}
		got, ok := text.AbsPos(tx, enc)
		if ok != (abs != nil) || ok && got != *abs {
			return fmt.Errorf("position %x is at %d, %v; want %v", enc, got, ok, abs)
		}
		return nil
	})
}

// snapshotScenario was recorded from Yjs: a document that keeps everything, and states it went through.
type snapshotScenario struct {
	Roots map[string]string
	Full  []byte
	Snaps []struct {
		V1, V2          []byte
		State, Restored any
	}
}

func snapshotExtras(t testing.TB) (out []extra) {
	var scenarios []snapshotScenario
	loadExtras(t, "snapshots", &scenarios)
	for n, sc := range scenarios {
		out = append(out, extra{fmt.Sprint("snapshots ", n), sc.run})
	}
	return out
}

// run reads the snapshots, writes them again, and restores the states they were taken of.
func (sc *snapshotScenario) run() error {
	fx := &fixture{Roots: sc.Roots}
	d := New(WithClientID(1), WithoutGC())
	if _, err := d.ApplyUpdate(sc.Full); err != nil {
		return err
	}
	before := d.Digest()
	for i, snap := range sc.Snaps {
		s, err := DecodeSnapshot(snap.V1, V1)
		if err != nil {
			return err
		}
		s2, err := DecodeSnapshot(snap.V2, V2)
		if err != nil || !s.Equal(s2) {
			return fmt.Errorf("snapshot %d: the formats differ, %v", i, err)
		}
		if err := firstError(
			func() error { return same("v1", s.Encode(V1), snap.V1) },
			func() error { return same("v2", s.Encode(V2), snap.V2) },
		); err != nil {
			return fmt.Errorf("snapshot %d: %w", i, err)
		}
		old, err := d.Restore(s, WithClientID(2))
		if err != nil {
			return err
		}
		if got := fx.state(old); !reflect.DeepEqual(got, snap.Restored) {
			return fmt.Errorf("snapshot %d: %s", i, difference(got, snap.Restored))
		}
		if !old.Snapshot().Equal(s) {
			return fmt.Errorf("snapshot %d: the restored document is in another state", i)
		}
	}
	if d.Digest() != before {
		return errors.New("restoring has changed the document")
	}
	return nil
}

// carriedScenario is a document of Yjs that holds something rare.
type carriedScenario struct {
	Name   string
	V1, V2 []byte
	XML    string
}

func carriedExtras(t testing.TB) (out []extra) {
	var scenarios []carriedScenario
	loadExtras(t, "carried", &scenarios)
	for _, sc := range scenarios {
		out = append(out, extra{sc.Name, sc.run})
	}
	return out
}

// run reads the document in both formats, and writes it in both: nothing may be lost.
func (sc *carriedScenario) run() error {
	fx := &fixture{GC: true}
	one, two := fx.doc(1), fx.doc(2)
	if _, err := one.ApplyUpdate(sc.V1); err != nil {
		return err
	}
	if _, err := two.ApplyUpdate(sc.V2, V2); err != nil {
		return err
	}
	var xml string
	_ = one.View(func(tx *ReadTxn) error {
		xml = one.XML("x").String(tx)
		return nil
	})
	if xml != sc.XML {
		return fmt.Errorf("XML is %s, want %s", xml, sc.XML)
	}
	if one.Digest() != two.Digest() {
		return errors.New("the formats differ")
	}
	return firstError(
		one.selfCheck,
		func() error { return fx.encodes(one, nil, sc.V1, sc.V2) },
		func() error { return fx.encodes(two, nil, sc.V1, sc.V2) },
	)
}

// protocolExtras are the recorded sync messages and positions over time. The awareness protocol has a package of its
// own, and there its test.
func protocolExtras(t testing.TB) []extra {
	var rec struct {
		Sync struct{ D1, D2, Step1, Step2FromD2, UpdateFromD1 []byte }
		RPos struct {
			Positions []struct {
				I, Assoc int
				Enc      []byte
			}
			Stages []struct {
				Label string
				Full  []byte
				Abs   []*int
			}
		}
	}
	if !loadExtras(t, "protocols", &rec) {
		return nil
	}
	out := []extra{{"sync messages", func() error {
		return syncMessages(rec.Sync.D1, rec.Sync.D2, rec.Sync.Step1, rec.Sync.Step2FromD2, rec.Sync.UpdateFromD1)
	}}}
	for _, stage := range rec.RPos.Stages {
		out = append(out, extra{"positions at " + stage.Label, func() error {
			d := New(WithClientID(1))
			if _, err := d.ApplyUpdate(stage.Full); err != nil {
				return err
			}
			for i, p := range rec.RPos.Positions {
				if err := resolves(d, "t", -1, p.Assoc, p.Enc, stage.Abs[i]); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return out
}

// syncMessages compares what the sync protocol says between two documents: the first one's state vector, what it
// lacks, and its full state. Their framing is what package ysync is for; here it is a byte and a length.
func syncMessages(one, two, step1, step2, update []byte) error {
	d, e := New(WithClientID(11)), New(WithClientID(12))
	if _, err := d.ApplyUpdate(one); err != nil {
		return err
	}
	if _, err := e.ApplyUpdate(two); err != nil {
		return err
	}
	lacks, err := e.EncodeUpdate(d.StateVector())
	if err != nil {
		return err
	}
	full, err := d.EncodeUpdate(nil)
	if err != nil {
		return err
	}
	return firstError(
		func() error { return same("step 1", lib0.AppendBuffer([]byte{0}, d.StateVector()), step1) },
		func() error { return same("step 2", lib0.AppendBuffer([]byte{1}, lacks), step2) },
		func() error { return same("update", lib0.AppendBuffer([]byte{2}, full), update) },
	)
}
