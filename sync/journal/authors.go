package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
)

// Wrote is what some of a document's envelopes did to it.
type Wrote struct {
	Inserted []crdt.Range // by the client IDs of their chains
	Deleted  []crdt.Range // of what others had inserted, and nobody else has deleted
	// Source is the document as its envelopes make it, with the content of all that was deleted.
	Source *crdt.Doc
}

// Wrote collects what the envelopes did that by chooses, of those that count and are shown here. It reads the whole
// history of the document.
func (j *Journal) Wrote(ctx context.Context, doc DocID, by func(Written) bool) (Wrote, error) {
	w := Wrote{Source: crdt.New(crdt.WithoutGC())}
	var others []crdt.Range
	for e, err := range j.History(doc) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Wrote{}, fmt.Errorf("journal: who wrote what: %w", err)
		}
		if !e.Counts || e.Held {
			continue
		}
		chosen := by(e)
		for _, u := range e.Updates {
			if _, err := w.Source.ApplyUpdate(u); err != nil {
				return Wrote{}, fmt.Errorf("journal: who wrote what: %w", err)
			}
			created, deleted, err := crdt.Inspect(u)
			if err != nil {
				return Wrote{}, fmt.Errorf("journal: who wrote what: %w", err)
			}
			if !chosen {
				others = append(others, deleted...)
				continue
			}
			w.Inserted, w.Deleted = append(w.Inserted, created...), append(w.Deleted, deleted...)
		}
	}
	w.Inserted = without(w.Inserted, nil)
	w.Deleted = without(without(w.Deleted, others), w.Inserted)
	return w, nil
}

// without returns what is in some ranges and not in others, sorted and joined.
func without(rs, but []crdt.Range) (out []crdt.Range) {
	spans := joinErased(erasedOf(rs))
	holes := joinErased(erasedOf(but))
	for _, s := range spans {
		at := s.from
		i, _ := slices.BinarySearchFunc(holes, s, func(h, s erased) int {
			switch {
			case h.client != s.client:
				if h.client < s.client {
					return -1
				}
				return 1
			case h.to <= s.from:
				return -1
			}
			return 1
		})
		for ; i < len(holes) && holes[i].client == s.client && holes[i].from < s.to; i++ {
			if at < holes[i].from {
				out = append(out, crdt.Range{Client: s.client, From: at, To: holes[i].from})
			}
			at = max(at, holes[i].to)
		}
		if at < s.to {
			out = append(out, crdt.Range{Client: s.client, From: at, To: s.to})
		}
	}
	return out
}

func erasedOf(rs []crdt.Range) []erased {
	out := make([]erased, 0, len(rs))
	for _, r := range rs {
		out = append(out, erased{r.Client, r.From, r.To})
	}
	return out
}

// Author returns which chain writes under a client ID; false if none that was opened does.
func (j *Journal) Author(client uint64) (o Origin, ok bool) {
	j.view(func(r reading) {
		for _, c := range r.now.Chains() {
			if uint64(c.ClientID) == client && c.Owned {
				o, ok = Origin{Device: c.Device, ChainNo: c.No}, true
			}
		}
	})
	return o, ok
}
