package crdt

import (
	"cmp"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Delta is one step through a text from its start: exactly one of Insert, Retain and Erase is set. Lengths count
// UTF-16 code units. An inserted embedded object shows as U+FFFC. Attrs is the formatting of an Insert of Text.Delta.
type Delta struct {
	Insert string
	Retain int
	Erase  int
	Attrs  []Attr
}

// TextEvent is what one transaction changed in the characters of a text. Changes of formatting alone are not told.
type TextEvent struct {
	Origin Origin
	Delta  []Delta
}

type textObserver struct {
	fn   func(TextEvent)
	gone bool // guarded by the feed's lock
}

// objectReplacement stands for an embedded object in a Delta.
const objectReplacement = "\uFFFC"

// Observe calls fn after every transaction that changed the text, in commit order and outside the lock. stop ends the
// calls. Observe must not be called inside Update or View.
func (t *Text) Observe(fn func(TextEvent)) (stop func()) {
	d := t.doc
	o := &textObserver{fn: fn}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.root(t.name)
	b.observers = append(b.observers, o)
	return func() {
		d.feed.mu.Lock()
		o.gone = true
		d.feed.mu.Unlock()
		d.mu.Lock()
		defer d.mu.Unlock()
		b.observers = slices.DeleteFunc(b.observers, func(x *textObserver) bool { return x == o })
	}
}

// change is a part of an item that a transaction added or deleted, and where it lies.
type change struct {
	r        ref
	from, to uint32 // clocks
	added    bool
	at       uint32 // visible unit before which it lies, or at which it starts
	rank     uint32 // order among the items of the sequence
}

// textEvents computes the events of observed texts. It looks at what changed only: every new or deleted item is
// placed by the position index, so that the cost does not grow with the text.
func (t *Txn) textEvents() []textCall {
	var calls []textCall
	for _, b := range t.dirty {
		if t.doc.dead(b) {
			continue
		}
		if delta := t.delta(b, t.changes(b)); len(delta) > 0 {
			for _, o := range b.observers {
				calls = append(calls, textCall{o, TextEvent{Origin: t.origin, Delta: delta}})
			}
		}
	}
	return calls
}

// changes collects the changed parts of b's sequence in the order of the sequence.
func (t *Txn) changes(b *branch) []change {
	d := t.doc
	var out []change
	visit := func(c, from, to uint32, deleted bool) {
		list := &d.clients[c].list
		p := list.find(from, &d.items)
		for ok := true; ok; p, ok = list.next(p) {
			r := list.at(p)
			it := d.items.at(r)
			if it.clock >= to {
				return
			}
			if it.parent == b.self && it.sub == 0 && it.deleted() == deleted && it.kind.countable() {
				out = append(out, change{r: r, from: max(it.clock, from), to: min(it.end(), to), added: !deleted})
			}
		}
	}
	for _, c := range t.touched {
		if cl := &d.clients[c]; cl.before < cl.state {
			visit(c, cl.before, cl.state, false)
		}
	}
	for _, s := range t.deletes {
		if to := min(s.to, t.stateBefore(s.client)); s.from < to {
			visit(s.client, s.from, to, true)
		}
	}
	if len(out) > 0 {
		d.placeChanges(b, out)
	}
	slices.SortFunc(out, func(x, y change) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.from, y.from))
	})
	return out
}

// placeChanges finds where changed items lie.
func (d *Doc) placeChanges(b *branch, cs []change) {
	if b.index == nil && b.count >= indexMin {
		d.buildIndex(b)
	}
	for i := range cs {
		c := &cs[i]
		it := d.items.at(c.r)
		if b.index != nil {
			c.at, c.rank = b.index.place(c.r, it.leaf)
		} else {
			for r := b.start; r != c.r; r = d.items.at(r).right {
				c.at += d.items.at(r).visible()
				c.rank++
			}
		}
		if c.added {
			c.at += c.from - it.clock
		}
	}
}

// delta turns placed changes into steps.
func (t *Txn) delta(b *branch, cs []change) []Delta {
	d := t.doc
	var out []Delta
	at := uint32(0)
	for _, c := range cs {
		if c.at > at {
			out = append(out, Delta{Retain: int(c.at - at)})
			at = c.at
		}
		n := len(out)
		if !c.added {
			if n > 0 && out[n-1].Erase > 0 {
				out[n-1].Erase += int(c.to - c.from)
			} else {
				out = append(out, Delta{Erase: int(c.to - c.from)})
			}
			continue
		}
		text := d.text(d.items.at(c.r), c.from, c.to)
		if n > 0 && out[n-1].Insert != "" {
			out[n-1].Insert += text
		} else {
			out = append(out, Delta{Insert: text})
		}
		at += c.to - c.from
	}
	return out
}

// text returns the text of an item's clocks [from, to).
func (d *Doc) text(it *item, from, to uint32) string {
	if it.kind != kindString {
		s := ""
		for ; from < to; from++ {
			s += objectReplacement
		}
		return s
	}
	p := cutFront(kindString, d.payload(it), from-it.clock)
	end, inPair := lib0.UTF16Index(p, int(to-from))
	if inPair {
		return string(p[:end]) + replacement
	}
	return string(p[:end])
}
