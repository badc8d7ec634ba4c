package crdt

import (
	"cmp"
	"slices"
	"time"

	"github.com/studio-whip/collab/crdt/lib0"
)

// UndoOptions says what an undo manager tracks.
type UndoOptions struct {
	// Scope lists the types whose changes, with everything inside them, are tracked; empty means the document.
	Scope []Shared
	// Origins lists the tags (see WithOrigin) of tracked transactions. Empty means those of Update without a tag.
	// Tags must be comparable.
	Origins []any
	// Track, if set, decides instead of Origins. It is called with the document locked and must not use it.
	Track func(Origin) bool
	// Window joins transactions that follow each other within it into one step. It needs Now; otherwise every
	// transaction is a step of its own.
	Window time.Duration
	// Now is the clock for Window.
	Now func() time.Time
	// IgnoreRemoteMapChanges lets undoing bring back the value of a key although somebody else has set it since.
	IgnoreRemoteMapChanges bool
	// DeleteFilter, if set, is asked before undoing or redoing deletes something; false keeps it. It may read, through tx,
	// but not change anything. What a step brings back is not its business.
	DeleteFilter func(tx Reader, what UndoDeletion) bool
	// OnChange, if set, is told when a step is added, extended or taken off, like an observer of the document. A
	// step's Meta may be filled and read there; it is the place for what is not part of the document, as the cursor.
	OnChange func(UndoEvent)
}

// UndoDeletion is something that undoing or redoing is about to delete: a run of text, elements of a list, the value of a
// key, or a mark of formatting, which has no Values.
type UndoDeletion struct {
	In     Shared  // the type that holds it
	Key    string  // of a map or attribute; empty in a sequence
	Values []Value // text is one string
}

// UndoChange is what happened to a stack of steps.
type UndoChange uint8

const (
	StepAdded    UndoChange = iota + 1 // a new step
	StepExtended                       // the last step got longer
	StepDone                           // the step was undone or redone
)

// UndoEvent tells a change of the stacks. Redo says that it concerns the stack of steps to redo.
type UndoEvent struct {
	Change UndoChange
	Redo   bool
	Origin Origin
	Step   *UndoItem
}

// UndoItem is one step that can be undone, or redone. Meta belongs to the application.
type UndoItem struct {
	Meta map[any]any

	insertions, deletions spans
}

// spans are sets of clocks, grouped by client in the order in which the clients were met.
type spans [][]span

// spansOf groups spans, which are in the order in which they came.
func spansOf(ss []span) (out spans) {
	for _, s := range ss {
		i := slices.IndexFunc(out, func(g []span) bool { return g[0].client == s.client })
		if i < 0 {
			out = append(out, []span{s})
			continue
		}
		out[i] = append(out[i], s)
	}
	for i := range out {
		out[i] = mergeSpans(out[i])
	}
	return out
}

// with returns the union of two sets.
func (ss spans) with(more spans) spans {
	var all []span
	for _, g := range slices.Concat(ss, more) {
		all = append(all, g...)
	}
	return spansOf(all)
}

// holds says whether the first unit of an item is in the set.
func (ss spans) holds(it *item) bool {
	for _, g := range ss {
		if g[0].client != it.client {
			continue
		}
		i, found := slices.BinarySearchFunc(g, it.clock, func(s span, clock uint32) int { return cmp.Compare(s.from, clock) })
		return found || i > 0 && it.clock < g[i-1].to
	}
	return false
}

// Undo is a Y.UndoManager: it undoes and redoes the tracked changes of this replica, and leaves those of others alone.
// Its steps are kept until they are undone, redone or cleared; what they would bring back survives garbage collection.
// It is safe for concurrent use like the document.
type Undo struct {
	doc  *Doc
	opts UndoOptions

	// Guarded by the document's lock.
	undo, redo      []*UndoItem
	undoing         bool
	redoing         bool
	last            time.Time // of the last tracked change; zero: the next one begins a step
	scope           []*branch
	wholeDoc, ended bool
}

// NewUndo returns an undo manager for changes of d from now on. Close ends it.
func NewUndo(d *Doc, o UndoOptions) *Undo {
	u := &Undo{doc: d, opts: o, wholeDoc: len(o.Scope) == 0}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range o.Scope {
		u.include(s)
	}
	d.undo = append(d.undo, u)
	return u
}

// AddToScope makes the manager track one more type.
func (u *Undo) AddToScope(s Shared) {
	u.doc.mu.Lock()
	defer u.doc.mu.Unlock()
	u.include(s)
}

func (u *Undo) include(s Shared) {
	if in, ok := s.(interface{ reserve() *branch }); ok {
		u.scope = append(u.scope, in.reserve())
	}
}

// reserve returns the branch of a handle, making that of a root. The document is locked.
func (s *shared) reserve() *branch {
	if s.nested != nil {
		return s.nested
	}
	b := s.doc.root(s.name)
	if !b.typed {
		b.typed, b.typeRef = true, s.ref
	}
	return b
}

// Close ends tracking and forgets all steps.
func (u *Undo) Close() {
	u.Clear()
	u.doc.mu.Lock()
	defer u.doc.mu.Unlock()
	u.ended = true
	u.doc.undo = slices.DeleteFunc(u.doc.undo, func(x *Undo) bool { return x == u })
}

// Undo undoes the last step that still means something, and says whether there was one. It must not be called inside
// Update or View.
func (u *Undo) Undo() bool { return u.pop(&u.undo, &u.undoing, false) }

// Redo redoes the step undone last, unless something was changed since.
func (u *Undo) Redo() bool { return u.pop(&u.redo, &u.redoing, true) }

// StopCapturing makes the next change begin a step of its own.
func (u *Undo) StopCapturing() {
	u.doc.mu.Lock()
	defer u.doc.mu.Unlock()
	u.last = time.Time{}
}

// Steps returns how many steps can be undone, and how many redone.
func (u *Undo) Steps() (undo, redo int) {
	u.doc.mu.RLock()
	defer u.doc.mu.RUnlock()
	return len(u.undo), len(u.redo)
}

// Clear forgets all steps.
func (u *Undo) Clear() {
	_ = u.doc.Update(func(tx *Txn) error {
		u.forget(tx, u.undo)
		u.forget(tx, u.redo)
		u.undo, u.redo = nil, nil
		return nil
	})
}

// forget lets the content that steps would have brought back be collected.
func (u *Undo) forget(t *Txn, steps []*UndoItem) {
	for _, s := range steps {
		t.each(s.deletions, func(r ref, it *item) {
			if u.tracks(it) {
				t.doc.keep(it, false)
			}
		})
	}
}

// pop undoes or redoes steps until one has changed something.
func (u *Undo) pop(stack *[]*UndoItem, busy *bool, redo bool) bool {
	var done *UndoItem
	_ = u.doc.Update(func(tx *Txn) error {
		*busy = true
		tx.extra().atEnd = func() { *busy = false }
		for len(*stack) > 0 && done == nil {
			item := (*stack)[len(*stack)-1]
			*stack = (*stack)[:len(*stack)-1]
			if u.reverse(tx, item) {
				done = item
			}
		}
		tx.extra().captured = func() {
			if done != nil {
				u.tell(tx, UndoEvent{Change: StepDone, Redo: redo, Origin: tx.origin, Step: done})
			}
		}
		return nil
	}, WithOrigin(u))
	return done != nil
}

// reverse deletes what a step inserted and brings back what it deleted.
func (u *Undo) reverse(t *Txn, step *UndoItem) (changed bool) {
	d := t.doc
	var doomed []ref
	t.each(step.insertions, func(r ref, it *item) {
		if _, redone := d.redoneAs(it); redone {
			var offset uint32
			if r, offset = d.followRedone(unitID{it.client, it.clock}); offset > 0 {
				at := d.items.at(r)
				r = t.cleanStart(at.client, at.clock+offset)
			}
			it = d.items.at(r)
		}
		if it.kind != kindGC && !it.deleted() && u.tracks(it) {
			doomed = append(doomed, r)
		}
	})
	back := redoer{t: t, u: u, item: step, todo: make(map[ref]bool)}
	var order []ref
	t.each(step.deletions, func(r ref, it *item) {
		// What came and went within the step stays away.
		if u.tracks(it) && !step.insertions.holds(it) && !back.todo[r] {
			back.todo[r] = true
			order = append(order, r)
		}
	})
	for _, r := range order {
		if back.redo(r) != 0 {
			changed = true
		}
	}
	for i := len(doomed) - 1; i >= 0; i-- { // what is inside goes before what is around it
		if u.mayDelete(t, doomed[i]) {
			t.delete(doomed[i])
			changed = true
		}
	}
	return changed
}

// mayDelete asks the application.
func (u *Undo) mayDelete(t *Txn, r ref) bool {
	if u.opts.DeleteFilter == nil {
		return true
	}
	d := t.doc
	it := d.items.at(r)
	what := UndoDeletion{In: d.handle(d.branches[it.parent])}
	if it.sub != 0 {
		what.Key = d.subName(it.sub)
	}
	switch {
	case it.kind == kindString:
		what.Values = []Value{{v: lib0.String(string(d.payload(it)))}}
	case it.kind.countable():
		for i := range it.len {
			what.Values = append(what.Values, d.value(it, i))
		}
	}
	tx := &ReadTxn{d}
	defer func() { tx.doc = nil }()
	return u.opts.DeleteFilter(tx, what)
}

// each calls visit with the items of a set that are not collected, cut at its borders.
func (t *Txn) each(ss spans, visit func(ref, *item)) {
	d := t.doc
	for _, g := range ss {
		list := &d.clients[g[0].client].list
		for _, s := range g {
			for clock := s.from; clock < min(s.to, d.clients[s.client].state); {
				r := t.cleanStart(s.client, clock)
				it := d.items.at(r)
				if s.to < it.end() && it.kind != kindGC {
					t.split(s.client, list.find(clock), s.to-it.clock)
				}
				clock = it.end()
				if it.kind != kindGC {
					visit(r, it)
				}
			}
		}
	}
}

// tracks says whether an item lies in the scope.
func (u *Undo) tracks(it *item) bool {
	return u.wholeDoc || it.kind != kindGC && u.covers(u.doc.branches[it.parent])
}

// covers says whether a branch lies in the scope.
func (u *Undo) covers(b *branch) bool {
	for !u.wholeDoc && !slices.Contains(u.scope, b) {
		if b.item == 0 {
			return false
		}
		b = u.doc.branches[u.doc.items.at(b.item).parent]
	}
	return true
}

// deletes says whether a step on one of the stacks has deleted an item.
func (u *Undo) deletes(it *item) bool {
	for _, s := range slices.Concat(u.undo, u.redo) {
		if s.deletions.holds(it) {
			return true
		}
	}
	return false
}

// wants says whether transactions of an origin are tracked.
func (u *Undo) wants(o Origin) bool {
	if o.Tag == any(u) {
		return true
	}
	if u.opts.Track != nil {
		return u.opts.Track(o)
	}
	if len(u.opts.Origins) == 0 {
		return o.Local && o.Tag == nil
	}
	return slices.Contains(u.opts.Origins, o.Tag)
}

// capture takes a transaction that is about to end as a step, or as a part of one.
func (u *Undo) capture(t *Txn) {
	touches := func(b *branch) bool { return !t.doc.dead(b) && !t.isNew(b.item) && u.covers(b) }
	if !u.wants(t.origin) || !u.wholeDoc && !slices.ContainsFunc(t.dirty, touches) {
		return
	}
	stack := &u.undo
	switch {
	case u.undoing:
		stack = &u.redo
		u.last = time.Time{}
	case !u.redoing:
		u.forget(t, u.redo)
		u.redo = nil
	}
	step := &UndoItem{Meta: make(map[any]any), insertions: t.inserted(), deletions: spansOf(t.deletes)}
	e := UndoEvent{Change: StepAdded, Redo: u.undoing, Origin: t.origin, Step: step}
	if own := !u.undoing && !u.redoing; own && u.joins() {
		e.Change, e.Step = StepExtended, (*stack)[len(*stack)-1]
		e.Step.deletions = e.Step.deletions.with(step.deletions)
		e.Step.insertions = e.Step.insertions.with(step.insertions)
	} else {
		*stack = append(*stack, step)
	}
	if !u.undoing && !u.redoing && u.opts.Now != nil {
		u.last = u.opts.Now()
	}
	t.each(step.deletions, func(r ref, it *item) {
		if u.tracks(it) {
			t.doc.keep(it, true)
		}
	})
	u.tell(t, e)
}

// joins says whether a change belongs to the last step.
func (u *Undo) joins() bool {
	return u.opts.Now != nil && !u.last.IsZero() && len(u.undo) > 0 && u.opts.Now().Sub(u.last) < u.opts.Window
}

// inserted is what the transaction has made.
func (t *Txn) inserted() (out spans) {
	for _, c := range t.touched {
		if cl := &t.doc.clients[c]; cl.before < cl.state {
			out = append(out, []span{{c, cl.before, cl.state}})
		}
	}
	return out
}

// tell passes an event on to the application, behind the observers of types.
func (u *Undo) tell(t *Txn, e UndoEvent) {
	if fn := u.opts.OnChange; fn != nil {
		t.extra().later = append(t.extra().later, func() { fn(e) })
	}
}
