package crdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt/lib0"
)

// hostileFile is one entry of testdata/yjs/hostile/index.json: input made to break an engine, and what should happen.
type hostileFile struct {
	Name, Why, Expect string
	Format            Format
}

func loadHostile(t testing.TB) (files []hostileFile, data map[string][]byte) {
	t.Helper()
	dir := filepath.Join("..", "testdata", "yjs", "hostile")
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &files); err != nil {
		t.Fatal(err)
	}
	data = make(map[string][]byte)
	for _, f := range files {
		if data[f.Name], err = os.ReadFile(filepath.Join(dir, f.Name+".bin")); err != nil {
			t.Fatal(err)
		}
	}
	return files, data
}

// outcome is what a document made of an update.
type outcome struct {
	err     error
	applied Applied
}

// meets says whether an outcome is one of those a hostile file allows.
func (o outcome) meets(expect string) bool {
	failed := o.err != nil
	waiting := !failed && len(o.applied.Pending)+len(o.applied.Dropped) > 0
	switch expect {
	case "error", "budget-error": // whether the budget ends first or what it is spent on does not matter
		return failed
	case "ok":
		return !failed && o.applied.Changed
	case "error-or-noop":
		return failed || !o.applied.Changed && !waiting
	case "error-or-pending":
		return failed || waiting && !o.applied.Changed
	case "pending", "pending-bounded":
		return waiting && !o.applied.Changed
	case "error-or-replacement", "error-or-gc", "error-or-converge", "ok-or-error", "no-hang",
		"error-or-ok", "bounded-time", "bounded-stack", "bounded":
		return true // what matters is checked for every file
	}
	return false
}

func TestHostileFiles(t *testing.T) {
	files, data := loadHostile(t)
	worst, met := &worstCosts{}, 0
	for _, f := range files {
		ok := t.Run(f.Name, func(t *testing.T) {
			d := typedDoc(t)
			before, digest := mustEncode(t, d), d.Digest()
			a, err := d.ApplyUpdate(data[f.Name], f.Format)
			if o := (outcome{err, a}); !o.meets(f.Expect) {
				t.Errorf("%s: got error %v, %+v; want %s", f.Why, err, a, f.Expect)
			}
			if err != nil {
				var de *DecodeError
				if !errors.As(err, &de) || de.Reason == "" || de.Offset > len(data[f.Name]) {
					t.Errorf("error %v does not say where and why", err)
				}
				if d.Digest() != digest || !bytes.Equal(mustEncode(t, d), before) {
					t.Error("the document changed although the update was refused")
				}
			}
			if err := d.selfCheck(); err != nil {
				t.Fatal(err)
			}
			reloads(t, d)
			for what, did := range costs(t, data[f.Name], f.Format) {
				worst.add(f.Name+", "+what, did)
				t.Logf("%-12s %8.2f ms %8d kB", what, did.ms(), did.bytes>>10)
				if did.bytes > 32<<20 || did.time > hostileTime() {
					t.Errorf("%s took %v and %d bytes", what, did.time, did.bytes)
				}
			}
		})
		if ok {
			met++
		}
	}
	announce(t, fmt.Sprintf("hostile %d/%d %v\n", met, len(files), worst))
}

// cost is what a call took.
type cost struct {
	time  time.Duration
	bytes uint64 // allocated
}

func (c cost) ms() float64 { return float64(c.time.Microseconds()) / 1000 }

// costs measures what it costs to apply a hostile file to a small document, and to do without one what can be done with
// updates: the shortest of three tries, and what that try allocated.
func costs(t *testing.T, b []byte, f Format) map[string]cost {
	calls := map[string]func(*Doc){
		"apply":        func(d *Doc) { _, _ = d.ApplyUpdate(b, f) },
		"inspect":      func(*Doc) { _, _, _ = Inspect(b, f) },
		"merge":        func(*Doc) { _, _ = MergeUpdates(f, b, b) },
		"difference":   func(*Doc) { _, _ = DiffUpdate(f, b, []byte{1, 77, 5}) },
		"state vector": func(*Doc) { _, _ = UpdateStateVector(f, b) },
		"convert":      func(*Doc) { _, _ = Convert(b, f, V1+V2-f) },
		"as a vector":  func(d *Doc) { _, _ = d.EncodeUpdate(b) },
		"as snapshot":  func(*Doc) { _, _ = DecodeSnapshot(b, f) },
	}
	out := make(map[string]cost)
	for what, call := range calls {
		best := cost{time: time.Hour}
		for range 3 {
			d := typedDoc(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			call(d)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if took < best.time {
				best = cost{took, after.TotalAlloc - before.TotalAlloc}
			}
		}
		out[what] = best
	}
	return out
}

// hostileTime is what a call may take: 100 ms on a machine that does nothing else (make hostile). On a busy one, or under
// the race detector, time says little; what never ends is noticed.
func hostileTime() time.Duration {
	if os.Getenv("COLLAB_QUIET") != "" {
		return 100 * time.Millisecond
	}
	return time.Minute
}

// worstCosts keeps the dearest calls.
type worstCosts struct {
	slowest, largest       cost
	slowestName, largeName string
}

func (w *worstCosts) add(name string, c cost) {
	if c.time > w.slowest.time {
		w.slowest, w.slowestName = c, name
	}
	if c.bytes > w.largest.bytes {
		w.largest, w.largeName = c, name
	}
}

func (w *worstCosts) String() string {
	return fmt.Sprintf("at most %.1f ms (%s) and %.1f MB (%s)", w.slowest.ms(), w.slowestName,
		float64(w.largest.bytes)/(1<<20), w.largeName)
}

// typedDoc is a small document with a history.
func typedDoc(t testing.TB) *Doc {
	d := New(WithClientID(77))
	text := d.Text("t")
	err := d.Update(func(tx *Txn) error {
		if err := text.Insert(tx, 0, "hello 😀 world"); err != nil {
			return err
		}
		if err := text.Delete(tx, 2, 3); err != nil {
			return err
		}
		return d.Map("m").Set(tx, "k", "v")
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustEncode(t testing.TB, d *Doc) []byte {
	t.Helper()
	b, err := d.EncodeUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reloads checks that what a document encodes, another one reads into the same state.
func reloads(t testing.TB, d *Doc) {
	t.Helper()
	e := New(WithClientID(78))
	if _, err := e.ApplyUpdate(mustEncode(t, d)); err != nil {
		t.Fatalf("the document wrote what it cannot read: %v", err)
	}
	if d.foretold() {
		return
	}
	if e.Digest() != d.Digest() {
		t.Fatal("the reloaded document differs")
	}
	if got, want := len(e.Pending()), len(d.Pending()); got != want {
		t.Fatalf("%d pending ranges after reloading, want %d", got, want)
	}
}

// foretold reports whether the document holds what no honest client writes and what shows differently after a reload,
// in Yjs too: a struct that waits although its first clocks are filled by another content (written out, its rest stands
// behind the unit before it and waits no more), or one that named our own clocks before we filled them (it is placed
// with the next remote update, or at once after a reload).
func (d *Doc) foretold() bool {
	for c, w := range d.pending.queues {
		if w.clock < d.clients[w.lacks].state {
			return true
		}
		for _, s := range w.heap {
			if state := d.clients[c].state; s.clock < state && state < s.end() {
				return true
			}
		}
	}
	return false
}

// TestHostilePairsConverge applies every pair of hostile files in both orders: whatever an engine makes of forged
// structs, all replicas must make the same of them.
func TestHostilePairsConverge(t *testing.T) {
	files, data := loadHostile(t)
	files = slices.DeleteFunc(files, func(f hostileFile) bool { return f.Format != V1 })
	for _, f := range files {
		if len(data[f.Name]) > 200 {
			continue
		}
		for _, g := range files {
			if len(data[g.Name]) > 200 || sameClients(data[f.Name], data[g.Name]) {
				continue
			}
			a, b := New(WithClientID(1<<40)), New(WithClientID(1<<41))
			for _, u := range []string{f.Name, g.Name} {
				_, _ = a.ApplyUpdate(data[u])
			}
			for _, u := range []string{g.Name, f.Name} {
				_, _ = b.ApplyUpdate(data[u])
			}
			if a.Digest() != b.Digest() {
				t.Errorf("%s and %s: replicas differ", f.Name, g.Name)
			}
		}
	}
}

// sameClients says whether two updates both create clocks of one client: two histories of one client contradict each
// other, and then whichever comes first stays.
func sameClients(a, b []byte) bool {
	created := map[uint64]bool{}
	ra, _, _ := Inspect(a)
	rb, _, _ := Inspect(b)
	for _, r := range ra {
		created[r.Client] = true
	}
	for _, r := range rb {
		if created[r.Client] {
			return true
		}
	}
	return false
}

// TestPendingLimits floods a document with structs that can never be placed.
func TestPendingLimits(t *testing.T) {
	d := New(WithLimits(Limits{PendingStructs: 10, PendingDeletes: 5}))
	var dropped, kept int
	for i := range uint64(100) {
		// client 1000+i, clock 5, text in root "t", and a deletion of clock 9
		b := lib0.AppendUvarint([]byte{1, 1}, 1000+i)
		b = append(b, 5, byte(kindString), 1, 1, 't', 1, 'x', 1)
		b = append(lib0.AppendUvarint(b, 1000+i), 1, 9, 1)
		a, err := d.ApplyUpdate(b)
		if err != nil {
			t.Fatal(err)
		}
		kept, dropped = kept+len(a.Pending), dropped+len(a.Dropped)
	}
	if len(d.Pending()) != 10 || len(d.PendingDeletes()) != 5 || kept != 15 || dropped != 185 {
		t.Fatalf("%d structs, %d deletions wait; reported %d kept, %d dropped",
			len(d.Pending()), len(d.PendingDeletes()), kept, dropped)
	}
	if m := d.Missing(); len(m) != 10 || m[0] != (Range{1000, 0, 5}) {
		t.Fatalf("missing %v", m)
	}
	reloads(t, d)
}

func TestLimits(t *testing.T) {
	root := func(name string) []byte {
		b := append([]byte{1, 1, 9, 0, byte(kindString), 1}, byte(len(name)))
		return append(append(b, name...), 1, 'x', 0)
	}
	for _, tc := range []struct {
		name   string
		limits Limits
	}{
		{"bytes", Limits{UpdateBytes: 5}},
		{"clients", Limits{Clients: 1}},
		{"roots", Limits{Roots: 1}},
	} {
		d := New(WithClientID(1), WithLimits(tc.limits))
		if err := d.Update(func(tx *Txn) error { return d.Text("first").Insert(tx, 0, "x") }); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ApplyUpdate(root("second")); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: error %v, want ErrLimit", tc.name, err)
		}
	}
}

// TestStateVectorLimits asks with state vectors that are longer than any document's.
func TestStateVectorLimits(t *testing.T) {
	long := lib0.AppendUvarint(nil, 70_000)
	for i := range uint64(70_000) {
		long = lib0.AppendUvarint(lib0.AppendUvarint(long, i), 1)
	}
	if _, err := New().EncodeUpdate(long); !errors.Is(err, ErrLimit) {
		t.Errorf("a state vector of 70,000 clients: %v", err)
	}
	if _, err := DiffUpdate(V1, []byte{0, 0}, long); !errors.Is(err, ErrLimit) {
		t.Errorf("a state vector of 70,000 clients: %v", err)
	}
	if _, err := DecodeSnapshot(append([]byte{0}, long...), V1); !errors.Is(err, ErrLimit) {
		t.Errorf("a snapshot of 70,000 clients: %v", err)
	}
}

// TestForgedMapValues applies, in every order, a run of values under one key, what replaces it, what names its middle
// and a deletion of part of it: no honest client writes the run, but all replicas must make the same of it.
func TestForgedMapValues(t *testing.T) {
	const sub = infoSub | byte(kindAny)
	updates := [][]byte{
		// client 1, clocks 0–3: root "m", key "k", values true true true true
		{1, 1, 1, 0, sub, 1, 1, 'm', 1, 'k', 4, 120, 120, 120, 120, 0},
		// client 2: behind 1@3, false
		{1, 1, 2, 0, infoOrigin | byte(kindAny), 1, 3, 1, 121, 0},
		// client 3: behind 1@1, undefined
		{1, 1, 3, 0, infoOrigin | byte(kindAny), 1, 1, 1, 127, 0},
		// client 4: only a right neighbour, 1@2
		{1, 1, 4, 0, infoRight | byte(kindAny), 1, 2, 1, 126, 0},
		// client 1, clock 2 deleted
		{0, 1, 1, 1, 2, 1},
	}
	for n := 1; n <= len(updates); n++ { // the run and the first few others
		var want [32]byte
		orders := 0
		permute(updates[:n], 0, func(us [][]byte) {
			d := New(WithClientID(77))
			for _, u := range us {
				if _, err := d.ApplyUpdate(u); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.selfCheck(); err != nil {
				t.Fatal(err)
			}
			reloads(t, d)
			if orders++; orders == 1 {
				want = d.Digest()
			} else if d.Digest() != want {
				t.Errorf("replicas differ: %x", us)
			}
		})
	}
}

// TestForgedNeighboursConverge invents structs that name any others as their neighbours, and applies them in several
// orders.
func TestForgedNeighboursConverge(t *testing.T) {
	for seed := range uint64(4000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		us := forgedNeighbours(rng)
		var want [32]byte
		for order := range 12 {
			d := New(WithClientID(77))
			for _, u := range us {
				if _, err := d.ApplyUpdate(u); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.selfCheck(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			reloads(t, d)
			if order == 0 {
				want = d.Digest()
			} else if d.Digest() != want {
				t.Fatalf("seed %d: replicas differ: %v", seed, us)
			}
			rng.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
		}
	}
}

// forgedNeighbours makes up updates of one struct each, by different clients, in a root or behind and before structs
// made up earlier, and sometimes a deletion.
func forgedNeighbours(rng *rand.Rand) (us [][]byte) {
	n := 3 + rng.IntN(3)
	ids := rng.Perm(n)
	for i, id := range ids {
		name := func(b []byte) []byte { return append(b, byte(ids[rng.IntN(i)]+1), 0) }
		b := []byte{1, 1, byte(id + 1), 0}
		var how byte
		if i > 0 {
			how = []byte{0, infoOrigin, infoRight, infoOrigin | infoRight}[rng.IntN(4)]
		}
		switch {
		case how != 0:
			b = append(b, how|byte(kindAny))
		case rng.IntN(4) == 0:
			b = append(b, infoSub|byte(kindAny), 1, 1, 'm', 1, 'k')
		default:
			b = append(b, byte(kindAny), 1, 1, 'm')
		}
		if how&infoOrigin != 0 {
			b = name(b)
		}
		if how&infoRight != 0 {
			b = name(b)
		}
		b = append(b, byte(1+rng.IntN(3)))
		for range b[len(b)-1] {
			b = append(b, 120)
		}
		us = append(us, append(b, 0))
	}
	if rng.IntN(2) == 0 {
		us = append(us, []byte{0, 1, byte(1 + rng.IntN(n)), 1, 0, 1})
	}
	return us
}

// permute calls fn with every order of a slice from i on.
func permute(us [][]byte, i int, fn func([][]byte)) {
	if i == len(us) {
		fn(us)
		return
	}
	for j := i; j < len(us); j++ {
		us[i], us[j] = us[j], us[i]
		permute(us, i+1, fn)
		us[i], us[j] = us[j], us[i]
	}
}
