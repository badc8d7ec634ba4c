package crdt

// richDelta says what a transaction changed in a formatted text, as the events of Yjs do. It walks over the whole text
// with three sets of attributes: those in force now, those in force before the transaction, and the difference that the
// units passed since the last step have got.
//
//	before   a b {bold} c d {null} e
//	now      a {bold} b {bold}̶ c d {null} e         step 1: retain 1; step 2: retain 1, bold: true
//
// Yjs deletes marks that it finds to be redundant while it computes this. Here such a mark is only passed over.
func (t *Txn) richDelta(b *branch) []Delta {
	w := richWalk{t: t}
	d := t.doc
	for r := b.start; r != 0; r = d.items.at(r).right {
		it := d.items.at(r)
		deleted := it.deleted() && t.deleted(it)
		old := it.len // units that were there before: typing goes on inside an item
		if before := t.stateBefore(it.client); before < it.end() {
			old = before - min(before, it.clock)
		}
		switch {
		case it.kind == kindFormat:
			w.mark(r, it, old == 0, deleted)
			continue
		case !it.kind.countable() || it.deleted() && !deleted:
			continue
		case old > 0 && deleted:
			w.to(stepErase)
			w.n += int(old)
		case old > 0:
			w.to(stepRetain)
			w.n += int(old)
		}
		if old < it.len && !deleted {
			w.insert(it, it.clock+old)
		}
	}
	w.to(stepNone)
	for n := len(w.out); n > 0 && w.out[n-1].Retain > 0 && len(w.out[n-1].Attrs) == 0; n-- {
		w.out = w.out[:n-1]
	}
	return w.out
}

// stepKind is what the step under way does.
type stepKind uint8

const (
	stepNone stepKind = iota
	stepInsert
	stepRetain
	stepErase
)

// richWalk is the state of the walk of richDelta.
type richWalk struct {
	t      *Txn
	out    []Delta
	kind   stepKind
	n      int    // units of a retain or erase step
	text   string // of an insert step
	now    marks  // in force after the transaction
	before marks  // in force before it
	diff   marks  // what a retain step changes; null takes away
}

// to goes on with a step of the given kind, ending another one.
func (w *richWalk) to(k stepKind) {
	if w.kind != k {
		w.end()
		w.kind = k
	}
}

// end adds the step under way to the result.
func (w *richWalk) end() {
	switch {
	case w.kind == stepInsert && w.text != "":
		w.out = append(w.out, Delta{Insert: w.text, Attrs: w.now.attrs()})
	case w.kind == stepRetain && w.n > 0:
		w.out = append(w.out, Delta{Retain: w.n, Attrs: w.diff.attrs()})
	case w.kind == stepErase && w.n > 0:
		w.out = append(w.out, Delta{Erase: w.n})
	}
	w.kind, w.n, w.text = stepNone, 0, ""
}

// insert takes in an item that is new from a clock on.
func (w *richWalk) insert(it *item, from uint32) {
	d := w.t.doc
	if it.kind == kindString {
		w.to(stepInsert)
		w.text += d.text(it, from, it.end())
		return
	}
	w.end()
	v := d.value(it, 0)
	w.out = append(w.out, Delta{Insert: objectReplacement, Attrs: w.now.attrs(), Embed: &v})
}

// mark takes in a formatting item.
func (w *richWalk) mark(r ref, it *item, added, deleted bool) {
	if it.deleted() && !deleted {
		return
	}
	m := w.t.doc.readMark(r)
	redundant := false
	switch {
	case added && deleted:
		return
	case added:
		redundant = w.markAdded(m)
	case deleted:
		w.before.set(m)
		if now, _ := w.now.get(m.key); !alike(now, m) {
			w.endRetain()
			w.diff.set(now)
		}
		return
	default:
		redundant = w.markKept(m)
	}
	if redundant {
		return
	}
	if w.kind == stepInsert {
		w.end()
	}
	w.now.pass(m)
}

func (w *richWalk) markAdded(m mark) (redundant bool) {
	if now, _ := w.now.get(m.key); alike(now, m) {
		return m.json != jsonNull
	}
	w.endRetain()
	if before, _ := w.before.get(m.key); alike(m, before) {
		w.diff.remove(m.key)
	} else {
		w.diff.set(m)
	}
	return false
}

func (w *richWalk) markKept(m mark) (redundant bool) {
	w.before.set(m)
	diff, ok := w.diff.get(m.key)
	if !ok {
		return false
	}
	if alike(diff, m) {
		return diff.json != jsonNull
	}
	w.endRetain()
	if m.json == jsonNull {
		w.diff.remove(m.key)
	} else {
		w.diff.set(m)
	}
	return false
}

func (w *richWalk) endRetain() {
	if w.kind == stepRetain {
		w.end()
	}
}
