package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// A round runs on connect and then every 20 s, give or take 10.
func TestRoundsOnConnectAndPeriodically(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.dial = unreachable })
		b.wait(time.Minute)
		if len(b.rounds) != 0 {
			t.Fatal("a round with nobody")
		}
		b.take(&b.rounds)
		at := time.Since(b.start)
		b.connect(b.peers[0])
		b.wait(20 * time.Minute)
		rounds := b.take(&b.rounds)
		if len(rounds) == 0 || rounds[0].after != at {
			t.Fatalf("no round on connect: %v", rounds)
		}
		if shortest, longest := gaps(rounds); shortest < roundEvery-roundJitter || longest > roundEvery+roundJitter {
			t.Errorf("rounds from %v to %v apart", shortest, longest)
		}
		b.disconnect(b.peers[0])
		b.wait(time.Minute)
		if got := b.take(&b.rounds); len(got) != 0 {
			t.Errorf("%d rounds with a device that is gone", len(got))
		}
	})
}

// A hint leads to a round at once, but not within 100 ms of the last one.
func TestGap(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		b.serve(func() {})
		b.connect(b.peers...)
		b.wait(time.Second)
		b.take(&b.rounds)
		at := time.Since(b.start)
		b.Gap()
		b.wait(0)
		if got := b.take(&b.rounds); len(got) != 2 || got[0].after != at || got[1].after != at {
			t.Fatalf("after the hint at %v: %v", at, got)
		}
		b.Gap()
		b.wait(time.Second)
		if got := b.take(&b.rounds); len(got) != 2 || got[0].after < at+minPause || got[0].after > at+2*minPause {
			t.Errorf("after a second hint at %v: %v", at, got)
		}
	})
}

// A hint during a round leads to another one after it.
func TestGapDuringRound(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.round = takes(time.Second) })
		b.connect(b.peers[0])
		b.wait(time.Second / 2)
		b.Gap()
		b.wait(time.Second)
		if got := b.take(&b.rounds); len(got) != 2 || got[1].after != time.Second+minPause {
			t.Errorf("rounds %v", got)
		}
	})
}

// takes is a round of some length.
func takes(d time.Duration) func(context.Context, identity.DeviceID) error {
	return func(ctx context.Context, _ identity.DeviceID) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// storm sends a hint every millisecond.
func (b *bench) storm(d time.Duration) {
	for range d / time.Millisecond {
		b.Gap()
		b.wait(time.Millisecond)
	}
}

// Hints that lead to nothing lead to fewer and fewer rounds; those that lead to something do not; calm restores.
func TestGapStorm(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() {})
		b.connect(b.peers[0])
		b.wait(time.Second)
		b.take(&b.rounds)
		b.storm(time.Minute)
		idle := b.take(&b.rounds)
		if shortest, longest := gaps(idle); len(idle) > 14 || shortest < minPause || longest > maxPause+time.Second {
			t.Errorf("%d rounds in a minute of hints that bring nothing, %v to %v apart", len(idle), shortest, longest)
		}

		b.wait(3 * (roundEvery + roundJitter))
		b.take(&b.rounds)
		at := time.Since(b.start)
		b.Gap()
		b.wait(2 * minPause)
		if got := b.take(&b.rounds); len(got) != 1 || got[0].after > at+minPause {
			t.Errorf("after some calm a hint leads to %v, want one at %v", got, at)
		}

		b.set(func() {
			b.round = func(context.Context, identity.DeviceID) error { b.brought.Add(1); return nil }
		})
		b.storm(10 * time.Second)
		busy := b.take(&b.rounds)
		if shortest, _ := gaps(busy); len(busy) < 50 || len(busy) > 101 || shortest < minPause {
			t.Errorf("%d rounds in 10 s of hints that bring something, at least %v apart", len(busy), shortest)
		}
	})
}

// A round that fails is repeated after growing pauses, whatever the hints; success ends that.
func TestFailingRounds(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.round = refused })
		b.connect(b.peers[0])
		b.storm(2 * time.Minute)
		failed := b.take(&b.rounds)
		if shortest, longest := gaps(failed); len(failed) > 14 || len(failed) < 7 || shortest < firstBackoff || longest > lastBackoff*3/2 {
			t.Errorf("%d rounds, %v to %v apart", len(failed), shortest, longest)
		}
		if synced, err := b.Status(); synced || !errors.Is(err, errDown) {
			t.Errorf("status %v, %v", synced, err)
		}
		b.set(func() { b.round = nil })
		b.wait(lastBackoff * 3 / 2)
		if synced, err := b.Status(); !synced || err != nil {
			t.Errorf("status %v, %v", synced, err)
		}
		b.take(&b.rounds)
		at := time.Since(b.start)
		b.Gap()
		b.wait(2 * minPause)
		if got := b.take(&b.rounds); len(got) != 1 || got[0].after > at+minPause {
			t.Errorf("a hint after the success at %v leads to %v", at, got)
		}
	})
}

// A device that comes back while the round of its old connection still ends gets its own round at once.
func TestNewConnectionNewRound(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		stuck := make(chan struct{})
		b.serve(func() {
			b.dial = unreachable
			b.round = func(context.Context, identity.DeviceID) error { <-stuck; return errDown }
		})
		b.connect(b.peers[0])
		b.wait(time.Second)
		b.disconnect(b.peers[0])
		b.connect(b.peers[0])
		b.wait(time.Second)
		b.set(func() { b.round = nil })
		b.take(&b.rounds)
		at := time.Since(b.start)
		close(stuck)
		b.wait(time.Second)
		if got := b.take(&b.rounds); len(got) != 1 || got[0].after != at+minPause {
			t.Errorf("rounds %v, want one at %v", got, at+minPause)
		}
	})
}

// Many devices at once do not all get a round at the same time, and some that make theirs endless do not keep the others
// from getting one.
func TestSlowPeersStarveNobody(t *testing.T) {
	const stuck = 12
	try(t, crowdSize-1, true, func(t *testing.T, b *bench) {
		slow := b.peers[:stuck]
		b.serve(func() {
			b.dial = unreachable
			b.round = func(ctx context.Context, d identity.DeviceID) error {
				if slices.Contains(slow, d) {
					<-ctx.Done()
					return ctx.Err()
				}
				return takes(time.Second)(ctx, d)
			}
		})
		b.connect(slow...)
		b.wait(time.Second)
		b.connect(b.peers[stuck:]...)
		b.wait(3 * slowRound)
		got := map[identity.DeviceID]bool{}
		for _, e := range b.take(&b.rounds) {
			got[e.device] = true
		}
		if len(got) != len(b.peers) {
			t.Errorf("%d of %d devices got a round", len(got), len(b.peers))
		}
		if b.running.peak > stuck+maxRounds {
			t.Errorf("%d rounds at a time", b.running.peak)
		}
	})
	try(t, crowdSize-1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.round = takes(time.Second) })
		b.connect(b.peers...)
		b.wait(time.Minute)
		if b.running.peak > maxRounds {
			t.Errorf("%d rounds at a time, at most %d are allowed", b.running.peak, maxRounds)
		}
	})
}

func TestWaitSynced(t *testing.T) {
	try(t, 3, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.dial = unreachable })
		results := make(chan error, 3)
		wait := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			results <- b.WaitSynced(ctx)
		}
		wait(time.Minute)
		if err := <-results; !errors.Is(err, p2p.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nobody there: %v", err)
		}

		// What began before the call does not count, and a device that stalls does not matter.
		stalled, quick := b.peers[0], b.peers[1]
		b.set(func() {
			b.round = func(ctx context.Context, d identity.DeviceID) error {
				if d == stalled {
					return takes(time.Hour)(ctx, d)
				}
				return takes(time.Second)(ctx, d)
			}
		})
		b.connect(stalled, quick)
		b.wait(time.Second / 2)
		began := time.Since(b.start)
		wait(time.Minute)
		if err := <-results; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(b.start) - began; took != time.Second/2+minPause+time.Second {
			t.Errorf("it took %v", took)
		}

		// It does not wait for the time of the next round, nor of the next attempt after failures.
		b.wait(2 * time.Second)
		began = time.Since(b.start)
		wait(time.Minute)
		if err := <-results; err != nil || time.Since(b.start)-began > time.Second+minPause {
			t.Errorf("again: %v after %v", err, time.Since(b.start)-began)
		}
		b.set(func() { b.round = refused })
		b.wait(5 * time.Minute)
		b.set(func() { b.round = nil })
		began = time.Since(b.start)
		wait(time.Minute)
		if err := <-results; err != nil || time.Since(b.start)-began > minPause {
			t.Errorf("after failures: %v after %v", err, time.Since(b.start)-began)
		}

		// Failures do not count, and are told.
		b.set(func() { b.round = refused })
		wait(time.Minute)
		if err := <-results; !errors.Is(err, p2p.ErrUnreachable) || !strings.Contains(err.Error(), errDown.Error()) {
			t.Errorf("with failing rounds: %v", err)
		}

		// The end of Serve ends it.
		go wait(time.Hour)
		b.wait(time.Second)
		b.end()
		if err := <-results; !errors.Is(err, ErrStopped) {
			t.Errorf("at the end: %v; want ErrStopped", err)
		}
	})
}

// Who exchanges only a part with this device does not satisfy those who wait, and is no failure.
func TestPartOfARoundIsNoSync(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		b.serve(func() {
			b.dial = unreachable
			b.round = func(_ context.Context, d identity.DeviceID) error {
				if d == b.peers[0] {
					return ErrPartly
				}
				return nil
			}
		})
		wait := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return b.WaitSynced(ctx)
		}
		b.connect(b.peers[0])
		if err := wait(); !errors.Is(err, p2p.ErrUnreachable) {
			t.Errorf("with nobody but them: %v", err)
		}
		if synced, err := b.Status(); synced || err != nil {
			t.Errorf("status %v, %v", synced, err)
		}
		b.connect(b.peers[1])
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
}

// Waiting again and again leads to no more rounds than the pause allows.
func TestWaitSyncedInALoop(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() {})
		b.connect(b.peers[0])
		for time.Since(b.start) < time.Minute {
			must(t, b.WaitSynced(t.Context()))
		}
		if shortest, _ := gaps(b.rounds); shortest < minPause {
			t.Errorf("rounds %v apart", shortest)
		}
	})
}

// Serve ends what runs and waits for it; the bench checks that nothing is left.
func TestServeEnds(t *testing.T) {
	try(t, 4, true, func(t *testing.T, b *bench) {
		b.connect(b.peers[:2]...)
		b.serve(func() { b.dial, b.round = unreachable, takes(time.Hour) })
		b.wait(time.Second)
		if b.running.now != 2 || b.dialing.now != 2 {
			t.Fatalf("%d rounds and %d dials", b.running.now, b.dialing.now)
		}
		b.end()
		<-b.ended
		b.take(&b.rounds)
		b.connect(b.peers[2])
		b.Gap()
		b.wait(time.Minute)
		if len(b.rounds) != 0 {
			t.Error("a round after the end")
		}
	})
}

// A round that has something to bring is urgent, and the background goes on after it.
func TestRoundsAreUrgent(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		tiers := NewTiers(0)
		defer tiers.Close()
		b.cfg.Tiers = tiers
		b.serve(func() { b.round = takes(5 * time.Second) })
		_, end, err := tiers.Background(t.Context(), 1)
		must(t, err)
		defer end()
		b.connect(b.peers[0])
		b.wait(4 * time.Second)
		if s := tiers.Stats(); s.Urgent != 1 || s.Background != 0 || s.Cut != 1 {
			t.Errorf("during the round: %+v", s)
		}
		b.wait(2 * time.Second)
		if s := tiers.Stats(); s.Urgent != 0 {
			t.Errorf("after it: %+v", s)
		}
	})
}
