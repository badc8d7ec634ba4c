package crdt

import "sort"

// structList holds the structs of one client in clock order, without gaps. It is a list of short chunks, so that
// inserting into the middle (a split) or removing (a merge) moves a few hundred entries at most.
//
//	chunks:  [c0 first=0: r r r r] [c1 first=90: r r r] [c2 first=131: r r r r r]
type structList struct {
	chunks []chunk
}

const chunkSize = 256

type chunk struct {
	first uint32 // clock of refs[0]
	refs  []ref
}

// pos is a place in a structList.
type pos struct{ chunk, i int }

func (l *structList) at(p pos) ref { return l.chunks[p.chunk].refs[p.i] }

func (l *structList) last() (pos, bool) {
	if len(l.chunks) == 0 {
		return pos{}, false
	}
	c := len(l.chunks) - 1
	return pos{c, len(l.chunks[c].refs) - 1}, true
}

func (l *structList) prev(p pos) (pos, bool) {
	if p.i > 0 {
		return pos{p.chunk, p.i - 1}, true
	}
	if p.chunk == 0 {
		return p, false
	}
	return pos{p.chunk - 1, len(l.chunks[p.chunk-1].refs) - 1}, true
}

func (l *structList) next(p pos) (pos, bool) {
	if p.i+1 < len(l.chunks[p.chunk].refs) {
		return pos{p.chunk, p.i + 1}, true
	}
	if p.chunk+1 == len(l.chunks) {
		return p, false
	}
	return pos{p.chunk + 1, 0}, true
}

// push appends a struct that starts at clock.
func (l *structList) push(r ref, clock uint32) {
	n := len(l.chunks)
	if n == 0 || len(l.chunks[n-1].refs) == chunkSize {
		size := 4
		if n > 0 {
			size = chunkSize
		}
		l.chunks = append(l.chunks, chunk{first: clock, refs: make([]ref, 0, size)})
		n++
	}
	c := &l.chunks[n-1]
	c.refs = append(c.refs, r)
}

// insertAfter puts a struct behind the one at p.
func (l *structList) insertAfter(p pos, r ref, s *slab) {
	if len(l.chunks[p.chunk].refs) >= chunkSize {
		p = l.divide(p, s)
	}
	c := &l.chunks[p.chunk]
	c.refs = append(c.refs, 0)
	copy(c.refs[p.i+2:], c.refs[p.i+1:])
	c.refs[p.i+1] = r
}

// divide halves the chunk of p and returns the new place of its entry.
func (l *structList) divide(p pos, s *slab) pos {
	c := &l.chunks[p.chunk]
	half := len(c.refs) / 2
	tail := append(make([]ref, 0, chunkSize), c.refs[half:]...)
	c.refs = c.refs[:half]
	l.chunks = append(l.chunks, chunk{})
	copy(l.chunks[p.chunk+2:], l.chunks[p.chunk+1:])
	l.chunks[p.chunk+1] = chunk{first: s.at(tail[0]).clock, refs: tail}
	if p.i >= half {
		return pos{p.chunk + 1, p.i - half}
	}
	return p
}

// remove takes out the struct at p, which must not be the first of the list, and returns the place before it.
func (l *structList) remove(p pos, s *slab) pos {
	c := &l.chunks[p.chunk]
	c.refs = append(c.refs[:p.i], c.refs[p.i+1:]...)
	if len(c.refs) == 0 {
		l.chunks = append(l.chunks[:p.chunk], l.chunks[p.chunk+1:]...)
	} else if p.i == 0 {
		c.first = s.at(c.refs[0]).clock
	}
	before, _ := l.prev(p)
	return before
}

// find returns the place of the struct that contains clock, which must be below the client's state.
func (l *structList) find(clock uint32, s *slab) pos {
	c := len(l.chunks) - 1
	if l.chunks[c].first > clock {
		c = sort.Search(c, func(i int) bool { return l.chunks[i].first > clock }) - 1
	}
	refs := l.chunks[c].refs
	lo, hi := 0, len(refs)-1
	if s.at(refs[hi]).clock <= clock {
		return pos{c, hi}
	}
	for lo < hi { // the last struct that starts at or before clock
		mid := int(uint(lo+hi+1) / 2)
		if s.at(refs[mid]).clock <= clock {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return pos{c, lo}
}

// client is one author: its ID, how far its clocks are known, and its structs.
type client struct {
	id    uint64
	state uint32 // next clock
	list  structList

	// openRun may grow in place up to arena offset openEnd (see appendPayload).
	openRun ref
	openEnd uint32

	// before is the state at the start of transaction txn.
	txn    uint64
	before uint32
}
