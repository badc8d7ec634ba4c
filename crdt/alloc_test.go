package crdt

import (
	"runtime"
	"testing"
)

// TestAllocations holds the promise that the common cases cost next to nothing: one character more from another
// replica allocates nothing of its own, and a loaded document takes little more memory than its content.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory, which takes a while: not with -short")
	}
	a, b := New(WithClientID(1)), New(WithClientID(2))
	var updates [][]byte
	a.OnUpdate(func(u []byte, _ Origin) { updates = append(updates, u) })
	const n = 2000
	for i := range n {
		typeInto(t, a, i, "x")
	}
	next := 0
	allocs := testing.AllocsPerRun(n-100, func() {
		if _, err := b.ApplyUpdate(updates[next]); err != nil {
			t.Error(err)
		}
		next++
	})
	if allocs > 0.5 && !raceDetector {
		t.Errorf("%.2f allocations for a remote character, want none", allocs)
	}

	_, full := typist(3, 100_000).record(t)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // pools keep what they hold for one collection
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d := New(WithClientID(2))
	if _, err := d.ApplyUpdate(full); err != nil {
		t.Fatal(err)
	}
	after := heap()
	structs := 0
	for _, c := range d.clients {
		for _, ch := range c.list.chunks {
			structs += len(ch.entries)
		}
	}
	used := int(after - before)
	t.Logf("%d bytes on the heap for %d of text in %d structs", used, len(textOf(d, "text")), structs)
	if most := structs*96 + 2*len(textOf(d, "text")) + 64<<10; used > most {
		t.Errorf("%d bytes, want at most %d", used, most)
	}
}
