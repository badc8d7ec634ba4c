package crdt

// cursorSteps is how far from the last edit a position is looked for item by item.
const cursorSteps = 8

// seek finds the visible item that contains unit p of b's sequence and the unit at which it starts. At the end of the
// sequence r is 0 and last the sequence's last item, 0 if it is empty.
func (t *Txn) seek(b *branch, p uint32) (r ref, start uint32, last ref) {
	d := t.doc
	if r, start, last, ok := d.seekNear(b, p); ok {
		return r, start, last
	}
	if b.index == nil {
		if b.count < indexMin {
			return d.walk(b, p)
		}
		d.buildIndex(b)
	}
	if r, start = b.index.find(p); r == 0 {
		last = b.index.last()
	}
	return r, start, last
}

func (d *Doc) walk(b *branch, p uint32) (r ref, start uint32, last ref) {
	for r = b.start; r != 0; r = d.items.at(r).right {
		v := d.items.at(r).visible()
		if p < start+v {
			return r, start, 0
		}
		start += v
		last = r
	}
	return 0, 0, last
}

// seekNear looks around the cursor.
func (d *Doc) seekNear(b *branch, p uint32) (r ref, start uint32, last ref, ok bool) {
	r, start = b.cursor, b.cursorPos
	if r == 0 {
		return 0, 0, 0, false
	}
	it := d.items.at(r)
	if p < start {
		for i := 0; i < cursorSteps && it.left != 0; i++ {
			r = it.left
			it = d.items.at(r)
			if start -= it.visible(); p >= start {
				return r, start, 0, true
			}
		}
		return 0, 0, 0, false
	}
	for i := 0; i < cursorSteps; i++ {
		v := it.visible()
		if p < start+v {
			return r, start, 0, true
		}
		if it.right == 0 {
			return 0, 0, r, true
		}
		start += v
		r = it.right
		it = d.items.at(r)
	}
	return 0, 0, 0, false
}

// locate returns the neighbours between which an insertion at unit p goes: directly before the visible item at p,
// behind whatever deleted items lie there. An item that p lies inside of is split.
func (t *Txn) locate(b *branch, p uint32) (left, right ref) {
	d := t.doc
	r, start, last := t.seek(b, p)
	if r == 0 {
		return last, 0
	}
	it := d.items.at(r)
	if start == p {
		return it.left, r
	}
	right = t.cleanStart(it.client, it.clock+p-start)
	b.cursor, b.cursorPos = r, start
	return r, right
}

// self returns our own client, ready for n more clocks and bytes of content.
func (t *Txn) self(n, size int) (uint32, error) {
	d := t.doc
	c, known := d.clientIndex[d.clientID]
	if !known {
		c = d.intern(d.clientID)
	}
	if int(d.clients[c].state)+n > maxClock || len(d.arena.buf)+size > maxArena {
		return 0, ErrLimit
	}
	d.edited = true
	t.touch(c)
	return c, nil
}

// content is what a new item of our own holds.
type content struct {
	kind    kind
	n       uint32 // units
	data    []byte // as the arena keeps it; the name of an XML element or hook
	typeRef uint8  // of a nested type
}

// insert makes a new item of our own between two adjacent neighbours.
func (t *Txn) insert(self uint32, b *branch, left, right ref, sub uint32, c content) (ref, *item) {
	d := t.doc
	x, it := d.items.alloc()
	*it = item{
		clock: d.clients[self].state, len: c.n, client: self, parent: b.self, sub: sub, kind: c.kind,
		left: left, right: right, originClient: noClient, rightClient: noClient,
	}
	if left != 0 {
		l := d.items.at(left)
		it.originClient, it.originClock = l.client, l.end()-1
	}
	if right != 0 {
		r := d.items.at(right)
		it.rightClient, it.rightClock = r.client, r.clock
	}
	if c.kind == kindType {
		it.off = d.nest(c.typeRef, c.data).self
	} else {
		it.off, it.size = d.arena.add(c.data), uint32(len(c.data))
	}
	t.link(x, it, b)
	t.settle(x, it, b)
	return x, it
}

// canExtend says whether text of our own between left and right may become part of left. Merging at commit would do
// the same.
func (d *Doc) canExtend(self uint32, left, right ref) bool {
	if left == 0 {
		return false
	}
	l := d.items.at(left)
	if l.client != self || l.kind != kindString || l.flags != 0 || l.end() != d.clients[self].state {
		return false
	}
	if right == 0 {
		return l.rightClient == noClient
	}
	r := d.items.at(right)
	return l.rightClient == r.client && l.rightClock == r.clock
}

// insertText puts text between two adjacent neighbours; p is the unit at which it starts.
func (t *Txn) insertText(b *branch, left, right ref, p uint32, text string) error {
	d := t.doc
	d.typed = append(d.typed[:0], text...)
	n := UTF16Len(text)
	self, err := t.self(n, len(d.typed))
	if err != nil {
		return err
	}
	if d.canExtend(self, left, right) {
		l := d.items.at(left)
		start := p - l.len
		t.lengthen(left, l, d.typed, uint32(n))
		b.cursor, b.cursorPos = left, start
		return nil
	}
	x, _ := t.insert(self, b, left, right, 0, content{kind: kindString, n: uint32(n), data: d.typed})
	b.cursor, b.cursorPos = x, p
	return nil
}

// deleteUnits deletes n visible units from unit p on.
func (t *Txn) deleteUnits(b *branch, p, n uint32) {
	d := t.doc
	r, start, _ := t.seek(b, p)
	if it := d.items.at(r); start < p {
		r = t.cleanStart(it.client, it.clock+p-start)
	}
	first := r
	for n > 0 {
		it := d.items.at(r)
		if v := it.visible(); v > 0 {
			if n < v {
				t.cleanStart(it.client, it.clock+n)
				v = n
			}
			t.delete(r)
			n -= v
		}
		r = it.right
	}
	b.cursor, b.cursorPos = first, p
}
