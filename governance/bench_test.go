package governance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// calm makes the history of a team at work: three managers settle what happened every hundred events, forty people come
// one after the other, change keys and open a few chains, roles change, and every third event is made beside another.
type calm struct {
	h      *history
	rng    *rand.Rand
	heads  []string
	aseq   map[string]uint64
	last   map[string]string
	live   []string
	n      int
	cps    uint64
	cp     string
	chains int // events after which no further chain is opened
}

func newCalm() *calm {
	c := &calm{
		h: newAbstract(2), rng: rand.New(rand.NewPCG(1, 1)), chains: 1000, heads: []string{"G"}, aseq: map[string]uint64{}, last: map[string]string{},
		live: []string{founder},
	}
	c.add(&act{kind: KindKeyEpoch, device: founder, roster: []string{founder}})
	c.admit("B1", Manager)
	c.admit("C1", Manager, "B1")
	return c
}

func (c *calm) admit(d string, role Role, with ...string) {
	c.add(&act{kind: KindAdmit, device: founder, admits: d, role: role, cosigners: with})
	c.live = append(c.live, d)
}

// add adds an event on all heads, or on the device's own view if one of them is to stand beside it.
func (c *calm) add(a *act) {
	c.n++
	a.id = fmt.Sprintf("%08d", c.n)
	c.aseq[a.device]++
	a.aseq, a.parents = c.aseq[a.device], c.heads
	c.heads = []string{a.id}
	c.h.add(c.h.entryOf(a))
}

// beside adds two events of two devices on the same heads.
func (c *calm) beside(a, b *act) {
	on := c.heads
	c.add(a)
	first := c.heads[0]
	c.heads = on
	c.add(b)
	c.heads = []string{first, c.heads[0]}
}

func (c *calm) update(d string) *act {
	if c.n%199 == 0 && c.n < c.chains {
		return c.chain(d)
	}
	return &act{kind: KindKeyUpdate, device: d}
}

func (c *calm) chain(d string) *act {
	return &act{kind: KindChainOpen, device: d, chain: c.h.nextChain(deviceID(d), c.h.closure(c.at(c.heads)))}
}

func (c *calm) at(names []string) []int {
	var out []int
	for _, n := range names {
		out = append(out, c.h.byID[eventID(n)])
	}
	return out
}

// next adds one or two events.
func (c *calm) next() {
	switch {
	case c.n%100 == 0:
		c.cps++
		a := &act{kind: KindCheckpoint, device: founder, cosigners: []string{"B1"}, number: c.cps, time: c.cps, ok: true}
		if c.cp != "" {
			a.prev = []string{c.cp}
		}
		c.add(a)
		c.cp = c.heads[0]
	case len(c.live) < 40:
		c.admit(fmt.Sprintf("%c1", 'D'+len(c.live)), Editor)
	case c.n%97 == 0:
		d := c.live[3+c.rng.IntN(len(c.live)-3)]
		c.add(&act{kind: KindRoleDrop, device: founder, member: memberOf(d), role: Viewer})
		c.add(&act{kind: KindRoleGrant, device: founder, member: memberOf(d), role: Editor})
	case c.n%3 == 0:
		x, y := c.rng.IntN(len(c.live)), c.rng.IntN(len(c.live)-1)
		if y >= x {
			y++
		}
		c.beside(c.update(c.live[x]), c.update(c.live[y]))
	default:
		c.add(c.update(c.live[c.rng.IntN(len(c.live))]))
	}
}

// BenchmarkAppend adds one event more to logs of 1,000, 10,000 and 50,000 events, and asks for the state after each, as
// sync/membership does. It reports what an event and a state cost, what all events before took in one run from nothing, and
// the memory of an event; then how the costs grow beside the logarithm of the size.
func BenchmarkAppend(b *testing.B) {
	sizes := []int{1000, 10_000, 50_000}
	event, state := map[int]float64{}, map[int]float64{}
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) { event[size], state[size] = benchmarkAppend(b, size) })
	}
	for k, size := range sizes[1:] {
		if less := sizes[k]; event[less] > 0 && event[size] > 0 {
			b.Logf("%d to %d events: an event costs %.2f times as much, its state %.2f times, the logarithm grows %.2f times",
				less, size, event[size]/event[less], state[size]/state[less], math.Log(float64(size))/math.Log(float64(less)))
		}
	}
}

func benchmarkAppend(b *testing.B, size int) (perEvent, perState float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCalm()
	began := time.Now()
	for c.n < size {
		c.next()
	}
	cold := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	had, states := c.n, 0
	var events, built time.Duration
	for b.Loop() {
		began := time.Now()
		c.next()
		added := time.Now()
		c.h.state(c.at(c.heads))
		events, built, states = events+added.Sub(began), built+time.Since(added), states+1
	}
	perEvent = float64(events.Nanoseconds()) / 1000 / float64(c.n-had)
	perState = float64(built.Nanoseconds()) / 1000 / float64(states)
	b.ReportMetric(perEvent, "µs/event")
	b.ReportMetric(perState, "µs/state")
	b.ReportMetric(cold.Seconds(), "s-cold")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(size), "B/event")
	return perEvent, perState
}

// BenchmarkLoad reads a log of 1,000 signed events from nothing, as when a project opens: their signatures on all cores, then
// replay, and then the same compacted.
func BenchmarkLoad(b *testing.B) {
	tm := longTeam(b, 30)
	at, number := "c30", uint64(30)
	for k := range 1000 - tm.log.Len() {
		name := fmt.Sprint("more", k)
		if k%100 == 99 {
			number++
			tm.add(name, checkStep("A", number, 1000).and("B"), at)
		} else {
			tm.add(name, updateStep([]string{"A", "B"}[k%2], "G"), at)
		}
		at = name
	}
	load := func(b *testing.B, raws [][]byte, add func(l *Log) error) {
		size := 0
		for _, raw := range raws {
			size += len(raw)
		}
		for b.Loop() {
			if err := add(NewLog(tm.root)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(raws)), "µs/event")
		b.ReportMetric(float64(size)/float64(len(raws)), "B/event")
	}
	raws := rawsOf(tm.log)
	b.Run("one by one", func(b *testing.B) {
		load(b, raws, func(l *Log) error {
			for _, raw := range raws {
				if _, err := l.Add(raw); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("on all cores", func(b *testing.B) {
		load(b, raws, func(l *Log) error {
			_, err := l.AddUntil("", raws, stop)
			return err
		})
	})
	for k := range 24 { // so that all of it is old enough
		name := fmt.Sprint("end", k)
		number++
		tm.add(name, checkStep("A", number, 1000).and("B"), at)
		at = name
	}
	if gone, err := tm.log.Compact(); err != nil || len(gone) < len(raws)/2 {
		b.Fatalf("%d events compacted: %v", len(gone), err)
	}
	bare := rawsOf(tm.log)
	b.Run("compacted", func(b *testing.B) {
		load(b, bare, func(l *Log) error {
			_, err := l.AddAttested(bare, stop)
			return err
		})
	})
}
