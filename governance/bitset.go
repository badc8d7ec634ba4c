package governance

import "math/bits"

// chunk is a piece of a bitset. It is never changed once it is in one, so sets share the pieces they have in common:
// the pasts of a growing history differ in their last piece.
type chunk [chunkWords]uint64

const (
	chunkWords = 16
	chunkBits  = chunkWords * 64
)

var noChunk chunk

// bitset is a set of events by their index in a log. Missing pieces are empty. Only the methods named with a verb
// change it; a bitset that others can see is never changed.
type bitset []*chunk

func (b bitset) piece(k int) *chunk {
	if k < len(b) && b[k] != nil {
		return b[k]
	}
	return &noChunk
}

func (b bitset) has(i int) bool {
	k := i / chunkBits
	return k < len(b) && b[k] != nil && b[k][i%chunkBits>>6]&(1<<(i&63)) != 0
}

func (b *bitset) grow(n int) {
	if more := n - len(*b); more > 0 {
		*b = append(*b, make(bitset, more)...)
	}
}

func (b *bitset) add(i int) {
	k := i / chunkBits
	b.grow(k + 1)
	c := *b.piece(k)
	c[i%chunkBits>>6] |= 1 << (i & 63)
	(*b)[k] = &c
}

func (b *bitset) addAll(o bitset) {
	b.grow(len(o))
	for k, p := range o {
		if p != nil && p != (*b)[k] {
			(*b)[k] = union((*b)[k], p)
		}
	}
}

// union returns a piece that holds both, one of the two if it does already.
func union(a, b *chunk) *chunk {
	if a == nil {
		return b
	}
	var out chunk
	for w := range out {
		out[w] = a[w] | b[w]
	}
	switch out {
	case *a:
		return a
	case *b:
		return b
	}
	return &out
}

func (b bitset) clone() bitset { return append(make(bitset, 0, len(b)+1), b...) }

// with returns a copy of b that holds i too.
func (b bitset) with(i int) bitset {
	c := b.clone()
	c.add(i)
	return c
}

// without returns what b holds and o does not.
func (b bitset) without(o bitset) bitset {
	out := make(bitset, len(b))
	for k, p := range b {
		q := o.piece(k)
		switch {
		case p == nil || p == q:
		case q == &noChunk:
			out[k] = p
		default:
			var c chunk
			for w := range c {
				c[w] = p[w] &^ q[w]
			}
			out[k] = &c
		}
	}
	return out
}

// chosen returns the members of in that yes holds where by holds them, and no where it does not.
func (b bitset) chosen(by, yes, no bitset) bitset {
	out := make(bitset, len(b))
	for k, in := range b {
		if in == nil {
			continue
		}
		s, y, n := by.piece(k), yes.piece(k), no.piece(k)
		var c chunk
		for w := range c {
			c[w] = in[w] & (y[w]&s[w] | n[w]&^s[w])
		}
		if c != noChunk {
			out[k] = &c
		}
	}
	return out
}

// contains reports whether every member of o is one of b.
func (b bitset) contains(o bitset) bool {
	for k, p := range o {
		if p == nil || p == b.piece(k) {
			continue
		}
		for w, x := range p {
			if x&^b.piece(k)[w] != 0 {
				return false
			}
		}
	}
	return true
}

// disjoint reports whether b and o have no member in common.
func (b bitset) disjoint(o bitset) bool {
	for k, p := range o {
		if p == nil {
			continue
		}
		for w, x := range p {
			if x&b.piece(k)[w] != 0 {
				return false
			}
		}
	}
	return true
}

// members calls yield for each member in ascending order.
func (b bitset) members(yield func(int) bool) {
	for k, p := range b {
		if p == nil {
			continue
		}
		for w, x := range p {
			for ; x != 0; x &= x - 1 {
				if !yield(k*chunkBits + w<<6 + bits.TrailingZeros64(x)) {
					return
				}
			}
		}
	}
}

func (b bitset) count() int {
	n := 0
	for _, p := range b {
		if p == nil {
			continue
		}
		for _, w := range p {
			n += bits.OnesCount64(w)
		}
	}
	return n
}
