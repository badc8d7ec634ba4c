package boxkeys

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

var (
	// ErrDamaged means that what the vault holds of a key cannot be read: restore the vault from a backup.
	ErrDamaged = errors.New("boxkeys: damaged")
	// ErrFull means that a project has as many keys that are not erased as are kept: it gets no new one before one is erased.
	ErrFull = errors.New("boxkeys: too many keys that may not be erased yet")
	// ErrFixed means that there is no vault, so that the first key stays for good.
	ErrFixed = errors.New("boxkeys: no vault to keep another key in")
)

// Config is what a device's keys are made of. All fields are required.
type Config struct {
	Vault  keystore.Store
	Random io.Reader
	Now    func() time.Time
	// Projects lists the projects on this device: the first key stays until each has erased it. It is called with the keys locked.
	Projects func() ([]genesis.ProjectID, error)
}

// Keys are the KEM keys of one device. They are safe for concurrent use.
type Keys struct {
	cfg Config

	mu      sync.Mutex
	hidden  secmem.Hidden[stored] // the first key, without its seed
	private *kem.PrivateKey
	rings   map[genesis.ProjectID]*Ring
	owed    bool // an Erase was cut short
}

func newKeys(cfg Config, first stored, private *kem.PrivateKey) *Keys {
	return &Keys{cfg: cfg, hidden: secmem.Hide(first), private: private, rings: map[genesis.ProjectID]*Ring{}}
}

func (k *Keys) first() *stored { return k.hidden.Get() }

// Names in the vault.
const nameFirst = "kem-first"

func nameOf(p genesis.ProjectID) string { return "kem-" + hex.EncodeToString(p[:]) }

// Open reads a device's keys, or draws the first one of a new device. It finishes what a crash has left of an [Ring.Erase]. It
// fails with [ErrDamaged], or as the vault does.
func Open(ctx context.Context, cfg Config) (*Keys, error) {
	k := newKeys(cfg, stored{}, nil)
	raw, err := cfg.Vault.Get(ctx, nameFirst)
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		return k, k.draw(ctx)
	case err != nil:
		return nil, fmt.Errorf("boxkeys: %w", err)
	}
	defer secmem.Wipe(raw)
	r, err := readRecord(raw, wire.ID{})
	if err != nil {
		return nil, fmt.Errorf("the device's first key: %w", err)
	}
	defer r.wipe()
	*k.first() = r.Keys[0]
	if k.first().State != Erased {
		k.private = kem.NewPrivateKey([kem.SeedSize]byte(k.first().Seed))
	}
	k.first().Seed = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first().State == Erased && !k.first().Swept {
		err = k.sweepFirst(ctx)
	}
	return k, errors.Join(err, k.sweep(ctx))
}

// Fixed returns keys without a vault: first serves all projects, for good.
func Fixed(first *kem.PrivateKey) *Keys {
	return newKeys(Config{}, stored{ID: identity.KemID(first.Public()), State: Current}, first)
}

// draw makes the first key of a new device.
func (k *Keys) draw(ctx context.Context) error {
	first, private, err := newKey(k.cfg)
	if err != nil {
		return err
	}
	first.State = Current
	err = put(ctx, k.cfg.Vault, nameFirst, &record{Keys: []stored{first}})
	secmem.Wipe(first.Seed)
	if err != nil {
		return err
	}
	first.Seed = nil
	*k.first(), k.private = first, private
	return nil
}

func newKey(cfg Config) (stored, *kem.PrivateKey, error) {
	seed := make([]byte, kem.SeedSize)
	if _, err := io.ReadFull(cfg.Random, seed); err != nil {
		return stored{}, nil, fmt.Errorf("boxkeys: draw a key: %w", err)
	}
	private := kem.NewPrivateKey([kem.SeedSize]byte(seed))
	return stored{ID: identity.KemID(private.Public()), Seed: seed, Made: unix(cfg.Now()), State: Fresh}, private, nil
}

func unix(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }

func put(ctx context.Context, vault keystore.Store, name string, r *record) error {
	raw := wire.Marshal(r)
	defer secmem.Wipe(raw)
	if err := vault.Put(ctx, name, raw); err != nil {
		return fmt.Errorf("boxkeys: %w", err)
	}
	return nil
}

// First returns the key that the device's certificate names, nil if it was erased.
func (k *Keys) First() *kem.PrivateKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first().State == Erased {
		return nil
	}
	return k.private
}

// FirstID names the key that the device's certificate names, erased or not.
func (k *Keys) FirstID() wire.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.first().ID
}

// Project returns the keys of a project, the same whenever it is asked. It fails with [ErrDamaged], or as the vault does.
func (k *Keys) Project(ctx context.Context, id genesis.ProjectID) (*Ring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.rings[id]; r != nil {
		return r, nil
	}
	r, err := k.load(ctx, id)
	if err == nil {
		k.rings[id] = r
	}
	return r, err
}

// load reads a project's keys. One that has none kept has the first. k.mu is held.
func (k *Keys) load(ctx context.Context, id genesis.ProjectID) (*Ring, error) {
	r := &Ring{keys: k, id: id, hidden: secmem.Hide(record{}), private: map[wire.ID]*kem.PrivateKey{}}
	first := *k.first()
	if k.cfg.Vault == nil {
		*r.rec() = record{Keys: []stored{first}}
		return r, nil
	}
	raw, err := k.cfg.Vault.Get(ctx, nameOf(id))
	if errors.Is(err, keystore.ErrNotFound) {
		*r.rec() = record{Keys: []stored{first}}
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("boxkeys: %w", err)
	}
	defer secmem.Wipe(raw)
	rec, err := readRecord(raw, first.ID)
	if err != nil {
		return nil, fmt.Errorf("keys of project %s: %w", id.Short(), err)
	}
	for _, x := range rec.Keys {
		if len(x.Seed) > 0 {
			r.private[x.ID] = kem.NewPrivateKey([kem.SeedSize]byte(x.Seed))
		}
	}
	*r.rec() = *rec
	return r, r.finish(ctx)
}

// sweep finishes what was begun in projects that nobody has open, and erases the first key if it is due. What cannot be read there
// is for who opens that project to hear of. k.mu is held.
func (k *Keys) sweep(ctx context.Context) error {
	if k.cfg.Vault == nil {
		return nil
	}
	ids, err := k.cfg.Projects()
	if err != nil {
		return fmt.Errorf("boxkeys: list the projects: %w", err)
	}
	rings := maps.Clone(k.rings)
	for _, id := range ids {
		if rings[id] != nil {
			continue
		}
		r, err := k.load(ctx, id)
		if err != nil {
			return nil
		}
		defer r.wipe()
		rings[id] = r
	}
	free := len(rings) > 0
	for _, r := range rings {
		free = free && r.find(k.first().ID).State == Erased
	}
	if !free || k.first().State == Erased {
		return nil
	}
	return k.eraseFirst(ctx)
}

// eraseFirst erases the first key, for all projects. k.mu is held.
func (k *Keys) eraseFirst(ctx context.Context) error {
	first := *k.first()
	first.State = Erased
	if err := put(ctx, k.cfg.Vault, nameFirst, &record{Keys: []stored{first}}); err != nil {
		return err
	}
	*k.first() = first
	k.private.Wipe()
	return k.sweepFirst(ctx)
}

// sweepFirst writes once more, so that the state that the vault keeps beside the newest is without the key, too. k.mu is held.
func (k *Keys) sweepFirst(ctx context.Context) error {
	first := *k.first()
	first.Swept = true
	if err := put(ctx, k.cfg.Vault, nameFirst, &record{Keys: []stored{first}}); err != nil {
		return err
	}
	*k.first() = first
	return nil
}

// Forget drops the keys of a project that did not come to be on this device.
func (k *Keys) Forget(ctx context.Context, id genesis.ProjectID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.rings[id]
	delete(k.rings, id)
	if r == nil || k.cfg.Vault == nil {
		return nil
	}
	r.wipe()
	if !r.kept {
		return nil
	}
	for i := range r.rec().Keys { // what the vault keeps beside the newest state is then without them
		r.rec().Keys[i].Seed, r.rec().Keys[i].State = nil, Erased
	}
	err := put(ctx, k.cfg.Vault, nameOf(id), r.rec())
	if err == nil {
		err = k.cfg.Vault.Delete(ctx, nameOf(id))
	}
	return err
}

// Close wipes all keys in memory; nothing opens with them from then on.
func (k *Keys) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cfg.Vault == nil {
		return // the caller's
	}
	if k.private != nil {
		k.private.Wipe()
	}
	for _, r := range k.rings {
		r.wipe()
	}
}
