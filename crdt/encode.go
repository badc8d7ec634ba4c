package crdt

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// encode writes the update of the transaction: the structs it added and what it deleted. It is written where the last
// one was, and what is handed out takes no more room than it needs: it may be kept for long.
func (t *Txn) encode() []byte {
	d := t.doc
	e := encoder{doc: d, clients: d.clients, arena: d.arena.buf, buf: d.out[:0]}
	cs := d.since[:0]
	for _, c := range t.touched {
		if cl := &d.clients[c]; cl.state != cl.before {
			cs = append(cs, since{c, cl.before})
		}
	}
	e.live(cs)
	d.since = e.deletes(t.deletes, cs[:0])
	d.out = e.buf
	return bytes.Clone(e.buf)
}

// EncodeUpdate returns what a replica at state vector sv lacks; nil sv means everything. Structs and deletions that
// still wait for predecessors are included, so the result also is the way to save a document. A malformed sv returns
// a *DecodeError.
func (d *Doc) EncodeUpdate(sv []byte) ([]byte, error) {
	known, err := decodeStateVector(sv, d.limits)
	if err != nil {
		return nil, err
	}
	c := d.capture(known)
	defer c.release()
	return c.encode(), nil
}

// EncodeUpdateV2 is EncodeUpdate in format V2.
func (d *Doc) EncodeUpdateV2(sv []byte) ([]byte, error) {
	v1, err := d.EncodeUpdate(sv)
	if err != nil {
		return nil, err
	}
	return toV2(v1), nil
}

// StateVector returns the encoded state vector: for every client, descending by ID, the next clock.
func (d *Doc) StateVector() []byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	cs := d.allClients()
	b := lib0.AppendUvarint(nil, uint64(len(cs)))
	for _, c := range cs {
		b = lib0.AppendUvarint(b, d.clients[c.client].id)
		b = lib0.AppendUvarint(b, uint64(d.clients[c.client].state))
	}
	return b
}

// since is a client and the clock from which on its structs are meant.
type since struct{ client, clock uint32 }

// allClients lists the clients that have structs, descending by ID.
func (d *Doc) allClients() []since {
	var cs []since
	for c := range d.clients {
		if d.clients[c].state > 0 {
			cs = append(cs, since{client: uint32(c)})
		}
	}
	d.sortClients(cs)
	return cs
}

func (d *Doc) sortClients(cs []since) {
	slices.SortFunc(cs, func(a, b since) int { return cmp.Compare(d.clients[b.client].id, d.clients[a.client].id) })
}

// encoder writes updates in format v1: of a document that is locked, of a capture, or of structs that are in no document.
type encoder struct {
	doc     *Doc     // locked, or nil
	clients []client // of the document or capture
	arena   []byte
	notes   []byte   // of a capture
	ids     []uint64 // client table of structs that are in no document
	buf     []byte
	cut     uint32 // see run

	// merged writes like Yjs's mergeUpdates, which Yjs uses as soon as anything is pending: the mark that an item
	// belongs to a map key is left out where the key itself is not written.
	merged bool
}

func (e *encoder) uint(v uint64) { e.buf = lib0.AppendUvarint(e.buf, v) }

func (e *encoder) id(client, clock uint32) {
	if e.clients != nil {
		e.uint(e.clients[client].id)
	} else {
		e.uint(e.ids[client])
	}
	e.uint(uint64(clock))
}

// live writes the structs of clients from the given clocks on, which are stored. Clients are written in descending order,
// which is the order that makes integration cheap.
func (e *encoder) live(cs []since) {
	d := e.doc
	d.sortClients(cs)
	e.uint(uint64(len(cs)))
	for _, c := range cs {
		r := d.runOf(c, nil)
		e.runHead(r, nil)
		list := &d.clients[c.client].list
		for p, n := r.at, r.stored; n > 0; n-- {
			e.cut = r.cut
			e.item(d.items.at(list.at(p)), r.offset)
			r.offset, r.cut = 0, 0
			p, _ = list.next(p)
		}
	}
}

// waiting lists a client's pending structs that end after a clock and after what is stored: another struct of the same
// clocks may have come while they waited.
func (d *Doc) waiting(c uint32, clock uint64) []*pendingStruct {
	return d.pending.after(c, max(clock, uint64(d.clients[c].state)))
}

// after lists a client's pending structs that end after a clock, without overlaps, ascending.
func (p *pending) after(c uint32, clock uint64) []*pendingStruct {
	w := p.queues[c]
	if w == nil {
		return nil
	}
	var out []*pendingStruct
	end := clock
	for _, s := range w.sorted() {
		if uint64(s.end()) > end {
			out = append(out, s)
			end = uint64(s.end())
		}
	}
	return out
}

// run is what is written of one client: stored structs, and behind them those that wait, with gaps between.
//
//	first          end
//	[offset│ stored ‖     gap     │ waiting │ waiting ]
type run struct {
	client uint32
	first  uint32 // clock
	at     pos    // of the first of the stored structs
	stored int    // how many there are
	offset uint32 // units of the first one that are left out
	cut    uint32 // how many bytes of its content that is, 0 if unknown
	end    uint32 // clock behind the stored ones
}

// runOf says what to write of a client from a clock on.
func (d *Doc) runOf(c since, waiting []*pendingStruct) run {
	cl := &d.clients[c.client]
	r := run{client: c.client}
	if cl.state > c.clock {
		r.at, r.offset, r.cut = d.startAt(cl, c.clock)
		r.first = d.items.at(cl.list.at(r.at)).clock + r.offset
		r.stored, r.end = cl.list.countFrom(r.at), cl.state
		return r
	}
	r.first = max(waiting[0].clock, c.clock) // nothing is known of the gap before
	r.end = r.first
	return r
}

// runHead writes how many structs there are, and where they start.
func (e *encoder) runHead(r run, waiting []*pendingStruct) {
	count := r.stored
	for i, last := 0, r.end; i < len(waiting); i++ {
		if waiting[i].clock > last {
			count++
		}
		count++
		last = waiting[i].end()
	}
	e.uint(uint64(count))
	e.id(r.client, r.first)
}

// waiting writes structs that wait, and the gaps from a clock on and between them.
func (e *encoder) waiting(at uint32, waiting []*pendingStruct) {
	for _, w := range waiting {
		if w.clock > at {
			e.gap(w.clock - at)
			at = w.clock
		}
		e.wire(w.src, &w.wire, at-w.clock)
		at = w.end()
	}
}

// startAt finds where to begin writing for a replica that knows a client up to clock. A surrogate pair is not cut: the
// replica leaves out the unit it has.
func (d *Doc) startAt(cl *client, clock uint32) (p pos, offset, cut uint32) {
	p = cl.list.find(clock)
	it := d.items.at(cl.list.at(p))
	offset = clock - it.clock
	if s := cl.seam; cl.before == clock && s.clock == clock && s.item == cl.list.at(p) && offset > 0 {
		return p, offset, s.at
	}
	if offset > 0 && it.kind == kindString && it.size != it.len {
		if _, inPair := lib0.UTF16Index(d.payload(it), int(offset)); inPair {
			offset--
		}
	}
	return p, offset, 0
}

// countFrom is how many structs lie at p and behind.
func (l *structList) countFrom(p pos) int {
	n := -p.i
	for _, c := range l.chunks[p.chunk:] {
		n += len(c.entries)
	}
	return n
}

func (e *encoder) gap(n uint32) {
	e.buf = append(e.buf, byte(kindSkip))
	e.uint(uint64(n))
}

// item writes a stored struct, leaving out the first offset units.
func (e *encoder) item(it *item, offset uint32) {
	if it.kind == kindGC {
		e.buf = append(e.buf, byte(kindGC))
		e.uint(uint64(it.len - offset))
		return
	}
	oc, ock := it.originClient, it.originClock
	if offset > 0 {
		oc, ock = it.client, it.clock+offset-1
	}
	e.head(it.kind, oc, ock, it.rightClient, it.rightClock, it.sub != 0)
	if oc == noClient && it.rightClient == noClient {
		if e.doc != nil {
			e.parent(it)
		} else {
			e.buf = append(e.buf, e.notes[it.left:it.right]...)
		}
	}
	switch {
	case it.kind != kindType:
		e.content(it.kind, 0, e.arena[it.off:it.off+it.size], it.len, offset)
	case e.doc != nil:
		e.nested(it)
	default:
		e.buf = append(e.buf, e.notes[it.off:it.off+it.size]...)
	}
}

// parent writes where an item without neighbours belongs.
func (e *encoder) parent(it *item) {
	d := e.doc
	b := d.branches[it.parent]
	if b.item == 0 {
		e.uint(1)
		e.buf = lib0.AppendString(e.buf, b.name)
	} else {
		e.uint(0)
		p := d.items.at(b.item)
		e.id(p.client, p.clock)
	}
	if it.sub != 0 {
		e.buf = lib0.AppendString(e.buf, d.subName(it.sub))
	}
}

// nested writes what type an item holds.
func (e *encoder) nested(it *item) {
	b := e.doc.branches[it.off]
	e.content(it.kind, b.typeRef, b.node, it.len, 0)
}

// wire writes a struct that is in no document, or waits to be, leaving out the first offset units.
func (e *encoder) wire(src []byte, s *wire, offset uint32) {
	if s.kind == kindGC {
		e.buf = append(e.buf, byte(kindGC))
		e.uint(uint64(s.len - offset))
		return
	}
	oc, ock := s.originClient, s.originClock
	if offset > 0 {
		oc, ock = s.client, s.clock+offset-1
	}
	e.head(s.kind, oc, ock, s.rightClient, s.rightClock, s.sub != subNone)
	if oc == noClient && s.rightClient == noClient {
		if s.parent == parentRoot {
			e.uint(1)
			e.buf = lib0.AppendBuffer(e.buf, src[s.parentClient:s.parentClient+s.parentClock])
		} else {
			e.uint(0)
			e.id(s.parentClient, s.parentClock)
		}
		if s.sub == subKeyed {
			e.buf = lib0.AppendBuffer(e.buf, src[s.subOff:s.subOff+s.subLen])
		}
	}
	e.content(s.kind, s.typeRef, src[s.off:s.off+s.size], s.len, offset)
}

// head writes the info byte and the origins.
func (e *encoder) head(k kind, oc, ock, rc, rck uint32, sub bool) {
	info := byte(k)
	if oc != noClient {
		info |= infoOrigin
	}
	if rc != noClient {
		info |= infoRight
	}
	if sub && !(e.merged && info&(infoOrigin|infoRight) != 0) {
		info |= infoSub
	}
	e.buf = append(e.buf, info)
	if oc != noClient {
		e.id(oc, ock)
	}
	if rc != noClient {
		e.id(rc, rck)
	}
}

// content writes what an item holds, leaving out the first offset units.
func (e *encoder) content(k kind, typeRef uint8, p []byte, length, offset uint32) {
	if offset > 0 && e.cut > 0 && len(p) > 0 {
		p = p[e.cut:]
	} else if offset > 0 {
		p = cutFront(k, p, length, offset)
	}
	switch k {
	case kindDeleted:
		e.uint(uint64(length - offset))
	case kindString, kindBinary, kindEmbed:
		e.buf = lib0.AppendBuffer(e.buf, p)
	case kindAny, kindJSON:
		e.uint(uint64(length - offset))
		e.buf = append(e.buf, p...)
	case kindFormat, kindDoc:
		e.buf = append(e.buf, p...)
	case kindType:
		e.uint(uint64(typeRef))
		if typeRef == typeXMLElement || typeRef == typeXMLHook {
			e.buf = lib0.AppendBuffer(e.buf, p)
		}
	}
}

// cutFront returns content of a length in units without the first ones. The second half of a surrogate pair becomes U+FFFD, as it does
// wherever a pair is cut.
func cutFront(k kind, p []byte, length, units uint32) []byte {
	switch k {
	case kindString:
		if len(p) == int(length) { // all ASCII
			return p[units:]
		}
		at, inPair := lib0.UTF16Index(p, int(units))
		if inPair {
			return append([]byte(replacement), p[at+4:]...)
		}
		return p[at:]
	case kindAny, kindJSON:
		return p[skipElements(k, p, units):]
	}
	return p
}

// deletes writes a delete set of merged spans. cs is scratch, which it returns.
func (e *encoder) deletes(ss []span, cs []since) []since {
	for i, s := range ss {
		if i == 0 || ss[i-1].client != s.client {
			cs = append(cs, since{s.client, uint32(i)})
		}
	}
	e.doc.sortClients(cs)
	e.uint(uint64(len(cs)))
	for _, c := range cs {
		from := int(c.clock)
		to := from
		for to < len(ss) && ss[to].client == c.client {
			to++
		}
		e.uint(e.doc.clients[c.client].id)
		e.uint(uint64(to - from))
		for _, s := range ss[from:to] {
			e.uint(uint64(s.from))
			e.uint(uint64(s.to - s.from))
		}
	}
	return cs
}

// allDeletes writes everything that is deleted, and what is to be deleted once it arrives.
func (e *encoder) allDeletes() {
	d := e.doc
	var cs []since
	for c := range d.clients {
		cs = append(cs, since{client: uint32(c)})
	}
	d.sortClients(cs)
	n := 0
	var ranges []byte
	for _, c := range cs {
		gs := d.deletedRanges(c.client)
		if len(gs) == 0 {
			continue
		}
		n++
		ranges = lib0.AppendUvarint(ranges, d.clients[c.client].id)
		ranges = lib0.AppendUvarint(ranges, uint64(len(gs)))
		for _, g := range gs {
			ranges = lib0.AppendUvarint(ranges, g.from)
			ranges = lib0.AppendUvarint(ranges, g.to-g.from)
		}
	}
	e.uint(uint64(n))
	e.buf = append(e.buf, ranges...)
}

// deletedRanges lists a client's deleted clocks, stored and pending, merged and ascending.
func (d *Doc) deletedRanges(c uint32) []gap {
	out := d.storedDeletes(c)
	for _, g := range d.pending.deletes[c] { // beyond the stored clocks
		if n := len(out); n > 0 && out[n-1].to >= g.from {
			out[n-1].to = max(out[n-1].to, g.to)
		} else {
			out = append(out, g)
		}
	}
	return out
}

// storedDeletes lists the deleted clocks of a client's structs, merged and ascending.
func (d *Doc) storedDeletes(c uint32) []gap {
	var out []gap
	for _, ch := range d.clients[c].list.chunks {
		for _, e := range ch.entries {
			it := d.items.at(e.ref)
			if !it.deleted() {
				continue
			}
			if n := len(out); n > 0 && out[n-1].to == uint64(it.clock) {
				out[n-1].to = uint64(it.end())
			} else {
				out = append(out, gap{uint64(it.clock), uint64(it.end())})
			}
		}
	}
	return out
}
