package live

import (
	"context"
	"slices"
	"sync"
)

// notices tells observers of presence, one change at a time and in order, from a goroutine of its own: what they do
// holds nothing up. Changes of one state that nobody has been told of yet become one, the newest.
type notices struct {
	wake chan struct{}

	mu        sync.Mutex
	observers []*observer
	queue     []presenceKey
	latest    map[presenceKey]State // of those in queue
}

type observer struct {
	doc docID
	fn  func(State)
}

func newNotices() *notices {
	return &notices{wake: make(chan struct{}, 1), latest: map[presenceKey]State{}}
}

// observe adds an observer; after stop, no further call begins.
func (n *notices) observe(doc docID, fn func(State)) (stop func()) {
	o := &observer{doc, fn}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.observers = append(n.observers, o)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.observers = slices.DeleteFunc(n.observers, func(x *observer) bool { return x == o })
	}
}

// tell queues a change.
func (n *notices) tell(key presenceKey, st State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, queued := n.latest[key]; !queued {
		if len(n.queue) >= 2*maxPresences { // an observer hangs
			delete(n.latest, n.queue[0])
			n.queue = n.queue[1:]
		}
		n.queue = append(n.queue, key)
	}
	n.latest[key] = st
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// next takes the oldest change from the queue, with those who want it.
func (n *notices) next() (st State, to []*observer, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		n.queue = nil
		return State{}, nil, false
	}
	key := n.queue[0]
	n.queue = n.queue[1:]
	st = n.latest[key]
	delete(n.latest, key)
	for _, o := range n.observers {
		if o.doc == key.doc {
			to = append(to, o)
		}
	}
	return st, to, true
}

// wants reports whether an observer has not stopped meanwhile.
func (n *notices) wants(o *observer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.observers, o)
}

// run calls the observers until ctx ends.
func (n *notices) run(ctx context.Context) error {
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return nil
		}
		for {
			st, to, ok := n.next()
			if !ok || ctx.Err() != nil {
				break
			}
			for _, o := range to {
				if n.wants(o) {
					o.fn(st)
				}
			}
		}
	}
}
