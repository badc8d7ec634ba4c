package crdt

import "github.com/studio-whip/collab/crdt/lib0"

// RelPos is a place in a text or list that stays where it is while others edit around it: a cursor, the end of a
// comment. It is encoded as Yjs encodes relative positions, and may be stored and sent.
//
//	0 client clock   at a unit       1 name    at an end of a root
//	                                 2 client clock   at an end of a nested type
//	and then the side: 0 sticks to the unit on the right, a negative number to the one on the left
type RelPos []byte

// Side says to which neighbour a RelPos sticks.
type Side int8

const (
	// Right makes a position stick to the unit behind it: text inserted at it comes before it. The default.
	Right Side = 0
	// Left makes it stick to the unit before it: text inserted at it comes behind it.
	Left Side = -1
)

// RelPos returns the position at an index between 0 and Len; an index beyond is the end.
func (s *shared) RelPos(tx Reader, index int, side ...Side) RelPos {
	left := len(side) > 0 && side[0] == Left
	b := s.look(tx)
	if b == nil || index < 0 || left && index == 0 {
		return s.edge(left)
	}
	d := s.doc
	at := uint32(min(index, int(b.length)))
	if left {
		at--
	}
	r, start := d.visibleAt(tx, b, at)
	if r == 0 {
		return s.edge(left)
	}
	it := d.items.at(r)
	return d.encodePos(0, it, it.clock+at-start, left)
}

// visibleAt finds the visible item that contains unit p and the unit at which it starts; r is 0 at the end. Who only reads
// builds no index: others may be reading, too.
func (d *Doc) visibleAt(tx Reader, b *branch, p uint32) (r ref, start uint32) {
	switch t, writing := tx.(*Txn); {
	case p >= b.length:
	case writing:
		r, start, _ = t.seek(b, p)
	case b.index != nil:
		r, start = b.index.find(p)
	default:
		r, start, _ = d.walk(b, p)
	}
	return r, start
}

// edge is the start of the type if the position sticks to the left, and its end otherwise.
func (s *shared) edge(left bool) RelPos {
	if s.nested == nil {
		return appendSide(lib0.AppendString([]byte{1}, s.name), left)
	}
	it := s.doc.items.at(s.nested.item)
	return s.doc.encodePos(2, it, it.clock, left)
}

func (d *Doc) encodePos(tag byte, it *item, clock uint32, left bool) RelPos {
	p := lib0.AppendUvarint([]byte{tag}, d.clients[it.client].id)
	return appendSide(lib0.AppendUvarint(p, uint64(clock)), left)
}

func appendSide(p []byte, left bool) RelPos {
	if left {
		return lib0.AppendVarint(p, int64(Left))
	}
	return lib0.AppendVarint(p, int64(Right))
}

// AbsPos returns the index at which a position of this type is now. ok is false if it is lost, because it is malformed,
// what it was at has not arrived yet, has been collected, or is in another type. Of what is deleted but not collected
// the place is known.
func (s *shared) AbsPos(tx Reader, p RelPos) (index int, ok bool) {
	t, index, ok := s.doc.Resolve(tx, p)
	if !ok {
		return 0, false
	}
	in, isType := t.(interface{ look(Reader) *branch })
	return index, isType && in.look(tx) == s.look(tx)
}

// Resolve returns the type a position lies in and the index at which it is now; see AbsPos. For a position in a root
// that nothing was ever inserted in, the type is an Array.
func (d *Doc) Resolve(tx Reader, p RelPos) (t Shared, index int, ok bool) {
	if tx.document() != d {
		panic(ErrTxn.Error())
	}
	r := lib0.NewReader(p)
	switch r.Uvarint() {
	case 0:
		id, clock := r.Uvarint(), r.Uvarint()
		left := readSide(&r)
		if c, known := d.known(id, clock); known && r.OK() {
			return d.resolveUnit(unitID{c, uint32(clock)}, left)
		}
	case 1:
		name, _ := r.Text()
		left := readSide(&r)
		if b := d.roots[string(name)]; b != nil && r.OK() {
			return d.handle(b), b.edge(left), true
		}
		return d.Array(string(name)), 0, r.OK()
	case 2:
		id, clock := r.Uvarint(), r.Uvarint()
		left := readSide(&r)
		c, known := d.known(id, clock)
		if !known || !r.OK() {
			return nil, 0, false
		}
		at, _ := d.followRedone(unitID{c, uint32(clock)})
		if it := d.items.at(at); it.kind == kindType {
			b := d.branches[it.off]
			return d.handle(b), b.edge(left), true
		}
	}
	return nil, 0, false
}

// readSide reads the side, which older programs leave out.
func readSide(r *lib0.Reader) (left bool) {
	if r.Left() == 0 {
		return false
	}
	v, _ := r.Varint()
	return v < 0
}

// known returns the number of a client whose clock has arrived.
func (d *Doc) known(id, clock uint64) (c uint32, ok bool) {
	c, ok = d.clientIndex[id]
	return c, ok && clock < uint64(d.clients[c].state)
}

func (b *branch) edge(left bool) int {
	if left {
		return 0
	}
	return int(b.length)
}

// resolveUnit returns where a unit is, or was.
func (d *Doc) resolveUnit(u unitID, left bool) (t Shared, index int, ok bool) {
	r, offset := d.followRedone(u)
	it := d.items.at(r)
	if it.kind == kindGC {
		return nil, 0, false
	}
	b := d.branches[it.parent]
	if d.dead(b) || it.sub != 0 {
		return d.handle(b), 0, !d.dead(b)
	}
	at, _ := d.placeRead(b, r)
	if !it.deleted() && it.kind.countable() {
		at += offset
		if left {
			at++
		}
	}
	return d.handle(b), int(at), true
}

// placeRead is place without building an index.
func (d *Doc) placeRead(b *branch, at ref) (vis, rank uint32) {
	if b.index != nil {
		return b.index.place(at, d.items.at(at).leaf)
	}
	for r := b.start; r != at; r = d.items.at(r).right {
		vis += d.items.at(r).visible()
		rank++
	}
	return vis, rank
}
