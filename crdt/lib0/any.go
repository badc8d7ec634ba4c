package lib0

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Kind tells the values of the format apart.
type Kind uint8

// The kinds of an Any value. A JavaScript number arrives as KindInt when it was written as an integer and as
// KindFloat otherwise; minus zero is a float.
const (
	KindUndefined Kind = iota
	KindNull
	KindBool
	KindInt
	KindFloat
	KindBigInt
	KindString
	KindBytes
	KindList
	KindObject
)

var kindNames = [...]string{"undefined", "null", "bool", "int", "float", "bigint", "string", "bytes", "list", "object"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Tags of Any values on the wire.
const (
	tagBuffer    = 116
	tagArray     = 117
	tagObject    = 118
	tagString    = 119
	tagTrue      = 120
	tagFalse     = 121
	tagBigInt    = 122
	tagFloat64   = 123
	tagFloat32   = 124
	tagInt       = 125
	tagNull      = 126
	tagUndefined = 127
)

// Any is one self-describing value. The zero Any is undefined. An object keeps its keys in the order in which they
// were written, because a copy must encode to the same bytes.
type Any struct {
	kind Kind
	num  uint64 // bool, int, float (its bits), bigint
	str  string // string, bytes
	list []Any  // list, or the values of an object
	keys []string
}

// Null, Undefined and the constructors below make Any values.
func Null() Any            { return Any{kind: KindNull} }
func Undefined() Any       { return Any{} }
func Int(v int64) Any      { return Any{kind: KindInt, num: uint64(v)} }
func Float(v float64) Any  { return Any{kind: KindFloat, num: math.Float64bits(v)} }
func BigInt(v int64) Any   { return Any{kind: KindBigInt, num: uint64(v)} }
func String(s string) Any  { return Any{kind: KindString, str: s} }
func Bytes(b []byte) Any   { return Any{kind: KindBytes, str: string(b)} }
func List(vs ...Any) Any   { return Any{kind: KindList, list: vs} }
func (a Any) Kind() Kind   { return a.kind }
func (a Any) Items() []Any { return a.list }

// Bool makes a boolean.
func Bool(v bool) Any {
	if v {
		return Any{kind: KindBool, num: 1}
	}
	return Any{kind: KindBool}
}

// Object makes an object whose keys keep their order; a repeated key keeps its place and takes the later value, as in
// JavaScript. Both slices must have the same length.
func Object(keys []string, values []Any) Any {
	seen := make(map[string]int, len(keys))
	o := Any{kind: KindObject}
	for i, k := range keys {
		if at, dup := seen[k]; dup {
			o.list[at] = values[i]
			continue
		}
		seen[k] = len(o.keys)
		o.keys = append(o.keys, k)
		o.list = append(o.list, values[i])
	}
	return o
}

// Keys returns the keys of an object in their order; Items returns the values in the same order.
func (a Any) Keys() []string { return a.keys }

// AsBool returns a boolean's value, and false for every other kind.
func (a Any) AsBool() bool { return a.kind == KindBool && a.num == 1 }

// AsInt returns the value of an int or bigint, and a float's integral part.
func (a Any) AsInt() int64 {
	if a.kind == KindFloat {
		return int64(math.Float64frombits(a.num))
	}
	return int64(a.num)
}

// AsFloat returns a number as a double.
func (a Any) AsFloat() float64 {
	if a.kind == KindFloat {
		return math.Float64frombits(a.num)
	}
	return float64(int64(a.num))
}

// AsString returns the text of a string or the bytes of a byte value as a string.
func (a Any) AsString() string { return a.str }

// AppendAny appends a value as Yjs writes it: a number that is integral and at most 2^31-1 in magnitude as an
// integer, otherwise as a single if that is exact, otherwise as a double.
func AppendAny(b []byte, a Any) []byte {
	switch a.kind {
	case KindNull:
		return append(b, tagNull)
	case KindBool:
		if a.num == 1 {
			return append(b, tagTrue)
		}
		return append(b, tagFalse)
	case KindInt:
		if v := int64(a.num); v < -math.MaxInt32 || v > math.MaxInt32 {
			return appendNumber(b, float64(v))
		}
		return AppendVarint(append(b, tagInt), int64(a.num))
	case KindFloat:
		return appendNumber(b, math.Float64frombits(a.num))
	case KindBigInt:
		return binary.BigEndian.AppendUint64(append(b, tagBigInt), a.num)
	case KindString:
		return AppendString(append(b, tagString), a.str)
	case KindBytes:
		return AppendString(append(b, tagBuffer), a.str)
	case KindList:
		b = AppendUvarint(append(b, tagArray), uint64(len(a.list)))
		for _, v := range a.list {
			b = AppendAny(b, v)
		}
		return b
	case KindObject:
		b = AppendUvarint(append(b, tagObject), uint64(len(a.list)))
		for i, v := range a.list {
			b = AppendAny(AppendString(b, a.keys[i]), v)
		}
		return b
	}
	return append(b, tagUndefined)
}

func appendNumber(b []byte, f float64) []byte {
	switch {
	case f == math.Trunc(f) && math.Abs(f) <= math.MaxInt32:
		b = append(b, tagInt)
		if f == 0 && math.Signbit(f) {
			return AppendNegZero(b)
		}
		return AppendVarint(b, int64(f))
	case float64(float32(f)) == f:
		return AppendFloat32(append(b, tagFloat32), float32(f))
	case f != f: // one NaN, whatever its bits were
		return AppendFloat64(append(b, tagFloat64), math.Float64frombits(0x7ff8000000000000))
	}
	return AppendFloat64(append(b, tagFloat64), f)
}

// Any reads one value.
func (r *Reader) Any() Any { return r.any(0) }

func (r *Reader) any(depth int) Any {
	start := r.pos
	switch tag := r.Byte(); tag {
	case tagNull:
		return Null()
	case tagTrue, tagFalse:
		return Bool(tag == tagTrue)
	case tagInt:
		v, negZero := r.Varint()
		if negZero {
			return Float(math.Copysign(0, -1))
		}
		return Int(v)
	case tagFloat32:
		return Float(float64(r.Float32()))
	case tagFloat64:
		return Float(r.Float64())
	case tagBigInt:
		return BigInt(int64(r.Uint64()))
	case tagString:
		s, _ := r.Text()
		return String(string(s))
	case tagBuffer:
		return Bytes(r.Buffer())
	case tagArray:
		var vs []Any
		for n := r.nested(start, depth, 1); n > 0 && r.err == nil; n-- {
			vs = append(vs, r.any(depth+1))
		}
		return Any{kind: KindList, list: vs}
	case tagObject:
		var keys []string
		var vs []Any
		for n := r.nested(start, depth, 2); n > 0 && r.err == nil; n-- {
			k, _ := r.Text()
			keys = append(keys, string(k))
			vs = append(vs, r.any(depth+1))
		}
		return Object(keys, vs)
	case tagUndefined:
	default:
		r.Fail(start, "unknown tag of a value")
	}
	return Undefined()
}

// nested reads the element count of a list or object that starts at start and lies depth levels down.
func (r *Reader) nested(start, depth, min int) int {
	if depth >= MaxDepth {
		r.Fail(start, "value is nested too deep")
		return 0
	}
	return r.Count(min)
}

// SkipAny validates one value and returns its encoded bytes, which alias the input. It allocates nothing.
func (r *Reader) SkipAny() []byte {
	start := r.pos
	r.skipAny(0)
	if r.err != nil {
		return nil
	}
	return r.buf[start:r.pos:r.pos]
}

func (r *Reader) skipAny(depth int) {
	start := r.pos
	switch r.Byte() {
	case tagNull, tagTrue, tagFalse, tagUndefined:
	case tagInt:
		r.Varint()
	case tagFloat32:
		r.Next(4)
	case tagFloat64, tagBigInt:
		r.Next(8)
	case tagString:
		r.Text()
	case tagBuffer:
		r.Buffer()
	case tagArray:
		for n := r.nested(start, depth, 1); n > 0 && r.err == nil; n-- {
			r.skipAny(depth + 1)
		}
	case tagObject:
		for n := r.nested(start, depth, 2); n > 0 && r.err == nil; n-- {
			r.Text()
			r.skipAny(depth + 1)
		}
	default:
		r.Fail(start, "unknown tag of a value")
	}
}
