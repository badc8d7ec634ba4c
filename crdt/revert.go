package crdt

import "bytes"

// Reverted says what [Txn.Revert] did, in clocks: code units of text, elements of lists, values of keys, marks.
type Reverted struct {
	Deleted  uint64 // of what was inserted
	Restored uint64 // of what was deleted
	Lost     uint64 // of what was deleted and could not be brought back
}

// Revert deletes what was inserted in some ranges, as far as it is there, and brings back what was deleted in others, as an
// undo manager would that had seen all of it as one step: it is an ordinary edit, which converges like any other and can
// be undone itself. A key that others have set since keeps their value. What somebody has brought back in this way before
// does not come back twice, unless two do so at the same time.
//
// This document may have collected the content of what was deleted. It is then taken from source, a document of the same
// edits made WithoutGC, if that is not nil. What lies in a shared type that was deleted and collected is not brought back,
// and neither is the type.
func (t *Txn) Revert(inserted, deleted []Range, source *Doc) (Reverted, error) {
	d := t.doc
	step := &UndoItem{insertions: spansOf(d.spansIn(inserted)), deletions: spansOf(d.spansIn(deleted))}
	var filled []Range
	if source != nil {
		err := source.Update(func(from *Txn) error {
			t.each(step.deletions, func(_ ref, it *item) {
				if it.kind == kindDeleted {
					filled = append(filled, t.fill(from, it)...)
				}
			})
			return nil
		})
		if err != nil {
			return Reverted{}, err
		}
	}
	t.recognise(step)
	count := t.tally(step)
	u := &Undo{doc: d, wholeDoc: true}
	u.reverse(t, step)
	for _, g := range spansOf(d.spansIn(filled)) {
		t.each(spans{g}, func(_ ref, it *item) {
			if it.kind > kindDeleted && it.deleted() && it.flags&flagKeep == 0 {
				d.forget(it)
				it.kind = kindDeleted
			}
		})
	}
	return count(), nil
}

// spansIn names ranges as this document does, leaving out what it does not hold.
func (d *Doc) spansIn(rs []Range) (out []span) {
	for _, r := range rs {
		for i := range d.clients {
			c := &d.clients[i]
			if to := min(r.To, uint64(c.state)); c.id == r.Client && r.From < to {
				out = append(out, span{uint32(i), uint32(r.From), uint32(to)})
			}
		}
	}
	return out
}

// fill puts the content that another document still has into a collected item, piece by piece, and says where. The item
// stays deleted.
func (t *Txn) fill(from *Txn, it *item) (filled []Range) {
	d, s := t.doc, from.doc
	id, clock, end := d.clients[it.client].id, it.clock, it.end()
	client := it.client
	for _, known := range s.spansIn([]Range{{id, uint64(clock), uint64(end)}}) {
		for clock < known.to {
			src := s.items.at(from.cleanStart(known.client, clock))
			n := min(src.end(), known.to) - clock
			if src.len > n && src.kind != kindGC {
				from.split(known.client, s.clients[known.client].list.find(clock), n)
			}
			r := t.cleanStart(client, clock)
			dst := d.items.at(r)
			if dst.len > n {
				t.split(client, d.clients[client].list.find(clock), n)
			}
			if fillable(src.kind) && dst.kind == kindDeleted && dst.len == src.len {
				content := s.payload(src)
				dst.off, dst.size, dst.kind = d.arena.add(content), uint32(len(content)), src.kind
				filled = append(filled, Range{id, uint64(clock), uint64(clock + n)})
			}
			clock += n
		}
	}
	return filled
}

// nearby is how many neighbours are looked at for a copy.
const nearby = 256

// recognise finds what somebody has brought back already and notes it, so that it does not come back twice: a copy
// stands before the original, which it was inserted before, and says the same.
func (t *Txn) recognise(step *UndoItem) {
	d := t.doc
	t.each(step.deletions, func(x ref, it *item) {
		if _, known := d.redoneAs(it); known || !it.deleted() || !fillable(it.kind) || step.insertions.holds(it) {
			return
		}
		if y := d.copyOf(x, it); y != 0 {
			c := d.items.at(y)
			d.noteRedone(it, unitID{c.client, c.clock})
		}
	})
}

// copyOf returns a living copy of an item, 0 if there is none.
func (d *Doc) copyOf(x ref, it *item) ref {
	b := d.branches[it.parent]
	if it.sub != 0 {
		y := b.entries[it.sub]
		if c := d.items.at(y); y != x && c.kind == it.kind && !c.deleted() && bytes.Equal(d.payload(c), d.payload(it)) {
			return y
		}
		return 0
	}
	for y, n := it.left, 0; y != 0 && n < nearby; n++ {
		c := d.items.at(y)
		if !c.deleted() && c.kind == it.kind && c.len >= it.len && c.rightClient == it.client && c.rightClock == it.clock &&
			bytes.HasPrefix(d.payload(c), d.payload(it)) {
			return y
		}
		y = c.left
	}
	return 0
}

// fillable says whether an item of a kind is nothing but its bytes.
func fillable(k kind) bool {
	switch k {
	case kindString, kindAny, kindJSON, kindBinary, kindEmbed, kindFormat:
		return true
	}
	return false
}

// tally notes what a step is about and returns what counts, afterwards, what became of it.
func (t *Txn) tally(step *UndoItem) func() Reverted {
	var alive, gone []unitID
	var c Reverted
	sizes := map[unitID]uint64{}
	t.each(step.insertions, func(_ ref, it *item) {
		if !it.deleted() {
			u := unitID{it.client, it.clock}
			alive, sizes[u] = append(alive, u), uint64(it.len)
		}
	})
	t.each(step.deletions, func(_ ref, it *item) {
		if _, back := t.doc.redoneAs(it); it.deleted() && !back && !step.insertions.holds(it) {
			u := unitID{it.client, it.clock}
			gone, sizes[u] = append(gone, u), uint64(it.len)
		}
	})
	return func() Reverted {
		for _, u := range alive {
			if t.doc.items.at(t.doc.find(u.client, u.clock)).deleted() {
				c.Deleted += sizes[u]
			}
		}
		for _, u := range gone {
			if _, back := t.doc.redoneAs(t.doc.items.at(t.doc.find(u.client, u.clock))); back {
				c.Restored += sizes[u]
			} else {
				c.Lost += sizes[u]
			}
		}
		return c
	}
}
