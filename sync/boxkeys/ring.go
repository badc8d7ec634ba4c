package boxkeys

import (
	"context"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// Key is what can be told of a key.
type Key struct {
	ID      wire.ID
	Made    time.Time
	State   State
	Retired governance.EventID // what put another in its place, if anything has
}

// Ring is the keys of this device in one project. It is safe for concurrent use.
type Ring struct {
	keys *Keys
	id   genesis.ProjectID
	// The lock of keys guards what follows.
	hidden  secmem.Hidden[record]
	private map[wire.ID]*kem.PrivateKey // without the first
	kept    bool                        // the vault has a record of it
}

func (r *Ring) rec() *record { return r.hidden.Get() }

// Get returns a key that is not erased.
func (r *Ring) Get(id wire.ID) (*kem.PrivateKey, bool) {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	k := r.find(id)
	switch {
	case k == nil || k.State == Erased:
		return nil, false
	case id == r.keys.first().ID:
		return r.keys.private, r.keys.first().State != Erased
	}
	private, ok := r.private[id]
	return private, ok
}

// All returns what there is to tell of the keys, oldest first.
func (r *Ring) All() []Key {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	var out []Key
	for _, k := range r.rec().Keys {
		x := Key{ID: k.ID, Made: time.Unix(int64(k.Made), 0), State: k.State}
		if k.Retired != nil {
			x.Retired = *k.Retired
		}
		out = append(out, x)
	}
	return out
}

// Prepare returns a key that is not yet in use, and is durable: a new one, or that which an earlier call has prepared and nobody has
// been told of. It fails with [ErrFull], [ErrFixed], or as the vault does.
func (r *Ring) Prepare(ctx context.Context) (*kem.PrivateKey, error) {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	if r.keys.cfg.Vault == nil {
		return nil, ErrFixed
	}
	keys := slices.Clone(r.rec().Keys)
	if i := slices.IndexFunc(keys, func(k stored) bool { return k.State == Fresh && k.ID != r.keys.first().ID }); i >= 0 {
		keys[i].Made = unix(r.keys.cfg.Now())
		return r.private[keys[i].ID], r.write(ctx, keys)
	}
	if r.held() >= maxHeld {
		return nil, ErrFull
	}
	for len(keys) >= maxKeys {
		keys = slices.Delete(keys, r.oldestErased(keys), r.oldestErased(keys)+1)
	}
	k, private, err := newKey(r.keys.cfg)
	if err != nil {
		return nil, err
	}
	if err := r.write(ctx, append(keys, k)); err != nil {
		secmem.Wipe(k.Seed)
		private.Wipe()
		return nil, err
	}
	r.private[k.ID] = private
	return private, nil
}

// oldestErased finds a key to forget; there is one, as fewer are held than are remembered. The first stays.
func (r *Ring) oldestErased(keys []stored) int {
	return slices.IndexFunc(keys, func(k stored) bool { return k.State == Erased && k.ID != r.keys.first().ID })
}

func (r *Ring) held() (n int) {
	for _, k := range r.rec().Keys {
		if k.State != Erased {
			n++
		}
	}
	return n
}

// Follow notes which key the others seal to, and what made it so: the one before is retired since. A key that is not here, or erased,
// retires the one before all the same.
func (r *Ring) Follow(ctx context.Context, current wire.ID, since governance.EventID) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	keys, changed := slices.Clone(r.rec().Keys), false
	for i := range keys {
		k := &keys[i]
		switch {
		case k.State == Erased:
		case k.ID == current && k.State != Current:
			k.State, k.Retired, changed = Current, nil, true
		case k.ID != current && k.State == Current:
			k.State, k.Retired, changed = Retired, &since, true
		}
	}
	if !changed {
		return nil
	}
	return r.write(ctx, keys)
}

// Erase erases keys, in the vault and in memory. The first key of the device goes with the last project that erases it. It fails as
// the vault does; another call then finishes it, or the next start.
func (r *Ring) Erase(ctx context.Context, ids ...wire.ID) error {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	if r.keys.cfg.Vault == nil {
		return ErrFixed
	}
	keys, seeds := slices.Clone(r.rec().Keys), [][]byte(nil)
	for i := range keys {
		if k := &keys[i]; k.State != Erased && slices.Contains(ids, k.ID) {
			seeds = append(seeds, k.Seed)
			k.State, k.Seed = Erased, nil
		}
	}
	if len(seeds) > 0 {
		if err := r.write(ctx, keys); err != nil {
			return err
		}
	}
	for _, seed := range seeds {
		secmem.Wipe(seed)
	}
	for _, id := range ids {
		if private := r.private[id]; private != nil {
			private.Wipe()
			delete(r.private, id)
		}
	}
	err := r.finish(ctx)
	if err == nil {
		err = r.keys.sweep(ctx)
	}
	r.keys.owed = err != nil
	return err
}

// Finished reports whether no Erase was cut short: another one, of no keys, goes on with it.
func (r *Ring) Finished() bool {
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	return !r.keys.owed
}

// finish writes once more after keys were erased, so that the state that the vault keeps beside the newest is without them, too.
func (r *Ring) finish(ctx context.Context) error {
	r.kept = true
	keys, changed := slices.Clone(r.rec().Keys), false
	for i := range keys {
		if k := &keys[i]; k.State == Erased && !k.Swept {
			k.Swept, changed = true, true
		}
	}
	if !changed {
		return nil
	}
	return r.write(ctx, keys)
}

// write keeps the keys in the vault, and then here.
func (r *Ring) write(ctx context.Context, keys []stored) error {
	rec := record{Keys: keys}
	if r.keys.cfg.Vault != nil {
		if err := put(ctx, r.keys.cfg.Vault, nameOf(r.id), &rec); err != nil {
			return err
		}
	}
	*r.rec(), r.kept = rec, true
	return nil
}

func (r *Ring) find(id wire.ID) *stored {
	if i := slices.IndexFunc(r.rec().Keys, func(k stored) bool { return k.ID == id }); i >= 0 {
		return &r.rec().Keys[i]
	}
	return nil
}

func (r *Ring) wipe() {
	for _, k := range r.private {
		k.Wipe()
	}
	r.rec().wipe()
}
