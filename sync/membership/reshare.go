package membership

import (
	"context"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
)

// Reshare is [genesis.Refresh] or [genesis.Rekey].
type Reshare func(ctx context.Context, random io.Reader, c genesis.Change) (*genesis.Reshared, error)

// ChangeShares makes new shares of this project's root: it adds to c what the project knows, and takes the new record into
// the chain, durably, before the old shares are erased; members are told. It fails as do does, and where no record can be
// made now.
func (p *Project) ChangeShares(ctx context.Context, c genesis.Change, do Reshare) (*genesis.Reshared, error) {
	p.mu.Lock()
	err := p.ready()
	c.Root = p.events.Root()
	if err == nil {
		c.Frontier = p.events.RootFrontier()
		c.Abandons, err = p.toAbandon(c.Root)
	}
	p.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("membership: new shares: %w", err)
	}
	records := p.RootRecords()
	c.Records, c.Ledger, c.Now, c.Store = records[:len(records)-1], p.Ledger(), p.reg.cfg.Now(), p.storeRoot
	return do(ctx, p.reg.cfg.Random, c)
}

// storeRoot makes a record that was made here the one in force.
func (p *Project) storeRoot(_ context.Context, next *genesis.Root) error {
	if err := p.TakeRoots(p.self.Device.ID, [][]byte{next.Raw}); err != nil {
		return err
	}
	if now := p.Root(); now.ID != next.ID {
		return fmt.Errorf("%w: version %d counts, not the new one", ErrRootBehind, now.N)
	}
	return nil
}
