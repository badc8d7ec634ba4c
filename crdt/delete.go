package crdt

import (
	"cmp"
	"slices"
)

// span is the clocks [from, to) of an interned client.
type span struct{ client, from, to uint32 }

// addDelete notes that the transaction deleted clocks.
func (t *Txn) addDelete(client, from, to uint32) {
	if n := len(t.deletes); n > 0 {
		if l := &t.deletes[n-1]; l.client == client && l.to == from {
			l.to = to
			return
		}
	}
	t.deletes = append(t.deletes, span{client, from, to})
}

// mergeSpans sorts spans by client and clock and joins those that touch or overlap, in place.
func mergeSpans(ss []span) []span {
	if len(ss) < 2 {
		return ss
	}
	slices.SortFunc(ss, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.from, b.from))
	})
	out := ss[:0]
	for _, s := range ss {
		if n := len(out); n > 0 && out[n-1].client == s.client && out[n-1].to >= s.from {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// delete deletes an item and everything inside it. Nested types are worked off a list, not by recursion: their depth
// is in the hands of whoever wrote the update.
func (t *Txn) delete(r ref) {
	d := t.doc
	t.work = append(t.work[:0], r)
	for len(t.work) > 0 {
		r := t.work[len(t.work)-1]
		t.work = t.work[:len(t.work)-1]
		it := d.items.at(r)
		if it.deleted() {
			continue
		}
		b := d.branches[it.parent]
		t.resize(b, r, it, -it.visible())
		if it.kind == kindFormat && b.index != nil {
			b.index.staleMarks(it.leaf)
		}
		it.flags |= flagDeleted
		t.garbage = t.garbage || it.kind != kindDeleted
		t.addDelete(it.client, it.clock, it.end())
		t.changed(b)
		switch it.kind {
		case kindType:
			t.deleteInside(d.branches[it.off])
		case kindDoc:
			t.removeSubdoc(it)
		}
	}
}

// deleteInside queues the live contents of a branch for deletion. Items deleted before this transaction are about to
// be collected and may then merge, which commit must try.
func (t *Txn) deleteInside(b *branch) {
	d := t.doc
	b.index, b.cursor = nil, 0
	visit := func(r ref) {
		it := d.items.at(r)
		if !it.deleted() {
			t.work = append(t.work, r)
		} else if it.clock < t.stateBefore(it.client) {
			t.merge = append(t.merge, unitID{it.client, it.clock})
		}
	}
	for r := b.start; r != 0; r = d.items.at(r).right {
		visit(r)
	}
	for _, sub := range b.sortedKeys() {
		visit(b.entries[sub])
	}
}

// resize accounts for visible units won or, by wrapping, lost by an item of b's sequence.
func (t *Txn) resize(b *branch, r ref, it *item, delta uint32) {
	if delta == 0 || it.sub != 0 {
		return
	}
	b.length += delta
	b.cursor = 0
	if b.index != nil {
		b.index.grow(r, it.leaf, delta)
	}
}

// deleteRange deletes the clocks [from, to) of a client, all of which are known.
func (t *Txn) deleteRange(client, from, to uint32) {
	d := t.doc
	list := &d.clients[client].list
	p := list.find(from)
	if it := d.items.at(list.at(p)); !it.deleted() && it.clock < from {
		t.split(client, p, from-it.clock)
		p = list.find(from)
	}
	for {
		r := list.at(p)
		it := d.items.at(r)
		if it.clock >= to {
			return
		}
		if !it.deleted() {
			if to < it.end() {
				t.split(client, p, to-it.clock)
				p = list.find(it.clock)
			}
			t.delete(r)
		}
		next, ok := list.next(p)
		if !ok {
			return
		}
		p = next
	}
}
