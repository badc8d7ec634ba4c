package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// OnPeer is told of each change once: connection and roster together make a peer present.
func TestEachChangeOnce(t *testing.T) {
	states, err := crowd()
	must(t, err)
	for seed := range uint64(20) {
		try(t, 6, true, func(t *testing.T, b *bench) {
			b.serve(func() { b.dial = unreachable })
			rng := rand.New(rand.NewPCG(seed, 1))
			pool := append(slices.Clone(b.peers), identity.DeviceID{1}) // and somebody of another project
			want := map[identity.DeviceID]bool{}
			var expected []event
			for range 200 {
				d := pool[rng.IntN(len(pool))]
				switch rng.IntN(4) {
				case 0:
					b.connect(d)
				case 1:
					b.disconnect(d)
				case 2:
					before := b.state.Load()
					b.state.Store(states[2+rng.IntN(5)])
					b.RosterChanged(before)
				case 3:
					b.Refresh()
				}
				for _, d := range pool {
					x, ok := b.state.Load().Device(d)
					b.mu.Lock()
					is := ok && x.Live && b.connected[d]
					b.mu.Unlock()
					if is != want[d] {
						want[d] = is
						expected = append(expected, event{device: d, online: is})
					}
				}
				var online []identity.DeviceID
				for _, d := range b.peers {
					if want[d] {
						online = append(online, d)
					}
				}
				if got := b.Online(); !slices.Equal(got, online) {
					t.Fatalf("seed %d: online %v, want %v", seed, got, online)
				}
			}
			key := func(e event) string { return fmt.Sprint(e.device.Short(), e.online) }
			var got, all []string
			for _, e := range b.take(&b.told) {
				got = append(got, key(e))
			}
			for _, e := range expected {
				all = append(all, key(e))
			}
			// Changes of one step have no order among each other.
			slices.Sort(got)
			slices.Sort(all)
			if !slices.Equal(got, all) {
				t.Errorf("seed %d: told %d changes, want %d", seed, len(got), len(all))
			}
			if len(b.Coordinator.peers) > len(b.peers)+1 {
				t.Errorf("%d devices are remembered", len(b.Coordinator.peers))
			}
		})
	}
}

// OnPeer may call the coordinator, and calls from several goroutines reach it in order.
func TestOrderOfChanges(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.dial = unreachable })
		done := make(chan struct{})
		for range 4 {
			go func() {
				for range 50 {
					b.connect(b.peers[0])
					b.disconnect(b.peers[0])
				}
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
		b.wait(time.Second)
		told := b.take(&b.told)
		for i, e := range told {
			if e.online != (i%2 == 0) {
				t.Fatalf("change %d of %d says online = %v", i, len(told), e.online)
			}
		}
		if len(told)%2 != 0 {
			t.Error("the device is gone and was not said to be")
		}
	})
}

// What the host says wins over what was told, whenever it is asked.
func TestRefresh(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		b.connected[b.peers[0]] = true // before the session was opened
		b.Refresh()
		b.serve(func() { b.dial = unreachable })
		b.wait(time.Second)
		if got := b.Online(); !slices.Equal(got, b.peers[:1]) || len(b.take(&b.rounds)) != 1 {
			t.Fatalf("online %v", got)
		}
		// The connection is gone and nobody said so; the next round finds out.
		b.set(func() {
			delete(b.connected, b.peers[0])
			b.round = func(context.Context, identity.DeviceID) error { return p2p.ErrNotConnected }
			b.dial = nil
		})
		b.Gap()
		b.wait(time.Second)
		if told := b.take(&b.told); len(told) != 3 || told[1].online || !told[2].online {
			t.Errorf("told %v", told)
		}
		if got := b.Online(); !slices.Equal(got, b.peers[:1]) {
			t.Errorf("online %v: it was not dialed anew", got)
		}
	})
}
