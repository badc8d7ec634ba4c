package journal

import (
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// waitlist keeps envelopes that cannot be judged yet, for a while: each is charged to its author if its signature has
// been verified, else to whoever sent it, so that nobody uses up another's room.
type waitlist struct {
	buckets map[identity.DeviceID]*bucket
	count   int
}

type bucket struct {
	list  []*waiter
	bytes int
}

type waiter struct {
	env      *envelope.Envelope
	from     identity.DeviceID
	since    time.Time
	verified bool
}

// add keeps an envelope and reports whether there was room; what does not fit is left to anti-entropy. An envelope
// that waits already is not kept twice.
func (w *waitlist) add(charged identity.DeviceID, n *waiter) bool {
	b := w.buckets[charged]
	if b == nil {
		b = &bucket{}
	}
	for _, o := range b.list {
		if o.env.ID == n.env.ID {
			return true
		}
	}
	size := n.env.Size()
	if len(b.list) >= MaxWaiting || b.bytes+size > MaxWaitingBytes || w.count >= MaxWaitingAll {
		return false
	}
	b.list, b.bytes = append(b.list, n), b.bytes+size
	w.buckets[charged] = b
	w.count++
	return true
}

// expire forgets what has waited too long.
func (w *waitlist) expire(now time.Time) {
	w.take(func(n *waiter) bool { return now.Sub(n.since) >= MaxWait })
}

// take removes and returns what match chooses.
func (w *waitlist) take(match func(*waiter) bool) (out []*waiter) {
	for id, b := range w.buckets {
		rest := b.list[:0]
		for _, n := range b.list {
			if match(n) {
				out = append(out, n)
				b.bytes -= n.env.Size()
				w.count--
			} else {
				rest = append(rest, n)
			}
		}
		clear(b.list[len(rest):])
		if b.list = rest; len(rest) == 0 {
			delete(w.buckets, id)
		}
	}
	return out
}

// retryAll judges everything again that waits; j.mu is held.
func (j *Journal) retryAll() {
	j.waiting.expire(j.clock())
	j.retry(func(*waiter) bool { return true })
}

// retryChain judges again what waited for the next envelope of a chain.
func (j *Journal) retryChain(key chainKey) {
	if j.waiting.count == 0 {
		return
	}
	j.retry(func(n *waiter) bool { return keyOf(n.env) == key })
}

// retry judges the chosen again, in the order of their chains, until none gets further. What still cannot be judged
// goes back with the time it has waited already.
func (j *Journal) retry(match func(*waiter) bool) {
	if j.retrying {
		return // what is accepted below is picked up by the loop that is running
	}
	j.retrying = true
	defer func() { j.retrying = false }()
	for again := true; again; {
		again = false
		list := j.waiting.take(match)
		sortWaiters(list)
		for _, n := range list {
			switch v, _ := j.accept(n); v {
			case Accepted:
				again = true
			}
		}
	}
}
