package crdt

import "sync"

// Applied says what an update did.
type Applied struct {
	// Changed says that the document is not what it was: something was created or deleted.
	Changed bool
	// Pending lists the clocks of this update that wait for missing predecessors; Doc.Missing says for which.
	Pending []Range
	// Dropped lists clocks of this update that would have had to wait but exceeded the limits on waiting structs.
	// They must be delivered again.
	Dropped []Range
	// ClientConflict says that the update brought structs under this document's own client ID; see OnClientConflict.
	ClientConflict bool
}

// ApplyOption sets the origin of a transaction made by ApplyUpdate (WithOrigin), or the format of the update (V2).
type ApplyOption interface{ apply(*applyConfig) }

type applyConfig struct {
	origin Origin
	format Format
}

func configure(opts []ApplyOption) applyConfig {
	c := applyConfig{format: V1}
	if len(opts) > 0 {
		c = applyAll(c, opts)
	}
	return c
}

// applyAll is apart from configure so that applying without options allocates nothing.
func applyAll(c applyConfig, opts []ApplyOption) applyConfig {
	for _, o := range opts {
		o.apply(&c)
	}
	c.origin.Local = false
	return c
}

// decoders recycles the memory of decoding, which happens before the document is locked.
var decoders = sync.Pool{New: func() any { return new(update) }}

// release gives an update's memory back, unless it is too much to keep.
func (u *update) release() {
	u.src, u.verbatim, u.v2 = nil, false, columns{}
	if cap(u.structs) <= 1<<14 && cap(u.deletes) <= 1<<14 && cap(u.ids) <= 1<<12 {
		decoders.Put(u)
	}
}

// ApplyUpdate merges an update, in format V1 unless an option says V2. Updates may arrive in any order and any number of times: what cannot be
// placed yet waits. Malformed input returns a *DecodeError and leaves the document unchanged.
func (d *Doc) ApplyUpdate(b []byte, opts ...ApplyOption) (Applied, error) {
	c := configure(opts)
	u := decoders.Get().(*update)
	defer u.release()
	if err := u.decode(b, c.format, d.limits); err != nil {
		return Applied{}, err
	}
	a, err := d.apply(u, c.origin)
	d.feed.deliver()
	return a, err
}

// apply runs a decoded update in one transaction.
func (d *Doc) apply(u *update, o Origin) (a Applied, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.admit(u); err != nil {
		return Applied{}, err
	}
	table := d.internAll(u)
	d.arena.reserve(u)
	t := d.begin(&d.remote, o)
	defer t.commit()
	a.Pending, a.Dropped = t.integrateAll(u, table)
	p, dr := t.deleteAll(u, table)
	a.Pending, a.Dropped = mergeRanges(append(a.Pending, p...)), mergeRanges(append(a.Dropped, dr...))
	t.retryDeletes()
	a.Changed = !t.empty()
	a.ClientConflict = t.yieldID()
	return a, nil
}

// admit checks the limits of the document before anything is touched.
func (d *Doc) admit(u *update) error {
	tooMuch := func(what string) error { return &DecodeError{Reason: what, limit: true} }
	if len(d.arena.buf)+len(u.src) > maxArena {
		return tooMuch("document is full")
	}
	if len(d.clients)+len(u.ids) > d.limits.Clients {
		known := 0
		for _, id := range u.ids {
			if _, ok := d.clientIndex[id]; ok {
				known++
			}
		}
		if len(d.clients)+len(u.ids)-known > d.limits.Clients {
			return tooMuch("too many clients in the document")
		}
	}
	var fresh map[string]bool
	for i := range u.structs {
		w := &u.structs[i]
		if w.parent != parentRoot {
			continue
		}
		name := u.src[w.parentClient : w.parentClient+w.parentClock]
		if _, ok := d.roots[string(name)]; !ok && !fresh[string(name)] {
			if fresh == nil {
				fresh = make(map[string]bool)
			}
			fresh[string(name)] = true
			if len(d.roots)+len(fresh) > d.limits.Roots {
				return tooMuch("too many roots in the document")
			}
		}
	}
	return nil
}

// internAll translates the update's client table into the document's numbers.
func (d *Doc) internAll(u *update) []uint32 {
	table := d.table[:0]
	for _, id := range u.ids {
		table = append(table, d.intern(id))
	}
	d.table = table
	return table
}

// integrateAll integrates the structs of an update and whatever waited for them. Each client's structs form a queue.
// A queue runs until its head lacks a predecessor; then it is parked with the client it lacks, and taken up again
// when that client gets on.
//
//	queue 9: [run] [run] [head lacks 7@30] ──parked──▶ waiters[7]
//	queue 7: [run] [run] … state(7) moves ──wakes──▶ queue 9
//
// What is parked in the end goes to the pending store, whose queues take part in the same way.
func (t *Txn) integrateAll(u *update, table []uint32) (pending, dropped []Range) {
	d := t.doc
	var parked []*queue
	for _, b := range u.blocks {
		q := queue{client: table[b.client], structs: u.structs[b.from:b.to]}
		if !t.run(&q, u.src, table) {
			rest := q
			parked = append(parked, &rest)
		}
	}
	if len(parked) > 0 {
		parked = t.runParked(parked, u.src, table)
	}
	for _, q := range parked {
		p, dr := d.pending.keep(d, q, u.src, table)
		pending, dropped = append(pending, p...), append(dropped, dr...)
	}
	if t.retryPending() {
		pending = d.stillPending(pending)
	}
	return pending, dropped
}

// runParked runs parked queues as they become ready and returns those that never did.
func (t *Txn) runParked(parked []*queue, src []byte, table []uint32) (left []*queue) {
	d := t.doc
	waiters := make(map[uint32][]*queue)
	var ready []*queue
	place := func(q *queue) {
		if d.clients[q.lacks].state > q.clock {
			ready = append(ready, q)
		} else {
			waiters[q.lacks] = append(waiters[q.lacks], q)
		}
	}
	for _, q := range parked {
		place(q)
	}
	for len(ready) > 0 {
		q := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if !t.run(q, src, table) {
			place(q)
		}
		ws := waiters[q.client]
		delete(waiters, q.client)
		for _, w := range ws {
			place(w)
		}
	}
	for _, q := range parked {
		if len(q.structs) > 0 {
			left = append(left, q)
		}
	}
	return left
}

// queue is the structs of one client that are yet to be integrated.
type queue struct {
	client  uint32
	structs []wire
	lacks   uint32 // the head waits until this client
	clock   uint32 // has got past this clock
}

// run integrates from the head of a queue and says whether it got to the end.
func (t *Txn) run(q *queue, src []byte, table []uint32) bool {
	d := t.doc
	s := source{src: src, table: table}
	for len(q.structs) > 0 {
		s.wire = &q.structs[0]
		if s.end() > d.clients[q.client].state {
			if c, clock, lacks := t.missing(&s); lacks {
				q.lacks, q.clock = c, clock
				return false
			}
			t.integrate(&s)
		}
		q.structs = q.structs[1:]
	}
	return true
}

// deleteAll applies the delete ranges of an update, keeping what lies beyond known clocks.
func (t *Txn) deleteAll(u *update, table []uint32) (pending, dropped []Range) {
	d := t.doc
	for _, w := range u.deletes {
		c := table[w.client]
		if from := t.deleteKnown(c, w.from, w.to); from < w.to {
			r := Range{u.ids[w.client], from, w.to}
			if d.pending.keepDelete(d, c, from, w.to) {
				pending = append(pending, r)
			} else {
				dropped = append(dropped, r)
			}
		}
	}
	return pending, dropped
}

// deleteKnown deletes the known part of a range and returns where the rest begins.
func (t *Txn) deleteKnown(c uint32, from, to uint64) (rest uint64) {
	state := uint64(t.doc.clients[c].state)
	if from >= state {
		return from
	}
	t.deleteRange(c, uint32(from), uint32(min(to, state)))
	return min(to, state)
}
