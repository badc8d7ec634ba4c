package live

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/studio-whip/collab/internal/task"
)

func state(n int) State { return State{Client: uint32(n), JSON: []byte(fmt.Sprint(n))} }

func runNotices(t *testing.T, fn func(t *testing.T, n *notices)) {
	synctest.Test(t, func(t *testing.T) {
		n, g := newNotices(), task.New(t.Context())
		g.Go("observers", n.run)
		fn(t, n)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestObserversOrder(t *testing.T) {
	runNotices(t, func(t *testing.T, n *notices) {
		var first, second []uint32
		n.observe(docA, func(st State) { first = append(first, st.Client) })
		n.observe(docA, func(st State) { second = append(second, st.Client) })
		n.observe(docB, func(st State) { t.Errorf("told of another document: %d", st.Client) })
		var want []uint32
		for i := range 100 {
			n.tell(keyOf(byte(i), 0, docA), state(i))
			want = append(want, uint32(i))
			if i%7 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if !slices.Equal(first, want) || !slices.Equal(second, want) {
			t.Errorf("told %v and %v", first, second)
		}
	})
}

// While an observer is busy, changes of one state become one; it holds nobody up and costs bounded memory.
func TestObserversMerge(t *testing.T) {
	runNotices(t, func(t *testing.T, n *notices) {
		release := make(chan struct{})
		var seen []uint32
		n.observe(docA, func(st State) { <-release; seen = append(seen, st.Client) })
		n.tell(keyOf(0, 0, docA), state(1))
		synctest.Wait()
		for i := 2; i < 1000; i++ {
			n.tell(keyOf(byte(i%2), 0, docA), state(i))
		}
		close(release)
		synctest.Wait()
		if !slices.Equal(seen, []uint32{1, 998, 999}) {
			t.Errorf("told of %v", seen)
		}
	})
	n := newNotices()
	for i := range 4 * maxPresences {
		n.tell(keyOf(0, uint32(i), docA), state(i))
	}
	if len(n.queue) > 2*maxPresences || len(n.latest) != len(n.queue) {
		t.Errorf("%d changes and %d states are queued", len(n.queue), len(n.latest))
	}
}

func TestObserversStop(t *testing.T) {
	runNotices(t, func(t *testing.T, n *notices) {
		calls := 0
		var stop func()
		stop = n.observe(docA, func(State) {
			calls++
			stop() // from within
			n.tell(keyOf(9, 0, docA), state(9))
		})
		n.tell(keyOf(1, 0, docA), state(1))
		n.tell(keyOf(2, 0, docA), state(2))
		<-time.After(time.Second)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("called %d times", calls)
		}
		stop()
	})
}
