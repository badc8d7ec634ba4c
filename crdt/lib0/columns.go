package lib0

// Update format v2 writes the fields of its structs as columns, each packed in its own way:
//
//	Runs      unsigned integers, equal neighbours as value and count   7 7 7 2  →  -7 (3-2)  2
//	Diffs     integers, equal differences as difference and count      4 5 6 9  →  +4 | +1 ×2 | +3
//	ByteRuns  bytes as value and count; the last value has no end      1 1 1 7  →  1 (3-1) 7
//	Strings   all strings as one, and their lengths as Runs            "a" "bc" →  "abc" 1 2
//
// A count costs a few bytes and may stand for billions of values: whoever reads a column must bound how much it takes
// out of it. The readers are [Reader]s; a value read after the end is an error.

// Runs reads a column of unsigned integers (UintOptRle in lib0). A negative value announces a count; minus zero is a
// run of zeros.
type Runs struct {
	Reader
	value uint64
	left  uint64
}

// Next reads a value.
func (c *Runs) Next() uint64 {
	if c.left == 0 {
		v, negZero := c.Varint()
		c.left = 1
		if v < 0 || negZero {
			v = -v
			c.left = c.Uvarint() + 2
		}
		c.value = uint64(v)
	}
	c.left--
	if c.err != nil {
		return 0
	}
	return c.value
}

// Diffs reads a column of integers that grow evenly (IntDiffOptRle in lib0). A value outside 0 to 2^53-1 is an error.
type Diffs struct {
	Reader
	value, diff int64
	left        uint64
}

// Next reads a value.
func (c *Diffs) Next() uint64 {
	start := c.pos
	if c.left == 0 {
		v, _ := c.Varint()
		c.diff, c.left = v>>1, 1
		if v&1 != 0 {
			c.left = c.Uvarint() + 2
		}
	}
	c.left--
	c.value += c.diff
	if c.err == nil && (c.value < 0 || c.value > MaxSafe) {
		c.Fail(start, "column reaches a value below 0 or above 2^53-1")
	}
	if c.err != nil {
		c.value = 0
	}
	return uint64(c.value)
}

// ByteRuns reads a column of bytes (Rle in lib0). The last value goes on forever.
type ByteRuns struct {
	Reader
	value byte
	left  uint64
	last  bool
}

// Next reads a value.
func (c *ByteRuns) Next() byte {
	if c.left == 0 && !c.last {
		c.value = c.Byte()
		if c.last = c.Left() == 0; !c.last {
			c.left = c.Uvarint() + 1
		}
	}
	c.left--
	if c.err != nil {
		return 0
	}
	return c.value
}

// Strings reads a column of strings. Lengths count UTF-16 code units, so that one string may end inside a surrogate
// pair and the next one begin there.
type Strings struct {
	lens Runs
	text []byte // what is left
	at   int    // offset of text in the input
	left int    // its code units
	wide bool   // it is not all ASCII
	half bool   // the last string took the first half of a pair
}

// Piece is a string of a column: bytes From to To of the input, and the length in code units. A string that begins or
// ends inside a surrogate pair has U+FFFD before or behind those bytes.
type Piece struct {
	From, To, Units int
	Head, Tail      bool
}

// Strings makes the rest of r a column of strings.
func (r *Reader) Strings() Strings {
	text, units := r.Text()
	c := Strings{lens: Runs{Reader: *r}, text: text, at: r.pos - len(text), left: units, wide: units != len(text)}
	return c
}

// Err returns the first error, or nil.
func (c *Strings) Err() *Error { return c.lens.err }

// Next reads a string.
func (c *Strings) Next() Piece {
	start := c.lens.pos
	n := c.lens.Next()
	if n > uint64(c.left) {
		c.lens.Fail(start, "column of strings is shorter than their lengths")
	}
	if c.lens.err != nil {
		return Piece{}
	}
	p := Piece{From: c.at, Units: int(n)}
	c.left -= int(n)
	if n > 0 && c.half {
		c.half, p.Head = false, true
		n--
	}
	at := int(n)
	if c.wide {
		at, p.Tail = UTF16Index(c.text, int(n))
	}
	p.To = p.From + at
	if p.Tail {
		at += 4
		c.half = true
	}
	c.text, c.at = c.text[at:], c.at+at
	return p
}
