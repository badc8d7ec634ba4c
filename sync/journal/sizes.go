package journal

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/store"
)

// Size is how large a document is on this device.
type Size struct {
	Envelopes uint64 // held of it, whether they count or not
	Open      bool
	Bytes     int // of the document as one update; 0 unless it is open
}

// Sizes describes the documents that are known here, the journal's own among them, the largest first. It does not tell
// which is which. Open documents are encoded for it.
func (j *Journal) Sizes() ([]Size, error) {
	ids := j.DocIDs()
	open := map[DocID]*crdt.Doc{}
	j.mu.Lock()
	for id, r := range j.replicas {
		open[id] = r.CRDT()
	}
	j.mu.Unlock()
	sizes := make([]Size, len(ids))
	err := j.store.View(func(tx *store.Tx) error {
		for i, id := range ids {
			sizes[i].Envelopes = tx.Log(docLog(id)).Len()
		}
		return tx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("journal: sizes: %w", err)
	}
	for i, id := range ids {
		doc := open[id]
		if doc == nil {
			continue
		}
		update, err := doc.EncodeUpdate(nil)
		if err != nil {
			return nil, fmt.Errorf("journal: sizes: %w", err)
		}
		sizes[i].Open, sizes[i].Bytes = true, len(update)
	}
	slices.SortFunc(sizes, func(a, b Size) int {
		return cmp.Or(cmp.Compare(b.Envelopes, a.Envelopes), cmp.Compare(b.Bytes, a.Bytes))
	})
	return sizes, nil
}

// Waiting is how many envelopes of others wait for what they rest on.
func (j *Journal) Waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting.count
}
