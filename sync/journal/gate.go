package journal

import (
	"context"
	"sync"
)

// gate lets edits of a document run side by side, and its replacement alone. Unlike a [sync.RWMutex] it lets an edit in
// while a replacement waits, so that an observer may edit. Whoever calls a document's observers is inside.
type gate struct {
	mu     sync.Mutex
	left   *sync.Cond
	phase  int    // of those who enter now
	inside [2]int // by phase
	closed bool

	settling chan struct{} // holds a token while somebody waits for a phase to end
}

func newGate() *gate {
	g := &gate{settling: make(chan struct{}, 1)}
	g.left = sync.NewCond(&g.mu)
	return g
}

// enter is called before an edit, what it returns after it; in between nobody is alone.
func (g *gate) enter() (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	phase := g.phase
	g.inside[phase]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.inside[phase]--; g.inside[phase] == 0 {
			g.left.Broadcast()
		}
	}
}

// alone runs fn while no edit runs, and keeps edits out. It reports false, without running fn, once the gate is closed.
func (g *gate) alone(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.inside != [2]int{} && !g.closed {
		g.left.Wait()
	}
	if g.closed {
		return false
	}
	fn()
	return true
}

// settle returns when all who are inside now have left, so that what they did has been told to the observers. Others
// may enter all the time.
func (g *gate) settle(ctx context.Context) error {
	select {
	case g.settling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.settling }()
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.left.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	// Both phases once: a call that gave up may have left somebody in the other one.
	for range 2 {
		before := g.phase
		g.phase = 1 - before
		for g.inside[before] > 0 && ctx.Err() == nil {
			g.left.Wait()
		}
	}
	return ctx.Err()
}

// close ends waiting to be alone for good.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.left.Broadcast()
}
