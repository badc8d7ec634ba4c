package crdt

import "github.com/studio-whip/collab/crdt/lib0"

// replacement is U+FFFD: what is left of either half of a surrogate pair that was cut.
const replacement = "\uFFFD"

// unitID names one clock of an interned client.
type unitID struct{ client, clock uint32 }

// find returns the struct that contains a clock, which must be known.
func (d *Doc) find(client, clock uint32) ref {
	l := &d.clients[client].list
	return l.at(l.find(clock))
}

// cleanStart returns the struct that starts at a known clock, splitting the one that contains it. A collected struct
// comes back whole.
func (t *Txn) cleanStart(client, clock uint32) ref {
	d := t.doc
	l := &d.clients[client].list
	p := l.find(clock)
	r := l.at(p)
	if it := d.items.at(r); it.clock < clock && it.kind != kindGC {
		return t.split(client, p, clock-it.clock)
	}
	return r
}

// cleanEnd returns the struct whose last clock is the given one, splitting like cleanStart.
func (t *Txn) cleanEnd(client, clock uint32) ref {
	d := t.doc
	l := &d.clients[client].list
	p := l.find(clock)
	r := l.at(p)
	if it := d.items.at(r); clock+1 != it.end() && it.kind != kindGC {
		t.split(client, p, clock+1-it.clock)
	}
	return r
}

// split cuts the item at p after diff units and returns the new right part:
//
//	before   left ◀─▶ [ a b c d e ] ◀─▶ right
//	after    left ◀─▶ [ a b ] ◀─▶ [ c d e ] ◀─▶ right      diff = 2
//
// The right part's origin is the last unit of the left part, its right origin that of the whole.
func (t *Txn) split(client uint32, p pos, diff uint32) ref {
	d := t.doc
	list := &d.clients[client].list
	lr := list.at(p)
	rr, r := d.items.alloc()
	l := d.items.at(lr)
	*r = *l
	r.clock, r.len = l.clock+diff, l.len-diff
	r.originClient, r.originClock = client, r.clock-1
	r.left = lr
	l.len = diff
	if as, ok := d.redoneAs(l); ok {
		d.noteRedone(r, unitID{as.client, as.clock + diff})
	}
	d.splitPayload(lr, l, r, diff)

	l.right = rr
	b := d.branches[r.parent]
	if r.right != 0 {
		d.items.at(r.right).left = rr
	} else if r.sub != 0 {
		b.entries[r.sub] = rr
	}
	if r.sub == 0 {
		b.count++
		if b.index != nil {
			b.index.grow(lr, l.leaf, -r.visible())
			b.index.insertAfter(&d.items, lr, rr)
		}
	}
	list.insertAfter(p, rr, r.clock)
	t.merge = append(t.merge, unitID{client, r.clock})
	return rr
}

// splitPayload divides content between l, which keeps the first diff units, and r, which is a copy of the whole.
func (d *Doc) splitPayload(lr ref, l, r *item, diff uint32) {
	if c := &d.clients[l.client]; c.openRun == lr {
		c.openRun = 0 // what follows the left part is no longer free
	}
	content := d.arena.buf[l.off : l.off+l.size]
	at, inPair := 0, false
	switch l.kind {
	case kindString:
		if at = int(diff); l.size != diff+r.len { // not all ASCII
			at, inPair = lib0.UTF16Index(content, int(diff))
		}
	case kindAny, kindJSON:
		at = skipElements(l.kind, content, diff)
	}
	if inPair {
		d.splitPair(l, r, at)
		return
	}
	l.size = uint32(at)
	r.off, r.size = l.off+uint32(at), r.size-uint32(at)
}

// splitPair divides text inside the surrogate pair that starts at byte at. Both halves become U+FFFD, as in Yjs.
func (d *Doc) splitPair(l, r *item, at int) {
	a := &d.arena
	d.clients[l.client].seam = seam{} // bytes become fewer
	left, right := l.off, l.off+uint32(at)+4
	rest := r.size - uint32(at) - 4
	l.off = a.add(a.buf[left : left+uint32(at)])
	a.buf = append(a.buf, replacement...)
	l.size = uint32(at + len(replacement))
	r.off = a.add([]byte(replacement))
	a.buf = append(a.buf, a.buf[right:right+rest]...)
	r.size = uint32(len(replacement)) + rest
	a.waste += at + 4 + int(rest)
}
