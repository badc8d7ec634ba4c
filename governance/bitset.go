package governance

import "math/bits"

// bitset is a set of events by their index in a log. Missing words are zero. Only the methods named with a verb
// change it; a bitset that others can see is never changed.
type bitset []uint64

func (b bitset) has(i int) bool { return i>>6 < len(b) && b[i>>6]&(1<<(i&63)) != 0 }

func (b *bitset) add(i int) {
	for i>>6 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i>>6] |= 1 << (i & 63)
}

func (b *bitset) addAll(o bitset) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

func (b bitset) clone() bitset { return append(make(bitset, 0, len(b)+1), b...) }

// with returns a copy of b that holds i too.
func (b bitset) with(i int) bitset {
	c := b.clone()
	c.add(i)
	return c
}

func (b bitset) word(i int) uint64 {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// contains reports whether every member of o is one of b.
func (b bitset) contains(o bitset) bool {
	for i, w := range o {
		if w&^b.word(i) != 0 {
			return false
		}
	}
	return true
}

// members calls yield for each member in ascending order.
func (b bitset) members(yield func(int) bool) {
	for w, x := range b {
		for ; x != 0; x &= x - 1 {
			if !yield(w<<6 + bits.TrailingZeros64(x)) {
				return
			}
		}
	}
}

func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
