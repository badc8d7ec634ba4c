package crdt

import "github.com/studio-whip/collab/crdt/lib0"

// Bringing back deleted content makes a new item, a copy of the old one between the old neighbours, and notes in the
// old one which it is: whoever remembers the old one (undo stacks, relative positions, neighbours and children that
// are brought back later) finds the new one.
//
//	deleted item 3@7 "abc" ──redone──▶ 3@40 "abc" ──redone (deleted and brought back once more)──▶ 3@52 "abc"

// redoneAs returns what an item was brought back as.
func (d *Doc) redoneAs(it *item) (unitID, bool) {
	if it.flags&flagRedone == 0 {
		return unitID{}, false
	}
	u, ok := d.redone[unitID{it.client, it.clock}]
	return u, ok
}

func (d *Doc) noteRedone(it *item, as unitID) {
	if d.redone == nil {
		d.redone = make(map[unitID]unitID)
	}
	it.flags |= flagRedone
	d.redone[unitID{it.client, it.clock}] = as
}

// followRedone returns the item in which a unit is alive, or was last, and the unit's offset in it.
func (d *Doc) followRedone(u unitID) (r ref, offset uint32) {
	for {
		r = d.find(u.client, u.clock)
		it := d.items.at(r)
		offset = u.clock - it.clock
		next, ok := d.redoneAs(it)
		if !ok {
			return r, offset
		}
		u = unitID{next.client, next.clock + offset}
	}
}

// keep marks an item and everything around it so that its content survives collection, or takes the mark away.
func (d *Doc) keep(it *item, keep bool) {
	for it.kind != kindGC && (it.flags&flagKeep != 0) != keep {
		it.flags ^= flagKeep
		b := d.branches[it.parent]
		if b.item == 0 {
			return
		}
		it = d.items.at(b.item)
	}
}

// redoer brings back the deletions of one stack item.
type redoer struct {
	t    *Txn
	u    *Undo
	item *UndoItem
	todo map[ref]bool // what is to be brought back
}

// redo brings back an item, its parents first, and returns what it became; 0 if it cannot be brought back.
func (r *redoer) redo(x ref) ref {
	d := r.t.doc
	chain := []ref{x}
	for {
		it := d.items.at(chain[len(chain)-1])
		parent := d.branches[it.parent].item
		if _, done := d.redoneAs(it); done || parent == 0 || !d.items.at(parent).deleted() {
			break
		}
		if _, done := d.redoneAs(d.items.at(parent)); done {
			break
		}
		if !r.todo[parent] {
			return 0
		}
		chain = append(chain, parent)
	}
	as := ref(0)
	for i := len(chain) - 1; i >= 0; i-- {
		if as = r.redoOne(chain[i]); as == 0 {
			return 0
		}
	}
	return as
}

// current returns what an item was last brought back as.
func (r *redoer) current(x ref) ref {
	for {
		as, ok := r.t.doc.redoneAs(r.t.doc.items.at(x))
		if !ok {
			return x
		}
		x = r.t.cleanStart(as.client, as.clock)
	}
}

// redoOne brings back an item whose parents are there.
func (r *redoer) redoOne(x ref) ref {
	t, d := r.t, r.t.doc
	it := d.items.at(x)
	if as, ok := d.redoneAs(it); ok {
		return t.cleanStart(as.client, as.clock)
	}
	b := d.branches[it.parent]
	if b.item != 0 && d.items.at(b.item).deleted() {
		in := d.items.at(r.current(b.item))
		if in.kind != kindType {
			return 0
		}
		b = d.branches[in.off]
	}
	var left, right ref
	if it.sub == 0 {
		left = r.trace(it.left, b, func(it *item) ref { return it.left })
		right = r.trace(x, b, func(it *item) ref { return it.right })
	} else if left = r.before(x, b); left == 0 && b.entries[it.sub] != 0 {
		return 0
	}
	self, err := t.self(int(it.len), int(it.size))
	if err != nil {
		return 0
	}
	y := r.copyBetween(self, it, b, left, right)
	d.noteRedone(it, unitID{self, d.items.at(y).clock})
	return y
}

// trace looks from an item in one direction for the first item that lies in b, or was brought back there.
func (r *redoer) trace(x ref, b *branch, next func(*item) ref) ref {
	d := r.t.doc
	for x != 0 {
		for at := x; at != 0; {
			it := d.items.at(at)
			if d.branches[it.parent] == b {
				return at
			}
			as, ok := d.redoneAs(it)
			if !ok {
				break
			}
			at = r.t.cleanStart(as.client, as.clock)
		}
		x = next(d.items.at(x))
	}
	return 0
}

// before returns behind which value of its key a value is to be brought back; 0 if somebody else has set the key since
// and that is to be respected.
func (r *redoer) before(x ref, b *branch) ref {
	t, d := r.t, r.t.doc
	it := d.items.at(x)
	if it.right == 0 || r.u.opts.IgnoreRemoteMapChanges {
		return b.entries[it.sub]
	}
	left := x
	for {
		next := d.items.at(left).right
		if next == 0 {
			break
		}
		n := d.items.at(next)
		if _, redone := d.redoneAs(n); !redone && !r.item.insertions.holds(n) && !r.u.deletes(n) {
			return 0
		}
		left = next
		for {
			as, ok := d.redoneAs(d.items.at(left))
			if !ok {
				break
			}
			left = t.cleanStart(as.client, as.clock)
		}
	}
	if d.branches[d.items.at(left).parent] != b {
		return b.entries[it.sub]
	}
	return left
}

// copyBetween makes a copy of an item between two neighbours, which others may have come between.
func (r *redoer) copyBetween(self uint32, of *item, b *branch, left, right ref) ref {
	if of.sub == 0 && !r.t.adjacent(b, left, right) { // others would not put it there
		right, _, _ = r.t.honestRight(b, left, right)
	}
	x := r.t.copyItem(self, of, b, left, right)
	r.t.doc.keep(r.t.doc.items.at(x), true)
	return x
}

// copyItem makes an own copy of an item between two neighbours.
func (t *Txn) copyItem(self uint32, of *item, b *branch, left, right ref) ref {
	d := t.doc
	x, it := d.items.alloc()
	*it = item{
		clock: d.clients[self].state, len: of.len, client: self, parent: b.self, sub: of.sub, kind: of.kind,
		originClient: noClient, rightClient: noClient,
	}
	if left != 0 {
		l := d.items.at(left)
		it.originClient, it.originClock = l.client, l.end()-1
	}
	if right != 0 {
		n := d.items.at(right)
		it.rightClient, it.rightClock = n.client, n.clock
	}
	switch of.kind {
	case kindType:
		was := d.branches[of.off]
		it.off = d.nest(was.typeRef, was.node).self
	case kindDeleted:
	default:
		it.off, it.size = d.arena.add(d.payload(of)), of.size
		if of.kind == kindFormat {
			d.shareFormat(it, of)
		}
	}
	t.order(x, it, b, left, right)
	t.settle(x, it, b)
	return x
}

// shareFormat notes that a copied formatting item holds the object of its original.
func (d *Doc) shareFormat(it, of *item) {
	r := lib0.NewReader(d.payload(of))
	r.Text()
	m := mark{json: string(r.Buffer()), object: objectID{of.client + 1, of.clock}}
	if same, ok := d.sameObject[m.object]; ok {
		m.object = same
	}
	d.shareObject(it, m)
}
