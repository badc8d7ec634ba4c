// Package mutant makes hostile variants of a whole record, for tests of its decoder.
package mutant

import (
	"bytes"
	"iter"
)

// Of yields the record itself, the record with a byte more, and for each of its bytes the record cut short before it and
// the record with one of its bits flipped. Each is a slice of its own.
func Of(whole []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !yield(bytes.Clone(whole)) || !yield(append(bytes.Clone(whole), 0)) {
			return
		}
		for i := range whole {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1 << (i % 8)
			if !yield(bytes.Clone(whole[:i])) || !yield(flipped) {
				return
			}
		}
	}
}
