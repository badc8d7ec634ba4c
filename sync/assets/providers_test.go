package assets

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// fetchBeside lets carl read a file that anna and berta have. Berta serves the first blocks and then does what fail says.
func fetchBeside(t *testing.T, fail func(berta *room, ctx context.Context, raw []byte) ([]byte, error)) (carl *room) {
	var served atomic.Int32
	var berta *room
	s := &spy{onRead: func(ctx context.Context, _ hash, raw []byte) ([]byte, error) {
		if served.Add(1) <= 4 {
			return raw, nil
		}
		return fail(berta, ctx, raw)
	}}
	anna, berta, carl := trio(t, [3]setup{{}, spied(s), {}})
	content := noise(1, 16<<20)
	anna.add("film", content)
	berta.learn(anna)
	berta.local("film")
	served.Store(0)
	carl.learn(anna)
	carl.reads("film", content)
	carl.local("film")
	if n := served.Load(); n <= 4 {
		t.Errorf("berta was asked for %d blocks only", n)
	}
	p, err := carl.a.Progress("film")
	must(t, err)
	if p.From[anna.self.Identity.Member()] == 0 || p.From[berta.self.Identity.Member()] == 0 {
		t.Errorf("received %v", p.From)
	}
	return carl
}

// TestProviderDies: the other one goes on.
func TestProviderDies(t *testing.T) {
	fetchBeside(t, func(berta *room, ctx context.Context, _ []byte) ([]byte, error) {
		go berta.close()
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// TestProviderLies: its bytes have other hashes, so that nobody ever sees one.
func TestProviderLies(t *testing.T) {
	fetchBeside(t, func(_ *room, _ context.Context, raw []byte) ([]byte, error) {
		raw = slices.Clone(raw)
		raw[len(raw)/2] ^= 1
		return raw, nil
	})
}

// TestProviderStalls: it takes wants and never answers, and says nothing else either.
func TestProviderStalls(t *testing.T) {
	fetchBeside(t, func(_ *room, ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// TestProviderComesLater: a reader waits for somebody who has the file, and the background tries again.
func TestProviderComesLater(t *testing.T) {
	anna, berta, carl := trio(t, [3]setup{})
	content := noise(1, smallBlock+1)
	anna.add("film", content)
	carl.learn(anna)
	carl.local("film")
	berta.host.Disconnect(anna.device())
	berta.host.Disconnect(carl.device())
	eventually(t, "berta is alone", func() bool { return len(berta.a.peers()) == 0 })
	berta.learn(anna)
	done := make(chan struct{})
	go func() {
		defer close(done)
		berta.reads("film", content)
	}()
	eventually(t, "berta waits", func() bool {
		berta.a.fetcher.mu.Lock()
		defer berta.a.fetcher.mu.Unlock()
		for _, w := range berta.a.fetcher.wants {
			return w.urgent > 0
		}
		return false
	})
	berta.connect(carl.node)
	<-done
	berta.local("film")
}

// TestUrgentFirst: while somebody reads, nothing of the background comes, beyond what was on its way already.
func TestUrgentFirst(t *testing.T) {
	var held atomic.Bool
	release := make(chan struct{})
	asked, arrived := &hashes{}, &hashes{}
	served := &atomic.Int32{}
	from := &spy{
		onRead: func(ctx context.Context, _ hash, raw []byte) ([]byte, error) {
			if served.Add(1) > 4 && held.Load() {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			return raw, nil
		},
		onAsked: func(_ peer.ID, h hash) { asked.add(h) },
	}
	to := &spy{onArrived: func(_ peer.ID, b block) { arrived.add(b.hash) }}
	anna, berta := pair(t, spied(from), spied(to))
	big, scene := noise(1, 12<<20), noise(2, 2<<20)
	anna.add("big", big)
	anna.add("scene", scene)
	urgent := anna.content("scene")
	held.Store(true)
	berta.learn(anna)
	must(t, berta.a.Unpin("scene"))
	eventually(t, "the background is under way", func() bool { return served.Load() > 4 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		berta.reads("scene", scene)
	}()
	first := urgent.Manifest[0]
	if !arrived.has(first) {
		eventually(t, "the reader asks", func() bool { return asked.has(first) })
	}
	var taken []hash // what anna still is to send
	eventually(t, "the background is taken back", func() bool {
		taken = taken[:0]
		for _, c := range anna.server.exchange.server.WantlistForPeer(berta.peer()) {
			if h, _ := hashOf(c); h != first && !slices.Contains(urgent.blocks, h) {
				taken = append(taken, h)
			}
		}
		return len(taken) == 0
	})
	before := len(arrived.all())
	close(release)
	<-done
	late := 0
	for i, h := range arrived.all()[before:] {
		if h == urgent.blocks[len(urgent.blocks)-1] {
			break
		}
		if h != first && !slices.Contains(urgent.blocks, h) {
			late++
			t.Logf("arrival %d is of the background", i)
		}
	}
	if late > 2*serveWorkers {
		t.Errorf("%d blocks of the background came before what was urgent", late)
	}
	berta.local("big")
	berta.reads("big", big)
}
