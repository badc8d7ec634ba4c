package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is a value about a subject; a subject of 0 does not merge. A missed event has only a count.
type event struct {
	subject, value int
	missed         uint64
}

func options(size int) Options[event] {
	return Options[event]{
		Size:   size,
		Key:    func(e event) (any, bool) { return e.subject, e.subject != 0 },
		Keep:   kept,
		Missed: func(n uint64) event { return event{missed: n} },
	}
}

// kept says which events are dropped last.
func kept(e event) bool { return e.subject == 3 || e.subject == 0 && e.value >= 1000 }

func plain(v int) event { return event{value: v} }

// take reads n events; within synctest a channel that stays silent is a deadlock, which fails the test.
func take(t *testing.T, c <-chan event, n int) []event {
	t.Helper()
	var out []event
	for range n {
		e, ok := <-c
		if !ok {
			t.Fatalf("closed after %v", out)
		}
		out = append(out, e)
	}
	return out
}

func wantNothing(t *testing.T, c <-chan event) {
	t.Helper()
	synctest.Wait()
	select {
	case e, ok := <-c:
		t.Fatalf("got %v, %v; want silence", e, ok)
	default:
	}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(100))
		defer f.Close()
		a, b := f.Subscribe(t.Context()), f.Subscribe(t.Context())
		var want []event
		for i := range 50 {
			f.Send(plain(i))
			want = append(want, plain(i))
		}
		for _, c := range []<-chan event{a, b} {
			if got := take(t, c, 50); !slices.Equal(got, want) {
				t.Errorf("got %v", got)
			}
			wantNothing(t, c)
		}
		f.Send(plain(99))
		if got := take(t, a, 1); got[0] != plain(99) {
			t.Errorf("after a pause: %v", got)
		}
	})
}

func TestOnlyWhatIsSentAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(10))
		defer f.Close()
		f.Send(plain(1))
		c := f.Subscribe(t.Context())
		f.Send(plain(2))
		if got := take(t, c, 1); got[0] != plain(2) {
			t.Errorf("got %v", got)
		}
		wantNothing(t, c)
	})
}

// The first event leaves the queue for the reader's hand at once; a placeholder keeps the numbers below simple.
func withBusyReader(t *testing.T, size int, test func(f *Feed[event], c <-chan event)) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(size))
		defer f.Close()
		c := f.Subscribe(t.Context())
		f.Send(plain(-1))
		synctest.Wait()
		test(f, c)
	})
}

func TestMerge(t *testing.T) {
	withBusyReader(t, 4, func(f *Feed[event], c <-chan event) {
		f.Send(event{subject: 1, value: 1})
		f.Send(plain(5))
		f.Send(event{subject: 2, value: 1})
		for v := range 100 {
			f.Send(event{subject: 1, value: v})
			f.Send(event{subject: 2, value: -v})
		}
		want := []event{plain(-1), {subject: 1, value: 99}, plain(5), {subject: 2, value: -99}}
		if got := take(t, c, 4); !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
		wantNothing(t, c)
		f.Send(event{subject: 1, value: 7}) // what was delivered is not waiting any more
		if got := take(t, c, 1); got[0] != (event{subject: 1, value: 7}) {
			t.Errorf("afterwards: %v", got)
		}
	})
}

func TestMissed(t *testing.T) {
	withBusyReader(t, 3, func(f *Feed[event], c <-chan event) {
		for i := range 10 {
			f.Send(plain(i))
		}
		want := []event{plain(-1), {missed: 7}, plain(7), plain(8), plain(9)}
		if got := take(t, c, 5); !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
		wantNothing(t, c)
		f.Send(plain(10))
		if got := take(t, c, 1); got[0] != plain(10) {
			t.Errorf("afterwards: %v", got)
		}
	})
}

// What is to be kept outlives a flood of what is not, and pushes that out.
func TestKeep(t *testing.T) {
	withBusyReader(t, 3, func(f *Feed[event], c <-chan event) {
		f.Send(plain(1000))
		f.Send(plain(1))
		f.Send(event{subject: 3, value: 1})
		for i := range 10 {
			f.Send(plain(i))
		}
		f.Send(plain(1001))
		f.Send(plain(5)) // nothing that it could push out waits
		f.Send(event{subject: 3, value: 2})
		want := []event{plain(-1), {missed: 12}, plain(1000), {subject: 3, value: 2}, plain(1001)}
		if got := take(t, c, 5); !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
		f.Send(plain(-1))
		synctest.Wait()
		for i := range 5 {
			f.Send(plain(1000 + i))
		}
		want = []event{plain(-1), {missed: 2}, plain(1002), plain(1003), plain(1004)}
		if got := take(t, c, 5); !slices.Equal(got, want) {
			t.Errorf("among each other: got %v; want %v", got, want)
		}
	})
}

// A merging event that was dropped starts anew; it must not vanish into the dropped one.
func TestDroppedKeyStartsAnew(t *testing.T) {
	withBusyReader(t, 2, func(f *Feed[event], c <-chan event) {
		f.Send(event{subject: 1, value: 1})
		f.Send(plain(2))
		f.Send(plain(3)) // drops subject 1
		f.Send(event{subject: 1, value: 4})
		want := []event{plain(-1), {missed: 2}, plain(3), {subject: 1, value: 4}}
		if got := take(t, c, 4); !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
	})
}

func TestWithoutOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Options[int]{})
		defer f.Close()
		c := f.Subscribe(t.Context())
		f.Send(-1)
		synctest.Wait()
		for i := range DefaultSize + 10 {
			f.Send(i)
		}
		if got := <-c; got != -1 {
			t.Errorf("got %d", got)
		}
		for i := range DefaultSize { // the oldest ten are gone, and nobody asked to be told
			if got := <-c; got != i+10 {
				t.Fatalf("got %d; want %d", got, i+10)
			}
		}
	})
}

func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(10))
		defer f.Close()
		ctx, cancel := context.WithCancel(t.Context())
		c, other := f.Subscribe(ctx), f.Subscribe(t.Context())
		f.Send(plain(1))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if e, ok := <-c; ok {
			t.Errorf("got %v after the end", e)
		}
		f.Send(plain(2))
		if got := take(t, other, 2); !slices.Equal(got, []event{plain(1), plain(2)}) {
			t.Errorf("the other subscriber got %v", got)
		}
		if len(f.subs) != 1 {
			t.Errorf("%d subscribers are kept; want 1", len(f.subs))
		}
		if _, ok := <-f.Subscribe(ctx); ok {
			t.Error("subscribed with an ended context")
		}
	})
}

// Close waits for its goroutines even if nobody reads.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(10))
		idle, abandoned := f.Subscribe(t.Context()), f.Subscribe(t.Context())
		f.Send(plain(1))
		if got := take(t, idle, 1); got[0] != plain(1) {
			t.Errorf("got %v", got)
		}
		f.Close()
		f.Close()
		for _, c := range []<-chan event{idle, abandoned} {
			if e, ok := <-c; ok {
				t.Errorf("got %v after Close", e)
			}
		}
		f.Send(plain(2))
		if _, ok := <-f.Subscribe(t.Context()); ok {
			t.Error("subscribed after Close")
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(options(2))
		reader, idle, abandoned := f.Subscribe(t.Context()), f.Subscribe(t.Context()), f.Subscribe(t.Context())
		for v := 1; v <= 4; v++ {
			f.Send(plain(v))
			if v == 1 {
				take(t, idle, 1)
				synctest.Wait() // the others hold the first one in their hands
			}
		}
		take(t, idle, 3)
		f.End()
		f.End()
		f.Send(plain(5))
		want := []event{plain(1), {missed: 1}, plain(3), plain(4)}
		if got := take(t, reader, len(want)); !slices.Equal(got, want) {
			t.Errorf("got %v after the end, want %v", got, want)
		}
		for _, c := range []<-chan event{reader, idle, f.Subscribe(t.Context())} {
			if e, ok := <-c; ok {
				t.Errorf("got %v", e)
			}
		}
		f.Close() // does not wait for who never reads
		if e, ok := <-abandoned; ok {
			t.Errorf("got %v after Close", e)
		}
	})
}

// model is a queue that is as slow as it is plain.
type model struct {
	size   int
	queue  []event
	missed uint64
}

func (m *model) send(e event) {
	if i := slices.IndexFunc(m.queue, func(q event) bool { return e.subject != 0 && q.subject == e.subject }); i >= 0 {
		m.queue[i] = e
		return
	}
	m.queue = append(m.queue, e)
	if len(m.queue) > m.size {
		i := max(0, slices.IndexFunc(m.queue, func(q event) bool { return !kept(q) }))
		m.queue = slices.Delete(m.queue, i, i+1)
		m.missed++
	}
}

func (m *model) read() (event, bool) {
	if m.missed > 0 {
		e := event{missed: m.missed}
		m.missed = 0
		return e, true
	}
	if len(m.queue) == 0 {
		return event{}, false
	}
	e := m.queue[0]
	m.queue = m.queue[1:]
	return e, true
}

func TestAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		size := 1 + r.IntN(6)
		s := &subscriber[event]{wake: make(chan struct{}, 1), waiting: make(map[any]*item[event])}
		f, m := New(options(size)), &model{size: size}
		for step := range 200 {
			if r.IntN(3) > 0 {
				e := event{subject: r.IntN(4), value: step + 1000*r.IntN(2)}
				it := item[event]{value: e, keep: kept(e)}
				it.key, it.merge = f.options.Key(e)
				s.push(it, size)
				m.send(e)
				continue
			}
			got, ok := f.next(s)
			want, wantOK := m.read()
			if got != want || ok != wantOK {
				t.Fatalf("size %d, step %d: %v, %v; want %v, %v", size, step, got, ok, want, wantOK)
			}
		}
		if len(s.waiting) > len(s.queue) {
			t.Fatalf("%d keys are kept for %d events", len(s.waiting), len(s.queue))
		}
	}
}

// Many senders and readers at once: each reader sees each sender's events in order, and every event or its loss.
func TestConcurrent(t *testing.T) {
	const senders, each = 4, 500
	f := New(options(8))
	var readers, writers sync.WaitGroup
	ready := make(chan struct{})
	for range 3 {
		c := f.Subscribe(t.Context())
		readers.Go(func() {
			<-ready
			last := make(map[int]int)
			total := uint64(0)
			for total < senders*each {
				e, ok := <-c
				if !ok {
					t.Error("closed early")
					return
				}
				if e.missed > 0 {
					total += e.missed
					continue
				}
				total++
				sender, n := e.value/each, e.value%each
				if before, seen := last[sender]; seen && n <= before {
					t.Errorf("sender %d: %d after %d", sender, n, before)
				}
				last[sender] = n
			}
		})
	}
	close(ready)
	for s := range senders {
		writers.Go(func() {
			for n := range each {
				f.Send(plain(s*each + n))
			}
		})
	}
	writers.Wait()
	readers.Wait()
	f.Close()
}

func Example() {
	f := New(Options[string]{})
	c := f.Subscribe(context.Background())
	f.Send("hello")
	fmt.Println(<-c)
	f.Close()
	_, open := <-c
	fmt.Println(open)
	// Output:
	// hello
	// false
}
