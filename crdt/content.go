package crdt

import (
	"bytes"
	"encoding/json"
	"math"

	"github.com/studio-whip/collab/crdt/lib0"
)

// value decodes element i of an item.
func (d *Doc) value(it *item, i uint32) Value {
	p := d.payload(it)
	switch it.kind {
	case kindAny:
		r := lib0.NewReader(p[skipElements(kindAny, p, i):])
		return Value{v: r.Any()}
	case kindJSON:
		r := lib0.NewReader(p[skipElements(kindJSON, p, i):])
		return jsonValue(r.Buffer())
	case kindEmbed:
		return jsonValue(p)
	case kindBinary:
		return Value{v: lib0.Bytes(p)}
	case kindString:
		at, inPair := lib0.UTF16Index(p, int(i))
		end, cut := lib0.UTF16Index(p, int(i)+1)
		if inPair || cut {
			return Value{v: lib0.String(replacement)}
		}
		return Value{v: lib0.String(string(p[at:end]))}
	}
	if it.kind == kindDoc {
		return Value{shared: d.subdoc(it)}
	}
	if it.kind == kindType {
		return Value{shared: d.handle(d.branches[it.off])}
	}
	return Value{}
}

// jsonValue decodes a JSON text that was validated when it arrived. Numbers become integers where they are.
func jsonValue(p []byte) Value {
	dec := json.NewDecoder(bytes.NewReader(p))
	v, err := decodeJSON(dec)
	if err != nil {
		return Value{}
	}
	return Value{v: v}
}

func decodeJSON(dec *json.Decoder) (lib0.Any, error) {
	tok, err := dec.Token()
	if err != nil {
		return lib0.Any{}, err
	}
	switch tok := tok.(type) {
	case nil:
		return lib0.Null(), nil
	case bool:
		return lib0.Bool(tok), nil
	case string:
		return lib0.String(tok), nil
	case float64:
		if tok == math.Trunc(tok) && math.Abs(tok) <= math.MaxInt32 && !(tok == 0 && math.Signbit(tok)) {
			return lib0.Int(int64(tok)), nil
		}
		return lib0.Float(tok), nil
	case json.Delim:
		var keys []string
		var vs []lib0.Any
		for dec.More() {
			if tok == '{' {
				k, err := dec.Token()
				if err != nil {
					return lib0.Any{}, err
				}
				keys = append(keys, k.(string))
			}
			v, err := decodeJSON(dec)
			if err != nil {
				return v, err
			}
			vs = append(vs, v)
		}
		if _, err := dec.Token(); err != nil {
			return lib0.Any{}, err
		}
		if tok == '{' {
			return lib0.Object(keys, vs), nil
		}
		return lib0.List(vs...), nil
	}
	return lib0.Any{}, nil
}
