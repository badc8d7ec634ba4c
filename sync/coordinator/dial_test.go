package coordinator

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

func count(events []event, device identity.DeviceID) (n int) {
	for _, e := range events {
		if e.device == device {
			n++
		}
	}
	return n
}

// Whoever is reachable is connected at once; who is not is dialed after growing pauses, and found when back.
func TestReconnect(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		away := b.peers[1]
		b.serve(func() {
			b.dial = func(_ context.Context, d identity.DeviceID) error {
				if d == away {
					return errDown
				}
				return nil
			}
		})
		b.wait(10 * time.Minute)
		if got := b.Online(); !slices.Equal(got, b.peers[:1]) {
			t.Fatalf("online: %v", got)
		}
		dials := b.take(&b.dials)
		if n := count(dials, b.peers[0]); n != 1 {
			t.Errorf("the connected device was dialed %d times", n)
		}
		if n := count(dials, away); n < 15 || n > 30 {
			t.Errorf("the device that is away was dialed %d times in 10 minutes", n)
		}
		b.set(func() { b.dial = nil })
		b.wait(lastBackoff * 3 / 2)
		if got := b.Online(); !slices.Equal(got, b.peers) {
			t.Errorf("online: %v", got)
		}

		// One that stayed for a while and goes away is dialed at once.
		b.wait(stable)
		b.take(&b.dials)
		at := time.Since(b.start)
		b.disconnect(away)
		b.wait(0)
		if dials := b.take(&b.dials); len(dials) != 1 || dials[0].after != at {
			t.Errorf("dialed %v, want once at %v", dials, at)
		}
	})
}

// Of two devices that lose each other, or meet, one dials first.
func TestOneDialsFirst(t *testing.T) {
	states, err := crowd()
	must(t, err)
	for _, first := range []bool{true, false} {
		try(t, 3, first, func(t *testing.T, b *bench) {
			b.serve(func() {})
			b.wait(stable)
			if got := b.Online(); len(got) != 3 {
				t.Fatalf("online: %v", got)
			}
			b.take(&b.dials)
			at := time.Since(b.start)
			b.disconnect(b.peers[0])
			b.wait(time.Second)
			lost := b.take(&b.dials)
			b.state.Store(states[4])
			b.RosterChanged(states[3])
			met := time.Since(b.start)
			b.wait(time.Second)
			admitted := b.take(&b.dials)
			if len(lost) != 1 || len(admitted) != 1 {
				t.Fatalf("dialed %v and %v", lost, admitted)
			}
			if wait := lost[0].after - at; first != (wait == 0) || !first && (wait < firstBackoff || wait > 2*firstBackoff) {
				t.Errorf("first: %v, dialed again after %v", first, wait)
			}
			if wait := admitted[0].after - met; wait > 2*firstBackoff {
				t.Errorf("the newcomer was dialed after %v", wait)
			}
		})
	}
}

// A device that accepts and drops connections is dialed less and less.
func TestFlapping(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() {
			b.dial = func(_ context.Context, d identity.DeviceID) error {
				go func() {
					time.Sleep(time.Millisecond)
					b.disconnect(d)
				}()
				return nil
			}
		})
		b.wait(10 * time.Minute)
		if n := len(b.take(&b.dials)); n < 15 || n > 30 {
			t.Errorf("dialed %d times in 10 minutes", n)
		}
		b.set(func() { b.dial = nil })
		b.wait(2 * lastBackoff)
		if len(b.Online()) != 1 {
			t.Error("it never stays")
		}
	})
}

// A device that is our guest is about to dial us: it is asked again soon, and its connection is taken.
func TestGuestBusy(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.dial = func(context.Context, identity.DeviceID) error { return p2p.ErrGuestBusy } })
		b.wait(10 * time.Second)
		if n := len(b.take(&b.dials)); n < 9 || n > 11 {
			t.Errorf("dialed %d times in 10 s", n)
		}
		b.connect(b.peers[0])
		b.wait(10 * time.Second)
		if n := len(b.take(&b.dials)); n != 0 || len(b.Online()) != 1 {
			t.Errorf("dialed %d times after it came", n)
		}
	})
}

// Few dials run at a time, and unreachable devices do not keep a reachable one waiting for ever.
func TestDialsAreFair(t *testing.T) {
	try(t, crowdSize-1, true, func(t *testing.T, b *bench) {
		back := b.peers[len(b.peers)-1]
		up := false
		b.serve(func() {
			b.dial = func(ctx context.Context, d identity.DeviceID) error {
				b.mu.Lock()
				ok := up && d == back
				b.mu.Unlock()
				if ok {
					return nil
				}
				return unreachable(ctx, d)
			}
		})
		b.wait(10 * time.Minute)
		dials := b.take(&b.dials)
		least, most := 1000, 0
		for _, d := range b.peers {
			n := count(dials, d)
			least, most = min(least, n), max(most, n)
		}
		if least == 0 || most > least+2 {
			t.Errorf("devices were dialed %d to %d times", least, most)
		}
		if b.dialing.peak > maxDials {
			t.Errorf("%d dials at a time, at most %d are allowed", b.dialing.peak, maxDials)
		}
		b.set(func() { up = true })
		b.wait(3 * time.Minute)
		if len(b.Online()) != 1 {
			t.Error("the device that came back was not found")
		}
	})
}

// Addresses that become known are dialed at once; without any nothing is dialed.
func TestAddressesBecomeKnown(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		helper, late := b.peers[0], b.peers[1]
		known := false
		b.serve(func() {
			b.addresses = func(d identity.DeviceID) []string {
				b.mu.Lock()
				defer b.mu.Unlock()
				if d == helper || known {
					return []string{"/ip4/192.0.2.1/tcp/1"}
				}
				return nil
			}
		})
		b.wait(time.Second)
		if n := count(b.take(&b.dials), late); n != 0 {
			t.Fatalf("dialed %d times without an address", n)
		}
		b.set(func() { known = true }) // a round has brought it
		b.Gap()
		b.wait(0)
		if n := count(b.take(&b.dials), late); n != 1 || len(b.Online()) != 2 {
			t.Errorf("dialed %d times when the address was known", n)
		}
	})
}

// Somebody who waits for a round does not wait for the end of a long pause between dials.
func TestWaitSyncedHurriesDials(t *testing.T) {
	try(t, 1, true, func(t *testing.T, b *bench) {
		b.serve(func() { b.dial = refused })
		b.wait(10 * time.Minute)
		b.set(func() { b.dial = nil })
		began := time.Since(b.start)
		must(t, b.WaitSynced(t.Context()))
		if took := time.Since(b.start) - began; took > firstBackoff {
			t.Errorf("it took %v", took)
		}
	})
}

// A device that is not of the roster itself dials nobody and runs no rounds.
func TestRemovedItself(t *testing.T) {
	states, err := crowd()
	must(t, err)
	before, after := states[2], states[0] // the founder alone
	try(t, 2, devices(after)[0] != devices(before)[0], func(t *testing.T, b *bench) {
		b.serve(func() {})
		b.wait(time.Second)
		b.state.Store(after)
		b.RosterChanged(before)
		b.wait(time.Second)
		b.take(&b.dials)
		b.take(&b.rounds)
		b.disconnect(b.peers...)
		b.wait(10 * time.Minute)
		if len(b.dials)+len(b.rounds) != 0 {
			t.Errorf("%d dials, %d rounds", len(b.dials), len(b.rounds))
		}
	})
}
