package lib0

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends a value as JavaScript's JSON.stringify writes it. What JSON has no form for (undefined, bytes,
// bigint, NaN and the infinities) becomes null.
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
	case KindObject:
		b = append(b, '{')
		for i, v := range a.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, a.keys[i]), ':')
			b = AppendJSON(b, v)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
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
