package crdt

import "slices"

// WithFormatCleanup makes the document do what Yjs does after a remote change of a formatted text: look for marks that
// have become redundant, and delete them in a transaction of its own, which is emitted as a local one. Every replica
// that does so emits the same deletions, which nobody sees. Without it marks stay until somebody edits around them. In a
// group where every replica cleans up after every other one, one edit makes as many messages as there are replicas.
func WithFormatCleanup() Option { return func(d *Doc) { d.cleanup = true } }

// wantsCleanup says whether a transaction calls for a clean-up.
func (t *Txn) wantsCleanup() bool {
	if !t.doc.cleanup || t.origin.Local {
		return false
	}
	return slices.ContainsFunc(t.dirty, func(b *branch) bool {
		return b.hasFormat && !t.doc.dead(b) && !t.isNew(b.item)
	})
}

// cleanupAfter deletes redundant marks in the texts that t has changed. If marks came or went, the whole text is gone
// through, otherwise the surroundings of what was deleted. It runs before t is tidied, as in Yjs.
func (t *Txn) cleanupAfter(changed *Txn, gone spans) {
	d := t.doc
	var whole []*branch
	add := func(b *branch) {
		if !slices.Contains(whole, b) {
			whole = append(whole, b)
		}
	}
	changed.touchedItems(func(r ref, it *item, _, _ uint32, added bool) {
		if added && it.kind == kindFormat && !it.deleted() {
			add(d.branches[it.parent])
		}
	})
	for _, s := range slices.Concat(gone...) {
		list := &d.clients[s.client].list
		p := list.find(s.from)
		for ok := true; ok; p, ok = list.next(p) {
			r := list.at(p)
			it := d.items.at(r)
			if it.clock >= s.to {
				break
			}
			if it.kind == kindGC {
				continue
			}
			switch b := d.branches[it.parent]; {
			case !b.hasFormat || slices.Contains(whole, b):
			case it.kind == kindFormat:
				add(b)
			default:
				t.cleanGap(r)
			}
		}
	}
	for _, b := range whole {
		t.cleanText(b)
	}
}

// cleanGap deletes, in the gap around an item, the marks that a later one overrides.
func (t *Txn) cleanGap(r ref) {
	d := t.doc
	empty := func(r ref) bool {
		it := d.items.at(r)
		return it.deleted() || !it.kind.countable()
	}
	for next := d.items.at(r).right; next != 0 && empty(next); next = d.items.at(r).right {
		r = next
	}
	seen := map[string]bool{}
	for ; r != 0 && empty(r); r = d.items.at(r).left {
		if it := d.items.at(r); !it.deleted() && it.kind == kindFormat {
			key := d.readMark(r).key
			if seen[key] {
				t.delete(r)
			}
			seen[key] = true
		}
	}
}

// cleanText deletes redundant marks in all gaps of a text.
func (t *Txn) cleanText(b *branch) {
	d := t.doc
	c := cursor{t: t, b: b, right: b.start}
	start := b.start
	var startNow marks
	for ; c.right != 0; c.right = d.items.at(c.right).right {
		if it := c.item(); it.deleted() {
			continue
		}
		if m, ok := c.atMark(); ok {
			c.now.pass(m)
			continue
		}
		c.tidy(start, startNow)
		startNow = slices.Clone(c.now)
		start = c.right
	}
}
