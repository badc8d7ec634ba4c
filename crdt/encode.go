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
	e := encoder{doc: d, buf: d.out[:0]}
	cs := d.since[:0]
	for _, c := range t.touched {
		if cl := &d.clients[c]; cl.state != cl.before {
			cs = append(cs, since{c, cl.before})
		}
	}
	e.clients(cs)
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
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := encoder{doc: d, buf: make([]byte, 0, len(d.arena.buf)+len(d.arena.buf)/2+64)}
	e.full(known)
	return slices.Clip(e.buf), nil
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

// encoder writes updates in format v1. The document is locked for reading at least.
type encoder struct {
	doc *Doc
	ids []uint64 // client table of structs that are in no document
	buf []byte

	// merged writes like Yjs's mergeUpdates, which Yjs uses as soon as anything is pending: the mark that an item
	// belongs to a map key is left out where the key itself is not written.
	merged bool
}

func (e *encoder) uint(v uint64) { e.buf = lib0.AppendUvarint(e.buf, v) }

func (e *encoder) id(client, clock uint32) {
	if e.doc != nil {
		e.uint(e.doc.clients[client].id)
	} else {
		e.uint(e.ids[client])
	}
	e.uint(uint64(clock))
}

// clients writes the structs of clients from the given clocks on. Clients are written in descending order, which is
// the order that makes integration cheap.
func (e *encoder) clients(cs []since) {
	e.doc.sortClients(cs)
	e.uint(uint64(len(cs)))
	for _, c := range cs {
		e.client(c, nil)
	}
}

// full writes everything a replica that knows sv lacks, pending structs and deletions included.
func (e *encoder) full(sv stateVector) {
	d := e.doc
	e.merged = len(d.pending.queues) > 0 || d.pending.deleteRanges > 0
	var cs []since
	for c := range d.clients {
		cl := &d.clients[c]
		from := min(sv[cl.id], maxClock)
		if uint64(cl.state) > from || len(d.waiting(uint32(c), from)) > 0 {
			cs = append(cs, since{uint32(c), uint32(from)})
		}
	}
	d.sortClients(cs)
	e.uint(uint64(len(cs)))
	for _, c := range cs {
		e.client(c, d.waiting(c.client, uint64(c.clock)))
	}
	e.allDeletes()
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

// client writes one client's block: stored structs from a clock on, then pending ones, with gaps between.
func (e *encoder) client(c since, waiting []*pendingStruct) {
	d := e.doc
	cl := &d.clients[c.client]
	var p pos
	var offset, first uint32
	n, at := 0, c.clock
	if cl.state > c.clock {
		p, offset = e.start(cl, c.clock)
		first = d.items.at(cl.list.at(p)).clock + offset
		n, at = cl.list.countFrom(p), cl.state
	} else if first = max(waiting[0].clock, c.clock); first > at {
		at = first // nothing is known of the gap before
	}
	count := n
	for i, last := 0, at; i < len(waiting); i++ {
		if waiting[i].clock > last {
			count++
		}
		count++
		last = waiting[i].end()
	}
	e.uint(uint64(count))
	e.id(c.client, first)
	for ; n > 0; n-- {
		e.item(d.items.at(cl.list.at(p)), offset)
		offset = 0
		p, _ = cl.list.next(p)
	}
	for _, w := range waiting {
		if w.clock > at {
			e.gap(w.clock - at)
			at = w.clock
		}
		e.wire(w.src, &w.wire, at-w.clock)
		at = w.end()
	}
}

// start finds where to begin writing for a replica that knows a client up to clock. A surrogate pair is not cut: the
// replica leaves out the unit it has.
func (e *encoder) start(cl *client, clock uint32) (p pos, offset uint32) {
	d := e.doc
	p = cl.list.find(clock)
	it := d.items.at(cl.list.at(p))
	offset = clock - it.clock
	if offset > 0 && it.kind == kindString && it.size != it.len {
		if _, inPair := lib0.UTF16Index(d.payload(it), int(offset)); inPair {
			offset--
		}
	}
	return p, offset
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
	d := e.doc
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
	if it.kind == kindType {
		b := d.branches[it.off]
		e.content(it.kind, b.typeRef, b.node, it.len, 0)
		return
	}
	e.content(it.kind, 0, d.payload(it), it.len, offset)
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
	if offset > 0 {
		p = cutFront(k, p, offset)
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

// cutFront returns content without its first units. The second half of a surrogate pair becomes U+FFFD, as it does
// wherever a pair is cut.
func cutFront(k kind, p []byte, units uint32) []byte {
	switch k {
	case kindString:
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
