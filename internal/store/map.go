package store

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Map is a table of records by key. Keys have up to MaxKey bytes, values up to MaxRecord; both may be empty.
type Map struct {
	tx   *Tx
	name string
}

// Get returns the value under key and whether there is one. The caller owns it.
func (m Map) Get(key []byte) ([]byte, bool, error) {
	c, err := m.tx.existing(m.name, kindMap)
	if err != nil || c == nil {
		return nil, false, err
	}
	k, v, err := m.tx.t.readEntry(c, m.hash(c, key))
	if err != nil {
		return nil, false, m.tx.fail(err)
	}
	if k == nil {
		return nil, false, nil
	}
	if string(k) != string(key) {
		return nil, false, m.tx.fail(damaged("an entry stands under another key"))
	}
	return v, true, nil
}

// Put stores a copy of value under key.
func (m Map) Put(key, value []byte) error {
	if len(key) > MaxKey || len(value) > MaxRecord {
		return fmt.Errorf("%w: key of %d bytes, value of %d bytes; at most %d and %d are allowed",
			ErrTooLarge, len(key), len(value), MaxKey, MaxRecord)
	}
	c, err := m.tx.created(m.name, kindMap)
	if err != nil {
		return err
	}
	entry := binary.AppendUvarint(make([]byte, 0, 3+len(key)+len(value)), uint64(len(key)))
	entry = append(append(entry, key...), value...)
	h := m.hash(c, key)
	sealed, err := m.tx.t.keys.sealValue(c.hashed, h, entry)
	if err != nil {
		return err
	}
	return m.tx.fail(c.raw.put(h, sealed))
}

// Delete removes the entry of key, if there is one.
func (m Map) Delete(key []byte) error {
	if err := m.tx.writable(); err != nil {
		return err
	}
	c, err := m.tx.existing(m.name, kindMap)
	if err != nil || c == nil {
		return err
	}
	return m.tx.fail(c.raw.delete(m.hash(c, key)))
}

// All returns the entries in no particular order. The map may be changed meanwhile; what is deleted ahead is not
// visited. If an entry is damaged the iteration ends, and [Tx.Err] and View or Update report it.
func (m Map) All() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		c, err := m.tx.existing(m.name, kindMap)
		if err != nil || c == nil {
			return
		}
		hashes, err := c.raw.keys()
		for _, h := range hashes {
			k, v, err := m.tx.t.readEntry(c, h)
			if err != nil {
				_ = m.tx.fail(err)
				return
			}
			if k != nil && !yield(k, v) {
				return
			}
		}
		_ = m.tx.fail(err)
	}
}

func (m Map) hash(c *collection, key []byte) []byte {
	return m.tx.t.keys.hash(hashKey, c.hashed, key)
}

// readEntry returns the key and value of the entry at h; a nil key if there is none.
func (t *txn) readEntry(c *collection, h []byte) (key, value []byte, err error) {
	sealed, err := c.raw.get(h)
	if err != nil || sealed == nil {
		return nil, nil, err
	}
	entry, err := t.keys.openValue(c.hashed, h, sealed)
	if err != nil {
		return nil, nil, err
	}
	return splitEntry(entry)
}

// splitEntry takes apart length of the key, key and value.
func splitEntry(entry []byte) (key, value []byte, err error) {
	n, size := binary.Uvarint(entry)
	if size <= 0 || n > uint64(len(entry)-size) {
		return nil, nil, damaged("an entry has no key")
	}
	end := size + int(n)
	return entry[size:end:end], entry[end:], nil
}
