package crdt

// structList holds the structs of one client in clock order, without gaps. It is a list of short chunks, so that
// inserting into the middle (a split) or removing (a merge) moves a few hundred entries at most. The clock at which a
// struct starts never changes; it lies beside the handle, so that searching looks at no item.
//
//	chunks:  [c0 first=0: 0r 17r 18r 61r] [c1 first=90: 90r 97r 130r] [c2 first=131: 131r 140r …]
type structList struct {
	chunks []chunk
}

const chunkSize = 256

type chunk struct {
	first   uint32 // clock of entries[0]
	entries []entry
}

type entry struct {
	clock uint32
	ref   ref
}

// pos is a place in a structList.
type pos struct{ chunk, i int }

func (l *structList) at(p pos) ref { return l.chunks[p.chunk].entries[p.i].ref }

func (l *structList) last() (pos, bool) {
	if len(l.chunks) == 0 {
		return pos{}, false
	}
	c := len(l.chunks) - 1
	return pos{c, len(l.chunks[c].entries) - 1}, true
}

func (l *structList) prev(p pos) (pos, bool) {
	if p.i > 0 {
		return pos{p.chunk, p.i - 1}, true
	}
	if p.chunk == 0 {
		return p, false
	}
	return pos{p.chunk - 1, len(l.chunks[p.chunk-1].entries) - 1}, true
}

func (l *structList) next(p pos) (pos, bool) {
	if p.i+1 < len(l.chunks[p.chunk].entries) {
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
	if n == 0 || len(l.chunks[n-1].entries) == chunkSize {
		size := 4
		if n > 0 {
			size = chunkSize
		}
		l.chunks = append(l.chunks, chunk{first: clock, entries: make([]entry, 0, size)})
		n++
	}
	c := &l.chunks[n-1]
	c.entries = append(c.entries, entry{clock, r})
}

// insertAfter puts a struct that starts at clock behind the one at p.
func (l *structList) insertAfter(p pos, r ref, clock uint32) {
	if len(l.chunks[p.chunk].entries) >= chunkSize {
		p = l.divide(p)
	}
	c := &l.chunks[p.chunk]
	c.entries = append(c.entries, entry{})
	copy(c.entries[p.i+2:], c.entries[p.i+1:])
	c.entries[p.i+1] = entry{clock, r}
}

// divide halves the chunk of p and returns the new place of its entry.
func (l *structList) divide(p pos) pos {
	c := &l.chunks[p.chunk]
	half := len(c.entries) / 2
	tail := append(make([]entry, 0, chunkSize), c.entries[half:]...)
	c.entries = c.entries[:half]
	l.chunks = append(l.chunks, chunk{})
	copy(l.chunks[p.chunk+2:], l.chunks[p.chunk+1:])
	l.chunks[p.chunk+1] = chunk{first: tail[0].clock, entries: tail}
	if p.i >= half {
		return pos{p.chunk + 1, p.i - half}
	}
	return p
}

// remove takes out the struct at p, which must not be the first of the list, and returns the place before it.
func (l *structList) remove(p pos) pos {
	c := &l.chunks[p.chunk]
	c.entries = append(c.entries[:p.i], c.entries[p.i+1:]...)
	if len(c.entries) == 0 {
		l.chunks = append(l.chunks[:p.chunk], l.chunks[p.chunk+1:]...)
	} else if p.i == 0 {
		c.first = c.entries[0].clock
	}
	before, _ := l.prev(p)
	return before
}

// find returns the place of the struct that contains clock, which must be below the client's state.
func (l *structList) find(clock uint32) pos {
	c := len(l.chunks) - 1
	if l.chunks[c].first > clock {
		lo := 0
		for lo < c { // the last chunk that starts at or before clock
			if mid := int(uint(lo+c+1) / 2); l.chunks[mid].first <= clock {
				lo = mid
			} else {
				c = mid - 1
			}
		}
	}
	es := l.chunks[c].entries
	lo, hi := 0, len(es)-1
	if es[hi].clock <= clock {
		return pos{c, hi}
	}
	for lo < hi { // the last struct that starts at or before clock
		if mid := int(uint(lo+hi+1) / 2); es[mid].clock <= clock {
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
	seam   seam
}

// seam is where, in the content of an item, what a transaction has appended begins: the unit that starts at a clock starts
// at a byte. An update tells only what is behind it, and without it would search it from the start of the item:
//
//	"hello wor" + "l"      clock 9, byte 9
type seam struct {
	item  ref
	clock uint32
	at    uint32
}

// joined notes that content of a client from a clock on became the end of an item, behind as many bytes. r is the item
// that held it, if any did.
func (c *client) joined(l, r ref, clock, bytes uint32) {
	switch {
	case r != 0 && c.seam.item == r:
		c.seam.item, c.seam.at = l, c.seam.at+bytes
	case clock == c.before:
		c.seam = seam{l, clock, bytes}
	}
}
