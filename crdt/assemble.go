package crdt

import (
	"math"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// An update is put together from structs of other updates, without a document: pieces, in the order in which they are
// to be written, and deleted ranges. Merging, cutting and converting updates all end here.
//
//	pieces  [9: ‖ struct │ gap │ struct ‖]  [7: ‖ struct │ struct ‖]      one block per client
//	deletes [9: 3–5 8–9] [2: 0–1]

// piece is a struct without its first offset units, or, if u is nil, a gap of that many clocks.
type piece struct {
	u      *update
	w      *wire
	offset uint32
}

// outBlock is what is to be written of one client.
type outBlock struct {
	client uint64
	first  uint64 // clock
	pieces []piece
}

// assembly is an update to be written.
type assembly struct {
	blocks  []outBlock
	deletes []Range

	// marked keeps the mark that a struct belongs to a map key where the key itself is not written. A document
	// writes it; Yjs loses it whenever it works on updates without a document.
	marked bool
}

// add appends a piece to the block of its client, which must be the last one or a new one.
func (a *assembly) add(client uint64, clock uint32, p piece) {
	n := len(a.blocks)
	if n == 0 || a.blocks[n-1].client != client {
		a.blocks = append(a.blocks, outBlock{client: client, first: uint64(clock)})
		n++
	}
	b := &a.blocks[n-1]
	b.pieces = append(b.pieces, p)
}

// whole takes over all of an update.
func (a *assembly) whole(u *update) {
	for _, b := range u.blocks {
		at := u.structs[b.from].clock
		for i := b.from; i < b.to; i++ {
			w := &u.structs[i]
			at = a.follow(u, w, at)
		}
	}
	a.deletes = u.appendDeletes(a.deletes)
}

// follow adds a struct behind clock at, with a gap between if there is one and without what is there already, and
// returns where it ends.
func (a *assembly) follow(u *update, w *wire, at uint32) uint32 {
	client := u.ids[w.client]
	if w.end() <= at {
		return at
	}
	if w.clock > at {
		a.add(client, at, piece{offset: w.clock - at})
		at = w.clock
	}
	a.add(client, at, piece{u, w, at - w.clock})
	return w.end()
}

// appendDeletes lists the deleted ranges of an update.
func (u *update) appendDeletes(rs []Range) []Range {
	for _, d := range u.deletes {
		rs = append(rs, Range{u.ids[d.client], d.from, d.to})
	}
	return rs
}

// encode writes the update.
func (a *assembly) encode(f Format) []byte {
	if f == V2 {
		return a.encodeV2()
	}
	return a.encodeV1()
}

func (a *assembly) encodeV1() []byte {
	e := encoder{merged: !a.marked}
	e.uint(uint64(len(a.blocks)))
	for _, b := range a.blocks {
		e.uint(uint64(len(b.pieces)))
		e.uint(b.client)
		e.uint(b.first)
		for _, p := range b.pieces {
			if p.u == nil {
				e.gap(p.offset)
				continue
			}
			e.ids = p.u.ids
			e.wire(p.u.src, p.w, p.offset)
		}
	}
	return a.appendDeletesV1(e.buf)
}

// appendDeletesV1 writes the deleted ranges.
func (a *assembly) appendDeletesV1(b []byte) []byte {
	groups := a.deletesByClient()
	b = lib0.AppendUvarint(b, uint64(len(groups)))
	for _, rs := range groups {
		b = lib0.AppendUvarint(b, rs[0].Client)
		b = lib0.AppendUvarint(b, uint64(len(rs)))
		for _, r := range rs {
			b = lib0.AppendUvarint(b, r.From)
			b = lib0.AppendUvarint(b, r.To-r.From)
		}
	}
	return b
}

// appendDeletesV2 writes each range with its distance from the end of the one before.
func (a *assembly) appendDeletesV2(b []byte) []byte {
	groups := a.deletesByClient()
	b = lib0.AppendUvarint(b, uint64(len(groups)))
	for _, rs := range groups {
		b = lib0.AppendUvarint(b, rs[0].Client)
		b = lib0.AppendUvarint(b, uint64(len(rs)))
		at := uint64(0)
		for _, r := range rs {
			b = lib0.AppendUvarint(b, r.From-at)
			b = lib0.AppendUvarint(b, r.To-r.From-1)
			at = r.To
		}
	}
	return b
}

// deletesByClient merges the deleted ranges and groups them by client, descending, which is the order of the format.
func (a *assembly) deletesByClient() (groups [][]Range) {
	rs := mergeRanges(a.deletes)
	for i := 0; i < len(rs); {
		j := i
		for j < len(rs) && rs[j].Client == rs[i].Client {
			j++
		}
		groups = append(groups, rs[i:j])
		i = j
	}
	slices.Reverse(groups)
	return groups
}

// encodeV2 writes the columns of format v2.
func (a *assembly) encodeV2() []byte {
	e := encoder2{marked: a.marked}
	e.uint(uint64(len(a.blocks)))
	for _, b := range a.blocks {
		e.uint(uint64(len(b.pieces)))
		e.clients.Write(b.client)
		e.uint(b.first)
		for _, p := range b.pieces {
			if p.u == nil {
				e.infos.Write(byte(kindSkip))
				e.uint(uint64(p.offset))
				continue
			}
			e.wire(p.u, p.w, p.offset)
		}
	}
	e.rest = a.appendDeletesV2(e.rest)
	return e.bytes()
}

// encoder2 holds the columns of an update in format v2 while it is written; see wire2.go.
type encoder2 struct {
	keys          lib0.DiffsWriter
	clients       lib0.RunsWriter
	lefts, rights lib0.DiffsWriter
	infos         lib0.ByteRunsWriter
	strings       lib0.StringsWriter
	parents       lib0.ByteRunsWriter
	types, lens   lib0.RunsWriter
	rest          []byte

	nextKey uint64
	marked  bool
}

func (e *encoder2) bytes() []byte {
	columns := [][]byte{
		e.keys.Bytes(), e.clients.Bytes(), e.lefts.Bytes(), e.rights.Bytes(), e.infos.Bytes(), e.strings.Bytes(),
		e.parents.Bytes(), e.types.Bytes(), e.lens.Bytes(),
	}
	size := len(e.rest) + 1
	for _, c := range columns {
		size += len(c) + 5
	}
	b := append(make([]byte, 0, size), 0)
	for _, c := range columns {
		b = lib0.AppendBuffer(b, c)
	}
	return append(b, e.rest...)
}

func (e *encoder2) uint(v uint64) { e.rest = lib0.AppendUvarint(e.rest, v) }

func (e *encoder2) string(p []byte) {
	units, _ := lib0.UTF16Len(p)
	e.strings.Write(p, units)
}

// key writes a key. Yjs numbers keys so that they need be written once only, and then writes each one anew; so must
// we, to write the same bytes.
func (e *encoder2) key(p []byte) {
	e.keys.Write(e.nextKey)
	e.nextKey++
	e.string(p)
}

// json writes a JSON text as a value.
func (e *encoder2) json(p []byte) { e.rest = lib0.AppendAny(e.rest, lib0.JSOrder(jsonValue(p).v)) }

// wire writes a struct, leaving out the first offset units.
func (e *encoder2) wire(u *update, w *wire, offset uint32) {
	if w.kind == kindGC {
		e.infos.Write(byte(kindGC))
		e.lens.Write(uint64(w.len - offset))
		return
	}
	oc, ock := w.originClient, w.originClock
	if offset > 0 {
		oc, ock = w.client, w.clock+offset-1
	}
	info := byte(w.kind)
	if oc != noClient {
		info |= infoOrigin
	}
	if w.rightClient != noClient {
		info |= infoRight
	}
	alone := info&(infoOrigin|infoRight) == 0
	if w.sub != subNone && (alone || e.marked) {
		info |= infoSub
	}
	e.infos.Write(info)
	if oc != noClient {
		e.clients.Write(u.ids[oc])
		e.lefts.Write(uint64(ock))
	}
	if w.rightClient != noClient {
		e.clients.Write(u.ids[w.rightClient])
		e.rights.Write(uint64(w.rightClock))
	}
	if alone {
		e.parent(u, w)
	}
	e.content(u, w, offset)
}

func (e *encoder2) parent(u *update, w *wire) {
	if w.parent == parentRoot {
		e.parents.Write(1)
		e.string(u.src[w.parentClient : w.parentClient+w.parentClock])
	} else {
		e.parents.Write(0)
		e.clients.Write(u.ids[w.parentClient])
		e.lefts.Write(uint64(w.parentClock))
	}
	if w.sub == subKeyed {
		e.string(u.src[w.subOff : w.subOff+w.subLen])
	}
}

// content writes what a struct holds, leaving out the first offset units.
func (e *encoder2) content(u *update, w *wire, offset uint32) {
	p := u.src[w.off : w.off+w.size]
	if offset > 0 {
		p = cutFront(w.kind, p, w.len, offset)
	}
	switch w.kind {
	case kindDeleted:
		e.lens.Write(uint64(w.len - offset))
	case kindString:
		e.strings.Write(p, int(w.len-offset))
	case kindBinary:
		e.rest = lib0.AppendBuffer(e.rest, p)
	case kindEmbed:
		e.json(p)
	case kindAny:
		e.lens.Write(uint64(w.len - offset))
		e.rest = append(e.rest, p...)
	case kindJSON:
		e.lens.Write(uint64(w.len - offset))
		for r := lib0.NewReader(p); r.Left() > 0; {
			e.string(r.Buffer())
		}
	case kindFormat:
		r := lib0.NewReader(p)
		e.key(r.Buffer())
		e.json(r.Buffer())
	case kindDoc:
		r := lib0.NewReader(p)
		e.string(r.Buffer())
		e.rest = append(e.rest, p[r.Pos():]...)
	case kindType:
		e.types.Write(uint64(w.typeRef))
		if w.typeRef == typeXMLElement || w.typeRef == typeXMLHook {
			e.key(p)
		}
	}
}

// toV2 writes an update of our own in format v1 as v2, as the document would have written it.
func toV2(v1 []byte) []byte {
	u := decoders.Get().(*update)
	defer u.release()
	u.verbatim = true
	if err := u.decode(v1, V1, trusted); err != nil {
		panic("crdt: an update of our own does not read: " + err.Error())
	}
	a := assembly{marked: true}
	a.whole(u)
	return a.encodeV2()
}

// trusted limits apply to bytes that the document has just written.
var trusted = Limits{UpdateBytes: math.MaxInt, UpdateStructs: math.MaxInt}
