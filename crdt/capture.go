package crdt

import (
	"bytes"
	"sync"
)

// capture is what encoding a document needs to know, copied while the lock is held, so that writers wait for the copying
// only, which takes a fraction of the time.
//
//	lock held     blocks  [9: ‖ from, to, waiting ‖] [7: ‖ from, to, waiting ‖]
//	              items   [9@40 9@45 9@46 … │ 7@0 7@12 …]      copies, in the order in which they are written
//	              notes   [in "body" │ is a Map │ …]           what items say by handle, as it is to be written
//	              deletes                                      the delete set, as it is to be written
//	then          update = blocks and items, with notes and the arena put in, and deletes
//
// The bytes of the arena are not copied. It only ever grows behind what items refer to, and compacting makes a new one.
type capture struct {
	blocks  []capturedBlock
	items   []item
	notes   []byte
	deletes []byte

	clients []client // for their IDs, which never change
	arena   []byte
	merged  bool

	gaps []gap  // scratch
	out  []byte // the update; what is handed out is a copy that takes no more room than it needs
}

type capturedBlock struct {
	run
	from, to int // of items
	waiting  []*pendingStruct
}

// captures recycles the copies.
var captures = sync.Pool{New: func() any { return new(capture) }}

func (c *capture) release() {
	const much = 1 << 16
	clear(c.blocks)
	if cap(c.items) <= much && cap(c.notes)+cap(c.deletes)+cap(c.out) <= 32*much {
		*c = capture{
			blocks: c.blocks[:0], items: c.items[:0], notes: c.notes[:0], deletes: c.deletes[:0], gaps: c.gaps[:0], out: c.out[:0],
		}
		captures.Put(c)
	}
}

// capture copies everything that a replica that knows sv lacks, pending structs and deletions included.
func (d *Doc) capture(sv stateVector) *capture {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.captured(sv)
}

// captured is capture for who holds the lock.
func (d *Doc) captured(sv stateVector) *capture {
	c := captures.Get().(*capture)
	c.clients, c.arena = d.clients, d.arena.buf
	c.merged = len(d.pending.queues) > 0 || d.pending.deleteRanges > 0
	for _, s := range d.lacking(sv) {
		w := d.waiting(s.client, uint64(s.clock))
		b := capturedBlock{run: d.runOf(s, w), from: len(c.items), waiting: w}
		c.add(d, b.run)
		b.to = len(c.items)
		c.blocks = append(c.blocks, b)
	}
	e := encoder{doc: d, clients: d.clients, buf: c.deletes}
	c.gaps = e.allDeletes(c.gaps)
	c.deletes = e.buf
	return c
}

// lacking lists the clients of whom a replica that knows sv lacks something, and from which clock on, in the order of
// the format.
func (d *Doc) lacking(sv stateVector) (cs []since) {
	for c := range d.clients {
		cl := &d.clients[c]
		from := min(sv[cl.id], maxClock)
		if uint64(cl.state) > from || len(d.waiting(uint32(c), from)) > 0 {
			cs = append(cs, since{uint32(c), uint32(from)})
		}
	}
	d.sortClients(cs)
	return cs
}

// add copies stored structs, and notes what they say by handle.
func (c *capture) add(d *Doc, r run) {
	list := &d.clients[r.client].list
	e := encoder{doc: d, clients: d.clients, buf: c.notes}
	for p, n := r.at, r.stored; n > 0; n-- {
		c.items = append(c.items, *d.items.at(list.at(p)))
		it := &c.items[len(c.items)-1]
		if it.kind != kindGC && it.originClient == noClient && it.rightClient == noClient {
			from := len(e.buf)
			e.parent(it)
			it.left, it.right = ref(from), ref(len(e.buf))
		}
		if it.kind == kindType {
			from := len(e.buf)
			e.nested(it)
			it.off, it.size = uint32(from), uint32(len(e.buf)-from)
		}
		p, _ = list.next(p)
	}
	c.notes = e.buf
}

// encode writes the update; no lock is held.
func (c *capture) encode() []byte {
	e := encoder{clients: c.clients, arena: c.arena, notes: c.notes, merged: c.merged, buf: c.out}
	e.uint(uint64(len(c.blocks)))
	for i := range c.blocks {
		b := &c.blocks[i]
		e.runHead(b.run, b.waiting)
		offset := b.offset
		for j := range c.items[b.from:b.to] {
			e.item(&c.items[b.from+j], offset)
			offset = 0
		}
		e.waiting(b.end, b.waiting)
	}
	c.out = append(e.buf, c.deletes...)
	return bytes.Clone(c.out)
}
