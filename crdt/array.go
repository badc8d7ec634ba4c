package crdt

import "iter"

// Array is a Y.Array: a list of values and nested types. Indexes count elements.
type Array struct{ shared }

// Insert puts values before an index between 0 and Len; see ValueOf for what they may be. A Type makes an empty nested
// type, SubdocOptions a subdocument.
func (a *Array) Insert(tx *Txn, index int, values ...any) error {
	return a.insertElements(tx, index, values)
}

// Append puts values at the end.
func (a *Array) Append(tx *Txn, values ...any) error {
	if tx == nil || tx.doc != a.doc {
		return ErrTxn
	}
	return a.insertElements(tx, a.Len(tx), values)
}

// Delete removes n elements from an index on.
func (a *Array) Delete(tx *Txn, index, n int) error { return a.deleteElements(tx, index, n) }

// Get returns the element at an index, and whether there is one.
func (a *Array) Get(tx Reader, index int) (Value, bool) { return a.element(tx, index) }

// Len returns how many elements there are.
func (a *Array) Len(tx Reader) int { return a.elements(tx) }

// All yields the elements with their indexes.
func (a *Array) All(tx Reader) iter.Seq2[int, Value] { return a.allElements(tx) }

// Observe calls fn after every transaction that changed the elements, in commit order and outside the lock. stop ends
// the calls. Observe must not be called inside Update or View.
func (a *Array) Observe(fn func(Event)) (stop func()) { return a.observe(&observer{one: fn}) }
