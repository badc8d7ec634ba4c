package crdt

import "github.com/studio-whip/collab/crdt/lib0"

// arena holds the content bytes of all items of a document, append-only. Strings lie there as UTF-8; every other
// kind exactly as it stood in the update format, so that foreign values are written again byte for byte:
//
//	kind      bytes in the arena
//	String    the UTF-8 text
//	Binary    the bytes
//	Embed     the JSON text
//	JSON      strings with their lengths, one per element
//	Any       encoded values, one per element
//	Format    key and JSON value, with their lengths
//	Doc       guid with its length, options as an encoded value
//	Type      the name of an XML element or hook, in its branch instead
//
// What items no longer refer to is waste; commit compacts the arena when waste outweighs content.
type arena struct {
	buf   []byte
	waste int
}

func (a *arena) add(p []byte) uint32 {
	off := uint32(len(a.buf))
	a.buf = append(a.buf, p...)
	return off
}

// reserve makes room for the contents of a large update, no more than they take: a document that is only read should
// not carry free room.
func (a *arena) reserve(u *update) {
	if len(u.structs) < 64 {
		return
	}
	n := 0
	for i := range u.structs {
		if w := &u.structs[i]; w.kind != kindType {
			n += int(w.size)
		}
	}
	if n <= cap(a.buf)-len(a.buf) {
		return
	}
	if n > len(a.buf) { // else grow as append does
		a.buf = append(make([]byte, 0, len(a.buf)+n), a.buf...)
	}
}

func (d *Doc) payload(it *item) []byte {
	if it.kind == kindType {
		return nil
	}
	return d.arena.buf[it.off : it.off+it.size]
}

// appendPayload makes p, which must be the bytes of later units, the end of the content of it. A run that cannot
// grow where it is moves to the end of the arena and reserves as much room again, so that a run built from many
// pieces costs a constant per byte.
func (d *Doc) appendPayload(r ref, it *item, p []byte) {
	a, c := &d.arena, &d.clients[it.client]
	end := it.off + it.size
	switch {
	case int(end) == len(a.buf):
		a.buf = append(a.buf, p...)
	case c.openRun == r && int(end)+len(p) <= int(c.openEnd):
		copy(a.buf[end:], p)
		a.waste -= len(p)
	default:
		a.waste += int(it.size)
		off := uint32(len(a.buf))
		a.buf = append(a.buf, a.buf[it.off:end]...)
		a.buf = append(a.buf, p...)
		slack := int(it.size) + len(p)
		a.buf = append(a.buf, make([]byte, slack)...)
		a.waste += slack
		it.off = off
		c.openRun, c.openEnd = r, uint32(len(a.buf))
	}
	it.size += uint32(len(p))
}

// compact rewrites the arena if more than half of it is waste.
func (d *Doc) compact() {
	a := &d.arena
	if a.waste < 4096 || a.waste*2 < len(a.buf) {
		return
	}
	buf := make([]byte, 0, len(a.buf)-a.waste+1024)
	for c := range d.clients {
		cl := &d.clients[c]
		cl.openRun = 0
		for _, ch := range cl.list.chunks {
			for _, e := range ch.entries {
				if it := d.items.at(e.ref); it.kind != kindType && it.size > 0 {
					off := uint32(len(buf))
					buf = append(buf, a.buf[it.off:it.off+it.size]...)
					it.off = off
				}
			}
		}
	}
	d.arena = arena{buf: buf}
}

// skipElements returns how many bytes the first n elements of list content take.
func skipElements(k kind, p []byte, n uint32) int {
	r := lib0.NewReader(p)
	for ; n > 0; n-- {
		if k == kindAny {
			r.SkipAny()
		} else {
			r.Buffer()
		}
	}
	return r.Pos()
}
