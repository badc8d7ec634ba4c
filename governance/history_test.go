package governance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// line adds n events of one device to an abstract history, each on all before.
func line(h *history, from []string, device string, aseq uint64, n int, make func(k int) *act) (last string) {
	for k := range n {
		a := make(k)
		a.id, a.device, a.aseq, a.parents = fmt.Sprintf("%s%06d", device, k), device, aseq+uint64(k), from
		h.add(h.entryOf(a))
		from = []string{a.id}
	}
	return from[0]
}

func start(h *history, admitted ...string) string {
	h.add(h.entryOf(&act{id: "k", kind: KindKeyEpoch, device: founder, aseq: 1, parents: []string{"G"}, roster: []string{founder}}))
	last := "k"
	for k, d := range admitted {
		a := &act{id: "in" + d, kind: KindAdmit, device: founder, aseq: uint64(k) + 2, parents: []string{last}, admits: d, role: Editor}
		h.add(h.entryOf(a))
		last = a.id
	}
	return last
}

// What a device that is not a manager's authors beyond its quota counts for nothing, nor do chains beyond theirs.
func TestQuotas(t *testing.T) {
	h := newAbstract(2)
	last := start(h, "B1")
	open := func(k int) *act { return &act{kind: KindChainOpen, chain: uint32(k) + 1} }
	last = line(h, []string{last}, "B1", 1, maxDeviceEvents+3, open)
	void := map[Reason]int{}
	for _, i := range h.authored[deviceID("B1")] {
		_, f := h.verdict(h.headsNow()).why(h, i)
		void[f.reason]++
	}
	if void[ReasonNone] != maxDeviceChains || void[ReasonQuota] != maxDeviceEvents+3-maxDeviceChains {
		t.Errorf("%v", void)
	}
	line(h, []string{last}, founder, 3, maxDeviceEvents+3, func(k int) *act {
		return &act{kind: KindInviteCreate, invite: fmt.Sprint("i", k), role: Editor, uses: 1, hosts: []string{founder}}
	})
	for _, i := range h.authored[deviceID(founder)] {
		if at, f := h.verdict(h.headsNow()).why(h, i); at != counts {
			t.Fatalf("event %d of a manager: %v", h.entries[i].aseq, f.reason)
		}
	}
}

// A chain owns its client ID unless another chain with the same one came first or at once.
func TestClientIDOwnership(t *testing.T) {
	h := newAbstract(2)
	last := start(h, "B1", "C1")
	add := func(id, device string, aseq uint64, chain uint32, parents ...string) int {
		h.add(h.entryOf(&act{id: id, kind: KindChainOpen, device: device, aseq: aseq, chain: chain, parents: parents}))
		return h.byID[eventID(id)]
	}
	first := add("x1", "B1", 1, 1, last)
	at := add("x2", "C1", 1, 1, last)
	later := add("x3", "A3", 1, 1, "x1", "x2")
	v := view{h: h, in: h.closure(h.headsNow()), base: none}
	b, c, a := chainKey{deviceID("B1"), 1}, chainKey{deviceID("C1"), 1}, chainKey{deviceID("A3"), 1}
	opened := map[chainKey]*Chain{}
	for key, i := range map[chainKey]int{b: first, c: at, a: later} {
		opened[key] = &Chain{Openings: []EventID{h.entries[i].id}}
	}
	for _, tc := range []struct {
		name string
		key  chainKey
		all  []chainKey
		want bool
	}{
		{"alone", b, []chainKey{b}, true},
		{"first", b, []chainKey{b, a}, true},
		{"later", a, []chainKey{b, a}, false},
		{"at once", b, []chainKey{b, c}, false},
		{"at once, the other", c, []chainKey{b, c}, false},
		{"after two at once", a, []chainKey{a, b, c}, false},
	} {
		if got := v.owns(tc.key, tc.all, opened); got != tc.want {
			t.Errorf("%s: owns %v, want %v", tc.name, got, tc.want)
		}
	}
	s := h.state(h.headsNow())
	for _, x := range s.Chains() {
		if !x.Owned {
			t.Errorf("chain %s %d does not own its client ID", x.Device.Short(), x.No)
		}
	}
}

// A log without concurrency shares what its events amount to: nothing is replayed.
func TestLinearLogIsCheap(t *testing.T) {
	h := newAbstract(2)
	last := start(h, "B1")
	v := h.entries[h.byID[eventID(last)]].after
	line(h, []string{last}, founder, 3, 2000, func(k int) *act {
		return &act{kind: KindInviteCreate, invite: fmt.Sprint("i", k), role: Editor, uses: 1, hosts: []string{founder}}
	})
	if got := h.verdict(h.headsNow()); got != v {
		t.Error("events that count made a new outcome instead of sharing the one before")
	}
}

// What is remembered of old sets is bounded, and forgetting it changes nothing.
func TestMemoIsBounded(t *testing.T) {
	w := newWorld(3, 2, true)
	w.run(40)
	rng := rand.New(rand.NewPCG(5, 5))
	want := map[string]*verdict{}
	for k := range 3 * verdictsKept {
		heads := []int{rng.IntN(len(w.h.entries)), rng.IntN(len(w.h.entries)), rng.IntN(len(w.h.entries))}
		v := w.h.verdict(heads)
		if key := headsKey(w.h.maximal(heads)); want[key] == nil {
			want[key] = v
		} else if !sameVerdict(v, want[key]) {
			t.Fatalf("the outcome of %v changed", heads)
		}
		if len(w.h.memo) > verdictsKept {
			t.Fatalf("%d outcomes are kept after %d questions", len(w.h.memo), k)
		}
	}
}

// The bitset does what a map of indices would.
func TestBitset(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		var a, b bitset
		x, y := map[int]bool{}, map[int]bool{}
		for range rng.IntN(40) {
			i, j := rng.IntN(300), rng.IntN(300)
			a.add(i)
			b.add(j)
			x[i], y[j] = true, true
		}
		u := a.clone()
		u.addAll(b)
		subset := true
		for i := range 310 {
			if a.has(i) != x[i] || u.has(i) != (x[i] || y[i]) {
				t.Fatal("membership differs")
			}
			subset = subset && (!y[i] || x[i])
		}
		if a.contains(b) != subset || !u.contains(a) || a.count() != len(x) {
			t.Fatal("inclusion or size differs")
		}
		if m := slices.Collect(u.members); len(m) != u.count() || !slices.IsSorted(m) {
			t.Fatalf("members %v", m)
		}
	}
}

func BenchmarkStateOfLinearLog(b *testing.B) {
	h := newAbstract(2)
	last := start(h, "B1")
	line(h, []string{last}, founder, 3, 500, func(k int) *act {
		return &act{kind: KindInviteCreate, invite: fmt.Sprint("i", k), role: Editor, uses: 1, hosts: []string{founder}}
	})
	heads := h.headsNow()
	for b.Loop() {
		h.state(heads)
	}
}

func BenchmarkReplayWithRemovals(b *testing.B) {
	w := newWorld(11, 2, false)
	w.team("B1", "C1", "D1", "E1")
	for len(w.acts) < 200 {
		w.step()
	}
	in := w.h.closure(w.h.headsNow())
	for b.Loop() {
		w.h.replayAll(in)
	}
}

// Who took the uses of an invite is said the same whether an admission is judged on top of its past or replayed with
// what came later: admitting somebody once more takes none.
func TestUsesAreTakenByTheFirstAdmissions(t *testing.T) {
	h := newAbstract(1)
	last := start(h)
	acts := []*act{
		{id: "i", kind: KindInviteCreate, invite: "i", role: Editor, uses: 1, hosts: []string{founder}},
		{id: "m", kind: KindAdmit, invite: "i", role: Editor, admits: "X1"},
		{id: "n", kind: KindAdmit, invite: "i", role: Editor, admits: "Y1"},
		{id: "a", kind: KindAdmit, invite: "i", role: Editor, admits: "X1"}, // the lowest id
	}
	for k, a := range acts {
		a.device, a.aseq, a.parents = founder, uint64(k)+2, []string{last}
		h.add(h.entryOf(a))
		last = a.id
	}
	if at, f := h.verdict(h.headsNow()).why(h, h.byID[eventID("n")]); at != stageInvite || f != because(ReasonInviteUsed, h.byID[eventID("m")]) {
		t.Errorf("stage %v, %v", at, f)
	}
	checkIncrement(t, h, acts, 3004219)
}
