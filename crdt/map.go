package crdt

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

func listOf(xs []any, depth int) (lib0.Any, error) {
	vs := make([]lib0.Any, len(xs))
	for i, x := range xs {
		v, err := anyOf(x, depth+1)
		if err != nil {
			return v, err
		}
		vs[i] = v
	}
	return lib0.List(vs...), nil
}

func objectOf(m map[string]any, depth int) (lib0.Any, error) {
	keys := slices.Sorted(maps.Keys(m))
	vs := make([]lib0.Any, len(keys))
	for i, k := range keys {
		if !validText(k) {
			return lib0.Any{}, ErrValue
		}
		v, err := anyOf(m[k], depth+1)
		if err != nil {
			return v, err
		}
		vs[i] = v
	}
	return lib0.Object(keys, vs), nil
}

// Map is a Y.Map. Of concurrent writes to one key, one wins on every replica.
type Map struct{ shared }

// Set gives a key a value; see ValueOf for what v may be.
func (m *Map) Set(tx *Txn, key string, v any) error {
	b, err := m.open(tx)
	if err != nil {
		return err
	}
	x, err := ValueOf(v)
	if err != nil {
		return err
	}
	if !validText(key) {
		return ErrValue
	}
	k, content := kindAny, lib0.AppendAny(nil, x.v)
	if x.Kind() == KindBytes {
		k, content = kindBinary, x.Bytes()
	}
	self, err := tx.self(1, len(content))
	if err != nil {
		return err
	}
	sub := tx.doc.subKey(key)
	tx.insert(self, b, b.entries[sub], 0, sub, k, content, 1)
	return nil
}

// Delete removes a key. Removing a key that has no value does nothing.
func (m *Map) Delete(tx *Txn, key string) error {
	b, err := m.open(tx)
	if err != nil {
		return err
	}
	if r := b.entries[tx.doc.subIndex[key]]; r != 0 {
		tx.delete(r)
	}
	return nil
}

// Get returns the value of a key, and whether it has one.
func (m *Map) Get(tx Reader, key string) (Value, bool) {
	b := m.look(tx)
	if b == nil {
		return Value{}, false
	}
	return m.doc.entry(b, m.doc.subIndex[key])
}

// All yields the keys that have a value, sorted, with their values.
func (m *Map) All(tx Reader) iter.Seq2[string, Value] {
	b := m.look(tx)
	return func(yield func(string, Value) bool) {
		if b == nil {
			return
		}
		d := m.doc
		subs := b.sortedKeys()
		slices.SortFunc(subs, func(x, y uint32) int { return compareText(d.subName(x), d.subName(y)) })
		for _, sub := range subs {
			if v, ok := d.entry(b, sub); ok && !yield(d.subName(sub), v) {
				return
			}
		}
	}
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// entry decodes the current value of a map key.
func (d *Doc) entry(b *branch, sub uint32) (Value, bool) {
	r := b.entries[sub]
	if r == 0 {
		return Value{}, false
	}
	it := d.items.at(r)
	if it.deleted() || !it.kind.countable() {
		return Value{}, false
	}
	return d.value(it, it.len-1), true
}

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
	return Value{shared: true}
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
