package foundation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// FetchSnapshots gets a snapshot of every document from one connected device. Documents are shown from them at once and
// stay unverified until they have been rebuilt from signed envelopes, which [Foundation.Sync] brings.
//
//	caller                                device
//	opening {project}                  ─▶
//	                                   ◀─ offer of documents
//	wish for documents                 ─▶
//	                                   ◀─ for each: snapshot, or empty frame
//	…
//	wish for nothing                   ─▶
//
// A document whose snapshot is refused, too large, or beyond [MaxSnapshotBytes] in all is left to Sync. It fails as
// Sync does.
func (f *Foundation) FetchSnapshots(ctx context.Context, device identity.DeviceID) error {
	return f.lead(ctx, device, protocolSnapshot, f.fetch)
}

func (f *Foundation) fetch(ctx context.Context, x *exchange) error {
	raw, err := x.receive(maxOffer, answerTime)
	if err != nil {
		return refusal(err)
	}
	var o offer
	if err := decode(raw, &o, maxOffer); err != nil {
		return err
	}
	budget := MaxSnapshotBytes
	behind, err := f.fetchDocs(ctx, x, o.Docs, &budget)
	if err != nil {
		return err
	}
	if len(behind) > 0 && f.cfg.Pull != nil {
		if err := f.cfg.Pull(ctx, x.with); err != nil { // these documents come as envelopes
			f.log.Debug("foundation: events that a snapshot rests on", "err", err)
			behind = nil
		}
		if _, err := f.fetchDocs(ctx, x, behind, &budget); err != nil {
			return err
		}
	}
	return x.send(wire.Marshal(wish{}))
}

// fetchDocs asks for snapshots and shows what can be shown. It returns the documents whose snapshot rests on governance
// events that are not here.
func (f *Foundation) fetchDocs(ctx context.Context, x *exchange, docs []journal.DocID, budget *int) (behind []journal.DocID, err error) {
	for batch := range slices.Chunk(docs, maxWishes) {
		if *budget <= 0 {
			break
		}
		if err := x.send(wire.Marshal(wish{Docs: batch})); err != nil {
			return nil, err
		}
		for _, doc := range batch {
			raw, err := x.receive(MaxSnapshot, buildTime)
			if err != nil {
				return nil, err
			}
			if *budget -= len(raw); len(raw) == 0 {
				continue
			}
			if err := f.permit(x); err != nil {
				return nil, err
			}
			err = f.cfg.Journal.AdoptSnapshot(ctx, raw, x.with)
			switch {
			case ctx.Err() != nil:
				return nil, fmt.Errorf("foundation: %w", ctx.Err())
			case errors.Is(err, journal.ErrClosed):
				return nil, err
			case errors.Is(err, journal.ErrUnverifiable):
				behind = append(behind, doc)
			case err != nil:
				f.log.Debug("foundation: snapshot refused", "device", x.with.Short(), "err", err)
			}
		}
	}
	return behind, nil
}

func (f *Foundation) followSnapshots(ctx context.Context, x *exchange) error {
	docs := f.cfg.Journal.DocIDs()
	if err := x.send(wire.Marshal(offer{Docs: docs[:min(len(docs), MaxSnapshots)]})); err != nil {
		return err
	}
	for {
		raw, err := x.receive(maxWish, wishTime)
		if err != nil {
			return err
		}
		w, err := decodeWish(raw)
		if err != nil || len(w.Docs) == 0 {
			return err
		}
		for _, doc := range w.Docs {
			if err := f.permit(x); err != nil {
				return err
			}
			snapshot, err := f.snapshot(ctx, doc)
			if err != nil {
				return err
			}
			if err := x.send(snapshot); err != nil {
				return err
			}
		}
	}
}

// snapshot makes a document's snapshot; nil if it cannot be had. Few are made at the same time, as each takes several
// times its size in memory meanwhile.
func (f *Foundation) snapshot(ctx context.Context, doc journal.DocID) ([]byte, error) {
	select {
	case f.server.buildings <- struct{}{}:
		defer func() { <-f.server.buildings }()
	case <-ctx.Done():
		return nil, fmt.Errorf("foundation: %w", ctx.Err())
	}
	raw, err := f.cfg.Journal.Snapshot(doc)
	switch {
	case errors.Is(err, journal.ErrClosed):
		return nil, ErrClosed
	case err != nil: // too large, or not known: other documents may be well
		f.log.Debug("foundation: no snapshot", "err", err)
		return nil, nil
	case len(raw) > MaxSnapshot:
		return nil, nil
	}
	return raw, nil
}
