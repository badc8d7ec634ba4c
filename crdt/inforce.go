package crdt

import (
	"cmp"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// markIndex tells which attributes are in force at a place of a formatted text, in O(log n), however many marks come
// before. Each node of the position index (index.go) gets a sum: what the marks below it, gone through from left to
// right, do to every key they name.
//
//	                 [ bold: off │ link: on since m4 ]                     sum of all below
//	                  ╱                            ╲
//	[ bold: on since m1 │ link: on since m2 ]    [ bold: off │ link: on since m4 ]
//	  m1{bold} m2{link}                            m3{link:null} m4{link} m5{bold:null}
//
// The attributes behind an item are the sums of all nodes to its left, taken together. They are listed in the order in
// which they were switched on, which is what "since" is for; JavaScript's maps keep that order, and the bytes of an edit
// depend on it.
//
// Sums are made when somebody asks. A mark that comes or goes makes those of the nodes above it stale, and these only are
// made again.
type markIndex struct {
	sums []markSum // by node
	acc  []keySum  // scratch
}

// markSum is what the marks below a node do. If it is stale so are those of all nodes above.
type markSum struct {
	made bool
	keys []keySum // ascending
}

// keySum is what a run of marks does to one key.
type keySum struct {
	key   uint32 // interned
	last  ref    // the mark that holds at the end
	off   bool   // it switches the key off
	reset bool   // some mark does
	since ref    // the first one that switches it on behind all that switch it off, 0 if off
}

// addSums makes of what some marks do what they do together with more behind them. It works from the highest key down,
// so that acc can grow where it is.
func addSums(acc, more []keySum) []keySum {
	fresh, i := 0, 0
	for _, s := range more {
		for i < len(acc) && acc[i].key < s.key {
			i++
		}
		if i == len(acc) || acc[i].key != s.key {
			fresh++
		}
	}
	i = len(acc) - 1
	acc = slices.Grow(acc, fresh)[:len(acc)+fresh]
	for j, to := len(more)-1, len(acc)-1; j >= 0; to-- {
		switch {
		case i >= 0 && acc[i].key > more[j].key:
			acc[to] = acc[i]
			i--
		case i >= 0 && acc[i].key == more[j].key:
			acc[to] = acc[i].then(more[j])
			i, j = i-1, j-1
		default:
			acc[to] = more[j]
			j--
		}
	}
	return acc
}

// then is what the marks of a key do together with later ones.
func (s keySum) then(more keySum) keySum {
	if !more.reset && s.since != 0 {
		more.since = s.since
	}
	more.reset = more.reset || s.reset
	return more
}

// markIndex returns the index of marks, with room for every node.
func (x *posIndex) markIndex() *markIndex {
	if x.marks == nil {
		x.marks = new(markIndex)
	}
	if n := len(x.nodes) - len(x.marks.sums); n > 0 {
		x.marks.sums = append(x.marks.sums, make([]markSum, n)...)
	}
	return x.marks
}

// staleMarks says that the marks below a node are not what they were.
func (x *posIndex) staleMarks(node uint32) {
	if x.marks == nil {
		return
	}
	for id := node; id != 0; id = x.nodes[id].parent {
		if int(id) >= len(x.marks.sums) {
			continue // a new node
		}
		s := &x.marks.sums[id]
		if !s.made && id != node {
			return
		}
		s.made = false
	}
}

// make makes the sums of the first kids of a node that is no leaf.
func (m *markIndex) make(d *Doc, x *posIndex, n *indexNode, kids uint32) {
	for _, kid := range n.kid[:kids] {
		s := &m.sums[kid]
		if s.made {
			continue
		}
		k := &x.nodes[kid]
		if !k.leaf {
			m.make(d, x, k, k.n) // as deep as the tree is high
		}
		m.acc = m.fold(d, k, k.n, m.acc[:0])
		s.keys = append(s.keys[:0], m.acc...)
		s.made = true
	}
}

// fold adds what the marks below the first entries of a node, whose sums are made, do behind those in acc.
func (m *markIndex) fold(d *Doc, n *indexNode, entries uint32, acc []keySum) []keySum {
	for _, kid := range n.kid[:entries] {
		if !n.leaf {
			acc = addSums(acc, m.sums[kid].keys)
			continue
		}
		if it := d.items.at(ref(kid)); it.kind == kindFormat && !it.deleted() {
			one := [1]keySum{d.markSum(ref(kid), it)}
			acc = addSums(acc, one[:])
		}
	}
	return acc
}

// markSum is what one mark does.
func (d *Doc) markSum(r ref, it *item) keySum {
	rd := lib0.NewReader(d.payload(it))
	s := keySum{key: d.subKeyOf(rd.Buffer()), last: r, since: r}
	if string(rd.Buffer()) == jsonNull {
		s.off, s.reset, s.since = true, true, 0
	}
	return s
}

// inForce returns the attributes that hold behind an item of b's sequence.
func (d *Doc) inForce(b *branch, at ref) marks {
	if b.index == nil {
		d.buildIndex(b)
	}
	x := b.index
	m := x.markIndex()
	type step struct{ node, entries uint32 } // the first entries of a node lie to the left
	var buf [8]step
	path := buf[:0]
	for kid, id := uint32(at), d.items.at(at).leaf; id != 0; kid, id = id, x.nodes[id].parent {
		n := &x.nodes[id]
		left := n.slot(kid)
		if n.leaf {
			left++
		} else {
			m.make(d, x, n, left)
		}
		path = append(path, step{id, left})
	}
	m.acc = m.acc[:0]
	for _, s := range slices.Backward(path) {
		m.acc = m.fold(d, &x.nodes[s.node], s.entries, m.acc)
	}
	return d.marksFrom(b, m.acc)
}

// marksFrom reads the attributes that a sum leaves switched on.
func (d *Doc) marksFrom(b *branch, sum []keySum) marks {
	type on struct{ last, rank uint32 }
	var buf [8]on
	ons := buf[:0]
	for _, s := range sum {
		if !s.off {
			ons = append(ons, on{last: uint32(s.last)})
			_, ons[len(ons)-1].rank = b.index.place(s.since, d.items.at(s.since).leaf)
		}
	}
	slices.SortFunc(ons, func(a, b on) int { return cmp.Compare(a.rank, b.rank) })
	var ms marks
	for _, o := range ons {
		ms = append(ms, d.readMark(ref(o.last)))
	}
	return ms
}
