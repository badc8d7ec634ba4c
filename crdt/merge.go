package crdt

import (
	"bytes"
	"container/heap"

	"github.com/studio-whip/collab/crdt/lib0"
)

// What can be done with updates alone, without a document: a server that stores and forwards them needs no more.

// Convert writes an update in another format. It returns a *DecodeError for malformed input, under the default limits.
func Convert(b []byte, from, to Format) ([]byte, error) {
	us, err := decodeAll(from, b)
	if err != nil {
		return nil, err
	}
	var a assembly
	a.whole(us[0])
	return a.encode(to), nil
}

// MergeUpdates makes one update of several, all in format f: applying it does what applying them all does, in any
// order. Clocks that several of them have are written once, and between clocks that none of them has a gap is noted. A
// *DecodeError names the first malformed one's fault.
func MergeUpdates(f Format, updates ...[]byte) ([]byte, error) {
	us, err := decodeAll(f, updates...)
	if err != nil {
		return nil, err
	}
	if len(us) == 1 {
		return bytes.Clone(updates[0]), nil
	}
	var m merger
	for i, u := range us {
		m.readers = append(m.readers, &reader{u: u, rank: i})
		m.out.deletes = u.appendDeletes(m.out.deletes)
	}
	m.merge()
	return m.out.encode(f), nil
}

// DiffUpdate returns what of an update in format f a replica at state vector sv lacks. Deletions are all kept. A surrogate
// pair is not cut: its first half, which the replica has, is sent once more.
func DiffUpdate(f Format, update, sv []byte) ([]byte, error) {
	us, err := decodeAll(f, update)
	if err != nil {
		return nil, err
	}
	known, err := decodeStateVector(sv, Limits{}.withDefaults())
	if err != nil {
		return nil, err
	}
	u := us[0]
	var a assembly
	for _, b := range u.blocks {
		state := known[u.ids[b.client]]
		var at uint32
		started := false
		for i := b.from; i < b.to; i++ {
			w := &u.structs[i]
			if !started {
				if uint64(w.end()) <= state {
					continue
				}
				at, started = u.cutAt(w, uint32(min(max(state, uint64(w.clock)), maxClock))), true
			}
			at = a.follow(u, w, at)
		}
	}
	a.deletes = u.appendDeletes(nil)
	return a.encode(f), nil
}

// cutAt moves a clock inside a struct back by one if it lies inside a surrogate pair.
func (u *update) cutAt(w *wire, clock uint32) uint32 {
	if w.kind == kindString && w.size != w.len && clock > w.clock {
		if _, inPair := lib0.UTF16Index(u.src[w.off:w.off+w.size], int(clock-w.clock)); inPair {
			clock--
		}
	}
	return clock
}

// UpdateStateVector returns the state vector that an empty document has after an update in format f: for each client
// the clocks from 0 up to the first gap.
func UpdateStateVector(f Format, update []byte) ([]byte, error) {
	us, err := decodeAll(f, update)
	if err != nil {
		return nil, err
	}
	u := us[0]
	var e encoder
	n := 0
	for _, b := range u.blocks {
		at := uint32(0)
		for _, w := range u.structs[b.from:b.to] {
			if w.clock > at {
				break
			}
			at = max(at, w.end())
		}
		if at > 0 {
			n++
			e.uint(u.ids[b.client])
			e.uint(uint64(at))
		}
	}
	return append(lib0.AppendUvarint(nil, uint64(n)), e.buf...), nil
}

// decodeAll decodes updates under the default limits. What run lengths may declare in format v2 is bounded for all of
// them together.
func decodeAll(f Format, updates ...[]byte) ([]*update, error) {
	limits := Limits{}.withDefaults()
	if f == V2 {
		limits.UpdateStructs = v2Structs
		for _, b := range updates {
			limits.UpdateStructs += v2StructsPerByte * len(b)
		}
	}
	us := make([]*update, len(updates))
	for i, b := range updates {
		u := &update{verbatim: true}
		if err := u.decode(b, f, limits); err != nil {
			return nil, err
		}
		if us[i] = u; f == V2 {
			limits.UpdateStructs -= len(u.structs)
		}
	}
	return us, nil
}

// reader walks over the structs of one update.
type reader struct {
	u        *update
	block, i int // the next struct is structs[blocks[block].from+i]
	rank     int // who goes first among equals
}

// next returns the struct the reader stands at, nil at the end.
func (r *reader) next() *wire {
	if r.block == len(r.u.blocks) {
		return nil
	}
	return &r.u.structs[r.u.blocks[r.block].from+r.i]
}

func (r *reader) skip() {
	b := r.u.blocks[r.block]
	if r.i++; b.from+r.i == b.to {
		r.block, r.i = r.block+1, 0
	}
}

func (r *reader) client() uint64 { return r.u.ids[r.next().client] }

// merger merges the structs of several updates. It always goes on with the reader whose next struct comes first (higher
// clients first, then lower clocks) and keeps with it for as long as its structs follow each other. The order among
// equals is that of Yjs, which sorts the readers anew, in a stable way, whenever it changes between them; so the reader
// that was read last goes first.
//
//	a  [0–3][3–6]      [9–11]
//	b     [2–5]  [7–9]                one client
//	→  [0–3][3–6] gap [7–9][9–11]
type merger struct {
	readers []*reader
	out     assembly

	// The piece to be written next. Gaps and collected structs may still grow.
	cur      piece
	client   uint64
	from, to uint32
	pending  bool
	last     int // rank given last
}

func (m *merger) Len() int { return len(m.readers) }
func (m *merger) Less(i, j int) bool {
	a, b := m.readers[i], m.readers[j]
	if ca, cb := a.client(), b.client(); ca != cb {
		return ca > cb
	}
	if wa, wb := a.next(), b.next(); wa.clock != wb.clock {
		return wa.clock < wb.clock
	}
	return a.rank < b.rank
}
func (m *merger) Swap(i, j int) { m.readers[i], m.readers[j] = m.readers[j], m.readers[i] }
func (m *merger) Push(x any)    { m.readers = append(m.readers, x.(*reader)) }
func (m *merger) Pop() any {
	r := m.readers[len(m.readers)-1]
	m.readers = m.readers[:len(m.readers)-1]
	return r
}

func (m *merger) merge() {
	all := m.readers
	m.readers = nil
	for _, r := range all {
		if r.next() != nil {
			m.readers = append(m.readers, r)
		}
	}
	heap.Init(m)
	for len(m.readers) > 0 {
		r := m.readers[0]
		m.read(r)
		if r.next() == nil {
			heap.Pop(m)
			continue
		}
		m.last--
		r.rank = m.last
		heap.Fix(m, 0)
	}
	m.flush()
}

// read takes the next struct of a reader, and those that follow it.
func (m *merger) read(r *reader) {
	client := r.client()
	skipped := false
	for m.pending && r.next() != nil && r.client() >= m.client && r.next().end() <= m.to {
		r.skip() // known
		skipped = true
	}
	w := r.next()
	if w == nil || r.client() != client || skipped && m.pending && w.clock > m.to {
		return // another reader may have what comes first now
	}
	switch follows := m.pending && client == m.client; {
	case !follows:
		m.take(r, 0)
	case w.clock > m.to:
		m.put(client, m.to, piece{offset: w.clock - m.to}, w.clock)
	case m.cur.u != nil && m.cur.w.kind == kindGC && w.kind == kindGC:
		m.to = w.end()
		m.cur = grownGC(m.cur, m.to-m.from)
	default:
		m.take(r, m.to-w.clock)
	}
	for w := r.next(); w != nil && r.client() == client && w.clock == m.to; w = r.next() {
		m.take(r, 0)
	}
}

// take makes the next struct of a reader, without its first units, the current piece.
func (m *merger) take(r *reader, offset uint32) {
	w := r.next()
	m.put(r.client(), w.clock+offset, piece{r.u, w, offset}, w.end())
	r.skip()
}

// put makes a piece the current one.
func (m *merger) put(client uint64, from uint32, p piece, to uint32) {
	m.flush()
	m.cur, m.client, m.from, m.to, m.pending = p, client, from, to, true
}

func (m *merger) flush() {
	if m.pending {
		m.out.add(m.client, m.from, m.cur)
	}
	m.pending = false
}

// grownGC is a collected struct of a given length.
func grownGC(p piece, length uint32) piece {
	w := *p.w
	w.clock += p.offset
	w.len = length
	return piece{p.u, &w, 0}
}
