package awareness

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt/lib0"
)

var start = time.Unix(1_000_000, 0)

// TestYjsSteps applies the updates recorded from y-protocols and compares states, clocks and what was told.
func TestYjsSteps(t *testing.T) {
	dir := cmp.Or(os.Getenv("COLLAB_YJS_FIXTURES"), "../../testdata/yjs") // an absolute path, if set
	f, err := os.Open(filepath.Join(dir, "extras", "protocols.json.gz"))
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("COLLAB_YJS_FIXTURES") != "" {
		t.Skip("the fixtures given have no recordings of protocols")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	type lists struct{ Added, Updated, Removed []uint64 }
	var rec struct {
		Awareness struct {
			Observer uint64
			Steps    []struct {
				Label  string
				U      []byte
				Events []struct{ Change, Update *lists }
				States [][2]any
				Clocks [][2]uint64
			}
		}
	}
	if err := json.NewDecoder(z).Decode(&rec); err != nil {
		t.Fatal(err)
	}
	a := New(rec.Awareness.Observer)
	if _, err := a.Set(start, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for _, step := range rec.Awareness.Steps {
		c, err := a.Apply(start, step.U)
		if err != nil {
			t.Fatalf("%s: %v", step.Label, err)
		}
		var told, all lists
		for _, e := range step.Events {
			if e.Change != nil {
				told = *e.Change
			}
			if e.Update != nil {
				all = *e.Update
			}
		}
		if step.Label == "remote removes our own state" { // y-protocols says removed, although the state stays
			told.Removed, all.Removed, all.Updated = nil, nil, append(all.Updated, rec.Awareness.Observer)
		}
		got := append(slices.Clone(c.Updated), c.Renewed...)
		if !slices.Equal(c.Added, told.Added) || !slices.Equal(c.Updated, told.Updated) ||
			!slices.Equal(c.Removed, told.Removed) || !slices.Equal(got, all.Updated) {
			t.Errorf("%s: told %+v, want %+v and %+v", step.Label, c, told, all)
		}
		var states [][2]any
		for id, state := range a.States() {
			var v any
			if err := json.Unmarshal(state, &v); err != nil {
				t.Fatal(err)
			}
			states = append(states, [2]any{float64(id), v})
		}
		if !reflect.DeepEqual(states, step.States) {
			t.Errorf("%s: states %v, want %v", step.Label, states, step.States)
		}
		for _, want := range step.Clocks {
			clock, ok := a.Clock(want[0])
			if want[0] == rec.Awareness.Observer {
				clock-- // here the first own state has clock 1
			}
			if clock != want[1] || !ok {
				// Yjs adds to the clock that was announced, so both agree again after a removal from outside.
				if c, _ := a.Clock(want[0]); c != want[1] {
					t.Errorf("%s: clock of %d is %d, want %d", step.Label, want[0], c, want[1])
				}
			}
		}
	}
}

func TestComeAndGo(t *testing.T) {
	ann, ben := New(1), New(2)
	say := func(from, to *Awareness, now time.Time, state string) Change {
		t.Helper()
		var b []byte
		if state != "" {
			b = []byte(state)
		}
		u, err := from.Set(now, b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := to.Apply(now, u)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := say(ann, ben, start, `{"name":"Ann"}`); !slices.Equal(c.Added, []uint64{1}) {
		t.Errorf("first state: %+v", c)
	}
	if c := say(ann, ben, start, `{ "name": "Ann" }`); !slices.Equal(c.Renewed, []uint64{1}) || len(c.Updated) > 0 {
		t.Errorf("the same state: %+v", c)
	}
	old := ann.Encode(1)
	if c := say(ann, ben, start, ""); !slices.Equal(c.Removed, []uint64{1}) {
		t.Errorf("leaving: %+v", c)
	}
	if c, err := ben.Apply(start, old); err != nil || !c.Empty() {
		t.Errorf("a late update brought the state back: %+v, %v", c, err)
	}
	if c := say(ann, ben, start, `1`); !slices.Equal(c.Updated, []uint64{1}) {
		t.Errorf("coming back: %+v", c)
	}
	// Silence: Ann renews after half the time, Ben drops her after all of it.
	if u, c := ann.Tick(start.Add(Timeout/2 - 1)); u != nil || !c.Empty() {
		t.Errorf("too early: %x %+v", u, c)
	}
	u, c := ann.Tick(start.Add(Timeout / 2))
	if u == nil || !slices.Equal(c.Renewed, []uint64{1}) {
		t.Errorf("renewal: %x %+v", u, c)
	}
	if c, err := ben.Apply(start.Add(Timeout/2), u); err != nil || !slices.Equal(c.Renewed, []uint64{1}) {
		t.Errorf("renewed: %+v %v", c, err)
	}
	if _, c := ben.Tick(start.Add(Timeout + Timeout/2 - 1)); !c.Empty() {
		t.Errorf("dropped too early: %+v", c)
	}
	if _, c := ben.Tick(start.Add(Timeout + Timeout/2)); !slices.Equal(c.Removed, []uint64{1}) {
		t.Errorf("dropped: %+v", c)
	}
	if c := say(ann, ben, start, `2`); !slices.Equal(c.Updated, []uint64{1}) {
		t.Errorf("after being dropped: %+v", c)
	}
	if removed := ben.Remove(1, 2, 7); !slices.Equal(removed, []uint64{1}) {
		t.Errorf("removed %v", removed)
	}
}

func TestRefused(t *testing.T) {
	a := New(1, Limits{Clients: 3, StateBytes: 20})
	if _, err := a.Set(start, []byte("{")); err == nil {
		t.Error("a state that is not JSON was set")
	}
	if _, err := a.Set(start, []byte(`"`+strings.Repeat("x", 30)+`"`)); err == nil {
		t.Error("a state that is too large was set")
	}
	for name, u := range map[string]string{
		"empty":        "",
		"huge count":   "\xff\xff\xff\xff\x0f",
		"short":        "\x01\x02\x03",
		"bad JSON":     "\x02\x02\x01\x011\x03\x01\x01{",
		"bad UTF-8":    "\x01\x02\x01\x03\"\xff\"",
		"deep":         "\x01\x02\x01\xc8\x01" + strings.Repeat("[", 200),
		"large state":  "\x01\x02\x01\x1e\"" + strings.Repeat("x", 28) + "\"",
		"many clients": "\x04\x02\x01\x011\x03\x01\x011\x04\x01\x011\x05\x01\x011",
	} {
		var where *lib0.Error
		if _, err := a.Apply(start, []byte(u)); !errors.As(err, &where) || where.Reason == "" || where.Offset > len(u) {
			t.Errorf("%s: %v", name, err)
		}
		for id := range a.States() {
			t.Errorf("%s: a refused update left a state of %d", name, id)
		}
	}
}

// FuzzApply applies two updates: nothing may panic, and applying again teaches nothing.
func FuzzApply(f *testing.F) {
	f.Add([]byte("\x01\x02\x01\x011"), []byte("\x01\x01\x05\x04null"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a := New(1)
		if _, err := a.Set(start, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		for _, u := range [][]byte{x, y} {
			_, _ = a.Apply(start, u)
		}
		b := New(3)
		if _, err := b.Apply(start, a.Encode()); err != nil {
			t.Fatalf("what was encoded does not apply: %v", err)
		}
		if c, err := b.Apply(start, a.Encode()); err != nil || !c.Empty() {
			t.Fatalf("applying twice: %+v, %v", c, err)
		}
	})
}

func Example() {
	now := time.Now()
	ann, ben := New(1), New(2)
	update, _ := ann.Set(now, []byte(`{"name":"Ann"}`))
	_, _ = ben.Apply(now, update) // stands for the network
	for id, state := range ben.States() {
		fmt.Println(id, string(state))
	}
	// Output: 1 {"name":"Ann"}
}

// A cursor is shown as a relative position inside the state, and goes when its owner falls silent.
func Example_cursor() {
	now := time.Unix(1_000_000, 0)
	ann, ben := New(1), New(2)
	say := func(state string) {
		update, _ := ann.Set(now, []byte(state))
		change, _ := ben.Apply(now, update)
		fmt.Println("added", change.Added, "updated", change.Updated)
	}
	say(`{"name":"Ann","cursor":null}`)
	say(`{"name":"Ann","cursor":"AAECAA=="}`)
	now = now.Add(Timeout)
	_, change := ben.Tick(now) // every few seconds
	fmt.Println("removed", change.Removed)
	// Output:
	// added [1] updated []
	// added [] updated [1]
	// removed [1]
}
