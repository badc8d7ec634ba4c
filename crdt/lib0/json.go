package lib0

import "encoding/json"

// JSON reads a string that must hold one JSON text nested at most [MaxDepth] deep. The bytes alias the input.
func (r *Reader) JSON() []byte {
	start := r.pos
	b, _ := r.Text()
	if r.err != nil {
		return nil
	}
	if !jsonShallow(b) {
		r.Fail(start, "JSON is nested too deep")
		return nil
	}
	if !json.Valid(b) {
		r.Fail(start, "invalid JSON")
		return nil
	}
	return b
}

// jsonShallow says whether brackets outside strings nest at most MaxDepth deep.
func jsonShallow(b []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return false
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return true
}
