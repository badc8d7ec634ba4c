// Package task runs the goroutines that belong to one owner and ends them with it: what [Group.Go] started has
// returned when [Group.Close] returns.
package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// maxErrors is how many errors a group keeps: a long life with many short tasks must not collect without bound.
const maxErrors = 16

// Group owns goroutines that share one context. It is safe for concurrent use.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	idle    *sync.Cond
	running int
	stopped bool
	errs    []error
}

// New returns a group whose context ends with ctx or at [Group.Stop]. Close it, or its context is never released.
func New(ctx context.Context) *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.idle = sync.NewCond(&g.mu)
	return g
}

// Go runs fn in a goroutine; fn must return soon after its context ends. It reports false, and runs nothing, once the
// group is stopped. An error that fn returns is kept for [Group.Wait], with name before it, unless it only says that
// the group's context has ended. It does not stop the others. A panic ends the program as anywhere.
func (g *Group) Go(name string, fn func(ctx context.Context) error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped || g.ctx.Err() != nil {
		return false
	}
	g.running++
	go func() {
		var err error
		defer func() { g.done(name, err) }()
		err = fn(g.ctx)
	}()
	return true
}

func (g *Group) done(name string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && len(g.errs) < maxErrors && (g.ctx.Err() == nil || !errors.Is(err, g.ctx.Err())) {
		g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
	}
	g.running--
	if g.running == 0 {
		g.idle.Broadcast()
	}
}

// Context ends when the group is stopped.
func (g *Group) Context() context.Context { return g.ctx }

// Stop ends the context and refuses new work. It does not wait and may be called from within the group.
func (g *Group) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	g.cancel()
}

// Wait returns when nothing runs, with the errors kept so far joined. It must not be called from within the group.
func (g *Group) Wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.running > 0 {
		g.idle.Wait()
	}
	return errors.Join(g.errs...)
}

// Close stops the group and waits. Closing again gives the same answer.
func (g *Group) Close() error {
	g.Stop()
	return g.Wait()
}
