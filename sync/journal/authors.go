package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
)

// Wrote is what some of a document's envelopes did to it.
type Wrote struct {
	Inserted []crdt.Range // by the client IDs of their chains
	Deleted  []crdt.Range // what is deleted, and not by any of the other envelopes; see [crdt.Txn.Revert]
	// Source is the document as its envelopes make it, with the content of all that was deleted.
	Source *crdt.Doc
}

// Wrote collects what the envelopes did that by chooses, of those that count and are shown here. It reads the whole
// history of the document.
func (j *Journal) Wrote(ctx context.Context, doc DocID, by func(Written) bool) (w Wrote, err error) {
	defer func() {
		if err != nil {
			w, err = Wrote{}, fmt.Errorf("journal: who wrote what: %w", err)
		}
	}()
	w.Source = crdt.New(crdt.WithoutGC())
	var others []crdt.Range
	for e, err := range j.History(doc) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return w, err
		}
		if !e.Counts || e.Held {
			continue
		}
		chosen := by(e)
		for _, u := range e.Updates {
			if _, err := w.Source.ApplyUpdate(u); err != nil {
				return w, err
			}
			created, deleted, err := crdt.Inspect(u)
			if err != nil {
				return w, err
			}
			if chosen {
				w.Inserted = append(w.Inserted, created...)
			} else {
				others = append(others, deleted...)
			}
		}
	}
	all, err := w.Source.EncodeUpdate(nil)
	if err != nil {
		return w, err
	}
	_, gone, err := crdt.Inspect(all)
	w.Inserted, w.Deleted = without(w.Inserted, nil), without(gone, others)
	return w, err
}

// Unread returns how many units a document shows, or has deleted, that chains of some devices inserted and that its
// envelopes here do not: it rests on a snapshot, and the envelopes are on their way. source is [Wrote].Source.
func (j *Journal) Unread(doc DocID, source *crdt.Doc, of func(identity.DeviceID) bool) (units uint64) {
	j.mu.Lock()
	r := j.replicas[doc]
	j.mu.Unlock()
	if r == nil || !r.Unverified() {
		return 0
	}
	var clients []uint64
	j.view(func(at reading) {
		for _, c := range at.now.Chains() {
			if c.Owned && of(c.Device) {
				clients = append(clients, uint64(c.ClientID))
			}
		}
	})
	shown := r.CRDT()
	for _, c := range clients {
		all := clockOf(shown, c)
		units += all - min(all, clockOf(source, c))
	}
	return units
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
