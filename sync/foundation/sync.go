package foundation

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// Sync exchanges with one connected device what either side lacks:
//
//	caller                       device
//	hello {project, frontier} ─▶
//	                          ◀─ hello {project, frontier}
//	                          ◀─ run … run, empty frame
//	run … run, empty frame    ─▶
//	                          ◀─ empty frame: all of it was taken in
//
// It returns when both hold the union, but for what either refused. It fails with [ErrRefused] if the device does not
// serve the project, and with [ErrProtocol].
func (f *Foundation) Sync(ctx context.Context, device identity.DeviceID) (err error) {
	x, err := f.open(ctx, device, protocolSync, hello{Project: f.cfg.Project, Frontier: f.frontier()})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			x.abort()
		}
	}()
	answer, err := x.read(MaxHello, answerTimeout)
	if err != nil {
		return refusal(err)
	}
	theirs, err := f.parseHello(answer)
	if err != nil {
		return err
	}
	if err := f.takeRuns(ctx, x); err != nil {
		return err
	}
	if err := f.sendRuns(x, theirs); err != nil {
		return err
	}
	if end, err := x.read(0, idleTimeout); err != nil || len(end) != 0 {
		return fmt.Errorf("%w: no acknowledgement: %w", ErrProtocol, err)
	}
	return x.finish()
}

func (f *Foundation) serveSync(ctx context.Context, x *exchange, opening []byte) error {
	theirs, err := f.parseHello(opening)
	if err != nil {
		return err
	}
	if err := x.write(wire.Marshal(hello{Project: f.cfg.Project, Frontier: f.frontier()})); err != nil {
		return err
	}
	if err := f.sendRuns(x, theirs); err != nil {
		return err
	}
	if err := f.takeRuns(ctx, x); err != nil {
		return err
	}
	return x.write(nil)
}

// chainKey names a chain.
type chainKey struct {
	device  identity.DeviceID
	chainNo uint32
}

// parseHello reads the other side's frontier.
func (f *Foundation) parseHello(b []byte) (map[chainKey]journal.Head, error) {
	var h hello
	if err := wire.Unmarshal(b, &h, MaxHello); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if h.Project != f.cfg.Project {
		return nil, fmt.Errorf("%w: answer about another project", ErrProtocol)
	}
	theirs := make(map[chainKey]journal.Head, len(h.Frontier))
	for _, p := range h.Frontier {
		theirs[chainKey{p.Device, p.ChainNo}] = journal.Head{Device: p.Device, ChainNo: p.ChainNo, Seq: p.Seq, ID: p.ID}
	}
	return theirs, nil
}

func (f *Foundation) frontier() []place {
	var out []place
	for _, h := range f.cfg.Journal.Frontier() {
		if len(out) == wire.MaxElements {
			break // the rest follows in a later round, as the other side grows
		}
		out = append(out, place{Device: h.Device, ChainNo: h.ChainNo, Seq: h.Seq, ID: h.ID})
	}
	return out
}

// sendRuns sends what the other side lacks, chain by chain, and an empty frame.
func (f *Foundation) sendRuns(x *exchange, theirs map[chainKey]journal.Head) error {
	for _, ours := range f.cfg.Journal.Frontier() {
		after := uint64(0)
		if h, ok := theirs[chainKey{ours.Device, ours.ChainNo}]; ok {
			after = f.cfg.Journal.After(h)
		}
		for after < ours.Seq {
			run, last, err := f.cfg.Journal.Run(ours.Device, ours.ChainNo, after)
			if err != nil {
				return err
			}
			if run == nil || last <= after {
				break
			}
			if err := x.write(run); err != nil {
				return err
			}
			after = last
		}
	}
	return x.write(nil)
}

// takeRuns takes in runs until an empty frame. A run that is refused does not end the exchange: the next chain may be
// an honest one's.
func (f *Foundation) takeRuns(ctx context.Context, x *exchange) error {
	for {
		run, err := x.read(MaxRun, idleTimeout)
		if err != nil {
			return err
		}
		if len(run) == 0 {
			return nil
		}
		if !f.live(x.Device()) {
			return ErrRefused // removed meanwhile
		}
		if err := f.cfg.Journal.AcceptRun(ctx, run, x.Device()); err != nil {
			f.server.logger.Debug("run refused", "from", x.Device().Short(), "err", err)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}
