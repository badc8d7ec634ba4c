// Package feed hands events to subscribers that may be slow without ever making the sender wait.
//
// Every subscriber has its own bounded queue. An event whose key equals that of one still waiting replaces it in
// place, so the subscriber sees the latest value once; when the queue is full the oldest event is dropped, of those first that
// are not to be kept, and the subscriber is told in one Missed event how many. Events are hints: what must not be lost is
// state, to be read.
package feed

import (
	"context"
	"sync"
)

// DefaultSize is how many events wait for one subscriber if [Options] does not say.
const DefaultSize = 256

// Options shape a feed.
type Options[T any] struct {
	// Size is how many events may wait for one subscriber; zero means [DefaultSize].
	Size int
	// Key names what an event is about; a later event with an equal key (compared by ==) replaces an earlier one
	// that still waits, if merge is true. Nil means that no events merge.
	Key func(T) (key any, merge bool)
	// Keep says that an event is dropped only when nothing but such events waits, so that what strangers can send at will
	// does not push it out. Nil means that all are alike.
	Keep func(T) bool
	// Missed makes the event that stands for n dropped ones. Nil means that they are dropped silently.
	Missed func(n uint64) T
}

// Feed distributes events. It is safe for concurrent use.
type Feed[T any] struct {
	options Options[T]
	closing chan struct{}
	workers sync.WaitGroup

	mu     sync.Mutex
	ended  chan struct{} // closed when nothing more is sent
	closed bool
	subs   map[*subscriber[T]]struct{}
}

// New returns a feed. Close it to release its goroutines.
func New[T any](o Options[T]) *Feed[T] {
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	return &Feed[T]{
		options: o, closing: make(chan struct{}), ended: make(chan struct{}), subs: make(map[*subscriber[T]]struct{}),
	}
}

// Send queues v for everyone who is subscribed now. It never blocks on a subscriber and does nothing once the feed has
// ended. Events of one sender arrive in order.
func (f *Feed[T]) Send(v T) {
	it := &item[T]{value: v}
	if f.options.Key != nil {
		it.key, it.merge = f.options.Key(v)
	}
	if f.options.Keep != nil {
		it.keep = f.options.Keep(v)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() {
		return
	}
	for s := range f.subs {
		s.push(*it, f.options.Size)
	}
}

// Subscribe returns a channel of the events sent from now on. It is closed when ctx ends or the feed is closed; what
// waited then is not delivered. It is also closed when the feed ends, after what waited was delivered. The channel may be abandoned if ctx is cancelled.
func (f *Feed[T]) Subscribe(ctx context.Context) <-chan T {
	out := make(chan T)
	s := &subscriber[T]{wake: make(chan struct{}, 1), waiting: make(map[any]*item[T])}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over() || ctx.Err() != nil {
		close(out)
		return out
	}
	f.subs[s] = struct{}{}
	f.workers.Go(func() {
		defer close(out)
		defer f.remove(s)
		f.deliver(ctx, s, out)
	})
	return out
}

// over reports whether nothing more is sent; f.mu is held.
func (f *Feed[T]) over() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// End says that nothing more will be sent: each subscriber's channel is closed once what waited for it was received.
// It does not wait, and who does not read holds a goroutine until its context ends or [Feed.Close] is called.
func (f *Feed[T]) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over() {
		close(f.ended)
	}
}

// Close closes every subscriber's channel and waits until the feed's goroutines have ended. It may be called twice.
func (f *Feed[T]) Close() {
	f.End()
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
	}
	f.mu.Unlock()
	f.workers.Wait()
}

func (f *Feed[T]) remove(s *subscriber[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, s)
}

// deliver hands events to out until ctx ends or the feed closes.
func (f *Feed[T]) deliver(ctx context.Context, s *subscriber[T], out chan<- T) {
	for {
		v, ok := f.next(s)
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-f.ended:
				if f.empty(s) { // nothing was sent between the look and the end
					return
				}
				continue
			case <-ctx.Done():
				return
			case <-f.closing:
				return
			}
		}
		select {
		case out <- v:
		case <-ctx.Done():
			return
		case <-f.closing:
			return
		}
	}
}

// empty reports whether nothing waits for s.
func (f *Feed[T]) empty(s *subscriber[T]) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(s.queue) == 0 && s.missed == 0
}

// next takes the event that s is to see now. What was dropped is told first: without Keep all of it
// is older than what waits.
func (f *Feed[T]) next(s *subscriber[T]) (v T, ok bool) {
	f.mu.Lock()
	missed := s.missed
	s.missed = 0
	if missed == 0 || f.options.Missed == nil {
		v, ok = s.pop()
		f.mu.Unlock()
		return v, ok
	}
	f.mu.Unlock()
	return f.options.Missed(missed), true
}
