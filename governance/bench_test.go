package governance

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// calm makes the history of a team at work: three managers settle what happened every hundred events, forty people come
// one after the other, change keys and open a few chains, roles change, and every third event is made beside another.
type calm struct {
	h     *history
	rng   *rand.Rand
	heads []string
	aseq  map[string]uint64
	last  map[string]string
	live  []string
	n     int
	cps   uint64
	cp    string
}

func newCalm() *calm {
	c := &calm{
		h: newAbstract(2), rng: rand.New(rand.NewPCG(1, 1)), heads: []string{"G"}, aseq: map[string]uint64{}, last: map[string]string{},
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
	if c.n%199 == 0 {
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

// BenchmarkAppend is one event more on logs of 1,000, 10,000 and 50,000 events, its state included.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1000, 10_000, 50_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newCalm()
			began := time.Now()
			for c.n < size {
				c.next()
			}
			cold := time.Since(began)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			before := c.n
			var spent time.Duration
			for b.Loop() {
				c.next()
			}
			spent = b.Elapsed()
			began = time.Now()
			for range 10 {
				c.h.state(c.at(c.heads))
			}
			b.ReportMetric(float64(time.Since(began).Microseconds())/10, "µs/state")
			b.ReportMetric(float64(spent.Microseconds())/float64(c.n-before), "µs/event")
			b.ReportMetric(cold.Seconds(), "s-cold")
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB")
		})
	}
}
