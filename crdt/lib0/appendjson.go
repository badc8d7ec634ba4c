package lib0

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends a value as JavaScript's JSON.stringify writes it: NaN and the infinities become null, bytes an object
// with one entry per byte, and undefined vanishes from objects and becomes null elsewhere. Bigints, which JSON.stringify
// refuses, become null; see [Any.HasJSON].
func AppendJSON(b []byte, a Any) []byte {
	switch a.kind {
	case KindBool:
		return strconv.AppendBool(b, a.num == 1)
	case KindInt:
		return strconv.AppendInt(b, int64(a.num), 10)
	case KindFloat:
		return appendJSONFloat(b, math.Float64frombits(a.num))
	case KindString:
		return appendJSONString(b, a.str)
	case KindList:
		b = append(b, '[')
		for i, v := range a.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendJSON(b, v)
		}
		return append(b, ']')
	case KindBytes:
		b = append(b, '{')
		for i := range len(a.str) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendInt(append(b, '"'), int64(i), 10), `":`...)
			b = strconv.AppendInt(b, int64(a.str[i]), 10)
		}
		return append(b, '}')
	case KindObject:
		b = append(b, '{')
		first := true
		for i, v := range a.list {
			if v.kind == KindUndefined {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(appendJSONString(b, a.keys[i]), ':')
			b = AppendJSON(b, v)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

// HasJSON says whether JSON.stringify accepts the value and returns a text: it must not be undefined and must nowhere
// hold a bigint.
func (a Any) HasJSON() bool { return a.kind != KindUndefined && !a.holdsBigInt() }

func (a Any) holdsBigInt() bool {
	if a.kind == KindBigInt {
		return true
	}
	for _, v := range a.list {
		if v.holdsBigInt() {
			return true
		}
	}
	return false
}

// appendJSONFloat writes the shortest digits that read back the same, with an exponent where JavaScript has one.
func appendJSONFloat(b []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return append(b, "null"...)
	case f == 0:
		return append(b, '0') // minus zero too
	case abs < 1e-6 || abs >= 1e21:
		b = strconv.AppendFloat(b, f, 'e', -1, 64)
		if n := len(b); b[n-2] == '0' && (b[n-3] == '-' || b[n-3] == '+') { // e-07 is written e-7
			b[n-2] = b[n-1]
			b = b[:n-1]
		}
		return b
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// JSString writes null, a boolean, number or bigint as JavaScript's String does.
func JSString(a Any) string {
	switch f := math.Float64frombits(a.num); {
	case a.kind == KindBigInt:
		return strconv.FormatInt(int64(a.num), 10)
	case a.kind == KindFloat && math.IsNaN(f):
		return "NaN"
	case a.kind == KindFloat && math.IsInf(f, 1):
		return "Infinity"
	case a.kind == KindFloat && math.IsInf(f, -1):
		return "-Infinity"
	}
	return string(AppendJSON(nil, a))
}

const hexDigits = "0123456789abcdef"

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= 0x20:
			b = utf8.AppendRune(b, r)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		}
	}
	return append(b, '"')
}

// JSOrder returns a value that was read from JSON in the order in which JavaScript would hold it: of an object's keys
// those that are array indexes come first, ascending.
func JSOrder(a Any) Any {
	if len(a.list) == 0 {
		return a
	}
	order := make([]int, len(a.list))
	for i := range order {
		order[i] = i
	}
	if a.kind == KindObject {
		slices.SortStableFunc(order, func(x, y int) int {
			return cmp.Compare(arrayIndex(a.keys[x]), arrayIndex(a.keys[y]))
		})
	}
	o := Any{kind: a.kind}
	for _, i := range order {
		if a.kind == KindObject {
			o.keys = append(o.keys, a.keys[i])
		}
		o.list = append(o.list, JSOrder(a.list[i]))
	}
	return o
}

// arrayIndex returns the number that a key is written as, if JavaScript takes it for an array index, and otherwise one
// that is larger than all of those.
func arrayIndex(key string) uint64 {
	n, err := strconv.ParseUint(key, 10, 32)
	if err != nil || n == math.MaxUint32 || strconv.FormatUint(n, 10) != key {
		return math.MaxUint32
	}
	return n
}
