package assets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// desk is an exchange that notes what it is told: the watch over peers is a matter of minutes, which real ones would take.
type desk struct {
	fetcher   *fetcher
	connected []peer.ID
	told      []string // "ask a 1", "cancel a 1"
	sound     map[peer.ID]time.Time
}

func (d *desk) ask(p peer.ID, h hash, _ bool, _ func() bool) {
	d.told = append(d.told, fmt.Sprint("ask ", string(p), " ", h[0]))
}
func (d *desk) cancel(p peer.ID, h hash) {
	d.told = append(d.told, fmt.Sprint("cancel ", string(p), " ", h[0]))
}
func (d *desk) heard(p peer.ID) time.Time { return d.sound[p] }
func (d *desk) peers() []peer.ID          { return slices.Clone(d.connected) }
func (d *desk) offer(block)               {}

// expect compares what was told since the last call.
func (d *desk) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	d.fetcher.mu.Lock()
	defer d.fetcher.mu.Unlock()
	if !slices.Equal(d.told, want) {
		t.Errorf("told %q, not %q", d.told, want)
	}
	d.told = nil
}

// fetching runs a test with a fetcher and its watch.
func fetching(t *testing.T, peers []peer.ID, fn func(t *testing.T, f *fetcher, d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{connected: peers, sound: map[peer.ID]time.Time{}}
		f := newFetcher(d)
		d.fetcher = f
		f.peers, f.live = d.peers, func(p peer.ID) bool { return slices.Contains(d.connected, p) }
		f.store = func(peer.ID, block) error { return nil }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = f.watch(ctx) }()
		fn(t, f, d)
		cancel()
		<-done
	})
}

// get begins to fetch a block of 10 bytes and returns how it ended.
func (d *desk) get(ctx context.Context, n byte, urgent bool) <-chan error {
	out := make(chan error, 1)
	go func() { out <- d.fetcher.get(ctx, hash{n}, 10, urgent) }()
	synctest.Wait()
	return out
}

func (d *desk) bring(p peer.ID, n byte) {
	d.fetcher.arrived(p, block{hash{n}, make([]byte, 10)})
	synctest.Wait()
}

func TestFetchSpreads(t *testing.T) {
	fetching(t, []peer.ID{"a", "b"}, func(t *testing.T, _ *fetcher, d *desk) {
		for n := range byte(4) {
			d.get(t.Context(), n, true)
		}
		d.expect(t, "ask a 0", "ask b 1", "ask a 2", "ask b 3")
		d.bring("b", 1)
		d.get(t.Context(), 4, true)
		d.expect(t, "ask b 4")
		for n := range byte(5) {
			d.bring("a", n)
		}
		d.expect(t, "cancel b 3", "cancel b 4")
	})
}

// TestFetchIsCalledOff: who does not wait any more has no want out.
func TestFetchIsCalledOff(t *testing.T) {
	fetching(t, []peer.ID{"a"}, func(t *testing.T, f *fetcher, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		first, second := d.get(ctx, 1, false), d.get(t.Context(), 1, true)
		d.expect(t, "ask a 1", "ask a 1") // again, as it is urgent now
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		d.expect(t)
		d.bring("a", 1)
		if err := <-second; err != nil {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		third := d.get(ctx, 2, false)
		cancel()
		<-third
		d.expect(t, "ask a 2", "cancel a 2")
		if len(f.wants) > 0 {
			t.Error("wants are left")
		}
	})
}

// TestFetchNobodyHasIt: the background gives up at once, a reader waits and asks again.
func TestFetchNobodyHasIt(t *testing.T) {
	fetching(t, []peer.ID{"a", "b"}, func(t *testing.T, f *fetcher, d *desk) {
		idle, reader := d.get(t.Context(), 1, false), d.get(t.Context(), 2, true)
		d.expect(t, "ask a 1", "ask b 2")
		f.lacks("a", hash{1})
		f.lacks("b", hash{2})
		d.expect(t, "cancel a 1", "ask b 1", "cancel b 2", "ask a 2")
		f.lacks("b", hash{1})
		f.lacks("a", hash{2})
		if err := <-idle; !errors.Is(err, errUnavailable) {
			t.Error(err)
		}
		d.expect(t, "cancel b 1")
		time.Sleep(lackFor + watchEvery)
		d.expect(t, "cancel a 2", "ask a 2")
		d.bring("a", 2)
		if err := <-reader; err != nil {
			t.Error(err)
		}
	})
}

// TestFetchSilence: a peer that says nothing loses its turn and is asked last; what it was asked for still may come.
func TestFetchSilence(t *testing.T) {
	fetching(t, []peer.ID{"a", "b"}, func(t *testing.T, _ *fetcher, d *desk) {
		first := d.get(t.Context(), 1, true)
		d.expect(t, "ask a 1")
		time.Sleep(stallAfter - watchEvery)
		d.expect(t)
		time.Sleep(2 * watchEvery)
		d.expect(t, "ask b 1")
		d.get(t.Context(), 2, true)
		d.get(t.Context(), 3, true)
		d.expect(t, "ask b 2", "ask b 3")
		d.bring("a", 1) // at last, and it is trusted again
		if err := <-first; err != nil {
			t.Error(err)
		}
		d.get(t.Context(), 4, true)
		d.expect(t, "cancel b 1", "ask a 4")
		for _, n := range []byte{2, 3, 4} {
			d.bring("b", n)
		}
	})
}

// TestFetchSlow: as long as something comes from a peer, there is no hurry to ask another.
func TestFetchSlow(t *testing.T) {
	fetching(t, []peer.ID{"a", "b"}, func(t *testing.T, f *fetcher, d *desk) {
		d.get(t.Context(), 1, true)
		d.expect(t, "ask a 1")
		for range int(slowAfter/time.Second) - 1 {
			time.Sleep(time.Second)
			f.mu.Lock()
			d.sound["a"] = time.Now()
			f.mu.Unlock()
		}
		d.expect(t)
		time.Sleep(time.Second)
		d.expect(t, "ask b 1")
		d.bring("b", 1)
		d.expect(t, "cancel a 1")
	})
}

// TestFetchOnlyOne: with nobody else to ask, a silent peer is asked again by a reader and left by the background.
func TestFetchOnlyOne(t *testing.T) {
	fetching(t, []peer.ID{"a"}, func(t *testing.T, _ *fetcher, d *desk) {
		d.get(t.Context(), 1, true)
		idle := d.get(t.Context(), 2, false)
		d.expect(t, "ask a 1", "ask a 2")
		time.Sleep(askAgain + 2*watchEvery)
		if err := <-idle; !errors.Is(err, errUnavailable) {
			t.Error(err)
		}
		synctest.Wait()
		if !slices.Contains(d.told, "ask a 1") || !slices.Contains(d.told, "cancel a 2") {
			t.Errorf("told %q", d.told)
		}
		d.bring("a", 1)
	})
}

// TestFetchRoster: a peer that is no member any more has its wants taken from it, and what it brings is dropped.
func TestFetchRoster(t *testing.T) {
	fetching(t, []peer.ID{"a", "b"}, func(t *testing.T, f *fetcher, d *desk) {
		got := d.get(t.Context(), 1, true)
		d.expect(t, "ask a 1")
		f.mu.Lock()
		d.connected = []peer.ID{"b"}
		f.mu.Unlock()
		d.bring("a", 1)
		select {
		case <-got:
			t.Error("took a block from a stranger")
		default:
		}
		time.Sleep(watchEvery)
		d.expect(t, "ask b 1")
		d.bring("b", 1)
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

// TestFetchUnreachable: a peer that cannot be told what is wanted is not told again and again.
func TestFetchUnreachable(t *testing.T) {
	fetching(t, []peer.ID{"a"}, func(t *testing.T, f *fetcher, d *desk) {
		d.get(t.Context(), 1, true)
		d.expect(t, "ask a 1")
		f.lost("a", false)
		time.Sleep(lackFor - watchEvery)
		d.expect(t)
		time.Sleep(2 * watchEvery)
		d.expect(t, "ask a 1")
		d.bring("a", 1)
	})
}

// TestFetchWrongSize: a block of another size than listed is of a file that cannot be read.
func TestFetchWrongSize(t *testing.T) {
	fetching(t, []peer.ID{"a"}, func(t *testing.T, f *fetcher, d *desk) {
		got := d.get(t.Context(), 1, true)
		f.arrived("a", block{hash{1}, make([]byte, 11)})
		if err := <-got; !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	})
}
