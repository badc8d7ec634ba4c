package crdt

import (
	"maps"
	"slices"
)

// reverter works out what reverting means in a document that has kept everything, and writes there what comes back.
//
//	   order       every branch, outer ones first
//	◀── wants ──   does a branch hold anything that shall be seen?   a type of his stays for what is inside
//	──  walk  ──▶  leave, bring back, or let go                      a type comes back before what is inside
type reverter struct {
	t      *Txn
	state  func(client uint64) uint32 // of the document that the edit is meant for
	mine   spans                      // what he inserted
	lost   spans                      // what was deleted, by him or by nobody
	back   spans                      // of that, what somebody has brought back already, or did not want back
	order  []*branch
	wanted map[*branch]bool

	going []Range // what is to be deleted
	notes []redoNote
	count Reverted
	err   error
}

// redoNote says as what some clocks came back.
type redoNote struct{ of, as Range }

// fate is what becomes of an item.
type fate uint8

const (
	goes  fate = iota // it is not to be seen: it is deleted, or will be
	stays             // it is there
	comes             // it is deleted and is to be brought back
)

// work does all of it.
func (v *reverter) work(inserted, deleted []Range) {
	d := v.t.doc
	v.mine, v.lost = spansOf(d.spansIn(inserted)), spansOf(d.spansIn(deleted))
	v.cut(v.mine, v.lost)
	v.list()
	v.survey()
	v.recognise()
	v.cut(v.mine, v.back)
	v.countCollected()
	v.survey()
	v.walk()
}

// cut makes items end where sets do.
func (v *reverter) cut(sets ...spans) {
	for _, ss := range sets {
		v.t.each(ss, func(ref, *item) {})
	}
}

// countCollected counts what cannot come back because its content is gone.
func (v *reverter) countCollected() {
	d := v.t.doc
	for _, g := range v.lost {
		list := &d.clients[g[0].client].list
		for _, s := range g {
			for clock := s.from; clock < s.to; {
				it := d.items.at(list.at(list.find(clock)))
				end := min(it.end(), s.to)
				if it.kind <= kindDeleted && !v.mine.holds(it) && !v.back.holds(it) {
					v.count.Lost += uint64(end - clock)
				}
				clock = end
			}
		}
	}
}

// fate decides about an item; of the values of a key, only about the one that counts. What is inside a type must have been
// decided on.
func (v *reverter) fate(it *item) fate {
	mine := v.mine.holds(it)
	if mine && (it.kind != kindType || !v.wanted[v.t.doc.branches[it.off]]) {
		return goes
	}
	switch {
	case !it.deleted():
		return stays
	case it.kind <= kindDeleted || !v.lost.holds(it) || v.back.holds(it):
		return goes
	}
	return comes
}

// value returns the value of a key that counts, if what he did is left out: the last one that is not his, unless others have
// deleted it, or his.
func (v *reverter) value(b *branch, sub uint32) (ref, fate) {
	d := v.t.doc
	for x := b.entries[sub]; x != 0; x = d.items.at(x).left {
		it := d.items.at(x)
		f := v.fate(it)
		if f != goes || !v.mine.holds(it) || it.deleted() && !v.lost.holds(it) {
			return x, f
		}
	}
	return 0, goes
}

// list lists the branches from the outside inwards.
func (v *reverter) list() {
	d := v.t.doc
	for _, name := range slices.Sorted(maps.Keys(d.roots)) {
		v.order = append(v.order, d.roots[name])
	}
	for i := 0; i < len(v.order); i++ {
		d.visit(v.order[i], func(_ ref, it *item) {
			if it.kind == kindType {
				v.order = append(v.order, d.branches[it.off])
			}
		})
	}
}

// survey asks the branches, from the inside outwards, what each of them holds. Marks of formatting alone do not count: they
// are nothing without what they format.
func (v *reverter) survey() {
	d := v.t.doc
	v.wanted = make(map[*branch]bool)
	for _, b := range slices.Backward(v.order) {
		if b.item != 0 && v.mine.holds(d.items.at(b.item)) {
			v.wanted[b] = v.holdsOthers(b)
		}
	}
}

// holdsOthers says whether a branch holds anything that shall be seen.
func (v *reverter) holdsOthers(b *branch) bool {
	d := v.t.doc
	for x := b.start; x != 0; x = d.items.at(x).right {
		if it := d.items.at(x); it.kind != kindFormat && v.fate(it) != goes {
			return true
		}
	}
	for sub := range b.entries {
		if _, f := v.value(b, sub); f != goes {
			return true
		}
	}
	return false
}

// visit calls fn with all items of a branch, those that were deleted and former values of keys included.
func (d *Doc) visit(b *branch, fn func(ref, *item)) {
	for x := b.start; x != 0; x = d.items.at(x).right {
		fn(x, d.items.at(x))
	}
	for _, sub := range b.sortedKeys() {
		for x := b.entries[sub]; x != 0; x = d.items.at(x).left {
			fn(x, d.items.at(x))
		}
	}
}

// walk goes through the document from the outside inwards. What comes back in a living branch gets its place beside the
// original; a type that comes back is filled in order.
func (v *reverter) walk() {
	d := v.t.doc
	into := make(map[*branch]*branch, len(v.order)) // where what comes back is put; none for what is not to be seen
	for _, b := range v.order {
		to := into[b]
		if b.item == 0 {
			to = b
		}
		enter := func(x, as ref) {
			if it := d.items.at(x); it.kind == kindType && as != 0 {
				into[d.branches[it.off]] = d.branches[d.items.at(as).off]
			}
		}
		last, next := ref(0), ref(0)
		for x := b.start; x != 0; x = next {
			it := d.items.at(x)
			next = it.right
			as := v.apply(x, v.fate(it), to, last)
			if enter(x, as); as != 0 {
				last = as
			}
		}
		for _, sub := range b.sortedKeys() {
			counts, f := v.value(b, sub)
			for x := b.entries[sub]; x != 0; x = next {
				if next = d.items.at(x).left; x == counts {
					enter(x, v.apply(x, f, to, 0))
				} else {
					v.apply(x, goes, nil, 0)
				}
			}
		}
	}
}

// apply does with an item what is to become of it and returns the item that is there afterwards, if any. What comes back is
// put into a branch, that of the item itself or a new one, whose last item so far is given.
func (v *reverter) apply(x ref, f fate, to *branch, last ref) ref {
	d := v.t.doc
	it := d.items.at(x)
	mine := v.mine.holds(it)
	switch {
	case f == goes && mine && !it.deleted():
		v.going = append(v.going, v.rangeOf(it))
		v.count.Deleted += uint64(it.len)
		return 0
	case f == goes || to == nil:
		return 0
	case mine:
		v.count.Kept++
	}
	if f == stays {
		return x
	}
	return v.bring(x, to, last)
}

// bring copies an item to where it is to come back.
func (v *reverter) bring(x ref, to *branch, last ref) ref {
	t, d := v.t, v.t.doc
	it := d.items.at(x)
	if it.sub != 0 && it.len > 1 { // values of a key that were merged: the last one is meant
		x = t.cleanStart(it.client, it.end()-1)
		it = d.items.at(x)
	}
	left, right := last, ref(0)
	switch own := it.parent == to.self; {
	case it.sub != 0:
		left = v.shared(to.entries[it.sub])
	case own:
		left, right = v.shared(it.left), x
	}
	self, err := t.self(int(it.len), int(it.size))
	if err != nil {
		v.err = err
		v.count.Lost += uint64(it.len)
		return 0
	}
	y := t.copyItem(self, it, to, left, right)
	v.notes = append(v.notes, redoNote{v.rangeOf(it), v.rangeOf(d.items.at(y))})
	v.count.Restored += uint64(it.len)
	return y
}

// shared returns an item, or the next one to its left, that the document for which the edit is meant holds.
func (v *reverter) shared(x ref) ref {
	d := v.t.doc
	for x != 0 {
		it := d.items.at(x)
		switch state := v.state(d.clients[it.client].id); {
		case it.end() <= state:
			return x
		case it.clock < state:
			return v.t.cleanEnd(it.client, state-1)
		}
		x = it.left
	}
	return 0
}

func (v *reverter) rangeOf(it *item) Range {
	return Range{v.t.doc.clients[it.client].id, uint64(it.clock), uint64(it.end())}
}

// follow notes what clocks came back as, for undo managers and positions that remember them.
func (t *Txn) follow(notes []redoNote) {
	d := t.doc
	for _, n := range notes {
		as := d.spansIn([]Range{n.as})
		of := d.spansIn([]Range{n.of})
		if len(as) == 0 || len(of) == 0 {
			continue
		}
		t.each(spans{of}, func(_ ref, it *item) {
			if it.deleted() {
				d.noteRedone(it, unitID{as[0].client, as[0].from + it.clock - of[0].from})
			}
		})
	}
}
