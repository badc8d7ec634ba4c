package crdt

import "iter"

// Map is a Y.Map. Of concurrent writes to one key, one wins on every replica.
type Map struct{ shared }

// Set gives a key a value; see ValueOf for what v may be. A Type makes an empty nested type, SubdocOptions a
// subdocument.
func (m *Map) Set(tx *Txn, key string, v any) error { return m.setEntry(tx, key, v) }

// Delete removes a key. Removing a key that has no value does nothing.
func (m *Map) Delete(tx *Txn, key string) error { return m.deleteEntry(tx, key) }

// Clear removes all keys.
func (m *Map) Clear(tx *Txn) error {
	b, err := m.open(tx)
	if err != nil {
		return err
	}
	for _, sub := range b.sortedKeys() {
		tx.delete(b.entries[sub])
	}
	return nil
}

// Get returns the value of a key, and whether it has one.
func (m *Map) Get(tx Reader, key string) (Value, bool) { return m.entry(tx, key) }

// All yields the keys that have a value, sorted, with their values.
func (m *Map) All(tx Reader) iter.Seq2[string, Value] { return m.allEntries(tx) }

// Len returns how many keys have a value.
func (m *Map) Len(tx Reader) int {
	b := m.look(tx)
	if b == nil {
		return 0
	}
	n := 0
	for _, r := range b.entries {
		if it := m.doc.items.at(r); !it.deleted() && it.kind.countable() {
			n++
		}
	}
	return n
}

// Observe calls fn after every transaction that changed an entry of the map, in commit order and outside the lock. stop
// ends the calls. Observe must not be called inside Update or View.
func (m *Map) Observe(fn func(Event)) (stop func()) { return m.observe(&observer{one: fn}) }
