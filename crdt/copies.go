package crdt

import (
	"bytes"
	"math"
	"sort"
	"unicode/utf8"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Nothing in the format says that an item is a copy of a deleted one. But who brings something back, this package and Yjs
// alike, inserts it right before the original and names that as its right neighbour:
//
//	left │ copy "abc" │ original "abc", deleted        copy: origin left, right origin original
//
// Whatever names a deleted item in this way and says the same is a copy of it, be it typed by hand.

// copied says that n clocks stand for n others, which are deleted.
type copied struct {
	of, as unitID
	n      uint32
}

// sure is how many equal units make a copy of what goes on differently: somebody may have begun to type the same.
const sure = 8

// mostCopies is how many times over copies of copies are followed.
const mostCopies = 16

// recognise finds what has been brought back already: there is a copy that he did not make, or one of his own that others
// have deleted.
func (v *reverter) recognise() {
	copies := v.copies()
	v.single(copies)
	for range mostCopies {
		more := v.back.with(nil)
		for _, c := range copies {
			more = append(more, v.settledBy(c)...)
		}
		if more = more.with(nil); more.size() == v.back.size() {
			return
		}
		v.back = more
	}
}

// single lets go of second copies: two have brought the same back at the same time, since both stand between the same
// neighbours and neither names the other. Everybody keeps the same one, that of the lowest client ID, so that at least one
// stays wherever and by whomever this is done. Copies that somebody has changed are left alone, and so are types, inside
// which somebody may be writing.
func (v *reverter) single(copies []copied) {
	type place struct {
		of, after unitID
		n         uint32
	}
	d := v.t.doc
	kept := make(map[place]copied)
	for _, c := range copies {
		it := d.items.at(d.find(c.as.client, c.as.clock))
		if it.kind == kindType || it.clock != c.as.clock || !v.whole(c) {
			continue
		}
		at := place{c.of, unitID{it.originClient, it.originClock}, c.n}
		other, twice := kept[at]
		if !twice {
			kept[at] = c
			continue
		}
		if d.clients[other.as.client].id > d.clients[c.as.client].id {
			other, c, kept[at] = c, other, c
		}
		if other.as.client == c.as.client {
			continue // brought back anew by one who had taken it away: no matter of time
		}
		v.going = append(v.going, Range{d.clients[c.as.client].id, uint64(c.as.clock), uint64(c.as.clock + c.n)})
		v.count.Doubles += uint64(c.n)
	}
}

// whole says whether a copy is there, in one piece, and not his.
func (v *reverter) whole(c copied) bool {
	d := v.t.doc
	for it := d.items.at(d.find(c.as.client, c.as.clock)); ; {
		if it.deleted() || v.mine.holds(it) {
			return false
		}
		if it.end() >= c.as.clock+c.n {
			return true
		}
		next := d.items.at(it.right)
		if it.right == 0 || next.client != it.client || next.clock != it.end() {
			return false
		}
		it = next
	}
}

// settledBy returns what of the originals of a copy need not come back.
func (v *reverter) settledBy(c copied) (out spans) {
	d := v.t.doc
	list := &d.clients[c.as.client].list
	for at := c.as.clock; at < c.as.clock+c.n; {
		it := d.items.at(list.at(list.find(at)))
		end := min(it.end(), c.as.clock+c.n)
		of := c.of.clock + at - c.as.clock
		whole := span{c.of.client, of, of + end - at}
		if !v.mine.holds(it) || it.deleted() && !v.lost.holds(it) {
			out = append(out, []span{whole})
		} else {
			for _, s := range v.back.within(span{it.client, at, end}) {
				out = append(out, []span{{c.of.client, of + s.from - at, of + s.to - at}})
			}
		}
		at = end
	}
	return out
}

// copies lists all copies in sequences.
func (v *reverter) copies() (out []copied) {
	d := v.t.doc
	for c := range d.clients {
		list := &d.clients[c].list
		if len(list.chunks) == 0 {
			continue
		}
		var before *item
		for p, ok := (pos{}), true; ok; p, ok = list.next(p) {
			it := d.items.at(list.at(p))
			if before == nil || !continues(before, it) {
				if found, ok := v.copyAt(p, it); ok {
					out = append(out, found)
				}
			}
			before = it
		}
	}
	return out
}

// continues says whether an item was inserted in one go with the one before it.
func continues(before, it *item) bool {
	return before.kind == it.kind && it.kind != kindDeleted && it.kind.mergeable() && before.parent == it.parent &&
		it.originClient == before.client && it.originClock == before.end()-1 && it.clock == before.end() &&
		it.rightClient == before.rightClient && it.rightClock == before.rightClock
}

// copyAt says what the run that begins with an item is a copy of.
func (v *reverter) copyAt(p pos, it *item) (c copied, ok bool) {
	d := v.t.doc
	if it.sub != 0 || it.kind <= kindDeleted || it.rightClient == noClient {
		return c, false
	}
	list := &d.clients[it.rightClient].list
	q := list.find(it.rightClock)
	of := d.items.at(list.at(q))
	if of.kind != it.kind || of.parent != it.parent || !of.deleted() {
		return c, false
	}
	c = copied{of: unitID{of.client, it.rightClock}, as: unitID{it.client, it.clock}}
	if !it.kind.mergeable() {
		c.n = 1
		return c, v.same(of, it)
	}
	run, length := d.runFrom(p, it, it.clock, math.MaxInt)
	was, _ := d.runFrom(q, of, it.rightClock, len(run))
	if c.n = equalUnits(it.kind, run, was); c.n == length || c.n >= sure || c.n > 0 && d.startsAt(of.client, it.rightClock+c.n) {
		return c, true
	}
	// Whoever brought it back may have written in front of it just before.
	whole, _ := d.runFrom(q, of, it.rightClock, 0)
	at := bytes.Index(run, whole)
	if at < 0 {
		return c, false
	}
	c.n = of.end() - it.rightClock
	c.as.clock += equalUnits(it.kind, run, run[:at])
	return c, c.n >= sure || at+len(whole) == len(run)
}

// same says whether one item is a copy of another one of its kind that is deleted.
func (v *reverter) same(of, as *item) bool {
	d := v.t.doc
	for of != nil && of.kind == kindType {
		was, is := d.branches[of.off], d.branches[as.off]
		if was.typeRef != is.typeRef || !bytes.Equal(was.node, is.node) {
			return false
		}
		keys, ok := v.sameKeys(was, is)
		if ok {
			of, as, ok = v.sameSequence(was, is, as, keys > 0)
		}
		if !ok {
			return false
		}
	}
	return of == nil || bytes.Equal(d.payload(of), d.payload(as))
}

// compared is how many units at the beginning of two sequences are compared.
const compared = 64

// sameSequence compares what would come back with a deleted type and what was put first into another one, whose item is given:
// a copy is filled in one go. People may have gone on in either, so that long contents need only be much alike; of two that
// have none it is told whether their keys are alike. It also
// returns the first types in both.
func (v *reverter) sameSequence(was, is *branch, at *item, alike bool) (of, as *item, ok bool) {
	d := v.t.doc
	var want, have units
	for x := was.start; x != 0 && len(want.all) < compared; x = d.items.at(x).right {
		if it := d.items.at(x); v.fate(it) == comes {
			want.add(d, it)
		}
	}
	for it := d.firstIn(is, at.client); it != nil && len(have.all) < 2*compared; {
		have.add(d, it)
		if it.end() >= d.clients[it.client].state {
			break
		}
		if it = d.items.at(d.find(it.client, it.end())); it.kind <= kindDeleted || it.parent != is.self || it.sub != 0 {
			break
		}
	}
	found, i := 0, 0
	for _, u := range want.all {
		for n := i; n < len(have.all); n++ {
			if have.all[n] == u {
				found, i = found+1, n+1
				break
			}
		}
	}
	if n := len(want.all); n == 0 {
		// A new one of somebody's own would have been filled at once.
		next := at.end()
		return nil, nil, alike || next == d.clients[at.client].state || d.items.at(d.find(at.client, next)).parent != is.self
	} else if n < sure {
		ok = found == n && len(have.all) == n
	} else {
		ok = 4*found >= 3*n
	}
	return want.nested, have.nested, ok && (want.nested == nil) == (have.nested == nil)
}

// firstIn returns the item of a sequence that a client inserted first.
func (d *Doc) firstIn(b *branch, client uint32) (out *item) {
	for x := b.start; x != 0; x = d.items.at(x).right {
		if it := d.items.at(x); it.client == client && (out == nil || it.clock < out.clock) {
			out = it
		}
	}
	return out
}

// units are the units of a sequence, as texts that can be compared.
type units struct {
	all    []string
	nested *item // the first type among them
}

func (us *units) add(d *Doc, it *item) {
	p := d.payload(it)
	switch it.kind {
	case kindString:
		for _, r := range string(p[:min(len(p), 4*compared)]) {
			if us.all = append(us.all, string(r)); r > 0xffff {
				us.all = append(us.all, "")
			}
		}
	case kindAny, kindJSON:
		for n := it.len; n > 0 && len(us.all) < 2*compared; n-- {
			size := skipElements(it.kind, p, 1)
			us.all = append(us.all, string(p[:size]))
			p = p[size:]
		}
	case kindType:
		b := d.branches[it.off]
		if us.nested == nil {
			us.nested = it
		}
		us.all = append(us.all, string([]byte{byte(it.kind), b.typeRef})+string(b.node))
	default:
		us.all = append(us.all, string([]byte{byte(it.kind)})+string(p))
	}
}

// sameKeys says whether all keys that would come back with a deleted branch have, or had, the same values in another,
// and how many these are.
func (v *reverter) sameKeys(was, is *branch) (n int, ok bool) {
	d := v.t.doc
	for sub := range was.entries {
		x, f := v.value(was, sub)
		if f != comes {
			continue
		}
		y := is.entries[sub]
		for y != 0 && !d.sameValue(d.items.at(x), d.items.at(y)) {
			y = d.items.at(y).left
		}
		if y == 0 {
			return 0, false
		}
		n++
	}
	return n, true
}

// sameValue compares the values of a key, types only by what they are.
func (d *Doc) sameValue(a, b *item) bool {
	var x, y units
	x.add(d, a)
	y.add(d, b)
	return a.kind == b.kind && len(x.all) > 0 && len(y.all) > 0 && x.all[len(x.all)-1] == y.all[len(y.all)-1]
}

// startsAt says whether an item begins at a clock, or nothing is there yet.
func (d *Doc) startsAt(client, clock uint32) bool {
	if clock >= d.clients[client].state {
		return true
	}
	return d.items.at(d.find(client, clock)).clock == clock
}

// runFrom returns the content of a run of items, inserted in one go or as if, from a clock in the first one on: at
// least some bytes if there are as many. It also returns how many units that is.
func (d *Doc) runFrom(p pos, it *item, clock uint32, bytes int) (content []byte, units uint32) {
	list := &d.clients[it.client].list
	content, units = cutFront(it.kind, d.payload(it), it.len, clock-it.clock), it.end()-clock
	grown := false
	for len(content) < bytes {
		next, ok := list.next(p)
		if !ok {
			break
		}
		n := d.items.at(list.at(next))
		if !continues(it, n) {
			break
		}
		if !grown {
			content, grown = append(make([]byte, 0, 2*len(content)+64), content...), true
		}
		content, units = append(content, d.payload(n)...), units+n.len
		p, it = next, n
	}
	return content, units
}

// equalUnits returns how many units two contents have in common at their beginning.
func equalUnits(k kind, a, b []byte) (units uint32) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if k == kindString {
		for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
			n--
		}
		got, _ := lib0.UTF16Len(a[:n])
		return uint32(got)
	}
	for at := 0; at < n; units++ {
		if at += skipElements(k, a[at:], 1); at > n {
			break
		}
	}
	return units
}

// size is how many clocks a set has.
func (ss spans) size() (n uint64) {
	for _, g := range ss {
		for _, s := range g {
			n += uint64(s.to - s.from)
		}
	}
	return n
}

// within returns what of a span is in the set.
func (ss spans) within(x span) (out []span) {
	for _, g := range ss {
		if g[0].client != x.client {
			continue
		}
		for i := sort.Search(len(g), func(i int) bool { return g[i].to > x.from }); i < len(g) && g[i].from < x.to; i++ {
			out = append(out, span{x.client, max(x.from, g[i].from), min(x.to, g[i].to)})
		}
	}
	return out
}
