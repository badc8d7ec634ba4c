package pivcard

// tlv encodes one BER-TLV object with a one-byte tag.
func tlv(tag byte, value ...[]byte) []byte {
	var n int
	for _, v := range value {
		n += len(v)
	}
	out := []byte{tag}
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	for _, v := range value {
		out = append(out, v...)
	}
	return out
}

// cut splits the first object off b.
func cut(b []byte) (tag byte, value, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag, n, b := b[0], int(b[1]), b[2:]
	switch {
	case n == 0x81 && len(b) >= 1:
		n, b = int(b[0]), b[1:]
	case n == 0x82 && len(b) >= 2:
		n, b = int(b[0])<<8|int(b[1]), b[2:]
	case n > 0x7f:
		return 0, nil, nil, false
	}
	if len(b) < n {
		return 0, nil, nil, false
	}
	return tag, b[:n], b[n:], true
}

// find returns the value of the first object with this tag.
func find(b []byte, tag byte) ([]byte, bool) {
	for len(b) > 0 {
		t, value, rest, ok := cut(b)
		if !ok {
			return nil, false
		}
		if t == tag {
			return value, true
		}
		b = rest
	}
	return nil, false
}
