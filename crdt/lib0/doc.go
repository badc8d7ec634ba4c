// Package lib0 reads and appends the binary primitives of Yjs documents: variable-length integers, strings, buffers,
// floats, 64-bit integers and the self-describing Any values.
//
// Writing is a family of Append functions in the manner of the standard library: they extend a byte slice and return
// it. Reading is a [Reader] over a byte slice with a sticky error: after the first malformed byte every method
// returns zero values and [Reader.Err] says where and why. A loop that reads a count from the input must first pass
// the count through [Reader.Count], which refuses counts that the remaining bytes cannot hold, so that nothing is
// ever allocated on the word of the input.
//
// Integers are unsigned values up to 2^53-1 (the safe integers of JavaScript) unless stated otherwise. Strings are
// UTF-8 on the wire and are measured in UTF-16 code units by the document engine; invalid UTF-8 is an error. Values
// nest at most [MaxDepth] deep.
package lib0

// MaxDepth is how deep lists and objects of an Any value (or of a JSON text) may nest.
const MaxDepth = 128

// MaxSafe is the largest integer the format may carry, 2^53-1.
const MaxSafe = 1<<53 - 1
