package governance

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How much the property test does; see the make target properties.
var (
	propertyCases  = flag.Int("cases", 300, "random histories of the property test")
	propertyOrders = flag.Int("orders", 5, "orders in which each of them is received")
	propertySeed   = flag.Uint64("seed", 1, "number of the first history")
	propertyModel  = flag.Int("model", 40, "greatest history that the slow reference always replays too")
	propertySample = flag.Uint64("sample", 50, "of greater ones it replays one in so many")
	propertyTime   = flag.Duration("time", 0, "start no history after this time; 0 for never")
)

// sizeOf spreads histories over sizes: mostly small ones, which go wrong in ways that people understand, and one in
// twenty of 150 to 200 events.
func sizeOf(seed uint64) int {
	switch {
	case seed%20 == 19:
		return 150 + int(seed/20*37%51)
	case seed%10 == 4:
		return 60 + int(seed/10*29%90)
	case seed%5 == 2:
		return 30 + int(seed/5*13%30)
	}
	return 6 + int(seed*7%25)
}

// survey counts what a run of the property test has seen.
type survey struct {
	mu                                          sync.Mutex
	histories, events, largest, compared, great int
	sizes                                       [5]int // up to 30, 60, 100, 150, 250 events
}

func (s *survey) count(events int, compared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histories++
	s.events += events
	s.largest = max(s.largest, events)
	k := 0
	for k < 4 && events > []int{30, 60, 100, 150}[k] {
		k++
	}
	s.sizes[k]++
	if compared {
		s.compared++
		if events > 100 {
			s.great++
		}
	}
}

// What must hold of every history: one state whatever the order in which its events are received; step by step and as
// a whole the same; what the slow reference says; and the rules that stand above the steps of replay.
func TestProperties(t *testing.T) {
	began := time.Now()
	var seen survey
	var next atomic.Uint64
	t.Run("histories", func(t *testing.T) {
		for core := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprintf("core %d", core), func(t *testing.T) {
				t.Parallel()
				for k := next.Add(1) - 1; k < uint64(*propertyCases) && !t.Failed(); k = next.Add(1) - 1 {
					if *propertyTime > 0 && time.Since(began) > *propertyTime {
						return
					}
					checkHistory(t, *propertySeed+k, &seen)
				}
			})
		}
	})
	t.Logf("%d histories x %d orders, %d events, the greatest of %d; %d of up to 30, %d of 60, %d of 100, %d of 150, %d above",
		seen.histories, *propertyOrders, seen.events, seen.largest, seen.sizes[0], seen.sizes[1], seen.sizes[2], seen.sizes[3], seen.sizes[4])
	t.Logf("%d compared with the reference, %d of them of more than 100 events, in %v",
		seen.compared, seen.great, time.Since(began).Round(time.Millisecond))
}

func checkHistory(t *testing.T, seed uint64, seen *survey) {
	t.Helper()
	w := newWorld(seed, 1+int(seed%3), seed%2 == 0)
	acts := w.run(sizeOf(seed))
	checkIncrement(t, w.h, acts, seed)
	checkInvariants(t, w, seed)
	checkOrders(t, w, seed, *propertyOrders)
	compared := len(acts) <= *propertyModel || seed/20%*propertySample == 0
	if compared {
		compareWithReference(t, w, acts, fmt.Sprintf("seed %d", seed))
	}
	seen.count(len(acts), compared)
}

// checkOrders receives a history in other orders.
func checkOrders(t *testing.T, w *world, seed uint64, orders int) {
	t.Helper()
	want := w.h.state(w.h.headsNow()).Digest()
	for k := range orders {
		h := newAbstract(w.h.policy.quorum)
		deliver(h, w.acts, rand.New(rand.NewPCG(seed, uint64(k))))
		if h.state(h.headsNow()).Digest() != want {
			t.Fatalf("seed %d, order %d: another digest: void %v, was %v\n%s", seed, k,
				voidNames(h, w.acts, h.verdict(h.headsNow())), voidNames(w.h, w.acts, w.h.verdict(w.h.headsNow())), describe(w.acts))
		}
	}
}

func compareWithReference(t *testing.T, w *world, acts []*act, name string) {
	t.Helper()
	r := newReference(w.h.policy.quorum, acts)
	all := r.all()
	out := r.void(all)
	f := fold{r, all, out.void, out.base}
	if len(r.unlisted) > 0 || r.restarts > 0 {
		t.Fatalf("%s: %d restarts, dependences not listed: %v\n%s", name, r.restarts, r.unlisted, describe(acts))
	}
	var want []string
	for _, i := range out.void.list() {
		want = append(want, r.acts[i].id)
	}
	heads := w.h.headsNow()
	got := w.h.verdict(heads)
	if names := voidNames(w.h, acts, got); !slices.Equal(names, want) {
		t.Fatalf("%s: void %v, the reference says %v\n%s", name, names, want, describe(acts))
	}
	if got := w.h.numberAt(got.base); got != r.numberAt(out.base) {
		t.Fatalf("%s: checkpoint %d is settled, the reference says %d\n%s", name, got, r.numberAt(out.base), describe(acts))
	}
	s := w.h.state(heads)
	for _, d := range worldDevices {
		if got, want := s.Role(memberID(memberOf(d))), f.role(memberOf(d)); got != want {
			t.Fatalf("%s: %s is %v, the reference says %v\n%s", name, memberOf(d), got, want, describe(acts))
		}
		x, ok := s.Device(deviceID(d))
		if got, want := ok && x.Live, f.live(d); got != want {
			t.Fatalf("%s: %s live %v, the reference says %v\n%s", name, d, got, want, describe(acts))
		}
		if got, want := ok && x.Suspended, f.doubt(d) != 0; ok && got != want {
			t.Fatalf("%s: %s suspended %v, the reference says %v\n%s", name, d, got, want, describe(acts))
		}
		if _, got := s.Quarantined(memberID(memberOf(d))); got != (f.quarantined(memberOf(d)) && f.role(memberOf(d)) != None) {
			t.Fatalf("%s: %s in quarantine %v, the reference disagrees\n%s", name, memberOf(d), got, describe(acts))
		}
	}
	var usable []string
	for _, a := range acts {
		if e := w.h.entries[w.h.byID[eventID(a.id)]]; e.epoch != nil && s.Usable(e.epoch.id) {
			usable = append(usable, a.id)
		}
	}
	sort.Strings(usable)
	if want := r.usable(all); !slices.Equal(usable, want) {
		t.Fatalf("%s: usable epochs of %v, the reference says %v\n%s", name, usable, want, describe(acts))
	}
}

// The random histories reach every way in which an event can fall, or the comparison would prove little.
func TestRandomHistoriesReachEveryRule(t *testing.T) {
	seen := map[Reason]int{}
	counting := map[Kind]int{}
	contested, losses, strips, cycles, settled, held := 0, 0, 0, 0, 0, 0
	for seed := range uint64(250) {
		w := newWorld(seed+5000, 1+int(seed%3), seed%2 == 0)
		w.run(50)
		v := w.h.verdict(w.h.headsNow())
		for i, e := range w.h.entries[1:] {
			at, f := v.why(w.h, i+1)
			seen[f.reason]++
			if at == counts {
				counting[e.kind]++
			}
			if at == stageStrip && f.reason != ReasonStripped {
				strips++
			}
		}
		contested += v.contested.count()
		cycles += w.cycles(v)
		losses += len(w.h.losses(w.h.closure(w.h.headsNow()), v).oneOf)
		if v.base != none {
			settled++
		}
		held += len(w.h.state(w.h.headsNow()).held)
	}
	unreached := []Reason{
		ReasonQuota, ReasonCertificate, ReasonProof, ReasonContent, ReasonLift, ReasonStale, ReasonCycle, ReasonRenewal, ReasonExpired,
	}
	for r := ReasonKind; r <= ReasonRevocation; r++ {
		if seen[r] == 0 && !slices.Contains(unreached, r) {
			t.Errorf("no event fell because %v", r)
		}
	}
	for k := range rules {
		if counting[k] == 0 && k != KindKeyUpdate && k != KindFrontierExtend {
			t.Errorf("no %v counts", k)
		}
	}
	t.Log(seen, counting, contested, losses, strips, cycles, settled, held)
	if contested == 0 || losses == 0 || strips == 0 || cycles == 0 || settled == 0 || held == 0 {
		t.Errorf("%d contested events, %d losses shown by one of several, %d events that lost what they rested on, %d cycles, %d settled, %d held",
			contested, losses, strips, cycles, settled, held)
	}
}

// cycles counts the removals that count although a concurrent one that counts too would strip them.
func (w *world) cycles(v *verdict) int {
	n := 0
	for _, i := range w.h.removals {
		for _, j := range w.h.removals {
			e := w.h.entries[i]
			if !v.void.has(i) && !v.void.has(j) && e.kind == KindRevoke && w.h.concurrent(i, j) &&
				slices.Contains(w.h.signed[e.subject], j) {
				n++
			}
		}
	}
	return n
}

// checkIncrement compares what was computed event by event with replays from the beginning, reasons included.
func checkIncrement(t *testing.T, h *history, acts []*act, seed uint64) {
	t.Helper()
	for _, e := range h.entries[1:] {
		full := h.replayAll(e.past.with(e.idx))
		if !sameVerdict(full, e.after) {
			t.Fatalf("seed %d: the outcome of %x and its past is %v step by step and %v as a whole\n%s", seed, e.id[:4],
				e.after.items(), full.items(), describe(acts))
		}
		if e.idx%5 == 0 || e.idx == len(acts) {
			checkReuse(t, h, []int{e.idx}, acts, seed)
		}
	}
	checkReuse(t, h, h.headsNow(), acts, seed)
}

// checkReuse compares a state that takes over what was settled with one that is built from nothing.
func checkReuse(t *testing.T, h *history, heads []int, acts []*act, seed uint64) {
	t.Helper()
	out, root := h.verdict(heads), h.rootID(heads)
	got, want := h.stateBy(heads, out, root), h.build(heads, out, root, &reuse{})
	got.digest, want.digest = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("seed %d: with what was settled %+v\nfrom nothing %+v\n%s", seed, got, want, describe(acts))
	}
}

// replayAll replays a set without using what its parts amount to.
func (h *history) replayAll(in bitset) *verdict {
	return h.replay(in, h.choose(h.candidates(in, nil), none))
}

func sameVerdict(a, b *verdict) bool {
	return a.base == b.base && a.void.contains(b.void) && b.void.contains(a.void) && a.contested.contains(b.contested) &&
		b.contested.contains(a.contested) && slices.Equal(a.items(), b.items())
}
