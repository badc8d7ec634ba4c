package crdt

import (
	"iter"

	"github.com/studio-whip/collab/crdt/lib0"
)

// The list side of a shared type: elements of an Array, children of XML fragments and elements. Positions count
// elements. A run of plain values inserted together is one item, everything else an item each:
//
//	Insert(1, "a", bytes, 2, 3)   →   [1 "a"] [bytes] [2 3]

// insertElements puts values, or new nested types, before position index.
func (s *shared) insertElements(tx *Txn, index int, vs []any) error {
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	if index < 0 || index > int(b.length) {
		return ErrRange
	}
	cs, size, err := packed(vs)
	if err != nil || len(cs) == 0 {
		return err
	}
	self, err := tx.self(len(vs), size)
	if err != nil {
		return err
	}
	left, right := tx.after(b, uint32(index))
	for _, c := range cs {
		left, _ = tx.insert(self, b, left, right, 0, c)
	}
	return nil
}

// packed makes item contents of values, and says how many bytes they take.
func packed(vs []any) (cs []content, size int, err error) {
	for _, v := range vs {
		c, err := contentOf(v)
		if err != nil {
			return nil, 0, err
		}
		size += len(c.data)
		if n := len(cs); n > 0 && c.kind == kindAny && cs[n-1].kind == kindAny {
			cs[n-1].data = append(cs[n-1].data, c.data...)
			cs[n-1].n++
			continue
		}
		cs = append(cs, c)
	}
	return cs, size, nil
}

// after returns the neighbours between which an insertion at unit p goes in a list: directly behind the unit before it,
// in front of whatever deleted items follow.
func (t *Txn) after(b *branch, p uint32) (left, right ref) {
	d := t.doc
	if p == 0 {
		return 0, b.start
	}
	left, start, _ := t.seek(b, p-1)
	it := d.items.at(left)
	if p < start+it.len {
		t.cleanStart(it.client, it.clock+p-start)
	}
	b.cursor, b.cursorPos = left, start
	return left, it.right
}

// deleteElements removes n elements from an index on.
func (s *shared) deleteElements(tx *Txn, index, n int) error {
	b, err := s.open(tx)
	if err != nil {
		return err
	}
	if index < 0 || n < 0 || index > int(b.length) || n > int(b.length)-index {
		return ErrRange
	}
	if n > 0 {
		tx.deleteUnits(b, uint32(index), uint32(n))
	}
	return nil
}

func (s *shared) elements(tx Reader) int {
	if b := s.look(tx); b != nil {
		return int(b.length)
	}
	return 0
}

// element returns the element at an index, and whether there is one.
func (s *shared) element(tx Reader, index int) (Value, bool) {
	b := s.look(tx)
	if b == nil || index < 0 || index >= int(b.length) {
		return Value{}, false
	}
	d := s.doc
	r, start := d.visibleAt(tx, b, uint32(index))
	return d.value(d.items.at(r), uint32(index)-start), true
}

// allElements yields the elements with their indexes.
func (s *shared) allElements(tx Reader) iter.Seq2[int, Value] {
	b := s.look(tx)
	return func(yield func(int, Value) bool) {
		if b == nil {
			return
		}
		i := 0
		for r := b.start; r != 0; r = s.doc.items.at(r).right {
			for v := range s.doc.values(s.doc.items.at(r)) {
				if !yield(i, v) {
					return
				}
				i++
			}
		}
	}
}

// values yields the visible elements of an item. Lists are decoded in one pass.
func (d *Doc) values(it *item) iter.Seq[Value] {
	return func(yield func(Value) bool) {
		n := it.visible()
		if it.kind != kindAny && it.kind != kindJSON {
			for i := range n {
				if !yield(d.value(it, i)) {
					return
				}
			}
			return
		}
		r := lib0.NewReader(d.payload(it))
		for range n {
			v := Value{}
			if it.kind == kindAny {
				v.v = r.Any()
			} else {
				v = jsonValue(r.Buffer())
			}
			if !yield(v) {
				return
			}
		}
	}
}
