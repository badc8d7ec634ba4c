package crdt

import (
	"cmp"
	"iter"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Map is a Y.Map. Of concurrent writes to one key, one wins on every replica.
type Map struct{ shared }

// Set gives a key a value; see ValueOf for what v may be.
func (m *Map) Set(tx *Txn, key string, v any) error {
	b, err := m.open(tx)
	if err != nil {
		return err
	}
	x, err := ValueOf(v)
	if err != nil {
		return err
	}
	if !validText(key) {
		return ErrValue
	}
	k, content := kindAny, lib0.AppendAny(nil, x.v)
	if x.Kind() == KindBytes {
		k, content = kindBinary, x.Bytes()
	}
	self, err := tx.self(1, len(content))
	if err != nil {
		return err
	}
	sub := tx.doc.subKey(key)
	tx.insert(self, b, b.entries[sub], 0, sub, k, content, 1)
	return nil
}

// Delete removes a key. Removing a key that has no value does nothing.
func (m *Map) Delete(tx *Txn, key string) error {
	b, err := m.open(tx)
	if err != nil {
		return err
	}
	if r := b.entries[tx.doc.subIndex[key]]; r != 0 {
		tx.delete(r)
	}
	return nil
}

// Get returns the value of a key, and whether it has one.
func (m *Map) Get(tx Reader, key string) (Value, bool) {
	b := m.look(tx)
	if b == nil {
		return Value{}, false
	}
	return m.doc.entry(b, m.doc.subIndex[key])
}

// All yields the keys that have a value, sorted, with their values.
func (m *Map) All(tx Reader) iter.Seq2[string, Value] {
	b := m.look(tx)
	return func(yield func(string, Value) bool) {
		if b == nil {
			return
		}
		d := m.doc
		subs := b.sortedKeys()
		slices.SortFunc(subs, func(x, y uint32) int { return cmp.Compare(d.subName(x), d.subName(y)) })
		for _, sub := range subs {
			if v, ok := d.entry(b, sub); ok && !yield(d.subName(sub), v) {
				return
			}
		}
	}
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
