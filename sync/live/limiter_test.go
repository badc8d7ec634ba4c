package live

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
)

func identityOf(n byte) identity.DeviceID { return identity.DeviceID{n} }

func TestLimiter(t *testing.T) {
	l, now := newLimiter(40, 200), testTime
	taken := func(device byte) (n int) {
		for l.take(identityOf(device), now) {
			n++
		}
		return n
	}
	if n := taken(1); n != 200 {
		t.Errorf("burst of %d, want 200", n)
	}
	if l.ready(identityOf(1), now) || !l.ready(identityOf(2), now) {
		t.Error("one device's flood is another's")
	}
	now = now.Add(time.Second)
	if n := taken(1); n != 40 {
		t.Errorf("%d after a second, want 40", n)
	}
	now = now.Add(-time.Hour) // the clock was set back
	if n := taken(1); n != 0 {
		t.Errorf("%d by setting the clock back", n)
	}
	now = now.Add(24 * time.Hour)
	if n := taken(1); n != 200 {
		t.Errorf("%d after a day, want 200", n)
	}
}

// In any window the bucket lets through at most its burst and what has dropped in.
func TestLimiterBound(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	l, now := newLimiter(10, 25), testTime
	var passed []time.Time
	for range 5000 {
		now = now.Add(time.Duration(random.IntN(60)) * time.Millisecond)
		if l.take(identityOf(1), now) {
			passed = append(passed, now)
		}
	}
	for i := range passed {
		for _, n := range []int{30, 100, 400} {
			if i+n >= len(passed) {
				continue
			}
			if most := 25 + 1 + 10*passed[i+n].Sub(passed[i]).Seconds(); float64(n) > most {
				t.Fatalf("%d in %v", n, passed[i+n].Sub(passed[i]))
			}
		}
	}
	if len(passed) < 1000 {
		t.Errorf("only %d passed", len(passed))
	}
}

func TestLimiterForgets(t *testing.T) {
	l := newLimiter(40, 200)
	for n := range byte(100) {
		l.take(identityOf(n), testTime)
	}
	l.sweep(testTime)
	if len(l.buckets) != 100 {
		t.Errorf("%d of 100 buckets are left that are not full", len(l.buckets))
	}
	l.sweep(testTime.Add(time.Second))
	if len(l.buckets) != 0 {
		t.Errorf("%d full buckets are kept", len(l.buckets))
	}
}

func TestBudgetReserve(t *testing.T) {
	b, now := newBudget(testTime), testTime
	messages, presences, edits := 0, 0, 0
	for b.take(now, messageReserve) {
		messages++
	}
	for b.take(now, presenceReserve) {
		presences++
	}
	for b.take(now, 0) {
		edits++
	}
	if messages != ownBurst-messageReserve || presences != messageReserve-presenceReserve || edits != presenceReserve {
		t.Errorf("%d messages, %d presences, %d edits", messages, presences, edits)
	}
	wait := b.after(now, messageReserve)
	if b.take(now.Add(wait-time.Millisecond), messageReserve) || !b.take(now.Add(wait), messageReserve) {
		t.Errorf("a token is said to come after %v", wait)
	}
}
