package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// kind of a collection.
type kind byte

const (
	kindMap kind = 1
	kindLog kind = 2
)

func (k kind) String() string {
	if k == kindLog {
		return "log"
	}
	return "map"
}

// directory is the bucket that holds, for every collection, its sealed kind and name.
var directory = []byte("names")

// txn is a transaction of the store: several functions of the group commit may share one.
type txn struct {
	raw   rawTx
	keys  *keys
	names map[string]*collection
}

// collection is a log or map as a transaction sees it.
type collection struct {
	name   string
	hashed []byte // bucket name
	kind   kind   // 0 if absent
	raw    rawBucket
	len    uint64 // of a log
	start  uint64 // of a log
	grown  bool   // len is not yet written
}

func newTxn(raw rawTx, k *keys) *txn {
	return &txn{raw: raw, keys: k, names: map[string]*collection{}}
}

// commit writes the lengths that changed and ends the transaction.
func (t *txn) commit() error {
	for _, c := range t.names {
		if err := t.writeLen(c); err != nil {
			t.raw.rollback()
			return err
		}
	}
	return t.raw.commit()
}

// Tx is the store as the function given to View, Update or Queue sees it. It is valid until that function returns
// and must stay in its goroutine. A Tx remembers the first damage found; View and Update then fail with it
// even if the function ignores it.
type Tx struct {
	t     *txn
	write bool
	ended bool
	err   error
}

// run gives fn its Tx.
func run(t *txn, write bool, fn func(*Tx) error) error {
	tx := &Tx{t: t, write: write}
	defer func() { tx.ended = true }()
	err := fn(tx)
	if tx.err != nil && (err == nil || errors.Is(err, ErrDamaged)) {
		return tx.err // the first damage says most
	}
	return err
}

// fail remembers damage.
func (tx *Tx) fail(err error) error {
	if tx.err == nil && errors.Is(err, ErrDamaged) {
		tx.err = err
	}
	return err
}

// Err returns the damage found so far, which the iterators cannot return.
func (tx *Tx) Err() error { return tx.err }

// Map returns the map of this name. It comes into being with its first entry.
func (tx *Tx) Map(name string) Map { return Map{tx, name} }

// Log returns the log of this name. It comes into being with its first record.
func (tx *Tx) Log(name string) Log { return Log{tx, name} }

// Drop removes the log or map of this name and all that it holds. Dropping what is absent does nothing.
func (tx *Tx) Drop(name string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	c, err := tx.find(name)
	if err != nil || c.kind == 0 {
		return err
	}
	dir, err := tx.t.raw.bucket(directory, true, false)
	if err != nil {
		return tx.fail(err)
	}
	if err := dir.delete(c.hashed); err != nil {
		return tx.fail(err)
	}
	delete(tx.t.names, name)
	return tx.fail(tx.t.raw.drop(c.hashed))
}

// Names returns the names of all logs and maps that start with prefix, sorted.
func (tx *Tx) Names(prefix string) ([]string, error) {
	if tx.ended {
		return nil, ErrClosed
	}
	dir, err := tx.t.raw.bucket(directory, false, false)
	if err != nil || dir == nil {
		return nil, tx.fail(err)
	}
	hashes, err := dir.keys()
	if err != nil {
		return nil, tx.fail(err)
	}
	var names []string
	for _, h := range hashes {
		_, name, err := tx.entry(dir, h)
		if err != nil {
			return nil, tx.fail(err)
		}
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// entry reads one line of the directory; kind 0 if there is none.
func (tx *Tx) entry(dir rawBucket, hashed []byte) (kind, string, error) {
	sealed, err := dir.get(hashed)
	if err != nil || sealed == nil {
		return 0, "", err
	}
	v, err := tx.t.keys.openValue(directory, hashed, sealed)
	if err != nil {
		return 0, "", err
	}
	if len(v) == 0 || kind(v[0]) != kindMap && kind(v[0]) != kindLog {
		return 0, "", damaged("a name has no kind")
	}
	return kind(v[0]), string(v[1:]), nil
}

// find returns the collection of this name, of kind 0 if it is absent.
func (tx *Tx) find(name string) (*collection, error) {
	if tx.ended {
		return nil, ErrClosed
	}
	if c, ok := tx.t.names[name]; ok {
		return c, nil
	}
	if len(name) > MaxName {
		return nil, fmt.Errorf("%w: name of %d bytes, at most %d are allowed", ErrTooLarge, len(name), MaxName)
	}
	c := &collection{name: name, hashed: tx.t.keys.hash(hashName, []byte(name))}
	dir, err := tx.t.raw.bucket(directory, false, false)
	if err != nil {
		return nil, tx.fail(err)
	}
	if dir != nil {
		if err := tx.load(dir, c); err != nil {
			return nil, tx.fail(err)
		}
	}
	tx.t.names[name] = c
	return c, nil
}

func (tx *Tx) load(dir rawBucket, c *collection) error {
	k, _, err := tx.entry(dir, c.hashed)
	if err != nil || k == 0 {
		return err
	}
	c.kind = k
	if c.raw, err = tx.t.raw.bucket(c.hashed, false, k == kindLog); err != nil {
		return err
	}
	if c.raw == nil {
		return damaged("a %s is missing", k)
	}
	if k == kindLog {
		return tx.t.readLen(c)
	}
	return nil
}

// existing returns the collection if it is there and of this kind; nil if it is absent.
func (tx *Tx) existing(name string, k kind) (*collection, error) {
	c, err := tx.find(name)
	if err != nil || c.kind == 0 {
		return nil, err
	}
	if c.kind != k {
		return nil, fmt.Errorf("%w: %q is a %s", ErrKind, name, c.kind)
	}
	return c, nil
}

// created returns the collection for writing and makes it if it is absent.
func (tx *Tx) created(name string, k kind) (*collection, error) {
	if err := tx.writable(); err != nil {
		return nil, err
	}
	if c, err := tx.existing(name, k); c != nil || err != nil {
		return c, err
	}
	c := tx.t.names[name]
	dir, err := tx.t.raw.bucket(directory, true, false)
	if err != nil {
		return nil, tx.fail(err)
	}
	sealed, err := tx.t.keys.sealValue(directory, c.hashed, append([]byte{byte(k)}, name...))
	if err != nil {
		return nil, err
	}
	if err := dir.put(c.hashed, sealed); err != nil {
		return nil, tx.fail(err)
	}
	if c.raw, err = tx.t.raw.bucket(c.hashed, true, k == kindLog); err != nil {
		return nil, tx.fail(err)
	}
	c.kind = k
	if k == kindLog {
		c.start = tx.t.keys.start(c.hashed)
	}
	return c, nil
}

func (tx *Tx) writable() error {
	if tx.ended {
		return ErrClosed
	}
	if !tx.write {
		return ErrReadOnly
	}
	return nil
}
