package lib0

import "unicode/utf8"

// UTF16Len returns the length of b in UTF-16 code units, and whether b is valid UTF-8.
func UTF16Len(b []byte) (units int, ok bool) {
	i := 0
	for ; i+8 <= len(b); i += 8 { // eight ASCII bytes at a time
		w := b[i : i+8 : i+8]
		if (w[0]|w[1]|w[2]|w[3]|w[4]|w[5]|w[6]|w[7])&0x80 != 0 {
			break
		}
	}
	units = i
	for i < len(b) {
		if b[i] < utf8.RuneSelf {
			i++
			units++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return 0, false
		}
		i += size
		units++
		if size == 4 { // outside the basic plane: a surrogate pair
			units++
		}
	}
	return units, true
}

// UTF16Index converts an offset in UTF-16 code units into an offset in bytes of b, which must be valid UTF-8 and at
// least that long. inPair says that the offset lies inside a surrogate pair; at is then the start of its rune.
func UTF16Index(b []byte, units int) (at int, inPair bool) {
	for at < len(b) && units > 0 {
		c := b[at]
		switch {
		case c < 0x80:
			at++
		case c < 0xe0:
			at += 2
		case c < 0xf0:
			at += 3
		default:
			if units == 1 {
				return at, true
			}
			at += 4
			units--
		}
		units--
	}
	return at, false
}
