package journal

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/governance"
)

// Content names the last envelope of every chain that counts here, in the order in which a checkpoint lists them. All of
// them are durable when it returns. It fails with the store's error or the context's.
func (j *Journal) Content(ctx context.Context) ([]governance.Cut, error) {
	out, err := j.counting()
	if err == nil {
		err = j.store.Flush(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: content: %w", err)
	}
	return out, nil
}

func (j *Journal) counting() ([]governance.Cut, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []governance.Cut
	for _, c := range j.sortedChains() {
		if c.counted() == 0 {
			continue
		}
		id, err := j.countedID(c)
		if err != nil {
			return nil, err
		}
		out = append(out, governance.Cut{Device: c.key.device, ChainNo: c.key.no, Seq: c.counted(), Envelope: id})
	}
	return out, nil
}

// Counts reports whether exactly the envelope that a cut names is held and counts here, with all that lies before it in
// its chain.
func (j *Journal) Counts(cut governance.Cut) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chains[chainKey{cut.Device, cut.ChainNo}]
	if c == nil || cut.Seq == 0 || cut.Seq > c.counted() {
		return false
	}
	id, err := j.idAt(c, cut.Seq)
	return err == nil && id == cut.Envelope
}
