package crdt

// posIndex finds the item at a position of a sequence, and the position of an item, in O(log n). It is a B-tree over
// the items in list order; each node knows, for every child, how many visible units and how many items lie below.
//
//	            [ 40u 61i | 33u 20i ]
//	             ╱                 ╲
//	   [ 25u 31i | 15u 30i ]     [ 20u 9i | 13u 11i ]
//	    ╱          ╲
//	[item item …] [item …]        leaves; item.leaf points back here
//
// It is built when a sequence of some length is first edited at a position, kept up to date from then on, and dropped
// with the branch. Nodes are numbers into a slice; node 0 is none. Nodes emptied by merges disappear, others are not
// rebalanced: merges only ever undo splits.
type posIndex struct {
	nodes []indexNode
	free  []uint32
	root  uint32
	marks *markIndex // once a formatted text has been edited
}

const (
	indexFan  = 32
	indexFill = 24 // of a bulk-loaded node, leaving room for insertions
	// indexMin is the item count below which walking the list is cheaper than an index.
	indexMin = 48
)

type indexNode struct {
	parent uint32
	n      uint32
	leaf   bool
	kid    [indexFan + 1]uint32 // items of a leaf, nodes otherwise; one more while splitting
	vis    [indexFan + 1]uint32
	cnt    [indexFan + 1]uint32
}

func (x *posIndex) node() uint32 {
	if n := len(x.free); n > 0 {
		id := x.free[n-1]
		x.free = x.free[:n-1]
		x.nodes[id] = indexNode{}
		if x.marks != nil && int(id) < len(x.marks.sums) {
			x.marks.sums[id] = markSum{}
		}
		return id
	}
	x.nodes = append(x.nodes, indexNode{})
	return uint32(len(x.nodes) - 1)
}

// totals returns the visible units and the items below a node.
func (n *indexNode) totals() (vis, cnt uint32) {
	for i := uint32(0); i < n.n; i++ {
		vis += n.vis[i]
		cnt += n.cnt[i]
	}
	return vis, cnt
}

func (n *indexNode) slot(kid uint32) uint32 {
	for i := uint32(0); i < n.n; i++ {
		if n.kid[i] == kid {
			return i
		}
	}
	panic("crdt: position index lost an entry")
}

// buildIndex loads the whole sequence of b bottom-up.
func (d *Doc) buildIndex(b *branch) {
	x := &posIndex{nodes: make([]indexNode, 1, 2+b.count/indexFill*26/25)}
	var level []uint32
	cur := uint32(0)
	for r := b.start; r != 0; {
		if cur == 0 || x.nodes[cur].n == indexFill {
			cur = x.node()
			x.nodes[cur].leaf = true
			level = append(level, cur)
		}
		it, n := d.items.at(r), &x.nodes[cur]
		n.kid[n.n], n.vis[n.n], n.cnt[n.n] = uint32(r), it.visible(), 1
		n.n++
		it.leaf = cur
		r = it.right
	}
	if len(level) == 0 {
		x.root = x.node()
		x.nodes[x.root].leaf = true
	}
	for len(level) > 1 {
		var up []uint32
		cur = 0
		for _, kid := range level {
			if cur == 0 || x.nodes[cur].n == indexFill {
				cur = x.node()
				up = append(up, cur)
			}
			n := &x.nodes[cur]
			n.kid[n.n] = kid
			n.vis[n.n], n.cnt[n.n] = x.nodes[kid].totals()
			n.n++
			x.nodes[kid].parent = cur
		}
		level = up
	}
	if len(level) == 1 {
		x.root = level[0]
	}
	b.index = x
}

// find returns the visible item that contains unit p, and the unit at which it starts; 0 if p is at or past the end.
func (x *posIndex) find(p uint32) (r ref, start uint32) {
	want := p
	id := x.root
	for {
		n := &x.nodes[id]
		i := uint32(0)
		for i < n.n && p >= n.vis[i] {
			p -= n.vis[i]
			i++
		}
		if i == n.n {
			return 0, 0
		}
		id = n.kid[i]
		if n.leaf {
			return ref(id), want - p
		}
	}
}

// last returns the last item of the sequence.
func (x *posIndex) last() ref {
	id := x.root
	for {
		n := &x.nodes[id]
		if n.n == 0 {
			return 0
		}
		id = n.kid[n.n-1]
		if n.leaf {
			return ref(id)
		}
	}
}

// place returns how many visible units and how many items lie before an item.
func (x *posIndex) place(r ref, leaf uint32) (vis, rank uint32) {
	kid := uint32(r)
	for id := leaf; id != 0; id = x.nodes[id].parent {
		n := &x.nodes[id]
		for i := uint32(0); n.kid[i] != kid; i++ {
			vis += n.vis[i]
			rank += n.cnt[i]
		}
		kid = id
	}
	return vis, rank
}

// grow adds to the visible units of an item; delta may wrap to subtract.
func (x *posIndex) grow(r ref, leaf, delta uint32) {
	kid := uint32(r)
	for id := leaf; id != 0; {
		n := &x.nodes[id]
		n.vis[n.slot(kid)] += delta
		kid, id = id, n.parent
	}
}

// insertAfter puts an item behind another one, or at the start if after is 0.
func (x *posIndex) insertAfter(s *slab, after, r ref) {
	leaf, at := uint32(0), uint32(0)
	if after != 0 {
		leaf = s.at(after).leaf
		at = x.nodes[leaf].slot(uint32(after)) + 1
	} else {
		for leaf = x.root; !x.nodes[leaf].leaf; leaf = x.nodes[leaf].kid[0] {
		}
	}
	it := s.at(r)
	vis := it.visible()
	for kid, id := leaf, x.nodes[leaf].parent; id != 0; {
		n := &x.nodes[id]
		i := n.slot(kid)
		n.vis[i] += vis
		n.cnt[i]++
		kid, id = id, n.parent
	}
	it.leaf = leaf
	if it.kind == kindFormat {
		x.staleMarks(leaf)
	}
	x.put(s, leaf, at, uint32(r), vis, 1)
}

// put places an entry, which the nodes above count already, at slot i of a node, and splits the node if that was one
// too many.
func (x *posIndex) put(s *slab, id, i, kid, vis, cnt uint32) {
	n := &x.nodes[id]
	copy(n.kid[i+1:n.n+1], n.kid[i:n.n])
	copy(n.vis[i+1:n.n+1], n.vis[i:n.n])
	copy(n.cnt[i+1:n.n+1], n.cnt[i:n.n])
	n.kid[i], n.vis[i], n.cnt[i] = kid, vis, cnt
	if n.n++; n.n > indexFan {
		x.split(s, id)
	}
}

// split moves the upper half of an overfull node into a new right neighbour.
func (x *posIndex) split(s *slab, id uint32) {
	right := x.node()
	l, r := &x.nodes[id], &x.nodes[right]
	half := l.n / 2
	r.leaf, r.n, r.parent = l.leaf, l.n-half, l.parent
	copy(r.kid[:], l.kid[half:l.n])
	copy(r.vis[:], l.vis[half:l.n])
	copy(r.cnt[:], l.cnt[half:l.n])
	l.n = half
	for i := uint32(0); i < r.n; i++ {
		if r.leaf {
			s.at(ref(r.kid[i])).leaf = right
		} else {
			x.nodes[r.kid[i]].parent = right
		}
	}
	x.staleMarks(id)
	rv, rc := r.totals()
	if l.parent == 0 {
		lv, lc := l.totals()
		root := x.node()
		n := &x.nodes[root]
		n.n = 2
		n.kid[0], n.vis[0], n.cnt[0] = id, lv, lc
		n.kid[1], n.vis[1], n.cnt[1] = right, rv, rc
		x.nodes[id].parent, x.nodes[right].parent, x.root = root, root, root
		return
	}
	parent := l.parent
	n := &x.nodes[parent]
	i := n.slot(id)
	n.vis[i] -= rv
	n.cnt[i] -= rc
	x.put(s, parent, i+1, right, rv, rc) // moves right's parent along if it splits
}

// remove takes an item out.
func (x *posIndex) remove(r ref, leaf uint32) {
	kid, id := uint32(r), leaf
	n := &x.nodes[id]
	vis := n.vis[n.slot(kid)]
	drop := true // the entry for kid itself goes, as long as nodes become empty
	for id != 0 {
		n := &x.nodes[id]
		i := n.slot(kid)
		if drop {
			copy(n.kid[i:], n.kid[i+1:n.n])
			copy(n.vis[i:], n.vis[i+1:n.n])
			copy(n.cnt[i:], n.cnt[i+1:n.n])
			n.n--
			drop = n.n == 0 && id != x.root
			if drop {
				x.free = append(x.free, id)
			}
		} else {
			n.vis[i] -= vis
			n.cnt[i]--
		}
		kid, id = id, n.parent
	}
	if root := &x.nodes[x.root]; root.n == 0 {
		root.leaf = true
	}
}
