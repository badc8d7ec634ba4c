package crdt

import (
	"fmt"
	"slices"
)

// selfCheck verifies every invariant of the document's structures.
func (d *Doc) selfCheck() error {
	for c := range d.clients {
		if err := d.checkClient(uint32(c)); err != nil {
			return fmt.Errorf("client %d: %w", d.clients[c].id, err)
		}
	}
	for _, b := range d.branches {
		if b == nil {
			continue
		}
		if err := d.checkBranch(b); err != nil {
			return fmt.Errorf("branch %d: %w", b.self, err)
		}
	}
	return nil
}

func (d *Doc) checkClient(c uint32) error {
	cl := &d.clients[c]
	at := uint32(0)
	for i, ch := range cl.list.chunks {
		if len(ch.entries) == 0 || d.items.at(ch.entries[0].ref).clock != ch.first {
			return fmt.Errorf("chunk %d is empty or starts elsewhere", i)
		}
		for _, e := range ch.entries {
			it := d.items.at(e.ref)
			if e.clock != it.clock || it.client != c || it.clock != at || it.len == 0 {
				return fmt.Errorf("struct at %d: clock %d, length %d, client %d", at, it.clock, it.len, it.client)
			}
			at = it.end()
			if it.kind != kindGC && d.branches[it.parent] == nil {
				return fmt.Errorf("struct at %d has no parent", it.clock)
			}
			if int(it.off)+int(it.size) > len(d.arena.buf) && it.kind != kindType {
				return fmt.Errorf("struct at %d has content outside the arena", it.clock)
			}
		}
	}
	if at != cl.state {
		return fmt.Errorf("state is %d, structs end at %d", cl.state, at)
	}
	return nil
}

func (d *Doc) checkBranch(b *branch) error {
	count, length := 0, uint32(0)
	prev := ref(0)
	var now marks
	for r := b.start; r != 0; r = d.items.at(r).right {
		it := d.items.at(r)
		if it.left != prev || it.parent != b.self || it.sub != 0 {
			return fmt.Errorf("item %d@%d is linked wrongly", d.clients[it.client].id, it.clock)
		}
		if r == b.cursor && b.cursorPos != length {
			return fmt.Errorf("cursor at %d, item starts at %d", b.cursorPos, length)
		}
		if b.index != nil {
			if vis, rank := b.index.place(r, it.leaf); vis != length || rank != uint32(count) {
				return fmt.Errorf("index puts item %d at %d, rank %d", count, vis, rank)
			}
			if it.kind == kindFormat && !it.deleted() {
				now.pass(d.readMark(r))
			}
			if got := d.inForce(b, r); b.hasFormat && !slices.Equal(got, now) {
				return fmt.Errorf("index finds %v behind item %d, there is %v", got, count, now)
			}
		}
		count++
		length += it.visible()
		prev = r
	}
	if count != b.count || length != b.length {
		return fmt.Errorf("%d items and %d units, counted %d and %d", b.count, b.length, count, length)
	}
	for sub, last := range b.entries {
		if d.items.at(last).right != 0 {
			return fmt.Errorf("value of key %q is not the last of its history", d.subName(sub))
		}
		for r := last; r != 0; r = d.items.at(r).left {
			it := d.items.at(r)
			if it.sub != sub || it.parent != b.self || r != last && !it.deleted() {
				return fmt.Errorf("history of key %q is broken", d.subName(sub))
			}
		}
	}
	return nil
}
