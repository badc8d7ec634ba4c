// Package file keeps secrets in one sealed file, for machines without a keychain and for secrets whose key lies in
// one.
//
// [Open] takes a passphrase, stretched with Argon2id (RFC 9106), [OpenKey] a 32-byte key. Names and secrets are
// sealed with XChaCha20-Poly1305; readable are the stretching parameters, a salt and the number of writes so far.
// Every change is written to a new file, synced and renamed over the old one, whose last state stays beside it as
// PATH.bak; a lock on PATH.lock keeps out other programs until Close.
//
// On Unix a file that others may read or replace is refused. On other systems permissions are not checked.
package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

// PassFunc returns the passphrase of a vault; create tells that the vault is made now, so that a person can be asked
// twice. The vault wipes the bytes. An error makes [Open] fail with it.
type PassFunc func(create bool) ([]byte, error)

// Vault is a [keystore.Store] in a file.
type Vault struct {
	path string
	lock *flock.Flock

	mu  sync.Mutex
	key *secmem.Bytes // nil once closed
	img *image
}

// Open opens the vault at path, or makes one if there is none, along with missing folders. It fails with
// [keystore.ErrWrongPassphrase], [keystore.ErrDamaged], [keystore.ErrInUse], [keystore.ErrExposed] or
// [wire.ErrVersion]. Opening takes the time of stretching the passphrase, about 1.5 s and 256 MiB.
func Open(path string, pass PassFunc) (*Vault, error) { return open(path, passSource{pass}) }

// OpenKey is [Open] for a vault under a random 32-byte key, which is not stretched.
func OpenKey(path string, key [32]byte) (*Vault, error) {
	secret := secmem.New(key[:])
	defer secret.Wipe()
	return open(path, keySource{secret})
}

func open(path string, src source) (*Vault, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	lock := flock.New(path + ".lock")
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("keystore: vault lock: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("%w: vault %s; close the program that has it open", keystore.ErrInUse, path)
	}
	v := &Vault{path: path, lock: lock}
	if err := v.load(src); err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	return v, nil
}

// load reads the vault or makes a new one.
func (v *Vault) load(src source) error {
	raw, err := readPrivate(v.path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return v.create(src)
	}
	if err != nil {
		return err
	}
	img, err := parse(raw)
	if errors.Is(err, keystore.ErrDamaged) {
		return fmt.Errorf("%w; vault %s: put %s.bak in its place if that is whole", err, v.path, v.path)
	}
	if err != nil {
		return fmt.Errorf("%w: vault %s", err, v.path)
	}
	key, err := src.key(&img.header, false)
	if err != nil {
		return err
	}
	secrets, err := img.open(key)
	if err != nil {
		secmem.Wipe(key[:])
		return fmt.Errorf("%w: vault %s", err, v.path)
	}
	secrets.wipe()
	v.key, v.img = secmem.Lock(key[:]), img
	return nil
}

func (v *Vault) create(src source) error {
	// A vault that vanished while its older state is there was lost, not new: an empty one would hide that.
	if _, err := os.Lstat(v.path + ".bak"); err == nil {
		return fmt.Errorf("%w: vault %s is missing but %s.bak is there: put that in its place, or remove it to begin anew",
			keystore.ErrDamaged, v.path, v.path)
	}
	if err := checkFolder(filepath.Dir(v.path)); err != nil {
		return err
	}
	h := header{Head: wire.NewHead(), Magic: magic, KDF: src.cost(), Generation: 1}
	if _, err := rand.Read(h.Salt[:]); err != nil {
		return fmt.Errorf("keystore: vault salt: %w", err)
	}
	key, err := src.key(&h, true)
	if err != nil {
		return err
	}
	img, err := newImage(key, h, entries{})
	if err == nil {
		_, err = writeAtomic(v.path, img.raw)
	}
	if err != nil {
		secmem.Wipe(key[:])
		return err
	}
	v.key, v.img = secmem.Lock(key[:]), img
	return nil
}

// Generation is the number of writes since the vault was made. A host that keeps it elsewhere can tell when an older
// vault was put in place of a newer one.
func (v *Vault) Generation() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.img.header.Generation
}

// Get returns a copy of a secret.
func (v *Vault) Get(ctx context.Context, name string) ([]byte, error) {
	var secret []byte
	err := v.with(ctx, name, func(e entries) (bool, error) {
		found, ok := e[name]
		if !ok {
			return false, keystore.ErrNotFound
		}
		secret = bytes.Clone(found)
		return false, nil
	})
	return secret, err
}

// Put stores a copy of secret; it is on the disk when Put returns.
func (v *Vault) Put(ctx context.Context, name string, secret []byte) error {
	if err := keystore.CheckSecret(secret); err != nil {
		return err
	}
	return v.with(ctx, name, func(e entries) (bool, error) {
		secmem.Wipe(e[name])
		e[name] = bytes.Clone(secret)
		return true, nil
	})
}

// Delete removes a secret. Its sealed bytes stay in PATH.bak until the next change.
func (v *Vault) Delete(ctx context.Context, name string) error {
	return v.with(ctx, name, func(e entries) (bool, error) {
		secret, ok := e[name]
		secmem.Wipe(secret)
		delete(e, name)
		return ok, nil
	})
}

// Close wipes the key and lets others open the vault. Later calls fail with [keystore.ErrClosed]; closing again does
// nothing.
func (v *Vault) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key == nil {
		return nil
	}
	v.key.Wipe()
	v.key = nil
	if err := v.lock.Unlock(); err != nil {
		return fmt.Errorf("keystore: vault lock: %w", err)
	}
	return nil
}

// with opens the secrets for the time of fn, and writes them back if fn says that it changed them.
func (v *Vault) with(ctx context.Context, name string, fn func(entries) (changed bool, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := keystore.CheckName(name); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key == nil {
		return keystore.ErrClosed
	}
	key := [seal.KeySize]byte(v.key.Bytes())
	defer secmem.Wipe(key[:])
	secrets, err := v.img.open(key)
	if err != nil {
		return err
	}
	defer secrets.wipe()
	changed, err := fn(secrets)
	if err != nil || !changed {
		return err
	}
	return v.write(key, secrets)
}

// write makes secrets the vault's content. The older state goes to PATH.bak first, so that a whole vault lies on the
// disk at every moment.
func (v *Vault) write(key [seal.KeySize]byte, secrets entries) error {
	h := v.img.header
	h.Generation++
	img, err := newImage(key, h, secrets)
	if err != nil {
		return err
	}
	if _, err := writeAtomic(v.path+".bak", v.img.raw); err != nil {
		return err
	}
	replaced, err := writeAtomic(v.path, img.raw)
	if replaced {
		v.img = img
	}
	return err
}
