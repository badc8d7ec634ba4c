package lib0

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Error says at which byte of the input reading stopped, and why.
type Error struct {
	Offset int    // bytes from the start of the input
	Reason string // what was wrong there
}

func (e *Error) Error() string {
	return fmt.Sprintf("lib0: byte %d: %s", e.Offset, e.Reason)
}

// Reader reads primitives from a byte slice. Its error is sticky; see the package documentation.
// Byte slices it returns alias the input.
type Reader struct {
	buf []byte
	pos int
	err *Error
}

// NewReader returns a Reader at the start of b, which it does not copy.
func NewReader(b []byte) Reader { return Reader{buf: b} }

// Err returns the first error, or nil.
func (r *Reader) Err() *Error { return r.err }

// OK says whether nothing has failed so far.
func (r *Reader) OK() bool { return r.err == nil }

// Pos is the number of bytes consumed.
func (r *Reader) Pos() int { return r.pos }

// Left is the number of bytes not yet consumed; zero after an error.
func (r *Reader) Left() int { return len(r.buf) - r.pos }

// Fail records an error at the given offset, unless one is recorded already, and ends the input.
func (r *Reader) Fail(offset int, reason string) {
	if r.err == nil {
		r.err = &Error{Offset: offset, Reason: reason}
	}
	r.pos = len(r.buf)
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.pos >= len(r.buf) {
		r.Fail(r.pos, "input ends early")
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// Uvarint reads an unsigned integer of at most 2^53-1.
func (r *Reader) Uvarint() uint64 {
	if r.pos < len(r.buf) {
		if b := r.buf[r.pos]; b < 0x80 {
			r.pos++
			return uint64(b)
		}
	}
	start := r.pos
	var v uint64
	for shift := uint(0); shift < 63; shift += 7 {
		b := r.Byte()
		if r.err != nil {
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if v > MaxSafe {
			break
		}
		if b < 0x80 {
			return v
		}
	}
	r.Fail(start, "integer is larger than 2^53-1 or padded")
	return 0
}

// Varint reads a signed integer of magnitude at most 2^53-1. Minus zero, which the format knows, comes back as
// 0 with negZero set.
func (r *Reader) Varint() (v int64, negZero bool) {
	start := r.pos
	b := r.Byte()
	neg := b&0x40 != 0
	mag := uint64(b & 0x3f)
	for shift := uint(6); b&0x80 != 0; shift += 7 {
		if b = r.Byte(); r.err != nil {
			return 0, false
		}
		if shift > 62 {
			r.Fail(start, "integer is padded")
			return 0, false
		}
		mag |= uint64(b&0x7f) << shift
		if mag > MaxSafe {
			r.Fail(start, "integer is larger than 2^53-1")
			return 0, false
		}
	}
	if r.err != nil {
		return 0, false
	}
	if neg {
		return -int64(mag), mag == 0
	}
	return int64(mag), false
}

// Count reads how many elements follow, each of which takes at least min bytes. It refuses a count that the rest of
// the input cannot hold.
func (r *Reader) Count(min int) int {
	start := r.pos
	n := r.Uvarint()
	if n > uint64(r.Left()/min) {
		r.Fail(start, "count exceeds what the rest of the input can hold")
		return 0
	}
	return int(n)
}

// Next returns the next n bytes without copying them.
func (r *Reader) Next(n int) []byte {
	if n < 0 || n > r.Left() {
		r.Fail(r.pos, "length exceeds the rest of the input")
		return nil
	}
	b := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// Sub reads a length and returns a Reader of as many bytes, which alias the input. Its positions, those in errors too,
// count from the start of the whole input.
func (r *Reader) Sub() Reader {
	b := r.Buffer()
	return Reader{buf: r.buf[:r.pos:r.pos], pos: r.pos - len(b), err: r.err}
}

// Buffer reads a length and as many bytes, which alias the input.
func (r *Reader) Buffer() []byte {
	start := r.pos
	n := r.Uvarint()
	if n > uint64(r.Left()) {
		r.Fail(start, "length exceeds the rest of the input")
		return nil
	}
	return r.Next(int(n))
}

// Text reads a string. It returns the UTF-8 bytes, which alias the input, and the length in UTF-16 code units.
func (r *Reader) Text() (b []byte, units int) {
	start := r.pos
	b = r.Buffer()
	units, ok := UTF16Len(b)
	if !ok {
		r.Fail(start, "string is not valid UTF-8")
		return nil, 0
	}
	return b, units
}

// Float32 reads a big-endian IEEE 754 single.
func (r *Reader) Float32() float32 {
	b := r.Next(4)
	if b == nil {
		return 0
	}
	return math.Float32frombits(binary.BigEndian.Uint32(b))
}

// Float64 reads a big-endian IEEE 754 double.
func (r *Reader) Float64() float64 { return math.Float64frombits(r.Uint64()) }

// Uint64 reads eight bytes, big end first; a 64-bit signed integer is its two's complement.
func (r *Reader) Uint64() uint64 {
	b := r.Next(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
