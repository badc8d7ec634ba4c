package assets

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// Priority says how eagerly a file is fetched in the background.
type Priority uint8

// The priorities.
const (
	PriorityBackground Priority = iota // after what is pinned higher
	PrioritySoon                       // before other files, in the background
	PriorityNow                        // like what somebody is reading: the background stands still meanwhile
)

// mode is what this device does about a file.
type mode uint8

const (
	modeDefault  mode = iota // fetched
	modePinned               // fetched with a priority
	modeUnpinned             // left alone until somebody reads it
)

// policy is what this device was told about a path.
type policy struct {
	Mode     mode     `cbor:"1,keyasint"`
	Priority Priority `cbor:"2,keyasint"`
}

const policiesMap = "assets.policies"

func loadPolicies(st *store.Store) (map[string]policy, error) {
	out := map[string]policy{}
	err := st.View(func(tx *store.Tx) error {
		for path, raw := range tx.Map(policiesMap).All() {
			var p policy
			if err := wire.Unmarshal(raw, &p, maxEntry); err != nil {
				return err
			}
			out[string(path)] = p
		}
		return tx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("assets: read what is pinned: %w", err)
	}
	return out, nil
}

// Pin fetches a file to this device and keeps it there; p says how eagerly. It holds for whatever is added under the
// path later. It fails with [io/fs.ErrNotExist].
func (a *Assets) Pin(ctx context.Context, path string, p Priority) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("assets: pin: %w", err)
	}
	return a.setPolicy("pin", path, policy{modePinned, min(p, PriorityNow)})
}

// Unpin takes a Pin back and ends fetching the file to this device until somebody reads it. What is here of it stays: it
// may be the only copy there is. It fails with [io/fs.ErrNotExist].
func (a *Assets) Unpin(path string) error {
	return a.setPolicy("unpin", path, policy{Mode: modeUnpinned})
}

func (a *Assets) setPolicy(op, path string, p policy) error {
	path = wire.NFC(path)
	a.mu.Lock()
	_, err := a.file(op, path)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	err = a.cfg.Store.Update(func(tx *store.Tx) error {
		return tx.Map(policiesMap).Put([]byte(path), wire.Marshal(p))
	})
	if err != nil {
		return fmt.Errorf("assets: %s: %w", op, err)
	}
	a.mu.Lock()
	a.policies[path] = p
	if f := a.files[path]; f != nil {
		a.changed(a.info(f))
	}
	a.order = nil
	a.mu.Unlock()
	a.wakeLanes()
	return nil
}
