package crdt

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Delta is one step through a text from its start: exactly one of Insert, Retain and Erase is set. Lengths count
// UTF-16 code units. An inserted embedded object or nested type shows as U+FFFC and is in Embed. Attrs is the
// formatting of an Insert, and of a Retain what changed of it, null for what was taken away.
type Delta struct {
	Insert string
	Retain int
	Erase  int
	Attrs  []Attr
	Embed  *Value
}

// ListDelta is one step through a list from its start: exactly one of Insert, Retain and Erase is set.
type ListDelta struct {
	Insert []Value
	Retain int
	Erase  int
}

// Action is what happened to a key.
type Action uint8

const (
	Added   Action = iota + 1 // it had no value before
	Updated                   // it had another value before
	Removed                   // it has no value any more
)

func (a Action) String() string { return [...]string{"nothing", "added", "updated", "removed"}[a&3] }

// KeyChange is what one transaction did to a key of a map, or an attribute. Old is the value before.
type KeyChange struct {
	Key    string
	Action Action
	Old    Value
}

// Step is one step from a shared type to one inside it: a key, or if Index is not negative the element there.
type Step struct {
	Key   string
	Index int
}

// Event is what one transaction changed in one shared type. Values in it are as they were right after the transaction;
// reading it changes nothing.
type Event struct {
	Origin Origin
	Target Shared
	Path   []Step      // from the observed type to Target
	Text   []Delta     // of a Text or XMLText
	List   []ListDelta // of an Array, XML or XMLElement
	Keys   []KeyChange // of a Map or XMLHook, or attributes of XML, sorted
}

// TextEvent is what one transaction changed in a text.
type TextEvent struct {
	Origin Origin
	Delta  []Delta
}

// observer is who hears of changes of a branch; one of the functions is set.
type observer struct {
	text func(TextEvent)
	one  func(Event)
	deep func([]Event)
	gone atomic.Bool
}

// call hands an observer its share of a transaction.
type call struct {
	to     *observer
	events []Event
}

func (c *call) run() {
	switch {
	case c.to.deep != nil:
		c.to.deep(c.events)
	case c.to.one != nil:
		c.to.one(c.events[0])
	case len(c.events[0].Text) > 0:
		c.to.text(TextEvent{c.events[0].Origin, c.events[0].Text})
	}
}

// objectReplacement stands for an embedded object in a Delta.
const objectReplacement = "\uFFFC"

// Observe calls fn after every transaction that changed the text or its formatting, in commit order and outside the
// lock. stop ends the calls. Observe must not be called inside Update or View.
func (t *Text) Observe(fn func(TextEvent)) (stop func()) { return t.observe(&observer{text: fn}) }

// ObserveDeep calls fn after every transaction that changed the type or something inside it, with one event for each
// type that changed, the outer ones first. Otherwise it is like Observe.
func (s *shared) ObserveDeep(fn func([]Event)) (stop func()) { return s.observe(&observer{deep: fn}) }

// observe adds an observer to the branch. One of a deleted type hears nothing.
func (s *shared) observe(o *observer) (stop func()) {
	d := s.doc
	d.mu.Lock()
	defer d.mu.Unlock()
	b := s.reserve()
	b.observers = append(b.observers, o)
	if o.deep != nil {
		d.deep++
	}
	return func() {
		if o.gone.Swap(true) {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		b.observers = slices.DeleteFunc(b.observers, func(x *observer) bool { return x == o })
		if o.deep != nil {
			d.deep--
		}
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

// changes is what a transaction did to one branch.
type changes struct {
	list  []change
	marks []ref    // formatting that came or went
	subs  []uint32 // keys touched
}

// events computes what observers are to hear. It looks at what changed only: every new or deleted item is placed by the
// position index, so that the cost does not grow with the document.
func (t *Txn) events() []call {
	if len(t.dirty) == 0 {
		return nil
	}
	var calls []call
	deep := deepCalls{byBranch: make(map[*branch]int)}
	changed := t.changes()
	for _, b := range t.dirty {
		if t.doc.dead(b) || t.isNew(b.item) {
			continue
		}
		e, ok := t.event(b, changed[b])
		if !ok {
			continue
		}
		for _, o := range b.observers {
			if o.deep == nil {
				calls = append(calls, call{o, []Event{e}})
			}
		}
		if t.doc.deep > 0 {
			deep.add(t.doc, b, e)
		}
	}
	return append(calls, deep.calls()...)
}

// isNew says whether an item came with the transaction.
func (t *Txn) isNew(r ref) bool {
	if r == 0 {
		return false
	}
	it := t.doc.items.at(r)
	return it.clock >= t.stateBefore(it.client)
}

// deepCalls collects events for the observers of a branch and everything inside it.
type deepCalls struct {
	byBranch map[*branch]int
	branches []*branch
	events   [][]Event
}

// add gives an event to all branches around b that are observed that way.
func (c *deepCalls) add(d *Doc, b *branch, e Event) {
	var path []Step // from the end
	for at := b; ; {
		if slices.ContainsFunc(at.observers, func(o *observer) bool { return o.deep != nil }) {
			i, ok := c.byBranch[at]
			if !ok {
				i = len(c.branches)
				c.byBranch[at] = i
				c.branches, c.events = append(c.branches, at), append(c.events, nil)
			}
			e.Path = slices.Clone(path)
			slices.Reverse(e.Path)
			c.events[i] = append(c.events[i], e)
		}
		if at.item == 0 {
			return
		}
		it := d.items.at(at.item)
		path = append(path, d.step(it, at.item))
		at = d.branches[it.parent]
	}
}

// step is where an item lies in its parent.
func (d *Doc) step(it *item, r ref) Step {
	if it.sub != 0 {
		return Step{Key: d.subName(it.sub), Index: -1}
	}
	at, _ := d.place(d.branches[it.parent], r)
	return Step{Index: int(at)}
}

func (c *deepCalls) calls() (out []call) {
	for i, b := range c.branches {
		slices.SortStableFunc(c.events[i], func(x, y Event) int { return cmp.Compare(len(x.Path), len(y.Path)) })
		for _, o := range b.observers {
			if o.deep != nil {
				out = append(out, call{o, c.events[i]})
			}
		}
	}
	return out
}

// event computes what happened to one branch, if anything did.
func (t *Txn) event(b *branch, c *changes) (Event, bool) {
	if c == nil {
		return Event{}, false
	}
	d := t.doc
	e := Event{Origin: t.origin, Target: d.handle(b)}
	if len(c.list)+len(c.marks) > 0 {
		switch b.typeRef {
		case typeText, typeXMLText:
			if b.hasFormat {
				e.Text = t.richDelta(b, c)
			} else {
				e.Text = t.textDelta(b, c.list)
			}
		case typeArray, typeXMLElement, typeXMLFragment:
			e.List = t.listDelta(b, c.list)
		}
	}
	slices.SortFunc(c.subs, func(x, y uint32) int { return cmp.Compare(d.subName(x), d.subName(y)) })
	for _, sub := range slices.Compact(c.subs) {
		if k, ok := t.keyChange(b, sub); ok {
			e.Keys = append(e.Keys, k)
		}
	}
	return e, len(e.Text)+len(e.List)+len(e.Keys) > 0
}

// changes collects what the transaction added and deleted in observed branches.
func (t *Txn) changes() map[*branch]*changes {
	d := t.doc
	out := make(map[*branch]*changes)
	t.touchedItems(func(r ref, it *item, from, to uint32, added bool) {
		b := d.branches[it.parent]
		if b.dirty != t.id {
			return
		}
		c := out[b]
		if c == nil {
			c = new(changes)
			out[b] = c
		}
		switch {
		case it.sub != 0:
			c.subs = append(c.subs, it.sub)
		case it.kind == kindFormat:
			c.marks = append(c.marks, r)
		case it.kind.countable() && added != it.deleted():
			c.list = append(c.list, change{r: r, from: from, to: to, added: added})
		}
	})
	return out
}

// touchedItems calls visit with the items, or parts of items, that the transaction added, and with those that it deleted
// and that were there before.
func (t *Txn) touchedItems(visit func(r ref, it *item, from, to uint32, added bool)) {
	d := t.doc
	walk := func(c, from, to uint32, added bool) {
		list := &d.clients[c].list
		p := list.find(from)
		for ok := true; ok; p, ok = list.next(p) {
			r := list.at(p)
			it := d.items.at(r)
			if it.clock >= to {
				return
			}
			if it.kind != kindGC {
				visit(r, it, max(it.clock, from), min(it.end(), to), added)
			}
		}
	}
	for _, c := range t.touched {
		if cl := &d.clients[c]; cl.before < cl.state {
			walk(c, cl.before, cl.state, true)
		}
	}
	for _, s := range t.deletes {
		if to := min(s.to, t.stateBefore(s.client)); s.from < to {
			walk(s.client, s.from, to, false)
		}
	}
}

// keyChange says what happened to a key.
func (t *Txn) keyChange(b *branch, sub uint32) (KeyChange, bool) {
	d := t.doc
	r := b.entries[sub]
	before := r
	for before != 0 && t.isNew(before) {
		before = d.items.at(before).left
	}
	c := KeyChange{Key: d.subName(sub)}
	had := before != 0 && t.deleted(d.items.at(before))
	has := !d.items.at(r).deleted()
	switch {
	case r == before: // nothing was set
		c.Action = Removed
		if !had {
			return c, false
		}
	case has && had:
		c.Action = Updated
	case has:
		c.Action = Added
		return c, true
	case had:
		c.Action = Removed
	default:
		return c, false
	}
	it := d.items.at(before)
	c.Old = d.value(it, it.len-1)
	return c, true
}

// deleted says whether the transaction deleted an item.
func (t *Txn) deleted(it *item) bool {
	i, found := slices.BinarySearchFunc(t.deletes, it, func(s span, it *item) int {
		return cmp.Or(cmp.Compare(s.client, it.client), cmp.Compare(s.from, it.clock))
	})
	if found {
		return true
	}
	return i > 0 && t.deletes[i-1].client == it.client && it.clock < t.deletes[i-1].to
}

// inOrder places the changed parts of b's sequence and sorts them.
func (d *Doc) inOrder(b *branch, cs []change) {
	for i := range cs {
		c := &cs[i]
		c.at, c.rank = d.place(b, c.r)
		if c.added {
			c.at += c.from - d.items.at(c.r).clock
		}
	}
	slices.SortFunc(cs, func(x, y change) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.from, y.from))
	})
}

// place returns how many visible units and how many items lie before an item of b's sequence.
func (d *Doc) place(b *branch, at ref) (vis, rank uint32) {
	if b.index == nil && b.count >= indexMin {
		d.buildIndex(b)
	}
	if b.index != nil {
		return b.index.place(at, d.items.at(at).leaf)
	}
	for r := b.start; r != at; r = d.items.at(r).right {
		vis += d.items.at(r).visible()
		rank++
	}
	return vis, rank
}

// textDelta turns the changes of a text without formatting into steps.
func (t *Txn) textDelta(b *branch, cs []change) []Delta {
	d := t.doc
	d.inOrder(b, cs)
	var out []Delta
	at := uint32(0)
	for _, c := range cs {
		if c.at > at {
			out = append(out, Delta{Retain: int(c.at - at)})
			at = c.at
		}
		n := len(out)
		it := d.items.at(c.r)
		switch {
		case !c.added:
			if n > 0 && out[n-1].Erase > 0 {
				out[n-1].Erase += int(c.to - c.from)
			} else {
				out = append(out, Delta{Erase: int(c.to - c.from)})
			}
			continue
		case it.kind != kindString:
			for i := c.from; i < c.to; i++ {
				v := d.value(it, i-it.clock)
				out = append(out, Delta{Insert: objectReplacement, Embed: &v})
			}
		case n > 0 && out[n-1].Insert != "" && out[n-1].Embed == nil:
			out[n-1].Insert += d.text(it, c.from, c.to)
		default:
			out = append(out, Delta{Insert: d.text(it, c.from, c.to)})
		}
		at += c.to - c.from
	}
	return out
}

// listDelta turns the changes of a list into steps.
func (t *Txn) listDelta(b *branch, cs []change) []ListDelta {
	d := t.doc
	d.inOrder(b, cs)
	var out []ListDelta
	at := uint32(0)
	for _, c := range cs {
		if c.at > at {
			out = append(out, ListDelta{Retain: int(c.at - at)})
			at = c.at
		}
		n := len(out)
		if !c.added {
			if n > 0 && out[n-1].Erase > 0 {
				out[n-1].Erase += int(c.to - c.from)
			} else {
				out = append(out, ListDelta{Erase: int(c.to - c.from)})
			}
			continue
		}
		if n == 0 || out[n-1].Insert == nil {
			out = append(out, ListDelta{})
			n++
		}
		it := d.items.at(c.r)
		clock := it.clock
		for v := range d.values(it) {
			if c.from <= clock && clock < c.to {
				out[n-1].Insert = append(out[n-1].Insert, v)
			}
			clock++
		}
		at += c.to - c.from
	}
	return out
}

// text returns the text of an item's clocks [from, to).
func (d *Doc) text(it *item, from, to uint32) string {
	p := cutFront(kindString, d.payload(it), it.len, from-it.clock)
	end, inPair := lib0.UTF16Index(p, int(to-from))
	if inPair {
		return string(p[:end]) + replacement
	}
	return string(p[:end])
}
