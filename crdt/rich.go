package crdt

import (
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Formatted text is a sequence in which items without room switch attributes on and off:
//
//	"plain " {bold: true} "bold" {bold: null} " plain"
//
// The attributes at a place are those switched on before it. This file edits such text as Yjs does, item by item, so
// that both write the same bytes. A text that never held formatting takes the short way of sequence.go.

// cursor is a place between two adjacent items and the attributes in force there.
type cursor struct {
	t           *Txn
	b           *branch
	left, right ref
	index       uint32 // visible units before
	now         marks
}

// cursorAt returns the place as early as it can be in front of a unit: directly behind the unit before.
func (t *Txn) cursorAt(b *branch, index uint32) *cursor {
	c := &cursor{t: t, b: b}
	if !b.hasFormat {
		c.left, c.right = t.locate(b, index)
		c.index = index
		return c
	}
	c.right = b.start
	c.move(index)
	return c
}

// move goes n units on, and stops directly behind the last one.
func (c *cursor) move(n uint32) {
	if n == 0 {
		return
	}
	t := c.t
	if c.b.count >= indexMin {
		c.index += n
		c.left, c.right = t.after(c.b, c.index)
		c.now = t.doc.inForce(c.b, c.left)
		return
	}
	for end := c.index + n; c.right != 0 && c.index < end; c.forward() {
		if it := c.item(); it.visible() > end-c.index {
			t.cleanStart(it.client, it.clock+end-c.index)
		}
	}
}

func (c *cursor) item() *item { return c.t.doc.items.at(c.right) }

// atMark returns the formatting item to the right, if there is a live one.
func (c *cursor) atMark() (mark, bool) {
	if it := c.item(); it.kind != kindFormat || it.deleted() {
		return mark{}, false
	}
	return c.t.doc.readMark(c.right), true
}

// forward steps over the item to the right.
func (c *cursor) forward() {
	if m, ok := c.atMark(); ok {
		c.now.pass(m)
	}
	it := c.item()
	c.index += it.visible()
	c.left, c.right = c.right, it.right
}

// place makes a new item at the cursor and steps over it.
func (c *cursor) place(self uint32, what content) {
	c.right, _ = c.t.insert(self, c.b, c.left, c.right, 0, what)
	c.forward()
}

func (c *cursor) placeMark(self uint32, m mark) {
	data := lib0.AppendString(lib0.AppendString(nil, m.key), m.json)
	x, it := c.t.insert(self, c.b, c.left, c.right, 0, content{kind: kindFormat, n: 1, data: data})
	c.t.doc.shareObject(it, m)
	c.right = x
	c.forward()
}

// skipAgreeing steps over deleted items and over marks that say what is wanted anyway.
func (c *cursor) skipAgreeing(want marks) {
	for c.right != 0 {
		if !c.item().deleted() {
			m, ok := c.atMark()
			if w, _ := want.get(m.key); !ok || !alike(w, m) {
				return
			}
		}
		c.forward()
	}
}

// open places the marks that switch to the wanted attributes, and returns those that switch back.
func (c *cursor) open(self uint32, want marks) (back marks) {
	for _, w := range want {
		was, _ := c.now.get(w.key)
		if !alike(was, w) {
			back.set(was)
			c.placeMark(self, w)
		}
	}
	return back
}

// close places the marks that switch back, except where that happens anyway.
func (c *cursor) close(self uint32, back marks) {
	for c.right != 0 {
		if !c.item().deleted() {
			m, ok := c.atMark()
			if b, has := back.get(m.key); !ok || !has || !alike(b, m) {
				break
			}
			back.remove(m.key)
		}
		c.forward()
	}
	for _, m := range back {
		c.placeMark(self, m)
	}
}

// insert puts content with exactly the given attributes at the cursor.
func (c *cursor) insert(self uint32, what content, want marks) {
	for _, m := range c.now {
		if _, ok := want.get(m.key); !ok {
			want.set(mark{key: m.key, json: jsonNull})
		}
	}
	c.skipAgreeing(want)
	back := c.open(self, want)
	c.put(self, what)
	c.close(self, back)
}

// put places content, extending the text to the left where possible.
func (c *cursor) put(self uint32, what content) {
	if what.kind == kindString && c.t.doc.canExtend(self, c.left, c.right) {
		c.t.lengthen(c.left, c.t.doc.items.at(c.left), what.data, what.n)
		c.index += what.n
		return
	}
	c.place(self, what)
}

// format gives n units from the cursor on the wanted attributes. Beyond the end of the text it adds line breaks.
func (c *cursor) format(self, n uint32, want marks) {
	t := c.t
	c.skipAgreeing(want)
	back := c.open(self, want)
	for c.right != 0 {
		it := c.item()
		if n == 0 && (len(back) == 0 || !it.deleted() && it.kind != kindFormat) {
			break
		}
		if m, ok := c.atMark(); ok {
			if w, has := want.get(m.key); has {
				if alike(w, m) {
					back.remove(m.key)
				} else if n == 0 {
					break // what follows is not ours to switch back
				} else {
					back.set(m)
				}
				t.delete(c.right)
			} else {
				c.now.set(m)
			}
		} else if v := it.visible(); v > 0 {
			if v > n {
				t.cleanStart(it.client, it.clock+n)
				v = n
			}
			n -= v
		}
		c.forward()
	}
	if n > 0 {
		breaks := slices.Repeat([]byte{'\n'}, int(n))
		c.place(self, content{kind: kindString, n: n, data: breaks})
	}
	c.close(self, back)
}

// remove deletes n units from the cursor on, and then the marks that have lost their meaning.
func (c *cursor) remove(n uint32) {
	t := c.t
	start, startNow := c.right, slices.Clone(c.now)
	for n > 0 && c.right != 0 {
		it := c.item()
		if v := it.visible(); v > 0 {
			if v > n {
				t.cleanStart(it.client, it.clock+n)
				v = n
			}
			t.delete(c.right)
			n -= v
		}
		c.forward()
	}
	if start != 0 {
		c.tidy(start, startNow)
	}
}

// tidy deletes redundant marks between start, where the attributes were startNow, and the next visible item: marks
// that a later one in the gap overrides, and marks that say what holds anyway.
func (c *cursor) tidy(start ref, startNow marks) {
	d := c.t.doc
	final := map[string]ref{}
	end := start
	for end != 0 {
		it := d.items.at(end)
		if it.kind.countable() && !it.deleted() {
			break
		}
		if it.kind == kindFormat && !it.deleted() {
			final[d.readMark(end).key] = end
		}
		end = it.right
	}
	reached := false
	for r := start; r != end; r = d.items.at(r).right {
		if r == c.right {
			reached = true
		}
		it := d.items.at(r)
		if it.kind != kindFormat || it.deleted() {
			continue
		}
		m := d.readMark(r)
		before, had := startNow.get(m.key)
		if final[m.key] != r || identical(before, m) {
			c.t.delete(r)
			if now, _ := c.now.get(m.key); !reached && identical(now, m) && !identical(before, m) {
				if !had {
					c.now.remove(m.key)
				} else {
					c.now.set(before)
				}
			}
		} else if !reached {
			c.now.pass(m)
		}
	}
}
