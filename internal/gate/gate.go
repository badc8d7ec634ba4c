// Package gate calls into what knows no deadlines: a keychain that may wait for a person, a card reader that may wait
// for a touch. [Call] returns in time whatever happens; a call that hangs for ever costs one goroutine and no more,
// because nothing else is let through meanwhile.
package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrTimeout means that there was no answer within the limit of the call. It wraps context.DeadlineExceeded.
var ErrTimeout = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// Gate admits one call at a time.
type Gate struct {
	turn chan struct{}

	mu   sync.Mutex
	late time.Time // when the call whose turn it is will have lasted longer than any may; zero if there is none
}

// New returns an open gate.
func New() *Gate { return &Gate{turn: make(chan struct{}, 1)} }

// Call runs fn when its turn comes, in a goroutine of its own, and waits for it, but no longer than limit, the wait for
// its turn included. It fails with [ErrTimeout], or with ctx's error if ctx was cancelled. fn's context ends at the same
// time. A call that is given up goes on alone and keeps its turn; what it returns goes to discard. Once it has lasted
// longer than limit, other calls fail at once until it returns.
func Call[T any](ctx context.Context, g *Gate, limit time.Duration, fn func(context.Context) (T, error), discard func(T)) (T, error) {
	var none T
	limited, cancel := context.WithTimeout(ctx, limit)
	if err := g.enter(limited, limit); err != nil {
		cancel()
		return none, because(ctx, err)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		defer cancel()
		defer g.leave()
		value, err := fn(limited)
		select {
		case done <- result{value, err}:
		case <-limited.Done():
			discard(value)
		}
	}()
	select {
	case r := <-done:
		return r.value, because(ctx, r.err)
	case <-limited.Done():
		return none, because(ctx, limited.Err())
	}
}

func (g *Gate) enter(ctx context.Context, limit time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.stuck() {
		return fmt.Errorf("an earlier call still hangs: %w", ErrTimeout)
	}
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = time.Now().Add(limit)
	return nil
}

func (g *Gate) leave() {
	g.mu.Lock()
	g.late = time.Time{}
	g.mu.Unlock()
	<-g.turn
}

func (g *Gate) stuck() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.late.IsZero() && !time.Now().Before(g.late)
}

// because tells a caller's own cancellation from an answer that did not come in time.
func because(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrTimeout) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}
