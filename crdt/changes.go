package crdt

import (
	"encoding/json"
	"iter"
	"slices"
	"sort"
)

// A text can be shown as it was in a past state, and two states of it as one text in which what came and what went is
// marked. Yjs cuts items at the borders of the states to do so, which splits surrogate pairs for good; this looks at
// parts of items and changes nothing.
//
//	item 7@0 "hello world"     before: 0–5 there       now: 0–11 there, 2–4 deleted
//	parts                      he    ll        o       ␣world
//	shown                      he    ll removed  o       ␣world added

// ChangeOptions says what Text.Changes shows.
type ChangeOptions struct {
	// Before is the earlier state; the zero Snapshot is the empty document.
	Before Snapshot
	// Now is the later state; nil is the present.
	Now *Snapshot
	// Mark returns the JSON of the attribute "ychange" for what changed; nil stands for {"type":"added"} and
	// {"type":"removed"}.
	Mark func(Change) json.RawMessage
}

// Change is a run of text that is in one of two states only.
type Change struct {
	Removed bool  // it was there before; otherwise it is there now
	By      Range // who inserted it, and as which clocks; who removed it is not known
}

// changeKey is the attribute that Yjs marks changes with.
const changeKey = "ychange"

// Changes yields what the text is in either of two states, in runs of equal attributes like Delta. An attribute "ychange"
// tells what is in one of them only; formatting is that of the later state. This is Yjs's toDelta with two snapshots,
// but for embedded objects: there they have the mark of the text before them, here their own.
//
// What has been collected is not shown: the document should be one made WithoutGC.
func (t *Text) Changes(tx Reader, o ChangeOptions) iter.Seq[Delta] {
	if o.Mark == nil {
		o.Mark = markOf
	}
	return t.at(tx, &stateView{now: o.Now, before: &o.Before, mark: o.Mark})
}

// DeltaAt yields the text as it was in a past state, like Delta. What has been collected since is missing: the document
// should be one made WithoutGC.
func (t *Text) DeltaAt(tx Reader, s Snapshot) iter.Seq[Delta] {
	return t.at(tx, &stateView{now: &s})
}

func markOf(c Change) json.RawMessage {
	if c.Removed {
		return json.RawMessage(`{"type":"removed"}`)
	}
	return json.RawMessage(`{"type":"added"}`)
}

func (t *Text) at(tx Reader, v *stateView) iter.Seq[Delta] {
	b := t.look(tx)
	return func(yield func(Delta) bool) {
		if b == nil {
			return
		}
		w := changeWalk{d: t.doc, view: *v, yield: yield}
		for r := b.start; r != 0 && !w.done; r = t.doc.items.at(r).right {
			w.item(r)
		}
		w.flush()
	}
}

// stateView is a document seen in one state, or in two at once.
type stateView struct {
	now, before *Snapshot // now is nil for the present; before is nil if there is only one state
	mark        func(Change) json.RawMessage
}

// see says in which of the states a clock of an item is visible, and up to which clock that is so.
func (v *stateView) see(id uint64, it *item, clock uint32) (now, before bool, until uint32) {
	until = it.end()
	if v.now == nil {
		now = !it.deleted()
	} else {
		now, until = v.now.shows(id, clock, until)
	}
	if v.before != nil {
		before, until = v.before.shows(id, clock, until)
	}
	return now, before, until
}

// shows says whether a clock is there and not deleted in the state, and up to which clock, at most until, that is so.
func (s *Snapshot) shows(id uint64, clock, until uint32) (bool, uint32) {
	state := s.state[id]
	if uint64(clock) >= state {
		return false, until
	}
	until = uint32(min(uint64(until), state))
	i := sort.Search(len(s.deletes), func(i int) bool {
		r := s.deletes[i]
		return r.Client > id || r.Client == id && r.To > uint64(clock)
	})
	if i == len(s.deletes) || s.deletes[i].Client != id {
		return true, until
	}
	if r := s.deletes[i]; r.From > uint64(clock) {
		return true, uint32(min(uint64(until), r.From))
	}
	return false, uint32(min(uint64(until), s.deletes[i].To))
}

// changeWalk goes through a text and yields its runs.
type changeWalk struct {
	d     *Doc
	view  stateView
	yield func(Delta) bool
	done  bool
	now   marks // in force, the mark of changes included
	text  []byte
}

func (w *changeWalk) flush() {
	if len(w.text) > 0 && !w.done {
		w.done = !w.yield(Delta{Insert: string(w.text), Attrs: w.now.attrs()})
	}
	w.text = w.text[:0]
}

// item shows the parts of an item that are visible in either state.
func (w *changeWalk) item(r ref) {
	it := w.d.items.at(r)
	id := w.d.clients[it.client].id
	for from := it.clock; from < it.end() && !w.done; {
		now, before, to := w.view.see(id, it, from)
		switch {
		case !now && !before:
		case it.kind == kindFormat:
			if now {
				w.flush()
				w.now.pass(w.d.readMark(r))
			}
		case it.kind.countable():
			if it.kind != kindString {
				to = from + 1
			}
			w.change(Change{Removed: !now, By: Range{id, uint64(from), uint64(to)}}, now && (before || w.view.before == nil))
			w.show(it, from, to)
		}
		from = to
	}
}

// show takes in clocks of an item: some text, or one embedded object.
func (w *changeWalk) show(it *item, from, to uint32) {
	if it.kind == kindString {
		w.text = append(w.text, w.d.text(it, from, to)...)
		return
	}
	w.flush()
	v := w.d.value(it, from-it.clock)
	w.done = w.done || !w.yield(Delta{Insert: objectReplacement, Attrs: w.now.attrs(), Embed: &v})
}

// change sets the mark that what follows has.
func (w *changeWalk) change(c Change, stays bool) {
	m := mark{key: changeKey}
	if !stays {
		m.json = string(w.view.mark(c))
	}
	i := slices.IndexFunc(w.now, func(m mark) bool { return m.key == changeKey })
	switch {
	case m.json == "" && i < 0 || i >= 0 && w.now[i].json == m.json:
		return
	case m.json == "":
		w.flush()
		w.now.remove(changeKey)
	default:
		w.flush()
		w.now.set(m)
	}
}
