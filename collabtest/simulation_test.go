package collabtest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
	"github.com/studio-whip/collab/crdt"
)

var (
	onlySeed = flag.Uint64("seed", 0, "run TestSimulation with this seed only")
	seeds    = flag.Uint64("seeds", 2, "run TestSimulation with the seeds from 1 to this one")
)

// scale is how large a simulation is.
type scale struct {
	people  int
	first   int // who are there from the beginning; the others join on the way
	running int // at least
	steps   int
	docs    int
}

var (
	full  = scale{people: 12, first: 10, running: 7, steps: 50, docs: 4}
	small = scale{people: 5, first: 3, running: 3, steps: 25, docs: 2} // under the race detector, which takes ten times as long
)

// TestSimulation lets twelve people edit several documents while the network breaks and heals, and devices end, are
// killed and come back. Afterwards all hold the same documents, nothing that WaitSaved acknowledged is missing, and
// nobody was accused of anything. All that is chosen follows from the seed; the scheduler's order does not.
//
//	go test ./collabtest -run TestSimulation -v -seed 7
func TestSimulation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	first, last := uint64(1), *seeds
	if *onlySeed != 0 {
		first, last = *onlySeed, *onlySeed
	}
	size := full
	if collabtest.RaceDetector {
		size = small
	}
	t.Run("seed", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				simulate(t, size, seed)
			})
		}
	})
}

// simulate runs the scenario of one seed and prints what it was.
func simulate(t *testing.T, size scale, seed uint64) {
	began := time.Now()
	var w *world
	defer func() {
		if w == nil {
			return // the network could not be made, and that was said
		}
		result := "passed"
		if t.Failed() {
			result = fmt.Sprintf("FAILED; it is repeated by: go test ./collabtest -run TestSimulation -v -seed %d", seed)
		}
		fmt.Printf("seed %d: %.1f s, %s of virtual time; %s: %s\n", seed, time.Since(began).Seconds(), w.took.Round(time.Second), w.tally(), result)
	}()
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		w = newWorld(t, net, size, seed)
		defer w.end()
		w.found()
		for step := range size.steps {
			w.step()
			if step%(size.steps/4) == 0 && step > 0 && len(w.people) < size.people {
				w.join()
			}
		}
		w.settle()
		w.remove()
		w.settle()
	})
}

// world is a simulation under way. It is one goroutine's.
type world struct {
	t     *testing.T
	net   *collabtest.Network
	size  scale
	rng   *rand.Rand
	began time.Time
	took  time.Duration

	people []*person
	count  map[string]int    // of what was done
	saved  map[string]string // the documents of the edits that were acknowledged, by the edits' names

	ctx      context.Context
	cancel   context.CancelFunc
	watching sync.WaitGroup
}

// person is a member at their device.
type person struct {
	*collabtest.Node
	name    string
	session *collab.Session // nil: the device does not run
}

func newWorld(t *testing.T, net *collabtest.Network, size scale, seed uint64) *world {
	net.Patience = 10 * time.Minute
	w := &world{
		t: t, net: net, size: size, rng: rand.New(rand.NewPCG(seed, 0)), began: time.Now(),
		count: map[string]int{}, saved: map[string]string{},
	}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	return w
}

// end waits for those who watch.
func (w *world) end() {
	w.took = time.Since(w.began)
	w.cancel()
	w.watching.Wait()
}

// found makes the project and its first members.
func (w *world) found() {
	for range w.size.first {
		w.join()
	}
}

// join lets the next person in. The founder, whom they come to, must be there.
func (w *world) join() {
	p := &person{name: fmt.Sprint("n", len(w.people))}
	p.Node = w.net.Node(p.name)
	for _, other := range w.people {
		w.net.Link(p.Node, other.Node, collabtest.Link{Latency: w.upTo(100 * time.Millisecond), Loss: float64(w.rng.IntN(3)) / 100})
	}
	w.people = append(w.people, p)
	if len(w.people) == 1 {
		p.session = p.Create("Simulation")
	} else {
		w.net.Heal()
		w.start(w.people[0])
		session, err := p.Node.Node.Join(w.t.Context(), w.invite(w.people[0]))
		if err != nil {
			w.t.Fatalf("%s joins: %v", p.name, err)
		}
		p.session = session
		w.count["joins"]++
	}
	w.watch(p)
}

// invite makes an invite. A device that was killed first has to meet somebody who knows what it did.
func (w *world) invite(p *person) (code string) {
	w.net.Wait(p.name+" invites", func() bool {
		var err error
		code, err = p.session.Invite(w.t.Context(), collab.InviteOptions{})
		if err != nil && !errors.Is(err, collab.ErrUnreachable) {
			w.t.Fatalf("%s invites: %v", p.name, err)
		}
		return err == nil
	})
	return code
}

// watch fails the test if a person is told of what nobody has done.
func (w *world) watch(p *person) {
	alerts := collab.Subscribe[collab.SecurityAlert](w.ctx, p.session)
	w.watching.Go(func() {
		for a := range alerts {
			if a.Kind != collab.AlertDeviceInDoubt { // a killed device may be
				w.t.Errorf("%s is alerted: %s: %s", p.name, a.Kind, a.Detail)
			}
		}
	})
}

// step does one random thing after a random pause, which is sometimes so long that connections time out.
func (w *world) step() {
	pause := w.upTo(time.Second)
	if w.rng.IntN(10) == 0 {
		pause = w.upTo(time.Minute)
	}
	time.Sleep(pause)
	switch n := w.rng.IntN(20); {
	case n < 11:
		for range 1 + w.rng.IntN(3) {
			w.edit(w.pick(true))
		}
	case n < 13:
		w.partition()
	case n < 15:
		w.net.Heal()
		w.count["heals"]++
	case n < 17:
		w.stop("restarts", (*collabtest.Node).Stop)
	case n == 17:
		w.stop("kills", (*collabtest.Node).Kill)
	default:
		w.startAny()
	}
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// pick chooses one of those who are running, or are not; nil if there is none.
func (w *world) pick(running bool) *person {
	var list []*person
	for _, p := range w.people {
		if (p.session != nil) == running {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

// edit lets a person type in a document for a moment. Each edit leaves its name in the map "log" beside what it does to
// the text, and only there, so that it can be found again whatever others do to the text.
func (w *world) edit(p *person) {
	doc := fmt.Sprint("doc", w.rng.IntN(w.size.docs))
	d := w.doc(p, doc)
	var names []string
	for range 1 + w.rng.IntN(4) {
		w.count["edits"]++
		name := fmt.Sprintf("%s.%d", p.name, w.count["edits"])
		names = append(names, name)
		at, size, remove := w.rng.Float64(), 1+w.rng.IntN(30), w.rng.IntN(3) == 0
		if err := d.Update(func(tx *crdt.Txn) error {
			text := d.Text("body")
			all := text.Len(tx)
			pos := int(at * float64(all))
			err := d.Map("log").Set(tx, name, size)
			switch {
			case err != nil:
				return err
			case remove:
				return text.Delete(tx, pos, min(size, all-pos))
			}
			return text.Insert(tx, pos, strings.Repeat(string(rune('a'+len(names))), size))
		}); err != nil {
			w.t.Fatalf("%s edits: %v", p.name, err)
		}
	}
	if w.rng.IntN(2) == 0 {
		return
	}
	if err := d.WaitSaved(w.t.Context()); err != nil {
		w.t.Fatalf("%s saves: %v", p.name, err)
	}
	for _, name := range names {
		w.saved[name] = doc
		w.count["saved"]++
	}
}

func (w *world) doc(p *person, name string) *collab.Doc {
	d, err := p.session.Doc(w.t.Context(), name)
	if err != nil {
		w.t.Fatalf("%s opens a document: %v", p.name, err)
	}
	return d
}

// partition splits the network in two or three.
func (w *world) partition() {
	groups := make([][]*collabtest.Node, 2+w.rng.IntN(2))
	for _, p := range w.people {
		g := w.rng.IntN(len(groups))
		groups[g] = append(groups[g], p.Node)
	}
	w.net.Partition(groups...)
	w.count["partitions"]++
}

// stop ends somebody's device, for now; most people stay.
func (w *world) stop(what string, how func(*collabtest.Node)) {
	running := 0
	for _, p := range w.people {
		if p.session != nil {
			running++
		}
	}
	if running <= w.size.running {
		w.startAny()
		return
	}
	p := w.pick(true)
	how(p.Node)
	p.session = nil
	w.count[what]++
}

// startAny brings somebody back, if anybody is away.
func (w *world) startAny() {
	if p := w.pick(false); p != nil {
		w.start(p)
	}
}

func (w *world) start(p *person) {
	if p.session != nil {
		return
	}
	p.Start()
	for project := range p.Projects() {
		p.session = p.Reopen(project.ID)
	}
	w.watch(p)
}

// remove lets the founder, cut off with some, remove somebody on the other side, where all go on. What the removed wrote
// before stays; they write in a document of their own then, as nobody can keep what others build on what does not count.
func (w *world) remove() {
	founder, removed := w.people[0], w.people[1+w.rng.IntN(len(w.people)-1)]
	here := []*collabtest.Node{founder.Node}
	for _, p := range w.people[1:] {
		if p != removed && w.rng.IntN(2) == 0 {
			here = append(here, p.Node)
		}
	}
	w.net.Partition(here)
	if err := founder.session.Revoke(w.t.Context(), removed.session.Me().ID, "simulated"); err != nil {
		w.t.Fatalf("remove %s: %v", removed.name, err)
	}
	insert(w.t, removed.session, "late", "does not count")
	w.people = slices.DeleteFunc(w.people, func(p *person) bool { return p == removed })
	for range 4 {
		w.edit(w.pick(true))
		time.Sleep(w.upTo(20 * time.Second))
	}
	w.net.Heal()
	w.net.Wait("the removed knows", func() bool { return errors.Is(removed.session.Err(), collab.ErrRevoked) })
	w.net.Wait("what does not count has gone", func() bool {
		for _, p := range w.people {
			if body(w.t, p.session, "late") != "" {
				return false
			}
		}
		return true
	})
}

// settle heals everything, brings everybody back and waits for what must come about.
func (w *world) settle() {
	w.net.Heal()
	var sessions []*collab.Session
	for _, p := range w.people {
		w.start(p)
		sessions = append(sessions, p.session)
	}
	for i := range w.size.docs {
		w.net.Equal(fmt.Sprint("doc", i), sessions...)
	}
	w.net.Wait("all is signed and verified", func() bool {
		for _, p := range w.people {
			if p.session.Status().Held > 0 {
				return false
			}
			for _, name := range p.session.Docs() {
				if w.doc(p, name).Unverified() {
					return false
				}
			}
		}
		return true
	})
	for _, p := range w.people {
		w.check(p)
	}
}

// check looks for every edit that was acknowledged.
func (w *world) check(p *person) {
	for name, doc := range w.saved {
		d := w.doc(p, doc)
		if err := d.View(func(tx *crdt.ReadTxn) error {
			if _, ok := d.Map("log").Get(tx, name); !ok {
				w.t.Errorf("%s misses edit %s of %s, which was acknowledged", p.name, name, doc)
			}
			return nil
		}); err != nil {
			w.t.Error(err)
		}
	}
}

// tally says what was done.
func (w *world) tally() string {
	var out []string
	for what, n := range w.count {
		out = append(out, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
