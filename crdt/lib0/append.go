package lib0

import (
	"encoding/binary"
	"math"
)

// AppendUvarint appends an unsigned integer, seven bits a byte, low bits first.
func AppendUvarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendVarint appends a signed integer: the first byte holds a continuation bit, the sign and six bits.
func AppendVarint(b []byte, v int64) []byte {
	if v < 0 {
		return appendSigned(b, uint64(-v), true)
	}
	return appendSigned(b, uint64(v), false)
}

// AppendNegZero appends minus zero as a signed integer.
func AppendNegZero(b []byte) []byte { return append(b, 0x40) }

func appendSigned(b []byte, mag uint64, neg bool) []byte {
	first := byte(mag & 0x3f)
	if neg {
		first |= 0x40
	}
	if mag >>= 6; mag > 0 {
		first |= 0x80
	}
	b = append(b, first)
	for mag > 0 {
		c := byte(mag & 0x7f)
		if mag >>= 7; mag > 0 {
			c |= 0x80
		}
		b = append(b, c)
	}
	return b
}

// AppendBuffer appends the length of p and p.
func AppendBuffer(b, p []byte) []byte {
	return append(AppendUvarint(b, uint64(len(p))), p...)
}

// AppendString appends the length in bytes of s and s, which must be valid UTF-8.
func AppendString(b []byte, s string) []byte {
	return append(AppendUvarint(b, uint64(len(s))), s...)
}

// AppendFloat32 appends a big-endian IEEE 754 single.
func AppendFloat32(b []byte, f float32) []byte {
	return binary.BigEndian.AppendUint32(b, math.Float32bits(f))
}

// AppendFloat64 appends a big-endian IEEE 754 double.
func AppendFloat64(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(f))
}
