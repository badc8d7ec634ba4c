package live

import (
	"sync"
	"time"

	"github.com/studio-whip/collab/identity"
)

// limiter is a token bucket for each device, so that one device that floods costs nobody else their turn.
type limiter struct {
	mu      sync.Mutex
	buckets map[identity.DeviceID]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter() *limiter { return &limiter{buckets: map[identity.DeviceID]*bucket{}} }

// allow takes one token of the device, which is a member's: there are as many buckets as live devices at most.
func (l *limiter) allow(device identity.DeviceID, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[device]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		l.buckets[device] = b
	}
	b.tokens = min(burst, b.tokens+rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
