package membership

import (
	"context"
	"slices"
	"sync"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// Change is a step of a project's governance: what it amounted to before and after, and the events between, in causal
// order. Steps that follow each other fast are given as one. Without events it says that a missing key has arrived, that
// the root has moved, or that what is proposed has changed.
type Change struct {
	Before, After         *governance.State
	Added                 []governance.EventID
	RootBefore, RootAfter RootStatus
}

// step is a change, and the device that sent all of its events; zero if several did.
type step struct {
	Change
	from identity.DeviceID
	root bool // the root has moved
}

// changes tells observers of changes, in order, from one goroutine and outside all locks.
type changes struct {
	mu        sync.Mutex
	wake      chan struct{} // holds a token while queue is not nil
	queue     *step
	observers []*observer
}

type observer struct{ fn func(step) }

func newChanges() *changes { return &changes{wake: make(chan struct{}, 1)} }

// add queues a change. A slow observer makes later changes into one.
func (c *changes) add(s step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.queue; q != nil {
		q.After, q.RootAfter, q.root = s.After, s.RootAfter, q.root || s.root
		if len(q.Added) == 0 {
			q.from = s.from
		} else if len(s.Added) > 0 && q.from != s.from {
			q.from = identity.DeviceID{}
		}
		q.Added = append(q.Added, s.Added...)
	} else {
		c.queue = &s
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// forget drops what nobody was there to see.
func (c *changes) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = nil
}

func (c *changes) observe(fn func(step)) (stop func()) {
	o := &observer{fn}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observers = append(c.observers, o)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.observers = slices.DeleteFunc(slices.Clone(c.observers), func(x *observer) bool { return x == o })
	}
}

func (c *changes) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		s, observers := c.queue, c.observers
		c.queue = nil
		c.mu.Unlock()
		if s == nil {
			continue
		}
		for _, o := range observers {
			o.fn(*s)
		}
	}
}

// OnChange calls fn after every change from now on, in order, outside the project's lock; a slow fn delays later calls
// and has them merged. The first may hold what happened just before. fn must not call Close. stop ends it; a call under
// way may still finish.
func (p *Project) OnChange(fn func(Change)) (stop func()) {
	return p.changes.observe(func(s step) { fn(s.Change) })
}
