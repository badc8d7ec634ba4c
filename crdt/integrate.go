package crdt

// getParent is where a struct belongs once its neighbours are known; nil means that place has been collected, and
// with it the struct.
func (t *Txn) getParent(w *source, left, right ref) (b *branch, sub uint32) {
	d := t.doc
	var l, r *item
	if left != 0 {
		l = d.items.at(left)
	}
	if right != 0 {
		r = d.items.at(right)
	}
	if l != nil && l.kind == kindGC || r != nil && r.kind == kindGC {
		return nil, 0
	}
	switch w.parent {
	case parentRoot:
		b = d.root(string(w.src[w.parentClient : w.parentClient+w.parentClock]))
	case parentID:
		p := d.items.at(d.find(w.client(w.parentClient), w.parentClock))
		if p.kind != kindType {
			return nil, 0
		}
		b = d.branches[p.off]
	case parentInherited:
		if l == nil {
			l = r
		}
		return d.branches[l.parent], l.sub
	}
	if w.sub == subKeyed {
		sub = d.subKey(string(w.src[w.subOff : w.subOff+w.subLen]))
	}
	return b, sub
}

// adjacent says whether a struct's neighbours, either of which may be 0, can have been adjacent when it was written,
// as those that an honest author names are: the left one first, and neither of them put between its own neighbours
// from a side where the other one stands in the way.
//
//	o … left │ right … p        o: the left neighbour that right names, p: the right one that left names
//
// Who knew left and right knew o and p, too. The place of a struct whose neighbours never were adjacent could depend on
// the order in which structs come; see honestRight. The order of items never changes, so all replicas agree on it. In
// the history of a map key nobody names a right neighbour.
func (t *Txn) adjacent(b *branch, left, right ref) bool {
	d := t.doc
	if left == 0 && right != 0 && right == b.start || left != 0 && d.items.at(left).right == right && d.items.at(left).sub == 0 {
		return true // side by side still: all else follows
	}
	var l, r *item
	if left != 0 {
		l = d.items.at(left)
	}
	if right != 0 {
		r = d.items.at(right)
		if r.sub != 0 || l != nil && !t.inOrder(left, l, right, r) {
			return false
		}
		if r.originClient != noClient {
			o := d.find(r.originClient, r.originClock)
			if l == nil || o != left && !t.inOrder(o, d.items.at(o), left, l) {
				return false
			}
		}
	}
	if l != nil && l.rightClient != noClient {
		p := d.find(l.rightClient, l.rightClock)
		if r == nil || p != right && !t.inOrder(right, r, p, d.items.at(p)) {
			return false
		}
	}
	return true
}

// honestRight is what a struct gets for a right neighbour if the one it names was never next to the left one: that of the
// left one itself, as if it had been written right behind it, which nobody can object to. Bringing back the contents of
// nested types, Yjs does name neighbours that never met. If the two do not even lie in one sequence the struct is
// collected: then there is a client, but no item.
func (t *Txn) honestRight(b *branch, left, right ref) (r ref, client, clock uint32) {
	d := t.doc
	if right != 0 {
		if n := d.items.at(right); n.kind == kindGC || n.parent != b.self || n.sub != 0 {
			return 0, 0, 0
		}
	}
	if left == 0 {
		return 0, noClient, 0
	}
	l := d.items.at(left)
	if l.sub != 0 && right != 0 {
		return 0, 0, 0
	}
	if l.rightClient == noClient {
		return 0, noClient, 0
	}
	r = t.cleanStart(l.rightClient, l.rightClock)
	if d.items.at(r).kind == kindGC {
		return 0, 0, 0
	}
	return r, l.rightClient, l.rightClock
}

// inOrder says whether two items lie in one sequence, the left one first.
func (t *Txn) inOrder(left ref, l *item, right ref, r *item) bool {
	if l.parent != r.parent || l.kind == kindGC || r.kind == kindGC || l.sub != 0 || r.sub != 0 {
		return false
	}
	d := t.doc
	next := l
	for i := 0; i < indexMin && next.right != 0; i++ {
		if next.right == right {
			return true
		}
		next = d.items.at(next.right)
	}
	if next.right == 0 {
		return false
	}
	b := d.branches[l.parent]
	if b.index == nil {
		d.buildIndex(b)
	}
	_, lr := b.index.place(left, l.leaf)
	_, rr := b.index.place(right, r.leaf)
	return lr < rr
}

// source is a struct on its way into the document: the wire struct, the bytes it refers to, and how its client
// numbers translate into the document's. A nil table means they are the document's.
type source struct {
	*wire
	src   []byte
	table []uint32
}

func (s *source) client(local uint32) uint32 {
	if s.table == nil || local == noClient {
		return local
	}
	return s.table[local]
}

// missing returns the first client of whom the struct refers to a clock that is not known yet, and that clock.
func (t *Txn) missing(s *source) (client, clock uint32, ok bool) {
	d := t.doc
	own := s.client(s.wire.client)
	lacks := func(local, clock uint32) bool {
		c := s.client(local)
		return c != own && clock >= d.clients[c].state
	}
	switch {
	case s.clock > d.clients[own].state:
		return own, s.clock - 1, true
	case s.originClient != noClient && lacks(s.originClient, s.originClock):
		return s.client(s.originClient), s.originClock, true
	case s.rightClient != noClient && lacks(s.rightClient, s.rightClock):
		return s.client(s.rightClient), s.rightClock, true
	case s.parent == parentID && lacks(s.parentClient, s.parentClock):
		return s.client(s.parentClient), s.parentClock, true
	}
	return 0, 0, false
}

// integrate adds the struct, none of whose predecessors is missing, leaving out what is known already.
func (t *Txn) integrate(s *source) {
	d := t.doc
	own := s.client(s.wire.client)
	state := d.clients[own].state
	if s.end() <= state {
		return
	}
	offset := state - s.clock
	t.touch(own)
	if s.kind == kindGC {
		t.addGC(own, s.end()-state)
		return
	}
	if offset == 0 && t.extend(s, own) {
		return
	}
	oc, rc := s.client(s.originClient), s.client(s.rightClient)
	var left, right ref
	if oc != noClient {
		if offset == 0 {
			left = t.cleanEnd(oc, s.originClock)
		} else {
			left = d.find(oc, s.originClock)
		}
	}
	if rc != noClient {
		if right = d.starting(left, rc, s.rightClock); right == 0 {
			right = t.cleanStart(rc, s.rightClock)
			if rc == oc && offset == 0 {
				left = d.find(oc, s.originClock) // a forged right origin may have split the left neighbour
			}
		}
	}
	b, sub := t.getParent(s, left, right)
	originClock := s.originClock
	if offset > 0 && b != nil {
		oc, originClock = own, state-1
		left = t.cleanEnd(oc, originClock)
		if l := d.items.at(left); l.kind == kindGC || l.parent != b.self || l.sub != sub {
			b = nil // what came before is gone, or the update contradicts what is known
		}
	}
	rightClock := s.rightClock
	if b != nil && !t.adjacent(b, left, right) {
		if right, rc, rightClock = t.honestRight(b, left, right); right == 0 && rc != noClient {
			b = nil
		}
	}
	if b == nil {
		t.addGC(own, s.end()-state)
		return
	}
	x, it := d.items.alloc()
	*it = item{
		clock: state, len: s.end() - state, client: own, parent: b.self, sub: sub, kind: s.kind,
		originClient: oc, originClock: originClock, rightClient: rc, rightClock: rightClock,
	}
	t.takePayload(it, s, offset)
	t.order(x, it, b, left, right)
	t.settle(x, it, b)
}

// starting returns the item behind left if it is the one that starts at a clock, as it is unless others inserted at the
// same place.
func (d *Doc) starting(left ref, client, clock uint32) ref {
	if left == 0 {
		return 0
	}
	right := d.items.at(left).right
	if n := d.items.at(right); right == 0 || n.client != client || n.clock != clock {
		return 0
	}
	return right
}

// takePayload copies content from offset on into the arena; a nested type gets its branch.
func (t *Txn) takePayload(it *item, s *source, offset uint32) {
	d := t.doc
	content := s.src[s.off : s.off+s.size]
	if s.kind == kindType {
		it.off = d.nest(s.typeRef, content).self
		return
	}
	if offset > 0 {
		content = cutFront(s.kind, content, s.len, offset)
	}
	it.off = d.arena.add(content)
	it.size = uint32(len(d.arena.buf)) - it.off
}

// extend is the short way for typing: text that continues its client's last struct, with nothing in between, becomes
// part of it. Integrating and merging at commit would give the same.
func (t *Txn) extend(s *source, own uint32) bool {
	d := t.doc
	if s.kind != kindString || s.originClient == noClient || s.client(s.originClient) != own || s.originClock+1 != s.clock {
		return false
	}
	list := &d.clients[own].list
	p, ok := list.last()
	if !ok {
		return false
	}
	r := list.at(p)
	it := d.items.at(r)
	if it.kind != kindString || it.flags != 0 || it.sub != 0 || it.rightClient != s.client(s.rightClient) {
		return false
	}
	switch {
	case it.rightClient == noClient:
		ok = it.right == 0
	case it.right == 0 || it.rightClock != s.rightClock:
		ok = false
	default:
		n := d.items.at(it.right)
		ok = n.client == it.rightClient && n.clock == it.rightClock
	}
	if !ok {
		return false
	}
	t.lengthen(r, it, s.src[s.off:s.off+s.size], s.len)
	return true
}

// lengthen appends text to the last struct of its client, in place.
func (t *Txn) lengthen(r ref, it *item, text []byte, units uint32) {
	d := t.doc
	d.clients[it.client].joined(r, 0, it.end(), it.size)
	d.appendPayload(r, it, text)
	it.len += units
	d.clients[it.client].state += units
	b := d.branches[it.parent]
	t.resize(b, r, it, units)
	t.changed(b)
}

// addGC appends a collected struct.
func (t *Txn) addGC(own, length uint32) {
	d := t.doc
	r, it := d.items.alloc()
	*it = item{
		clock: d.clients[own].state, len: length, client: own, kind: kindGC, flags: flagDeleted,
		originClient: noClient, rightClient: noClient,
	}
	t.push(r, it)
}

// push appends a struct to its client's list.
func (t *Txn) push(r ref, it *item) {
	c := &t.doc.clients[it.client]
	c.list.push(r, it.clock)
	c.state = it.end()
}

// order finds the place of x between left and right among concurrent insertions, and links it there. This is the
// YATA rule of Yjs, with the two sets it keeps replaced by stamps: every scanned item gets the next stamp, so "scanned
// in this pass" and "scanned since the last move" are comparisons.
//
//	left  [o1 o2 o3 …]  right        o: items others put between the same neighbours
//
// o with the same origin as x goes first if its client ID is lower; o that hangs on a scanned item goes with that.
func (t *Txn) order(x ref, it *item, b *branch, left, right ref) {
	d := t.doc
	s := &d.items
	first := func() ref {
		if it.sub == 0 {
			return b.start
		}
		r := b.entries[it.sub]
		for r != 0 && s.at(r).left != 0 {
			r = s.at(r).left
		}
		return r
	}
	var next ref
	if left != 0 {
		next = s.at(left).right
	} else {
		next = first()
	}
	if next != right {
		left = t.scan(it, left, next, right)
		if left != 0 {
			next = s.at(left).right
		} else {
			next = first()
		}
	}
	it.left, it.right = left, next
	t.link(x, it, b)
}

// scan walks the conflicting items from o up to right and returns the item to insert after.
func (t *Txn) scan(it *item, left, o, right ref) ref {
	d := t.doc
	s := &d.items
	d.reserveMarks()
	id := d.clients[it.client].id
	seen := d.mark  // stamps above: scanned in this pass
	moved := d.mark // stamps above: scanned since left last moved
	for o != 0 && o != right {
		oi := s.at(o)
		d.mark++
		oi.mark = d.mark
		if oi.originClient == it.originClient && (it.originClient == noClient || oi.originClock == it.originClock) {
			if d.clients[oi.client].id < id {
				left, moved = o, d.mark
			} else if oi.rightClient == it.rightClient && (it.rightClient == noClient || oi.rightClock == it.rightClock) {
				break
			}
		} else if oi.originClient == noClient {
			break
		} else {
			m := s.at(d.find(oi.originClient, oi.originClock)).mark
			if m <= seen {
				break
			}
			if m <= moved {
				left, moved = o, d.mark
			}
		}
		o = oi.right
	}
	return left
}

// reserveMarks starts stamps over before they run out.
func (d *Doc) reserveMarks() {
	if d.mark < 1<<31 {
		return
	}
	for _, blk := range d.items.blocks {
		for i := range blk {
			blk[i].mark = 0
		}
	}
	d.mark = 0
}

// link puts x, whose left and right are set, into the sequence or key history, and into its client's list.
func (t *Txn) link(x ref, it *item, b *branch) {
	s := &t.doc.items
	if it.left != 0 {
		s.at(it.left).right = x
	} else if it.sub == 0 {
		b.start = x
	}
	if it.right != 0 {
		s.at(it.right).left = x
	} else if it.sub != 0 {
		if b.entries == nil {
			b.entries = make(map[uint32]ref)
		}
		b.entries[it.sub] = x
	}
	if it.sub == 0 {
		b.count++
		b.cursor = 0
		if v := it.visible(); v > 0 {
			b.length += v
		}
		if b.index != nil {
			b.index.insertAfter(s, it.left, x)
		}
	}
	t.push(x, it)
}

// settle finishes the integration of a linked item: what its content means, and what it replaces.
func (t *Txn) settle(x ref, it *item, b *branch) {
	d := t.doc
	switch it.kind {
	case kindDeleted:
		it.flags |= flagDeleted
		t.addDelete(it.client, it.clock, it.end())
	case kindType:
		d.branches[it.off].item = x
	case kindFormat:
		b.hasFormat = true
	case kindDoc:
		t.addSubdoc(it)
	}
	t.changed(b)
	if it.sub != 0 && it.right == 0 && it.left != 0 {
		t.delete(it.left) // the key's value until now
	}
	if d.dead(b) || it.sub != 0 && it.right != 0 {
		t.delete(x)
	}
	if it.sub != 0 && it.len > 1 && !it.deleted() {
		t.lastValue(x, it)
	}
}

// lastValue deletes all but the last of several values that come as the value of one key. No honest client writes
// them; but were they left alone, what replaces the key would delete all of them or only the last ones, depending on
// where others have cut them meanwhile.
func (t *Txn) lastValue(x ref, it *item) {
	t.cleanStart(it.client, it.end()-1)
	t.delete(x)
}
