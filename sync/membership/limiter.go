package membership

import (
	"sync"
	"time"
)

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) fill(now time.Time, perSec, burst float64) {
	if b.at.IsZero() {
		b.tokens = burst
	} else if d := now.Sub(b.at); d > 0 {
		b.tokens = min(burst, b.tokens+d.Seconds()*perSec)
	}
	b.at = now
}

// limiter bounds how many invite handshakes are taken on: per address, in all, and at the same time. It drops, it
// never makes anybody wait.
type limiter struct {
	now func() time.Time

	mu        sync.Mutex
	all       bucket
	addresses map[string]*bucket
	running   int
	decisions int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, addresses: map[string]*bucket{}}
}

// enter takes a handshake on. If ok is true, leave must be called.
func (l *limiter) enter(address string) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.address(address, now)
	l.all.fill(now, handshakesPerSec, handshakeBurst)
	if b == nil || b.tokens < 1 || l.all.tokens < 1 || l.running >= maxHandshakes {
		return false
	}
	b.tokens--
	l.all.tokens--
	l.running++
	return true
}

func (l *limiter) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

// address returns the bucket of an address, nil if too many are in use. Full ones are forgotten to make room.
func (l *limiter) address(address string, now time.Time) *bucket {
	b := l.addresses[address]
	if b == nil {
		if len(l.addresses) >= maxAddressesSeen {
			for a, old := range l.addresses {
				if old.fill(now, perAddressPerSec, perAddressBurst); old.tokens >= perAddressBurst {
					delete(l.addresses, a)
				}
			}
		}
		if len(l.addresses) >= maxAddressesSeen {
			return nil
		}
		b = &bucket{}
		l.addresses[address] = b
	}
	b.fill(now, perAddressPerSec, perAddressBurst)
	return b
}

// pause takes a handshake out of those that run while a person decides. If ok is true, resume must be called.
func (l *limiter) pause() (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.decisions >= maxDecisions {
		return false
	}
	l.decisions++
	l.running--
	return true
}

func (l *limiter) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decisions--
	l.running++
}
