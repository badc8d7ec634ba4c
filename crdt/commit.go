package crdt

import "slices"

// finish ends a transaction: contents of what it deleted are collected, and neighbours that now can be one item are
// merged, at the same places and in the same order as Yjs does it. The encoded bytes of a document depend on that.
func (t *Txn) finish() {
	d := t.doc
	t.deletes = mergeSpans(t.deletes)
	if d.gc && t.garbage {
		t.collect()
	}
	for _, s := range slices.Backward(t.deletes) {
		if s.from < t.stateBefore(s.client) { // else all of it is new, and mergeNew looks at it
			d.mergeSpan(s)
		}
	}
	for _, c := range t.touched {
		d.mergeNew(c)
	}
	for i := len(t.merge) - 1; i >= 0; i-- {
		d.mergeAround(t.merge[i])
	}
	d.compact()
}

// mergeSpan tries merges from the struct behind a deleted range down to its start.
func (d *Doc) mergeSpan(s span) {
	list := &d.clients[s.client].list
	p := list.find(s.to - 1)
	if n, ok := list.next(p); ok {
		p = n
	}
	for ok := true; ok && d.items.at(list.at(p)).clock >= s.from; p, ok = list.prev(p) {
		p, _ = d.mergeLefts(s.client, p)
	}
}

// mergeNew tries merges among the structs a client got in this transaction, and with the one before.
func (d *Doc) mergeNew(c uint32) {
	cl := &d.clients[c]
	if cl.state == cl.before {
		return
	}
	p, ok := cl.list.last()
	for ok && d.items.at(cl.list.at(p)).end() > cl.before {
		p, _ = d.mergeLefts(c, p)
		p, ok = cl.list.prev(p)
	}
}

// mergeAround tries to merge the struct at a clock with its neighbours: it may have been split for nothing.
func (d *Doc) mergeAround(u unitID) {
	list := &d.clients[u.client].list
	p := list.find(u.clock)
	if n, ok := list.next(p); ok {
		at, merged := d.mergeLefts(u.client, n)
		if merged > 1 {
			return
		}
		if merged == 1 {
			p = at
		}
	}
	d.mergeLefts(u.client, p)
}

// mergeLefts merges the struct at p into the one before, that one into the one before it, and so on as far as it
// goes. It returns the place of the struct that absorbed the others and how many it absorbed.
func (d *Doc) mergeLefts(c uint32, p pos) (pos, int) {
	list := &d.clients[c].list
	merged := 0
	for {
		before, ok := list.prev(p)
		if !ok {
			return p, merged
		}
		lr, rr := list.at(before), list.at(p)
		l, r := d.items.at(lr), d.items.at(rr)
		if !d.canMerge(l, r, rr) {
			return p, merged
		}
		p = list.remove(p)
		d.absorb(lr, l, rr, r)
		merged++
	}
}

// canMerge says whether r, the struct behind l of the same client, may become part of l.
func (d *Doc) canMerge(l, r *item, rr ref) bool {
	if l.kind != r.kind {
		return false
	}
	if l.kind == kindGC {
		return true
	}
	const whole = flagDeleted | flagRedone
	return l.kind.mergeable() && l.flags&whole == r.flags&whole && l.flags&flagRedone == 0 &&
		l.right == rr && r.originClient == l.client && r.originClock == l.end()-1 &&
		l.rightClient == r.rightClient && (l.rightClient == noClient || l.rightClock == r.rightClock)
}

// absorb makes r part of l.
func (d *Doc) absorb(lr ref, l *item, rr ref, r *item) {
	if l.kind != kindGC {
		b := d.branches[l.parent]
		if r.sub != 0 {
			if b.entries[r.sub] == rr {
				b.entries[r.sub] = lr
			}
		} else {
			b.count--
			if b.cursor == rr {
				b.cursor, b.cursorPos = lr, b.cursorPos-l.visible()
			}
			if b.index != nil {
				b.index.remove(rr, r.leaf)
				if v := r.visible(); v > 0 {
					b.index.grow(lr, l.leaf, v)
				}
			}
		}
		if r.size > 0 {
			d.joinPayload(lr, l, rr, r)
		}
		if l.right = r.right; r.right != 0 {
			d.items.at(r.right).left = lr
		}
		l.flags |= r.flags & flagKeep
	}
	l.len += r.len
	d.items.release(rr)
}

// joinPayload gives the content of r to l. Pieces of one split lie side by side already.
func (d *Doc) joinPayload(lr ref, l *item, rr ref, r *item) {
	c := &d.clients[l.client]
	c.joined(lr, rr, r.clock, l.size)
	if l.off+l.size == r.off {
		l.size += r.size
		if c.openRun == rr {
			c.openRun = lr
		}
		return
	}
	if c.openRun == rr {
		c.openRun = 0
	}
	d.arena.waste += int(r.size)
	d.appendPayload(lr, l, d.arena.buf[r.off:r.off+r.size])
}

// collect forgets the content of everything the transaction deleted.
func (t *Txn) collect() {
	d := t.doc
	for _, s := range t.deletes {
		list := &d.clients[s.client].list
		p := list.find(s.from)
		for ok := true; ok; p, ok = list.next(p) {
			it := d.items.at(list.at(p))
			if it.clock >= s.to {
				break
			}
			if it.kind > kindDeleted && it.flags&(flagDeleted|flagKeep) == flagDeleted {
				if it.kind == kindType {
					t.collectInside(it.off)
				}
				d.forget(it)
				it.kind = kindDeleted
			}
		}
	}
}

// forget gives up an item's content.
func (d *Doc) forget(it *item) {
	if it.kind != kindType {
		d.arena.waste += int(it.size)
	}
	it.off, it.size = 0, 0
}

// collectInside turns everything inside a deleted type into collected structs and frees the branches.
func (t *Txn) collectInside(branch uint32) {
	d := t.doc
	t.work = append(t.work[:0], ref(branch))
	for len(t.work) > 0 {
		self := uint32(t.work[len(t.work)-1])
		t.work = t.work[:len(t.work)-1]
		b := d.branches[self]
		for r := b.start; r != 0; {
			r = t.collectItem(r).right
		}
		for _, last := range b.entries {
			for r := last; r != 0; {
				r = t.collectItem(r).left
			}
		}
		d.branches[self] = nil
		d.freeBranches = append(d.freeBranches, self)
	}
}

// collectItem makes one item a collected struct and returns what it was.
func (t *Txn) collectItem(r ref) item {
	d := t.doc
	it := d.items.at(r)
	was := *it
	if it.kind == kindType {
		t.work = append(t.work, ref(it.off))
	}
	if it.flags&flagRedone != 0 {
		delete(d.redone, unitID{it.client, it.clock})
	}
	if it.kind != kindGC {
		d.forget(it)
	}
	*it = item{
		clock: was.clock, len: was.len, client: was.client, kind: kindGC, flags: flagDeleted,
		originClient: noClient, rightClient: noClient,
	}
	return was
}

// sortedKeys lists the map keys of a branch in a fixed order.
func (b *branch) sortedKeys() []uint32 {
	if len(b.entries) == 0 {
		return nil
	}
	keys := make([]uint32, 0, len(b.entries))
	for k := range b.entries {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
