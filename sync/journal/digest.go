package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/wire"
)

// structure is equal for documents that hold the same edits, in whatever order and pieces these arrived. Unlike
// [crdt.Doc.Digest], which is about what is shown, it covers every struct with what it refers to, waiting ones
// included: a snapshot could show the right text and make later edits go astray. Of deleted content it covers only that
// it is deleted, as each replica forgets it at its own time.
func structure(doc *crdt.Doc) (wire.ID, error) {
	update, err := doc.EncodeUpdate(nil)
	if err != nil {
		return wire.ID{}, fmt.Errorf("journal: compare: %w", err)
	}
	c, err := parseChanges(update)
	if err != nil {
		return wire.ID{}, err
	}
	return c.digest(), nil
}

// digest hashes the structs as the longest runs they could have been written in, since where a replica has cut its
// runs depends on the order in which edits reached it.
func (c *changes) digest() wire.ID {
	d := digester{out: sha256.New(), run: sha256.New()}
	next := 0
	for i := range c.structs {
		p := c.structs[i]
		for next < len(c.deletes) && before(c.deletes[next], p) {
			next++
		}
		if p.kind == kindGC || p.kind == kindDeleted || next < len(c.deletes) && covers(c.deletes[next], p) {
			p = piece{ident: p.ident, n: p.n, kind: kindDeleted}
		}
		d.add(p)
	}
	d.finish()
	d.out.Write([]byte("deletes"))
	for _, e := range c.deletes {
		d.out.Write(numbers(e.client, e.from, e.to))
	}
	return wire.ID(d.out.Sum(nil))
}

func before(e erased, p piece) bool {
	return e.client < p.client || e.client == p.client && e.to <= p.clock
}

func covers(e erased, p piece) bool {
	return e.client == p.client && e.from <= p.clock && p.end() <= e.to
}

// digester hashes runs; run collects the content of the one that is open.
type digester struct {
	out, run hash.Hash
	open     bool
	first    piece
	n        uint64
}

func (d *digester) add(p piece) {
	if !d.open || !d.continues(p) {
		d.finish()
		d.open, d.first, d.n = true, p, 0
		d.run.Reset()
	}
	d.n += p.n
	d.run.Write(p.content)
}

// continues reports whether p could be one struct with the open run.
func (d *digester) continues(p piece) bool {
	f := &d.first
	if p.client != f.client || p.clock != f.clock+d.n || p.kind != f.kind {
		return false
	}
	switch p.kind {
	case kindDeleted:
		return true
	case kindString, kindAny, kindJSON:
		return p.origin != nil && *p.origin == ident{f.client, p.clock - 1} && same(p.right, f.right)
	}
	return false
}

func same(a, b *ident) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func (d *digester) finish() {
	if !d.open {
		return
	}
	d.open = false
	f := &d.first
	d.out.Write(numbers(f.client, f.clock, d.n, uint64(f.kind)))
	for _, id := range []*ident{f.origin, f.right, f.parent} {
		if id == nil {
			d.out.Write([]byte{0})
		} else {
			d.out.Write(append([]byte{1}, numbers(id.client, id.clock)...))
		}
	}
	for _, name := range [][]byte{f.root, f.sub} {
		d.out.Write(numbers(uint64(len(name)), uint64(btoi(name != nil))))
		d.out.Write(bytes.Clone(name))
	}
	d.out.Write(d.run.Sum(nil))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func numbers(ns ...uint64) []byte {
	b := make([]byte, 0, 8*len(ns))
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}
