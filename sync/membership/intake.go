package membership

import (
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// intake takes one side's batches of an exchange. Where events come without signatures, because the other side has dropped
// them, all that follows waits for the last batch: by then the checkpoints have come that attest them, or they are refused.
type intake struct {
	p      *Project
	from   identity.DeviceID
	im     *governance.Import // nil while all events are signed
	others batch              // whose keys and addresses wait with the events
	size   int                // of the events that wait
}

func (in *intake) take(b *batch) error {
	if in.im == nil && slices.ContainsFunc(b.Events, governance.IsCompacted) {
		in.im = in.p.events.Import()
	}
	if in.im == nil {
		return in.p.takeBatch(in.from, b)
	}
	if err := in.wait(b); err != nil || !b.Last {
		return err
	}
	if err := in.p.adoptImport(in.im, in.from); err != nil {
		return err
	}
	in.im = nil
	return in.p.takeBatch(in.from, &in.others)
}

// wait keeps a batch until the last one has come. Of all exchanges with a device no more waits than an [governance.Import]
// holds, and of one exchange no more keys and addresses than an answer brings.
func (in *intake) wait(b *batch) error {
	size := 0
	for _, raw := range b.Events {
		size += len(raw)
	}
	in.p.mu.Lock()
	in.size += size
	in.p.waiting[in.from] += size
	full := in.p.waiting[in.from] > governance.MaxImport
	in.p.mu.Unlock()
	if full {
		return fmt.Errorf("membership: %s brings more than %d bytes at once that wait for what attests them", in.from.Short(), governance.MaxImport)
	}
	if err := in.im.Add(b.Events); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	in.others.Boxes = append(in.others.Boxes, b.Boxes...)
	in.others.Addrs = append(in.others.Addrs, b.Addrs...)
	if len(in.others.Boxes) > maxNeeds || len(in.others.Addrs) > maxRecords {
		return fmt.Errorf("%w: %d keys and %d addresses in one exchange", ErrProtocol, len(in.others.Boxes), len(in.others.Addrs))
	}
	return nil
}

// close gives back what waited. It must be called.
func (in *intake) close() {
	in.p.mu.Lock()
	defer in.p.mu.Unlock()
	if in.p.waiting[in.from] -= in.size; in.p.waiting[in.from] <= 0 {
		delete(in.p.waiting, in.from)
	}
	in.size = 0
}

// adoptImport is take for events that waited for what attests them.
func (p *Project) adoptImport(im *governance.Import, from identity.DeviceID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	res, refused := im.Adopt(func(_ int, err error) bool { return p.tolerable(from, err) })
	if refused != nil {
		refused = fmt.Errorf("%w: %w", ErrProtocol, refused)
	}
	if len(res.Added) == 0 {
		return refused
	}
	return errors.Join(p.settle(res.Added, from, nil), refused)
}

// tolerable reports whether what ails a received event ends nothing. p.mu is held.
func (p *Project) tolerable(from identity.DeviceID, err error) bool {
	if errors.Is(err, governance.ErrAhead) {
		p.log.Warn("membership: a checkpoint from the future waits for the clock", "peer", from.Short(), "err", err)
		return true // an honest peer may have it whose clock is right; what rests on it is asked for again
	}
	return errors.Is(err, governance.ErrOrphansFull)
}
