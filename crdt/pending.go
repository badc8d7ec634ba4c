package crdt

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"
)

// pending keeps what has arrived before its predecessors: structs, decoded, by client and clock, and delete ranges.
// It is part of the document's state: EncodeUpdate includes it, so that nothing received is lost over a restart.
type pending struct {
	queues  map[uint32]*waiting
	waiters map[uint32]map[uint32]bool // client lacked → clients whose queues wait for it
	structs int
	bytes   int

	deletes      map[uint32][]gap
	deleteRanges int
}

// waiting is one client's queue of pending structs: a heap by clock, since they may come in any order.
type waiting struct {
	heap  pendingHeap
	ends  map[uint32]uint32 // first clock → end, to know what comes a second time
	lacks uint32            // the head waits until this client
	clock uint32            // has got past this clock
}

type pendingHeap []*pendingStruct

func (h pendingHeap) Len() int           { return len(h) }
func (h pendingHeap) Less(i, j int) bool { return h[i].clock < h[j].clock }
func (h pendingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pendingHeap) Push(x any)        { *h = append(*h, x.(*pendingStruct)) }
func (h *pendingHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

// sorted lists the queue by clock.
func (w *waiting) sorted() []*pendingStruct {
	out := slices.Clone(w.heap)
	slices.SortFunc(out, func(a, b *pendingStruct) int { return cmp.Compare(a.clock, b.clock) })
	return out
}

// pendingStruct owns its bytes and uses the document's client numbers.
type pendingStruct struct {
	wire
	src []byte
}

// gap is a pending delete range; its clocks may exceed what a client can ever reach.
type gap struct{ from, to uint64 }

// own copies a struct out of the update it came in.
func own(s *source) *pendingStruct {
	p := &pendingStruct{wire: *s.wire}
	take := func(off, size uint32) uint32 {
		at := uint32(len(p.src))
		p.src = append(p.src, s.src[off:off+size]...)
		return at
	}
	p.src = make([]byte, 0, int(p.size+p.subLen))
	if p.size > 0 {
		p.off = take(p.off, p.size)
	} else {
		p.off = 0
	}
	if p.sub == subKeyed {
		p.subOff = take(p.subOff, p.subLen)
	}
	switch p.parent {
	case parentRoot:
		p.parentClient = take(p.parentClient, p.parentClock)
	case parentID:
		p.parentClient = s.client(p.parentClient)
	}
	p.client, p.originClient, p.rightClient = s.client(p.client), s.client(p.originClient), s.client(p.rightClient)
	return p
}

// keep stores the rest of a parked queue. dropped is what the limits did not allow.
func (p *pending) keep(d *Doc, q *queue, src []byte, table []uint32) (kept, dropped []Range) {
	if p.queues == nil {
		p.queues, p.waiters = make(map[uint32]*waiting), make(map[uint32]map[uint32]bool)
	}
	w := p.queues[q.client]
	id := d.clients[q.client].id
	for i := range q.structs {
		s := source{wire: &q.structs[i], src: src, table: table}
		r := Range{id, uint64(s.clock), uint64(s.end())}
		if w != nil && w.ends[s.clock] >= s.end() {
			kept = append(kept, r)
			continue
		}
		if p.structs >= d.limits.PendingStructs || p.bytes+int(s.size) > d.limits.PendingBytes {
			dropped = append(dropped, r)
			continue
		}
		kept = append(kept, r)
		if w == nil {
			w = &waiting{ends: make(map[uint32]uint32), lacks: noClient}
			p.queues[q.client] = w
		}
		w.ends[s.clock] = s.end()
		heap.Push(&w.heap, own(&s))
		p.structs++
		p.bytes += int(s.size)
	}
	if w != nil && w.heap[0].clock >= q.structs[0].clock {
		p.park(q.client, w, q.lacks, q.clock)
	}
	return mergeRanges(kept), mergeRanges(dropped)
}

// park notes whom a queue waits for.
func (p *pending) park(c uint32, w *waiting, lacks, clock uint32) {
	p.unpark(c, w)
	w.lacks, w.clock = lacks, clock
	if p.waiters[lacks] == nil {
		p.waiters[lacks] = make(map[uint32]bool)
	}
	p.waiters[lacks][c] = true
}

func (p *pending) unpark(c uint32, w *waiting) {
	if ws := p.waiters[w.lacks]; ws[c] {
		if delete(ws, c); len(ws) == 0 {
			delete(p.waiters, w.lacks)
		}
	}
}

// retryPending runs the queues whose wait is over, those that these set free, and so on. It says whether any ran.
func (t *Txn) retryPending() bool {
	p := &t.doc.pending
	if len(p.queues) == 0 {
		return false
	}
	ran := false
	moved := t.advanced()
	for len(moved) > 0 {
		c := moved[len(moved)-1]
		moved = moved[:len(moved)-1]
		// Other structs may have filled the clocks of what waits.
		if w, ok := p.queues[c]; ok && w.heap[0].end() <= t.doc.clients[c].state {
			ran = true
			if t.resume(c, w) {
				moved = append(moved, c)
			}
		}
		for _, waiter := range p.waiting(c) {
			w, ok := p.queues[waiter]
			if !ok || w.lacks != c || w.clock >= t.doc.clients[c].state {
				continue
			}
			ran = true
			if t.resume(waiter, w) {
				moved = append(moved, waiter)
			}
		}
	}
	return ran
}

// advanced lists the clients that may have got on since waiting was last looked at: those of this transaction, and
// our own, which gets on without remote updates.
func (t *Txn) advanced() []uint32 {
	cs := slices.Clone(t.touched)
	if self, ok := t.doc.clientIndex[t.doc.clientID]; ok && !slices.Contains(cs, self) {
		cs = append(cs, self)
	}
	return cs
}

// waiting lists the clients whose queues wait for c, in a fixed order.
func (p *pending) waiting(c uint32) []uint32 {
	out := make([]uint32, 0, len(p.waiters[c]))
	for w := range p.waiters[c] {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// resume runs a pending queue and says whether its client got on.
func (t *Txn) resume(c uint32, w *waiting) bool {
	d := t.doc
	p := &d.pending
	before := d.clients[c].state
	for len(w.heap) > 0 {
		head := w.heap[0]
		s := source{wire: &head.wire, src: head.src}
		if s.end() > d.clients[c].state {
			if lacks, clock, ok := t.missing(&s); ok {
				p.park(c, w, lacks, clock)
				return d.clients[c].state > before
			}
			t.integrate(&s)
		}
		p.structs--
		p.bytes -= int(head.size)
		delete(w.ends, head.clock)
		heap.Pop(&w.heap)
	}
	p.unpark(c, w)
	delete(p.queues, c)
	return d.clients[c].state > before
}

// stillPending keeps of rs what has not been integrated meanwhile.
func (d *Doc) stillPending(rs []Range) []Range {
	var out []Range
	for _, r := range rs {
		if state := uint64(d.clients[d.clientIndex[r.Client]].state); r.To > state {
			out = append(out, Range{r.Client, max(r.From, state), r.To})
		}
	}
	return out
}

// keepDelete stores a delete range; false means the limits did not allow it.
func (p *pending) keepDelete(d *Doc, c uint32, from, to uint64) bool {
	gs := p.deletes[c]
	i := sort.Search(len(gs), func(i int) bool { return gs[i].to >= from })
	j := i
	for j < len(gs) && gs[j].from <= to {
		from, to = min(from, gs[j].from), max(to, gs[j].to)
		j++
	}
	if i == j && p.deleteRanges >= d.limits.PendingDeletes {
		return false
	}
	if p.deletes == nil {
		p.deletes = make(map[uint32][]gap)
	}
	p.deletes[c] = slices.Replace(gs, i, j, gap{from, to})
	p.deleteRanges += 1 - (j - i)
	return true
}

// retryDeletes applies what has become known of the pending delete ranges.
func (t *Txn) retryDeletes() {
	p := &t.doc.pending
	if p.deleteRanges == 0 {
		return
	}
	for _, c := range t.advanced() {
		gs, ok := p.deletes[c]
		if !ok {
			continue
		}
		n := 0
		for n < len(gs) {
			gs[n].from = t.deleteKnown(c, gs[n].from, gs[n].to)
			if gs[n].from < gs[n].to {
				break
			}
			n++
		}
		p.deleteRanges -= n
		if gs = gs[n:]; len(gs) == 0 {
			delete(p.deletes, c)
		} else {
			p.deletes[c] = gs
		}
	}
}

// Pending lists the clocks of structs that have arrived but wait for missing predecessors, by client and clock.
func (d *Doc) Pending() []Range {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Range
	for c, w := range d.pending.queues {
		cl := &d.clients[c]
		for _, s := range w.heap {
			if s.end() > cl.state {
				out = append(out, Range{cl.id, uint64(max(s.clock, cl.state)), uint64(s.end())})
			}
		}
	}
	return mergeRanges(out)
}

// PendingDeletes lists the deleted clocks whose structs have not arrived, by client and clock.
func (d *Doc) PendingDeletes() []Range {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Range
	for c, gs := range d.pending.deletes {
		for _, g := range gs {
			out = append(out, Range{d.clients[c].id, g.from, g.to})
		}
	}
	return mergeRanges(out)
}

// Missing lists clocks that pending structs wait for: what to ask other replicas for. Having got them, the document
// may find that it lacks more.
func (d *Doc) Missing() []Range {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Range
	for _, w := range d.pending.queues {
		cl := &d.clients[w.lacks]
		if cl.state <= w.clock && !d.pending.holds(w.lacks, w.clock) {
			out = append(out, Range{cl.id, uint64(cl.state), uint64(w.clock) + 1})
		}
	}
	return mergeRanges(out)
}

// holds says whether the unit itself waits here already, so that nobody need be asked for it.
func (p *pending) holds(c, clock uint32) bool {
	w := p.queues[c]
	return w != nil && slices.ContainsFunc(w.heap, func(s *pendingStruct) bool {
		return s.clock <= clock && clock < s.end()
	})
}
