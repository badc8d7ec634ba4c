package lib0

// RunsWriter writes a column that [Runs] reads. The zero value is empty.
type RunsWriter struct {
	buf   []byte
	value uint64
	n     uint64
}

// Write appends a value of at most 2^53-1.
func (c *RunsWriter) Write(v uint64) {
	if v != c.value {
		c.flush()
		c.value = v
	}
	c.n++
}

func (c *RunsWriter) flush() {
	switch {
	case c.n == 1:
		c.buf = AppendVarint(c.buf, int64(c.value))
	case c.n > 1:
		c.buf = AppendUvarint(appendSigned(c.buf, c.value, true), c.n-2)
	}
	c.n = 0
}

// Bytes returns the column. Nothing may be written afterwards.
func (c *RunsWriter) Bytes() []byte {
	c.flush()
	return c.buf
}

// DiffsWriter writes a column that [Diffs] reads. The zero value is empty.
type DiffsWriter struct {
	buf         []byte
	value, diff int64
	n           uint64
}

// Write appends a value of at most 2^52.
func (c *DiffsWriter) Write(v uint64) {
	if d := int64(v) - c.value; d != c.diff {
		c.flush()
		c.diff = d
	}
	c.value = int64(v)
	c.n++
}

func (c *DiffsWriter) flush() {
	switch {
	case c.n == 1:
		c.buf = AppendVarint(c.buf, c.diff*2)
	case c.n > 1:
		c.buf = AppendUvarint(AppendVarint(c.buf, c.diff*2+1), c.n-2)
	}
	c.n = 0
}

// Bytes returns the column. Nothing may be written afterwards.
func (c *DiffsWriter) Bytes() []byte {
	c.flush()
	return c.buf
}

// ByteRunsWriter writes a column that [ByteRuns] reads. The zero value is empty.
type ByteRunsWriter struct {
	buf   []byte
	value byte
	n     uint64
}

// Write appends a value.
func (c *ByteRunsWriter) Write(v byte) {
	if c.n == 0 || v != c.value {
		if c.n > 0 {
			c.buf = AppendUvarint(c.buf, c.n-1)
		}
		c.buf = append(c.buf, v)
		c.value, c.n = v, 0
	}
	c.n++
}

// Bytes returns the column. Nothing may be written afterwards.
func (c *ByteRunsWriter) Bytes() []byte { return c.buf }

// StringsWriter writes a column that [Strings] reads. The zero value is empty.
type StringsWriter struct {
	text []byte
	lens RunsWriter
}

// Write appends a string, which must be valid UTF-8, of the given length in UTF-16 code units.
func (c *StringsWriter) Write(s []byte, units int) {
	c.text = append(c.text, s...)
	c.lens.Write(uint64(units))
}

// Bytes returns the column. Nothing may be written afterwards.
func (c *StringsWriter) Bytes() []byte {
	return append(AppendBuffer(nil, c.text), c.lens.Bytes()...)
}
