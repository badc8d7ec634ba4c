package live

import (
	"sync"
	"time"

	"github.com/studio-whip/collab/identity"
)

// bucket is a token bucket. It is not safe for concurrent use.
type bucket struct {
	rate, burst float64
	tokens      float64
	at          time.Time
}

func newBucket(rate, burst float64, now time.Time) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst, at: now}
}

// fill adds what has dropped in. A clock that goes back adds nothing.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*d.Seconds())
	}
	b.at = now
}

// after says how long it takes until a token can be taken that leaves reserve behind; 0: now.
func (b *bucket) after(now time.Time, reserve float64) time.Duration {
	b.fill(now)
	if short := reserve + 1 - b.tokens; short > 0 {
		return max(time.Millisecond, 1+time.Duration(short/b.rate*float64(time.Second)))
	}
	return 0
}

// take takes a token if there is one beyond reserve.
func (b *bucket) take(now time.Time, reserve float64) bool {
	if b.after(now, reserve) > 0 {
		return false
	}
	b.tokens--
	return true
}

// limiter has a bucket for each device, so that one device that floods costs nobody else their turn. It is asked about
// members only: there are as many buckets as devices of the roster, and those of the quiet are forgotten.
type limiter struct {
	rate, burst float64

	mu      sync.Mutex
	buckets map[identity.DeviceID]*bucket
}

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: burst, buckets: map[identity.DeviceID]*bucket{}}
}

// of returns a device's bucket; l.mu is held.
func (l *limiter) of(device identity.DeviceID, now time.Time) *bucket {
	b := l.buckets[device]
	if b == nil {
		b = newBucket(l.rate, l.burst, now)
		l.buckets[device] = b
	}
	return b
}

// ready reports whether take would succeed.
func (l *limiter) ready(device identity.DeviceID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(device, now).after(now, 0) == 0
}

// take takes one token of the device.
func (l *limiter) take(device identity.DeviceID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(device, now).take(now, 0)
}

// sweep forgets full buckets.
func (l *limiter) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for device, b := range l.buckets {
		if b.fill(now); b.tokens >= b.burst {
			delete(l.buckets, device)
		}
	}
}

// budget is what this device itself may send. It is safe for concurrent use.
type budget struct {
	mu sync.Mutex
	b  *bucket
}

func newBudget(now time.Time) *budget { return &budget{b: newBucket(ownRate, ownBurst, now)} }

func (g *budget) take(now time.Time, reserve float64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.take(now, reserve)
}

func (g *budget) after(now time.Time, reserve float64) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.after(now, reserve)
}
