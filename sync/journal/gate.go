package journal

import "sync"

// gate lets edits of a document run side by side, and its replacement alone. Unlike a [sync.RWMutex] it lets an edit in
// while a replacement waits, so that an observer may edit.
type gate struct {
	mu     sync.Mutex
	free   *sync.Cond
	inside int
	closed bool
}

func newGate() *gate {
	g := &gate{}
	g.free = sync.NewCond(&g.mu)
	return g
}

// enter is called before an edit, leave after it; in between nobody is alone.
func (g *gate) enter() {
	g.mu.Lock()
	g.inside++
	g.mu.Unlock()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 {
		g.free.Broadcast()
	}
}

// alone runs fn while no edit runs, and keeps edits out. It reports false, without running fn, once the gate is closed.
func (g *gate) alone(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.inside > 0 && !g.closed {
		g.free.Wait()
	}
	if g.closed {
		return false
	}
	fn()
	return true
}

// close ends waiting for good.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.free.Broadcast()
}
