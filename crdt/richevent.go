package crdt

import "slices"

// richDelta says what a transaction changed in a formatted text. It walks over the text from the first change on, with the
// attributes in force before the transaction and those in force now; what stays has changed where the two differ. Behind
// the last change, where they differ no more, all is as it was.
//
//	items        a   {bold, new}   b c   {bold: null, new}   d {deleted} e
//	before     none                                          none
//	now        none                bold                      none
//	step       retain 1            retain 2, bold: true      retain 0, erase 1, …
//
// Yjs reports marks that were put in and taken out again now and then, and deletes marks it finds to be redundant while
// it looks. This says only what differs, and changes nothing.
func (t *Txn) richDelta(b *branch, c *changes) []Delta {
	w := richWalk{t: t}
	r, last := w.begin(b, c)
	for passed := false; r != 0 && !(passed && w.same()); r = t.doc.items.at(r).right {
		w.step(r)
		passed = passed || r == last
	}
	for n := len(w.out); n > 0 && w.out[n-1].Retain > 0 && len(w.out[n-1].Attrs) == 0; n-- {
		w.out = w.out[:n-1]
	}
	return w.out
}

// richWalk is the state of the walk of richDelta.
type richWalk struct {
	t           *Txn
	out         []Delta
	before, now marks
}

// begin goes to the first change and returns it, and the last one. Short texts are walked over as a whole.
func (w *richWalk) begin(b *branch, c *changes) (first, last ref) {
	d := w.t.doc
	if b.count < indexMin {
		return b.start, 0
	}
	var from, to, before uint32
	visit := func(r ref) {
		vis, rank := d.place(b, r)
		if first == 0 || rank < from {
			first, from, before = r, rank, vis
		}
		if last == 0 || rank > to {
			last, to = r, rank
		}
	}
	for _, x := range c.list {
		visit(x.r)
	}
	for _, r := range c.marks {
		visit(r)
	}
	if before > 0 {
		w.add(Delta{Retain: int(before)})
	}
	if left := d.items.at(first).left; left != 0 {
		w.now = d.inForce(b, left)
		w.before = slices.Clone(w.now)
	}
	return first, last
}

// step goes over an item.
func (w *richWalk) step(r ref) {
	t, d := w.t, w.t.doc
	it := d.items.at(r)
	deleted := it.deleted() && t.deleted(it)
	old := it.len // units that were there before: typing goes on inside an item
	if before := t.stateBefore(it.client); before < it.end() {
		old = before - min(before, it.clock)
	}
	if it.deleted() && !deleted {
		return
	}
	if it.kind == kindFormat {
		m := d.readMark(r)
		if old > 0 {
			w.before.pass(m)
		}
		if !deleted {
			w.now.pass(m)
		}
		return
	}
	if !it.kind.countable() {
		return
	}
	if old > 0 && deleted {
		w.add(Delta{Erase: int(old)})
	} else if old > 0 {
		w.add(Delta{Retain: int(old), Attrs: w.differences()})
	}
	if old < it.len && !deleted {
		w.insert(it, it.clock+old)
	}
}

// same says whether the attributes are what they were.
func (w *richWalk) same() bool {
	if len(w.now) != len(w.before) {
		return false
	}
	for _, m := range w.now {
		if was, had := w.before.get(m.key); !had || was.json != m.json {
			return false
		}
	}
	return true
}

// add appends a step, or makes the last one longer.
func (w *richWalk) add(s Delta) {
	if n := len(w.out); n > 0 {
		last := &w.out[n-1]
		alike := slices.EqualFunc(last.Attrs, s.Attrs, func(a, b Attr) bool {
			return a.Key == b.Key && string(a.Value) == string(b.Value)
		})
		switch {
		case last.Retain > 0 && s.Retain > 0 && alike:
			last.Retain += s.Retain
			return
		case last.Erase > 0 && s.Erase > 0:
			last.Erase += s.Erase
			return
		case last.Insert != "" && s.Insert != "" && last.Embed == nil && s.Embed == nil && alike:
			last.Insert += s.Insert
			return
		}
	}
	w.out = append(w.out, s)
}

// insert takes in an item that is new from a clock on.
func (w *richWalk) insert(it *item, from uint32) {
	d := w.t.doc
	if it.kind == kindString {
		w.add(Delta{Insert: d.text(it, from, it.end()), Attrs: w.now.attrs()})
		return
	}
	v := d.value(it, 0)
	w.add(Delta{Insert: objectReplacement, Attrs: w.now.attrs(), Embed: &v})
}

// differences lists the attributes that a unit has got, or got otherwise, and, as null, those it has lost.
func (w *richWalk) differences() (out []Attr) {
	for _, m := range w.now {
		if was, had := w.before.get(m.key); !had || was.json != m.json {
			out = append(out, Attr{m.key, []byte(m.json)})
		}
	}
	for _, m := range w.before {
		if _, has := w.now.get(m.key); !has {
			out = append(out, Attr{m.key, []byte(jsonNull)})
		}
	}
	return out
}
