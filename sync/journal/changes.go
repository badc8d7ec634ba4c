package journal

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// changes is a Yjs update in format v1, taken apart as far as this room needs it: which client made which struct, what
// each struct refers to, and the bytes of its content, which stay as they are. Re-issuing edits under another client
// ID, splitting an update and comparing documents work on it.
type changes struct {
	structs []piece  // by client, ascending by clock within one
	deletes []erased // sorted and joined
}

// ident names one unit of a document.
type ident struct{ client, clock uint64 }

// erased is the clocks [from, to) of one client, deleted.
type erased struct{ client, from, to uint64 }

// piece is one struct of an update.
type piece struct {
	ident
	n       uint64 // clocks it covers
	kind    byte
	origin  *ident
	right   *ident
	parent  *ident // nil if a root or inherited
	root    []byte // name of the root; nil if the parent is a struct or inherited
	sub     []byte // key in a map; nil if none or inherited
	inMap   bool   // the mark of a map entry, which stands even where the key is inherited
	content []byte // as encoded
}

func (p *piece) end() uint64 { return p.clock + p.n }

// Kinds of content, y-protocols update format 1.
const (
	kindGC      = 0
	kindDeleted = 1
	kindJSON    = 2
	kindBinary  = 3
	kindString  = 4
	kindEmbed   = 5
	kindFormat  = 6
	kindType    = 7
	kindAny     = 8
	kindDoc     = 9
	kindSkip    = 10
)

// Bits of the byte that begins a struct.
const (
	infoKind   = 0x1f
	infoSub    = 0x20
	infoRight  = 0x40
	infoOrigin = 0x80
)

// types whose encoding carries a name.
const (
	typeXMLElement = 3
	typeXMLHook    = 5
)

// parseChanges reads an update. What it returns aliases b. It is for updates that crdt has accepted or made; anything
// it does not know is an error.
func parseChanges(b []byte) (*changes, error) {
	r := lib0.NewReader(b)
	c := &changes{}
	for n := r.Count(3); n > 0 && r.OK(); n-- {
		c.readBlock(&r)
	}
	for n := r.Count(2); n > 0 && r.OK(); n-- {
		client := r.Uvarint()
		for m := r.Count(2); m > 0 && r.OK(); m-- {
			from := r.Uvarint()
			if to := from + r.Uvarint(); to > from {
				c.deletes = append(c.deletes, erased{client, from, to})
			}
		}
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("journal: update cannot be taken apart: %w", err)
	}
	sortPieces(c.structs)
	c.deletes = joinErased(c.deletes)
	return c, nil
}

func sortPieces(ps []piece) []piece {
	slices.SortStableFunc(ps, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.clock, b.clock))
	})
	return ps
}

func (c *changes) readBlock(r *lib0.Reader) {
	n := r.Count(2)
	client, clock := r.Uvarint(), r.Uvarint()
	for ; n > 0 && r.OK(); n-- {
		at := r.Pos()
		p := piece{ident: ident{client, clock}}
		p.read(r)
		if p.n == 0 {
			r.Fail(at, "struct of length 0")
		}
		clock += p.n
		if p.kind != kindSkip {
			c.structs = append(c.structs, p)
		}
	}
}

func (p *piece) read(r *lib0.Reader) {
	info := r.Byte()
	p.kind = info & infoKind
	if p.kind == kindGC || p.kind == kindSkip {
		p.n = r.Uvarint()
		return
	}
	p.inMap = info&infoSub != 0
	if info&infoOrigin != 0 {
		p.origin = &ident{r.Uvarint(), r.Uvarint()}
	}
	if info&infoRight != 0 {
		p.right = &ident{r.Uvarint(), r.Uvarint()}
	}
	if info&(infoOrigin|infoRight) == 0 {
		if r.Uvarint() == 1 {
			name, _ := r.Text()
			p.root = keep(name)
		} else {
			p.parent = &ident{r.Uvarint(), r.Uvarint()}
		}
		if p.inMap {
			key, _ := r.Text()
			p.sub = keep(key)
		}
	}
	p.readContent(r)
}

// keep returns b, never nil: nil means absent.
func keep(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// readContent reads the content and keeps its bytes without a leading count, which is what can be cut and joined.
func (p *piece) readContent(r *lib0.Reader) {
	p.n = 1
	before := *r
	at := r.Pos()
	switch p.kind {
	case kindDeleted:
		p.n = r.Uvarint()
		return
	case kindJSON, kindAny:
		n := r.Count(1)
		p.n = uint64(n)
		before, at = *r, r.Pos()
		for ; n > 0 && r.OK(); n-- {
			if p.kind == kindAny {
				r.SkipAny()
			} else {
				r.Text()
			}
		}
	case kindString:
		text, units := r.Text()
		p.content, p.n = text, uint64(units)
		return
	case kindBinary:
		r.Buffer()
	case kindEmbed:
		r.Text()
	case kindFormat:
		r.Text()
		r.Text()
	case kindType:
		if t := r.Uvarint(); t == typeXMLElement || t == typeXMLHook {
			r.Text()
		}
	case kindDoc:
		r.Text()
		r.SkipAny()
	default:
		r.Fail(at, "unknown kind of content")
	}
	if r.OK() {
		p.content = before.Next(r.Pos() - at)
	}
}

// append encodes the struct.
func (p *piece) append(b []byte) []byte {
	if p.kind == kindGC {
		return lib0.AppendUvarint(append(b, kindGC), p.n)
	}
	info := p.kind
	if p.inMap {
		info |= infoSub
	}
	if p.right != nil {
		info |= infoRight
	}
	if p.origin != nil {
		info |= infoOrigin
	}
	b = append(b, info)
	for _, id := range []*ident{p.origin, p.right} {
		if id != nil {
			b = lib0.AppendUvarint(lib0.AppendUvarint(b, id.client), id.clock)
		}
	}
	if p.origin == nil && p.right == nil {
		b = p.appendParent(b)
	}
	switch p.kind {
	case kindDeleted:
		return lib0.AppendUvarint(b, p.n)
	case kindJSON, kindAny:
		b = lib0.AppendUvarint(b, p.n)
	case kindString:
		b = lib0.AppendUvarint(b, uint64(len(p.content)))
	}
	return append(b, p.content...)
}

func (p *piece) appendParent(b []byte) []byte {
	if p.parent == nil {
		b = append(lib0.AppendUvarint(append(b, 1), uint64(len(p.root))), p.root...)
	} else {
		b = lib0.AppendUvarint(lib0.AppendUvarint(append(b, 0), p.parent.client), p.parent.clock)
	}
	if p.sub != nil {
		b = append(lib0.AppendUvarint(b, uint64(len(p.sub))), p.sub...)
	}
	return b
}

// encode writes the update, clients in descending order as Yjs does, gaps as skips.
func (c *changes) encode() []byte {
	type block struct{ from, to int }
	var blocks []block
	for i := 0; i < len(c.structs); {
		j := i + 1
		for j < len(c.structs) && c.structs[j].client == c.structs[i].client {
			j++
		}
		blocks = append(blocks, block{i, j})
		i = j
	}
	slices.Reverse(blocks)
	b := lib0.AppendUvarint(nil, uint64(len(blocks)))
	for _, k := range blocks {
		b = appendBlock(b, c.structs[k.from:k.to])
	}
	return appendDeletes(b, c.deletes)
}

func appendBlock(b []byte, ps []piece) []byte {
	n, next := len(ps), ps[0].clock
	for i := range ps {
		if ps[i].clock > next {
			n++
		}
		next = ps[i].end()
	}
	b = lib0.AppendUvarint(b, uint64(n))
	b = lib0.AppendUvarint(lib0.AppendUvarint(b, ps[0].client), ps[0].clock)
	next = ps[0].clock
	for i := range ps {
		if ps[i].clock > next {
			b = lib0.AppendUvarint(append(b, kindSkip), ps[i].clock-next)
		}
		b = ps[i].append(b)
		next = ps[i].end()
	}
	return b
}

// appendDeletes writes the deleted ranges, clients in descending order as Yjs does.
func appendDeletes(b []byte, ds []erased) []byte {
	var clients [][]erased
	for i := 0; i < len(ds); {
		j := i + 1
		for j < len(ds) && ds[j].client == ds[i].client {
			j++
		}
		clients = append(clients, ds[i:j])
		i = j
	}
	b = lib0.AppendUvarint(b, uint64(len(clients)))
	for _, c := range slices.Backward(clients) {
		b = lib0.AppendUvarint(lib0.AppendUvarint(b, c[0].client), uint64(len(c)))
		for _, d := range c {
			b = lib0.AppendUvarint(lib0.AppendUvarint(b, d.from), d.to-d.from)
		}
	}
	return b
}

// joinErased sorts ranges and joins those that touch or overlap, in place.
func joinErased(ds []erased) []erased {
	slices.SortFunc(ds, func(a, b erased) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.from, b.from))
	})
	out := ds[:0]
	for _, d := range ds {
		if n := len(out); n > 0 && out[n-1].client == d.client && out[n-1].to >= d.from {
			out[n-1].to = max(out[n-1].to, d.to)
			continue
		}
		out = append(out, d)
	}
	return out
}
