package live

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// record is one without content, as far as ordering is concerned.
func record(device byte, chain uint32, kind envelope.EphemeralKind, at, n uint64) *envelope.Ephemeral {
	return &envelope.Ephemeral{
		EphemeralHeader: envelope.EphemeralHeader{Device: identityOf(device), ChainNo: chain, Kind: kind, At: at, N: n},
		Raw:             make([]byte, 100),
	}
}

func TestOrder(t *testing.T) {
	o := newOrder()
	for i, step := range []struct {
		e     *envelope.Ephemeral
		newer bool
	}{
		{record(1, 0, envelope.Presence, 5, 1), true},
		{record(1, 0, envelope.Presence, 5, 1), false}, // again
		{record(1, 0, envelope.Presence, 5, 2), true},
		{record(1, 0, envelope.Presence, 4, 9), false}, // before an envelope
		{record(1, 0, envelope.Presence, 6, 1), true},
		{record(1, 0, envelope.Presence, 5, 3), false},
		{record(1, 0, envelope.Message, 5, 3), true}, // another sequence
		{record(1, 1, envelope.Presence, 1, 1), true},
		{record(2, 0, envelope.Presence, 1, 1), true},
	} {
		if o.newer(step.e) != step.newer || o.advance(step.e) != step.newer {
			t.Errorf("step %d: newer %v", i, !step.newer)
		}
	}
	o.sweep(func(d identity.DeviceID) bool { return d == identityOf(2) })
	if len(o.last) != 1 {
		t.Errorf("%d sequences are remembered", len(o.last))
	}
}

func TestEarlyKeepsTheNewest(t *testing.T) {
	y, now := newEarly(), testTime
	for n := range uint64(20) {
		y.add(record(1, 0, envelope.Presence, 0, n), now)
	}
	y.add(record(1, 0, envelope.Presence, 1, 0), now)
	y.add(record(1, 0, envelope.Presence, 0, 30), now) // a late one of before
	never := func(*envelope.Ephemeral) bool { return false }
	if out, left := y.take(now, never); len(out) != 0 || !left {
		t.Errorf("%d are ready, left %v", len(out), left)
	}
	out, left := y.take(now, func(*envelope.Ephemeral) bool { return true })
	var got []uint64
	for _, e := range out {
		got = append(got, e.At*100+e.N)
	}
	if left || !slices.Equal(got, []uint64{14, 15, 16, 17, 18, 19, 30, 100}) {
		t.Errorf("kept %v, left %v", got, left)
	}
	y.add(record(1, 0, envelope.Presence, 2, 0), now)
	if _, left := y.take(now.Add(earlyLife-1), never); !left {
		t.Error("dropped too soon")
	}
	if _, left := y.take(now.Add(earlyLife), never); left || y.count != 0 || y.bytes != 0 || len(y.of) != 0 {
		t.Error("kept too long")
	}
}

// Whatever is added and taken, the caps hold and the counts agree with what is there.
func TestEarlyBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	y, now := newEarly(), testTime
	for range 20000 {
		e := record(byte(random.IntN(200)), 0, envelope.EphemeralKind(1+random.IntN(2)), 0, random.Uint64N(1000))
		e.Raw = make([]byte, random.IntN(64<<10))
		y.add(e, now)
		now = now.Add(time.Duration(random.IntN(20)) * time.Millisecond)
		if random.IntN(50) == 0 {
			which := identityOf(byte(random.IntN(200)))
			y.take(now, func(e *envelope.Ephemeral) bool { return e.Device == which })
		}
		count, size := 0, 0
		for _, list := range y.of {
			if len(list) > maxEarly || len(list) == 0 {
				t.Fatalf("%d records of one sequence", len(list))
			}
			for _, r := range list {
				count, size = count+1, size+len(r.record.Raw)
			}
		}
		if count != y.count || size != y.bytes || count > maxEarlies || size > earlyBytes {
			t.Fatalf("%d records of %d bytes, counted as %d and %d", count, size, y.count, y.bytes)
		}
	}
}
