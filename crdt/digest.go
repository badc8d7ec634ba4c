package crdt

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Digest returns a hash of the document's state: the state vector, what is deleted, and everything visible with the
// IDs of its units. Replicas that have received the same updates, in whatever order and portions, have the same
// digest. What waits for predecessors is not part of it.
//
// Two Yjs implementations may write one value differently (the order of an object's keys, the width of a number);
// the digest is over the value. The form hashed, all integers as varints (see SPEC.md for the details):
//
//	state vector · deleted ranges · roots by name · nested branches in the order in which they were met
func (d *Doc) Digest() [32]byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	g := &digester{doc: d, h: sha256.New()}
	cs := d.allClients()
	slices.Reverse(cs)
	g.uint(uint64(len(cs)))
	for _, c := range cs {
		g.uint(d.clients[c.client].id)
		g.uint(uint64(d.clients[c.client].state))
	}
	for _, c := range cs {
		rs := d.storedDeletes(c.client)
		g.uint(uint64(len(rs)))
		for _, r := range rs {
			g.uint(r.from)
			g.uint(r.to)
		}
	}
	g.roots()
	for len(g.queue) > 0 {
		b := g.queue[0]
		g.queue = g.queue[1:]
		g.branch(b)
	}
	g.flush()
	return [32]byte(g.h.Sum(nil))
}

// digester writes the canonical form into a hash.
type digester struct {
	doc   *Doc
	h     hash.Hash
	buf   []byte
	queue []*branch

	// The run being collected: text that is one run whatever items it is cut into.
	client, clock uint32
	run           []byte
}

func (g *digester) flush() {
	g.h.Write(g.buf)
	g.buf = g.buf[:0]
}

func (g *digester) uint(v uint64) {
	if len(g.buf) > 4096 {
		g.flush()
	}
	g.buf = lib0.AppendUvarint(g.buf, v)
}

func (g *digester) bytes(p []byte) {
	g.uint(uint64(len(p)))
	g.flush()
	g.h.Write(p)
}

// roots queues the root branches that show anything.
func (g *digester) roots() {
	var bs []*branch
	for _, b := range g.doc.roots {
		if g.doc.shows(b) {
			bs = append(bs, b)
		}
	}
	slices.SortFunc(bs, func(a, b *branch) int { return cmp.Compare(a.name, b.name) })
	g.uint(uint64(len(bs)))
	for _, b := range bs {
		g.bytes([]byte(b.name))
	}
	g.queue = bs
}

// shows says whether a branch has anything that is not deleted.
func (d *Doc) shows(b *branch) bool {
	for r := b.start; r != 0; r = d.items.at(r).right {
		if it := d.items.at(r); !it.deleted() {
			return true
		}
	}
	for _, r := range b.entries {
		if !d.items.at(r).deleted() {
			return true
		}
	}
	return false
}

func (g *digester) branch(b *branch) {
	d := g.doc
	for r := b.start; r != 0; {
		it := d.items.at(r)
		if !it.deleted() {
			g.item(it)
		}
		r = it.right
	}
	g.endRun()
	g.uint(0)
	subs := b.sortedKeys()
	subs = slices.DeleteFunc(subs, func(s uint32) bool { return d.items.at(b.entries[s]).deleted() })
	slices.SortFunc(subs, func(x, y uint32) int { return cmp.Compare(d.subName(x), d.subName(y)) })
	g.uint(uint64(len(subs)))
	for _, s := range subs {
		g.bytes([]byte(d.subName(s)))
		g.item(d.items.at(b.entries[s]))
		g.endRun()
	}
}

// item writes one live item; adjacent runs of text by one client become one.
func (g *digester) item(it *item) {
	d := g.doc
	p := d.payload(it)
	if it.kind == kindString {
		if len(g.run) == 0 || it.client != g.client || it.clock != g.clock {
			g.endRun()
			g.head(it, 0)
		}
		g.run = append(g.run, p...)
		g.client, g.clock = it.client, it.end()
		return
	}
	g.endRun()
	switch it.kind {
	case kindAny, kindJSON:
		r := lib0.NewReader(p)
		for i := uint32(0); i < it.len; i++ {
			g.head(it, i)
			if it.kind == kindAny {
				g.value(r.Any())
			} else {
				g.value(jsonValue(r.Buffer()).v)
			}
		}
	case kindEmbed:
		g.head(it, 0)
		g.value(jsonValue(p).v)
	case kindFormat:
		g.head(it, 0)
		r := lib0.NewReader(p)
		key, _ := r.Text()
		g.bytes(key)
		g.value(jsonValue(r.Buffer()).v)
	case kindType:
		g.head(it, 0)
		b := d.branches[it.off]
		g.uint(uint64(b.typeRef))
		g.bytes(b.node)
		g.queue = append(g.queue, b)
	default:
		g.head(it, 0)
		g.bytes(p)
	}
}

// head writes what an element is and its ID. No element starts with 0, which ends a sequence.
func (g *digester) head(it *item, i uint32) {
	g.uint(uint64(it.kind))
	g.uint(g.doc.clients[it.client].id)
	g.uint(uint64(it.clock + i))
}

func (g *digester) endRun() {
	if len(g.run) > 0 {
		g.bytes(g.run)
		g.run = g.run[:0]
	}
}

// value writes a value in one form whatever form it arrived in: object keys sorted, numbers as doubles.
func (g *digester) value(v lib0.Any) {
	switch k := v.Kind(); k {
	case lib0.KindInt, lib0.KindFloat:
		g.uint(uint64(lib0.KindFloat))
		f := v.AsFloat()
		bits := math.Float64bits(f)
		if f != f {
			bits = math.Float64bits(math.NaN())
		}
		g.bytes(binary.BigEndian.AppendUint64(nil, bits))
	case lib0.KindList:
		g.uint(uint64(k))
		g.uint(uint64(len(v.Items())))
		for _, x := range v.Items() {
			g.value(x)
		}
	case lib0.KindObject:
		g.uint(uint64(k))
		order := make([]int, len(v.Keys()))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(v.Keys()[a], v.Keys()[b]) })
		g.uint(uint64(len(order)))
		for _, i := range order {
			g.bytes([]byte(v.Keys()[i]))
			g.value(v.Items()[i])
		}
	case lib0.KindUndefined, lib0.KindNull:
		g.uint(uint64(k))
	case lib0.KindBool:
		g.uint(uint64(k))
		if v.AsBool() {
			g.uint(1)
		} else {
			g.uint(0)
		}
	case lib0.KindBigInt:
		g.uint(uint64(k))
		g.bytes(binary.BigEndian.AppendUint64(nil, uint64(v.AsInt())))
	default:
		g.uint(uint64(k))
		g.bytes([]byte(v.AsString()))
	}
}
