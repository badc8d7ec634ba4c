package collab

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/disk"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/internal/words"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/file"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/keystore/osring"
	"github.com/studio-whip/collab/sync/boxkeys"
	"github.com/studio-whip/collab/sync/membership"
)

// home is a node's state at rest. In its directory lie
//
//	profile    a random name, in clear: under which name the key store keeps the key
//	vault      the device's seeds and KEM keys, sealed under that key
//	node       which projects there are, and the certificates; sealed
//	p-*        one store for each project; sealed
//
// Nothing in it is plain but the profile's name and the formats' magic numbers.
type home struct {
	dir    string // "" keeps everything in memory
	vault  keystore.Store
	store  *store.Store
	random io.Reader
	key    secmem.Hidden[[32]byte]

	boxKeys *boxkeys.Keys // of identity
}

// Names in the vault and in the node's store.
const (
	vaultIdentity   = "identity-seed"
	vaultDevice     = "device-seed"
	vaultRevocation = "revocation-seed"

	mapSelf     = "self"
	mapProjects = "projects"
)

// keychainProfile is the keychain profile of devices' keys.
const keychainProfile = "device"

func openHome(ctx context.Context, cfg *config) (_ *home, err error) {
	h := &home{dir: cfg.dir, random: cfg.random, key: secmem.Hide([32]byte{})}
	defer func() {
		if err != nil {
			_ = h.close()
		}
	}()
	keys := cfg.keys
	switch {
	case keys == nil && cfg.memory:
		keys = memory.New()
	case keys == nil:
		if keys, err = osring.Open(keychainProfile); err != nil {
			return nil, wrap("open the keychain; on a machine without one use WithKeyStore", err)
		}
	}
	profile, fresh, err := h.profile()
	if err != nil {
		return nil, err
	}
	if err := h.masterKey(ctx, keys, profile, fresh); err != nil {
		return nil, err
	}
	if err := h.openFiles(); err != nil {
		return nil, err
	}
	return h, nil
}

// profile reads the directory's profile name. A directory without one is new: nothing is written to it before the key
// store has answered.
func (h *home) profile() (name string, fresh bool, err error) {
	if h.dir == "" {
		return "memory", true, nil
	}
	raw, err := os.ReadFile(filepath.Join(h.dir, "profile"))
	switch {
	case err == nil:
		name = strings.TrimSpace(string(raw))
		if len(name) != 24 || strings.Trim(name, "0123456789abcdef") != "" {
			return "", false, fmt.Errorf("%w: %s is not a profile name; restore it from a backup", ErrDamaged, filepath.Join(h.dir, "profile"))
		}
		return name, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return randomName(), true, nil
	}
	return "", false, wrap("read the profile", err)
}

// masterKey gets the directory's key from the key store, or makes it for a new directory.
func (h *home) masterKey(ctx context.Context, keys keystore.Store, profile string, fresh bool) error {
	name := "collab-" + profile
	if fresh {
		return h.newMasterKey(ctx, keys, profile, name)
	}
	text, err := keys.Get(ctx, name)
	if errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("%w: profile %s in %s; open it with the key store that it was made with", ErrKeyMissing, profile, h.dir)
	}
	if err != nil {
		return wrap("get the device's key", err)
	}
	defer clear(text)
	key := h.key.Get()
	if len(text) == base64.RawStdEncoding.EncodedLen(len(key)) {
		if _, err := base64.RawStdEncoding.Decode(key[:], text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: the key store's item %s is not a key; restore it from a backup", ErrDamaged, name)
}

// newMasterKey makes a new directory's key. If the directory cannot be marked, the key store is left as it was.
func (h *home) newMasterKey(ctx context.Context, keys keystore.Store, profile, name string) error {
	key := h.key.Get()
	if _, err := io.ReadFull(h.random, key[:]); err != nil {
		return wrap("draw a key", err)
	}
	text := base64.RawStdEncoding.AppendEncode(nil, key[:])
	defer clear(text)
	if err := keys.Put(ctx, name, text); err != nil {
		return wrap("keep the device's key", err)
	}
	if err := h.writeProfile(profile); err != nil {
		return errors.Join(err, wrap("take back the device's key", keys.Delete(ctx, name)))
	}
	return nil
}

// writeProfile marks the directory as made, once its key is safe.
func (h *home) writeProfile(profile string) error {
	if h.dir == "" {
		return nil
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return wrap("make the directory", err)
	}
	f, err := os.OpenFile(filepath.Join(h.dir, "profile"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: it was made this moment by another process", ErrInUse)
	}
	if err != nil {
		return wrap("write the profile", err)
	}
	_, err = f.WriteString(profile + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), disk.SyncFolder(h.dir)); err != nil {
		err = errors.Join(err, os.Remove(f.Name())) // half a name would look like damage
	}
	return wrap("write the profile", err)
}

func (h *home) openFiles() (err error) {
	if h.dir == "" {
		h.vault = memory.New()
		h.store, err = store.Open("", store.Options{Key: derive.Key(h.key.Get()[:], nil, "node-store"), Memory: true})
		return wrap("open the store", err)
	}
	vault, err := file.OpenKey(filepath.Join(h.dir, "vault"), derive.Key(h.key.Get()[:], nil, "vault"))
	if errors.Is(err, keystore.ErrWrongPassphrase) {
		return fmt.Errorf("%w: it holds another directory's: %w; open it with the key store that it was made with", ErrKeyMissing, err)
	}
	if err != nil {
		return wrap("open the vault", err)
	}
	h.vault = vault
	h.store, err = store.Open(filepath.Join(h.dir, "node"), store.Options{Key: derive.Key(h.key.Get()[:], nil, "node-store")})
	return wrap("open the store", err)
}

func (h *home) close() error {
	var errs []error
	if h.boxKeys != nil {
		h.boxKeys.Close()
	}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	if c, ok := h.vault.(interface{ Close() error }); ok {
		errs = append(errs, c.Close())
	}
	clear(h.key.Get()[:])
	return errors.Join(errs...)
}

// identity loads who this device is, or makes it on first use.
func (h *home) identity(ctx context.Context, cfg *config) (membership.Self, error) {
	ikSeed, err := h.seed(ctx, vaultIdentity)
	if err != nil {
		return membership.Self{}, err
	}
	defer ikSeed.Wipe()
	deviceSeed, err := h.seed(ctx, vaultDevice)
	if err != nil {
		return membership.Self{}, err
	}
	defer deviceSeed.Wipe()
	h.boxKeys, err = boxkeys.Open(ctx, boxkeys.Config{Vault: h.vault, Random: h.random, Now: cfg.now, Projects: h.projectIDs})
	if err != nil {
		return membership.Self{}, wrap("open the device's keys", err)
	}
	self := membership.Self{Keys: identity.NewDeviceKeys(deviceSeed, h.boxKeys.First())}
	certs := map[string][]byte{}
	err = h.store.View(func(tx *store.Tx) error {
		for _, name := range []string{"identity", "device"} {
			raw, ok, err := tx.Map(mapSelf).Get([]byte(name))
			if err != nil {
				return err
			}
			if ok {
				certs[name] = raw
			}
		}
		return nil
	})
	if err != nil {
		return membership.Self{}, wrap("read the certificates", err)
	}
	if len(certs) == 2 {
		if self.Identity, err = identity.ParseIdentityCert(certs["identity"]); err != nil {
			return membership.Self{}, wrap("read the identity certificate", err)
		}
		if self.Device, err = identity.ParseDeviceCert(certs["device"]); err != nil {
			return membership.Self{}, wrap("read the device certificate", err)
		}
		if identity.KemID(self.Device.KEM) != h.boxKeys.FirstID() {
			return membership.Self{}, fmt.Errorf("%w: the vault's first key is not the certificate's; restore the vault from a backup", ErrDamaged)
		}
		return self, nil
	}
	if self.Keys.KEM == nil {
		return membership.Self{}, fmt.Errorf("%w: the certificates are gone, and so is the key that they named; restore the directory from a backup", ErrDamaged)
	}
	return h.certify(ctx, cfg, self, ikSeed)
}

// certify makes and keeps the certificates of a new identity. The revocation key's seed stays in the vault until its
// owner takes it away.
func (h *home) certify(ctx context.Context, cfg *config, self membership.Self, ikSeed identity.Seed) (membership.Self, error) {
	revSeed, err := h.seed(ctx, vaultRevocation)
	if err != nil {
		return self, err
	}
	defer revSeed.Wipe()
	rev, err := identity.NewRevocationKey(revSeed)
	if err != nil {
		return self, wrap("make the revocation key", err)
	}
	ik := identity.NewIdentityKey(ikSeed)
	if self.Identity, err = identity.NewIdentityCert(ik, cfg.name, identity.RevocationCommit(rev.Public()), cfg.now()); err != nil {
		return self, wrap("make the identity", err)
	}
	if self.Device, err = identity.NewDeviceCert(ik, self.Identity.Member(), self.Keys, uint8(RoleManager)); err != nil {
		return self, wrap("make the device certificate", err)
	}
	err = h.store.Update(func(tx *store.Tx) error {
		m := tx.Map(mapSelf)
		return errors.Join(m.Put([]byte("identity"), self.Identity.Raw), m.Put([]byte("device"), self.Device.Raw))
	})
	return self, wrap("keep the certificates", err)
}

// seed gets a seed from the vault, or draws it on first use.
func (h *home) seed(ctx context.Context, name string) (seed identity.Seed, err error) {
	raw, err := h.vault.Get(ctx, name)
	switch {
	case err == nil && len(raw) == len(seed):
		copy(seed[:], raw)
		clear(raw)
		return seed, nil
	case err == nil:
		return seed, fmt.Errorf("%w: %s in the vault has %d bytes; restore the vault from a backup", ErrDamaged, name, len(raw))
	case !errors.Is(err, keystore.ErrNotFound):
		return seed, wrap("read the vault", err)
	}
	if seed, err = identity.NewSeed(h.random); err != nil {
		return seed, wrap("draw a seed", err)
	}
	return seed, wrap("write the vault", h.vault.Put(ctx, name, seed[:]))
}

// projectRecord says where a project's store is.
type projectRecord struct {
	ID    ProjectID `cbor:"1,keyasint"`
	Title string    `cbor:"2,keyasint"`
	File  string    `cbor:"3,keyasint"`
}

// maxProjectRecord is the cap of a projectRecord in bytes.
const maxProjectRecord = 1 << 10

// projects lists what is on this device, by name.
func (h *home) projects() (out []projectRecord, err error) {
	err = h.store.View(func(tx *store.Tx) error {
		for _, raw := range tx.Map(mapProjects).All() {
			var p projectRecord
			if err := wire.Unmarshal(raw, &p, maxProjectRecord); err != nil {
				return err
			}
			out = append(out, p)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b projectRecord) int {
		return strings.Compare(a.Title+a.ID.String(), b.Title+b.ID.String())
	})
	return out, err
}

func (h *home) projectIDs() (out []ProjectID, err error) {
	records, err := h.projects()
	for _, p := range records {
		out = append(out, p.ID)
	}
	return out, err
}

func (h *home) find(id ProjectID) (p projectRecord, found bool, err error) {
	err = h.store.View(func(tx *store.Tx) error {
		raw, ok, err := tx.Map(mapProjects).Get(id[:])
		if err != nil || !ok {
			return err
		}
		found = true
		return wire.Unmarshal(raw, &p, maxProjectRecord)
	})
	return p, found, err
}

func (h *home) has(id ProjectID) (bool, error) {
	_, found, err := h.find(id)
	return found, err
}

// blocks is the folder of the files' blocks; "" keeps them in memory.
func (h *home) blocks() string {
	if h.dir == "" {
		return ""
	}
	return filepath.Join(h.dir, "blocks")
}

// openStore opens a project's store; a project that is not known gets a new one, which remember makes lasting and
// discard removes. stopped is told if it fails.
func (h *home) openStore(id ProjectID, stopped func(error)) (*store.Store, projectRecord, error) {
	p, found, err := h.find(id)
	if err != nil {
		return nil, p, err
	}
	if !found {
		p = projectRecord{ID: id, File: "p-" + randomName()}
	}
	opts := store.Options{Key: derive.Key(h.key.Get()[:], nil, "project-store", id[:]), Memory: h.dir == "", OnError: stopped}
	st, err := store.Open(filepath.Join(h.dir, p.File), opts)
	return st, p, err
}

// size is how many bytes a project's store takes on disk; 0 in memory, or if it cannot be told.
func (h *home) size(id ProjectID) int64 {
	p, found, err := h.find(id)
	if err != nil || !found || h.dir == "" {
		return 0
	}
	info, err := os.Stat(filepath.Join(h.dir, p.File))
	if err != nil {
		return 0
	}
	return info.Size()
}

// remember adds a project to the list.
func (h *home) remember(p projectRecord) error {
	return h.store.Update(func(tx *store.Tx) error {
		return tx.Map(mapProjects).Put(p.ID[:], wire.Marshal(p))
	})
}

// discard removes the store of a project that did not come to be, with the lock beside it: nobody locks this name again.
func (h *home) discard(p projectRecord) {
	if h.dir != "" {
		_ = os.Remove(filepath.Join(h.dir, p.File))
		_ = os.Remove(filepath.Join(h.dir, p.File+".lock"))
	}
}

func fingerprint(id MemberID) string {
	return strings.Join(words.Fingerprint(id, 6), " ")
}
