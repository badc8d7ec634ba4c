package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// magic names the only bucket that can be read without the key; its one record is the header.
var (
	magic     = []byte("collab/store/1")
	headerKey = []byte("header")
)

// appendFill lets pages of ascending keys fill up before they split.
const appendFill = 0.9

// boltDB is the backend in a bbolt file. bbolt trusts its pages: on a damaged one it panics or touches memory
// behind the end of the file. Every call runs under [boltDB.guard], which makes a typed error of either.
type boltDB struct {
	db   *bolt.DB
	file *os.File
	// broken is set when a call has panicked: bbolt may then hold any of its locks, so it is never entered again.
	broken atomic.Bool
}

// lock takes the lock file beside path, which outlives the process's own checks before bbolt locks the file itself.
func lock(path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, classify("create folder", err)
	}
	l := flock.New(path+".lock", flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, classify("lock", err)
	}
	if !ok {
		return nil, ErrInUse
	}
	return l.Close, nil // the file stays: removing it would race with the next to lock it
}

// openFile opens or creates the file at path, whose lock is held.
func openFile(path string, key [32]byte) (backend, *keys, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path, key)
	}
	if err != nil {
		return nil, nil, classify("open", err)
	}
	if err := checkFile(path); err != nil {
		return nil, nil, classify("open", err)
	}
	b := &boltDB{}
	k, err := b.open(path, key)
	if err != nil {
		_ = b.close()
		return nil, nil, classify("open", err)
	}
	return b, k, nil
}

// create makes the file under another name, so that a file of the right name is always whole.
func create(path string, key [32]byte) error {
	k, err := newKeys(key)
	if err != nil {
		return err
	}
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b := &boltDB{}
	err = b.connect(draft)
	if err == nil {
		err = b.db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucket(magic)
			if err != nil {
				return err
			}
			return bucket.Put(headerKey, k.header())
		})
	}
	if closeErr := b.close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (b *boltDB) connect(path string) error {
	return b.guard(func() (err error) {
		b.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:      time.Millisecond, // one attempt
			FreelistType: bolt.FreelistMapType,
			NoStatistics: true,
			OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
				b.file, err = os.OpenFile(name, flag, mode)
				return b.file, err
			},
		})
		if err != nil {
			b.file, b.db = nil, nil // bbolt has closed it
		}
		if errors.Is(err, bolterrors.ErrTimeout) {
			return ErrInUse
		}
		return err
	})
}

// open connects and checks the header.
func (b *boltDB) open(path string, key [32]byte) (*keys, error) {
	if err := b.connect(path); err != nil {
		return nil, err
	}
	var header []byte
	err := b.guard(func() error {
		return b.db.View(func(tx *bolt.Tx) error {
			if bucket := tx.Bucket(magic); bucket != nil {
				header = bytes.Clone(bucket.Get(headerKey))
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if header == nil {
		return nil, damaged("not a store")
	}
	return openHeader(key, header)
}

// guard runs a call into bbolt. Faults of mapped memory become panics, and panics errors.
func (b *boltDB) guard(call func() error) (err error) {
	if b.broken.Load() {
		return damaged("found before")
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			b.broken.Store(true)
			err = damaged("tree: %v", r)
		}
	}()
	err = call()
	for _, e := range structural {
		if errors.Is(err, e) {
			return damaged("tree: %v", err)
		}
	}
	return err
}

// structural are the errors of bbolt that a sound file never gives to the calls made here.
var structural = []error{
	bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch,
	bolterrors.ErrIncompatibleValue, bolterrors.ErrBucketNotFound, bolterrors.ErrBucketExists,
}

// close gives back the file. A broken bbolt is left alone, with its mapping, to the end of the process.
func (b *boltDB) close() error {
	if b.db != nil && !b.broken.Load() {
		if err := b.guard(b.db.Close); !b.broken.Load() {
			return err
		}
	}
	if b.file == nil {
		return nil
	}
	unlock(b.file)
	return b.file.Close()
}

func (b *boltDB) begin(write bool) (rawTx, error) {
	t := &boltTx{b: b}
	err := b.guard(func() (err error) {
		t.tx, err = b.db.Begin(write)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

type boltTx struct {
	b  *boltDB
	tx *bolt.Tx
}

func (t *boltTx) bucket(name []byte, create, sequential bool) (rawBucket, error) {
	var found *bolt.Bucket
	err := t.b.guard(func() (err error) {
		if found = t.tx.Bucket(name); found == nil && create {
			found, err = t.tx.CreateBucket(name)
		}
		return err
	})
	if err != nil || found == nil {
		return nil, err
	}
	if sequential {
		found.FillPercent = appendFill
	}
	return boltBucket{t.b, found}, nil
}

func (t *boltTx) drop(name []byte) error {
	return t.b.guard(func() error { return t.tx.DeleteBucket(name) })
}

func (t *boltTx) commit() error { return t.b.guard(t.tx.Commit) }

func (t *boltTx) rollback() {
	_ = t.b.guard(func() error {
		_ = t.tx.Rollback() // fails only if the transaction has ended
		return nil
	})
}

type boltBucket struct {
	b      *boltDB
	bucket *bolt.Bucket
}

func (v boltBucket) get(key []byte) (value []byte, err error) {
	err = v.b.guard(func() error {
		mapped := v.bucket.Get(key)
		if len(mapped) > maxSealed {
			return damaged("a record of %d bytes", len(mapped))
		}
		value = bytes.Clone(mapped)
		return nil
	})
	return value, err
}

func (v boltBucket) put(key, value []byte) error {
	return v.b.guard(func() error { return v.bucket.Put(key, value) })
}

func (v boltBucket) delete(key []byte) error {
	return v.b.guard(func() error { return v.bucket.Delete(key) })
}

func (v boltBucket) keys() (keys [][]byte, err error) {
	err = v.b.guard(func() error {
		return v.bucket.ForEach(func(k, _ []byte) error {
			keys = append(keys, bytes.Clone(k))
			return nil
		})
	})
	return keys, err
}
