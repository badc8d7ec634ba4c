package foundation

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// FetchSnapshots gets a snapshot of every document from one connected device. Documents are shown from them at once and
// stay unverified until they have been rebuilt from signed envelopes, which [Foundation.Sync] brings.
//
//	caller                device
//	wish {project}     ─▶
//	                   ◀─ snapshot … snapshot, empty frame
func (f *Foundation) FetchSnapshots(ctx context.Context, device identity.DeviceID) (err error) {
	x, err := f.open(ctx, device, protocolSnapshot, hello{Project: f.cfg.Project})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			x.abort()
		}
	}()
	for n := 0; n <= MaxSnapshots; n++ {
		raw, err := x.read(MaxSnapshot, idleTimeout)
		if err != nil && n == 0 {
			return refusal(err)
		}
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return x.finish()
		}
		if err := f.cfg.Journal.AdoptSnapshot(ctx, raw, device); err != nil {
			return fmt.Errorf("foundation: snapshot from %s: %w", device.Short(), err)
		}
	}
	return fmt.Errorf("%w: more than %d snapshots", ErrProtocol, MaxSnapshots)
}

func (f *Foundation) serveSnapshots(_ context.Context, x *exchange, opening []byte) error {
	var h hello
	if err := wire.Unmarshal(opening, &h, MaxHello); err != nil || len(h.Frontier) != 0 {
		return fmt.Errorf("%w: wish for snapshots: %w", ErrProtocol, err)
	}
	for n, doc := range f.cfg.Journal.DocIDs() {
		if n == MaxSnapshots || !f.live(x.Device()) {
			break
		}
		raw, err := f.cfg.Journal.Snapshot(doc)
		if err != nil {
			return err
		}
		if len(raw) > MaxSnapshot {
			continue // comes as envelopes
		}
		if err := x.write(raw); err != nil {
			return err
		}
	}
	return x.write(nil)
}
