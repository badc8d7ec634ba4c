package crdt

import (
	"cmp"
	"iter"
	"slices"
)

// The map side of a shared type: entries of a Map, attributes of XML elements and texts.
//
//	"title" ─▶ [item, live] ─left▶ [item, deleted] ─left▶ …      the value, and what it replaced

// setEntry gives a key a value or a new nested type.
func (s *shared) setEntry(tx *Txn, key string, v any) error {
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	c, err := contentOf(v)
	if err != nil {
		return err
	}
	if !validText(key) {
		return ErrValue
	}
	self, err := tx.self(1, len(c.data))
	if err != nil {
		return err
	}
	sub := tx.doc.subKey(key)
	tx.insert(self, b, b.entries[sub], 0, sub, c)
	return nil
}

// deleteEntry removes a key. Removing a key that has no value does nothing.
func (s *shared) deleteEntry(tx *Txn, key string) error {
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	if r := b.entries[tx.doc.subIndex[key]]; r != 0 {
		tx.delete(r)
	}
	return nil
}

// entry returns the value of a key, and whether it has one.
func (s *shared) entry(tx Reader, key string) (Value, bool) {
	b := s.look(tx)
	if b == nil {
		return Value{}, false
	}
	return s.doc.entry(b, s.doc.subIndex[key])
}

// allEntries yields the keys that have a value, sorted, with their values.
func (s *shared) allEntries(tx Reader) iter.Seq2[string, Value] {
	b := s.look(tx)
	return func(yield func(string, Value) bool) {
		if b == nil {
			return
		}
		d := s.doc
		for _, sub := range d.keysByName(b) {
			if v, ok := d.entry(b, sub); ok && !yield(d.subName(sub), v) {
				return
			}
		}
	}
}

// keysByName lists the keys of a branch, with and without a value, sorted.
func (d *Doc) keysByName(b *branch) []uint32 {
	subs := b.sortedKeys()
	slices.SortFunc(subs, func(x, y uint32) int { return cmp.Compare(d.subName(x), d.subName(y)) })
	return subs
}

// entry decodes the current value of a map key.
func (d *Doc) entry(b *branch, sub uint32) (Value, bool) {
	r := b.entries[sub]
	if r == 0 {
		return Value{}, false
	}
	it := d.items.at(r)
	if it.deleted() || !it.kind.countable() {
		return Value{}, false
	}
	return d.value(it, it.len-1), true
}
