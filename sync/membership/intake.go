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
	others []*batch           // whose keys and addresses wait with the events
}

func (in *intake) take(b *batch) error {
	if in.im == nil && slices.ContainsFunc(b.Events, governance.IsCompacted) {
		in.im = in.p.events.Import()
	}
	if in.im == nil {
		return in.p.takeBatch(in.from, b)
	}
	if err := in.im.Add(b.Events); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if len(b.Boxes)+len(b.Addrs) > 0 {
		in.others = append(in.others, &batch{Boxes: b.Boxes, Addrs: b.Addrs})
	}
	if !b.Last {
		return nil
	}
	if err := in.p.adoptImport(in.im, in.from); err != nil {
		return err
	}
	in.im = nil
	for _, b := range in.others {
		if err := in.p.takeBatch(in.from, b); err != nil {
			return err
		}
	}
	return nil
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
