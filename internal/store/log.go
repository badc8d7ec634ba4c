package store

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Log is a sequence of records numbered from 1 without gaps. Records have up to MaxRecord bytes.
type Log struct {
	tx   *Tx
	name string
}

// lenKey is where a log keeps its sealed length: behind all records, on the page that an append touches anyway.
var lenKey = []byte{0xff}

// Append adds a copy of rec and returns its number.
func (l Log) Append(rec []byte) (uint64, error) {
	if len(rec) > MaxRecord {
		return 0, fmt.Errorf("%w: record of %d bytes, at most %d are allowed", ErrTooLarge, len(rec), MaxRecord)
	}
	c, err := l.tx.created(l.name, kindLog)
	if err != nil {
		return 0, err
	}
	key := c.recordKey(c.len + 1)
	sealed, err := l.tx.t.keys.sealValue(c.hashed, key, rec)
	if err != nil {
		return 0, err
	}
	if err := c.raw.put(key, sealed); err != nil {
		return 0, l.tx.fail(err)
	}
	c.len++
	c.grown = true
	return c.len, nil
}

// Get returns record i, which the caller owns. It fails with [ErrNotFound] if there is none.
func (l Log) Get(i uint64) ([]byte, error) {
	c, err := l.tx.existing(l.name, kindLog)
	if err != nil {
		return nil, err
	}
	if c == nil || i == 0 || i > c.len {
		return nil, fmt.Errorf("%w: number %d of log %q", ErrNotFound, i, l.name)
	}
	rec, err := l.tx.t.readRecord(c, i)
	return rec, l.tx.fail(err)
}

// Len returns the number of the last record, 0 if there is none, and 0 if the log is damaged, which [Tx.Err] and
// View or Update report.
func (l Log) Len() uint64 {
	c, err := l.tx.existing(l.name, kindLog)
	if err != nil || c == nil {
		return 0
	}
	return c.len
}

// From returns the records from number i on, in order. If one is damaged the iteration ends, and [Tx.Err] and View
// or Update report it.
func (l Log) From(i uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		c, err := l.tx.existing(l.name, kindLog)
		if err != nil || c == nil {
			return
		}
		for i := max(i, 1); i <= c.len; i++ {
			rec, err := l.tx.t.readRecord(c, i)
			if err != nil {
				_ = l.tx.fail(err)
				return
			}
			if !yield(i, rec) {
				return
			}
		}
	}
}

// Truncate drops all records after number n.
func (l Log) Truncate(n uint64) error {
	if err := l.tx.writable(); err != nil {
		return err
	}
	c, err := l.tx.existing(l.name, kindLog)
	if err != nil || c == nil {
		return err
	}
	for c.len > n {
		if err := c.raw.delete(c.recordKey(c.len)); err != nil {
			return l.tx.fail(err)
		}
		c.len--
		c.grown = true
	}
	return nil
}

func (c *collection) recordKey(i uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, indexSize), c.start+i)
}

func (t *txn) readRecord(c *collection, i uint64) ([]byte, error) {
	key := c.recordKey(i)
	sealed, err := c.raw.get(key)
	if err != nil {
		return nil, err
	}
	if sealed == nil {
		return nil, damaged("record %d of a log is missing", i)
	}
	return t.keys.openValue(c.hashed, key, sealed)
}

func (t *txn) readLen(c *collection) error {
	c.start = t.keys.start(c.hashed)
	sealed, err := c.raw.get(lenKey)
	if err != nil {
		return err
	}
	v, err := t.keys.openValue(c.hashed, lenKey, sealed)
	if err != nil {
		return err
	}
	if len(v) != indexSize {
		return damaged("a log has no length")
	}
	c.len = binary.BigEndian.Uint64(v)
	return nil
}

func (t *txn) writeLen(c *collection) error {
	if !c.grown {
		return nil
	}
	sealed, err := t.keys.sealValue(c.hashed, lenKey, binary.BigEndian.AppendUint64(nil, c.len))
	if err != nil {
		return err
	}
	c.grown = false
	return c.raw.put(lenKey, sealed)
}
