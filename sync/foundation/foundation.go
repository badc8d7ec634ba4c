package foundation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// Config is what one project needs. All fields but Pull are required.
type Config struct {
	Project genesis.ProjectID
	State   func() *governance.State // the present one; decides who is served
	Journal *journal.Journal
	// Pull exchanges governance events with a device. It is called when a snapshot rests on events that are not here
	// yet; without it such a document comes as envelopes.
	Pull func(ctx context.Context, device identity.DeviceID) error
}

// Foundation is tier 2 of one project. It is safe for concurrent use.
type Foundation struct {
	server *Server
	cfg    Config
	log    *slog.Logger
	tasks  *task.Group // every exchange runs in it

	mu      sync.Mutex
	serving map[served]int // exchanges that devices have under way with us
	brought map[identity.DeviceID]uint64
}

// served is what exchanges are counted by.
type served struct {
	device   identity.DeviceID
	protocol string
}

// Close stops serving the project, ends exchanges under way and waits for them. It must not be called from a function
// that the journal calls. Closing again does nothing.
func (f *Foundation) Close() {
	f.server.mu.Lock()
	if f.server.projects[f.cfg.Project] == f {
		delete(f.server.projects, f.cfg.Project)
	}
	f.server.mu.Unlock()
	_ = f.tasks.Close() // tasks return no errors
}

// Brought counts what a device has brought that was new, run by run. A round that leaves it as it was brought nothing.
func (f *Foundation) Brought(device identity.DeviceID) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.brought[device]
}

func (f *Foundation) bring(device identity.DeviceID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.brought[device]++
}

// live reports whether a device may be given content and bring it: it is live, and its owner is not in quarantine here.
func (f *Foundation) live(device identity.DeviceID) bool {
	d, ok := f.cfg.State().Device(device)
	return ok && d.Live && !f.cfg.Journal.Withheld(device)
}

// enter counts an exchange that a device leads, and reports whether it may have so many.
func (f *Foundation) enter(device identity.DeviceID, protocol string) bool {
	limit := maxSyncs
	if protocol == protocolSnapshot {
		limit = maxFetches
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := served{device, protocol}
	if f.serving[key] >= limit {
		return false
	}
	f.serving[key]++
	return true
}

func (f *Foundation) leave(device identity.DeviceID, protocol string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := served{device, protocol}
	if f.serving[key]--; f.serving[key] == 0 {
		delete(f.serving, key)
	}
}

// open opens a stream to a connected device. Nothing is told to a device outside the roster, not even the project's
// name.
func (f *Foundation) open(ctx context.Context, device identity.DeviceID, protocol string) (*exchange, error) {
	if !f.live(device) {
		return nil, fmt.Errorf("%w: device %s is not in the roster here, or in quarantine", ErrRefused, device.Short())
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	st, err := f.server.host.Open(ctx, device, protocol)
	if err != nil {
		return nil, fmt.Errorf("foundation: open a stream: %w", err)
	}
	return &exchange{stream: st, with: device, passed: &f.server.passed}, nil
}

// lead opens an exchange with a device and runs fn over it.
func (f *Foundation) lead(ctx context.Context, device identity.DeviceID, protocol string, fn func(context.Context, *exchange) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("foundation: %w", err)
	}
	x, err := f.open(ctx, device, protocol)
	if err != nil {
		return err
	}
	return f.exchange(ctx, x, func(ctx context.Context, x *exchange) error {
		if err := x.send(wire.Marshal(opening{Project: f.cfg.Project})); err != nil {
			return refusal(err)
		}
		return fn(ctx, x)
	})
}

// exchange runs fn over a stream, as one of the tasks that Close waits for. The stream is reset when ctx or the project
// ends, after exchangeTime, and if fn fails; else it is closed.
func (f *Foundation) exchange(ctx context.Context, x *exchange, fn func(context.Context, *exchange) error) error {
	done := make(chan error, 1)
	if !f.tasks.Go("exchange", func(own context.Context) error {
		own, cancel := context.WithCancelCause(own)
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
		own, stop := context.WithTimeoutCause(own, exchangeTime, fmt.Errorf("%w: exchange took longer than %v", ErrStalled, exchangeTime))
		defer stop()
		defer context.AfterFunc(own, func() { _ = x.Reset() })()
		err := fn(own, x)
		if err != nil {
			_ = x.Reset()
		} else {
			_ = x.Close() // all was said; the other side may have closed already
		}
		done <- f.reason(ctx, own, err)
		return nil
	}) {
		_ = x.Reset()
		return ErrClosed
	}
	return <-done
}

// reason says why an exchange failed: a stream that was reset by its context does not tell.
func (f *Foundation) reason(ctx, own context.Context, err error) error {
	switch {
	case err == nil || own.Err() == nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("foundation: %w", context.Cause(ctx))
	case f.tasks.Context().Err() != nil:
		return ErrClosed
	}
	return context.Cause(own)
}

// refusal turns the end of a stream before its first answer into ErrRefused: that is how a peer refuses.
func refusal(err error) error {
	if errors.Is(err, ErrProtocol) || errors.Is(err, ErrStalled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}
