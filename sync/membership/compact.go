package membership

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/internal/store"
)

// Compact drops the signatures of events that an old checkpoint attests, here and in the store, at once or not at all, and
// returns how many events that were; see [governance.Log.Compact]. Other members keep theirs. A later audit takes the word
// of that checkpoint's signers for them, and so does a newcomer who gets the log from here.
func (p *Project) Compact(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("membership: compact: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return 0, err
	}
	gone, err := p.events.Compact()
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	err = p.write(func(tx *store.Tx) error {
		if err := tx.Drop(p.names.events); err != nil {
			return err
		}
		log := tx.Log(p.names.events)
		for e := range p.events.All() {
			if _, err := log.Append(e.Raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	p.log.Info("membership: dropped signatures that a checkpoint attests", "events", len(gone))
	return len(gone), nil
}
