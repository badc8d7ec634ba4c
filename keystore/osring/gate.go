package osring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// gate admits one call at a time to a keychain that knows no deadlines: a call that hangs for ever costs one goroutine
// and no more.
type gate struct {
	turn chan struct{}

	mu      sync.Mutex
	started time.Time // when the call whose turn it is began; zero if there is none
}

func newGate() *gate { return &gate{turn: make(chan struct{}, 1)} }

// process is the gate of all rings: the keychain's library is one per process.
var process = newGate()

// call runs fn once ready finds the keychain usable. A call that is given up is left behind with its turn; once it has
// lasted longer than any call may, others fail at once with [keystore.ErrTimeout] until it returns.
func (g *gate) call(ctx context.Context, ready func(context.Context) error, fn func() ([]byte, error)) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := g.enter(limited); err != nil {
		return nil, because(ctx, err)
	}
	if err := ready(limited); err != nil {
		g.leave()
		return nil, because(ctx, err)
	}
	type result struct {
		secret []byte
		err    error
	}
	done := make(chan result)
	go func() {
		defer g.leave()
		secret, err := fn()
		select {
		case done <- result{secret, err}:
		case <-limited.Done():
			secmem.Wipe(secret)
		}
	}()
	select {
	case r := <-done:
		return r.secret, r.err
	case <-limited.Done():
		return nil, because(ctx, limited.Err())
	}
}

func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.stuck() {
		return fmt.Errorf("%w: an earlier call still hangs", keystore.ErrTimeout)
	}
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = time.Now()
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	g.started = time.Time{}
	g.mu.Unlock()
	<-g.turn
}

func (g *gate) stuck() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.started.IsZero() && time.Since(g.started) >= callTimeout
}

// because tells a caller's own cancellation from a keychain that is slow.
func because(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, keystore.ErrTimeout) {
		return fmt.Errorf("%w: %w", keystore.ErrTimeout, err)
	}
	return err
}
