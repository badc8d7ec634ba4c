package crdt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Attr is one formatting attribute of text. Value is JSON; null means without the attribute.
type Attr struct {
	Key   string
	Value json.RawMessage
}

// mark is an attribute inside the engine. Where Yjs compares objects by identity, object tells which one the value is.
type mark struct {
	key    string
	json   string
	object objectID
}

// objectID names a JavaScript object among the values of attributes: the formatting item that first held it, its
// client counted from 1. When an edit switches back to what held before, Yjs puts the very same object into the new
// item, so that later, in the same session, the two compare as identical although equal objects do not. Which marks an
// edit then finds redundant depends on it, and so do the bytes it emits.
type objectID struct{ client, clock uint32 }

const jsonNull = "null"

// marks is a set of attributes in order of insertion, like a JavaScript Map.
type marks []mark

func (ms marks) get(key string) (mark, bool) {
	for _, m := range ms {
		if m.key == key {
			return m, true
		}
	}
	return mark{key: key, json: jsonNull}, false
}

func (ms *marks) set(m mark) {
	for i := range *ms {
		if (*ms)[i].key == m.key {
			(*ms)[i] = m
			return
		}
	}
	*ms = append(*ms, m)
}

func (ms *marks) remove(key string) {
	*ms = slices.DeleteFunc(*ms, func(m mark) bool { return m.key == key })
}

// pass updates the current attributes when walking over a formatting item.
func (ms *marks) pass(m mark) {
	if m.json == jsonNull {
		ms.remove(m.key)
	} else {
		ms.set(m)
	}
}

// marksOf checks attributes given by the application and writes their values as JavaScript would.
func marksOf(attrs []Attr) (marks, error) {
	ms := make(marks, 0, len(attrs))
	for _, a := range attrs {
		switch v := string(a.Value); v {
		case "true", "false", jsonNull:
			if validText(a.Key) {
				ms.set(mark{key: a.Key, json: v})
				continue
			}
		}
		r := lib0.NewReader(lib0.AppendBuffer(nil, a.Value))
		v := r.JSON()
		if !r.OK() || !validText(a.Key) {
			return nil, fmt.Errorf("%w: attribute %q: %v", ErrValue, a.Key, r.Err())
		}
		ms.set(mark{key: a.Key, json: string(lib0.AppendJSON(nil, jsonValue(v).v))})
	}
	return ms, nil
}

// size bounds the bytes the marks take as content.
func (ms marks) size() int {
	n := 0
	for _, m := range ms {
		n += len(m.key) + len(m.json) + 20
	}
	return n
}

// attrs returns the attributes for the application.
func (ms marks) attrs() []Attr {
	var out []Attr
	for _, m := range ms {
		out = append(out, Attr{m.key, json.RawMessage(m.json)})
	}
	return out
}

// readMark reads a formatting item.
func (d *Doc) readMark(r ref) mark {
	it := d.items.at(r)
	rd := lib0.NewReader(d.payload(it))
	key, _ := rd.Text()
	m := mark{key: string(key), json: string(rd.Buffer()), object: objectID{it.client + 1, it.clock}}
	if same, ok := d.sameObject[m.object]; ok {
		m.object = same
	}
	return m
}

// shareObject notes that a new formatting item holds the object of the mark it was made from.
func (d *Doc) shareObject(it *item, m mark) {
	if m.object == (objectID{}) || m.json[0] != '{' && m.json[0] != '[' {
		return
	}
	if d.sameObject == nil {
		d.sameObject = make(map[objectID]objectID)
	}
	d.sameObject[objectID{it.client + 1, it.clock}] = m.object
}

// form is what kind of JSON value the text of a mark is, by its first byte: 0 stands for all numbers, a space for texts
// that do not tell.
func (m mark) form() byte {
	switch c := m.json[0]; c {
	case 't', 'f', 'n', '"', '{', '[':
		return c
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return '0'
	}
	return ' '
}

// sameText compares values as far as their text shows whether they are equal, as it nearly always does.
func sameText(a, b mark) (equal, known bool) {
	f, g := a.form(), b.form()
	switch {
	case f == ' ' || g == ' ':
		return false, false
	case f != g:
		return false, true
	case f == '"':
		return a.json == b.json, !strings.Contains(a.json, `\`) && !strings.Contains(b.json, `\`)
	case f == '0':
		return true, a.json == b.json
	}
	return true, f != '{' && f != '['
}

// identical is JavaScript's ===.
func identical(a, b mark) bool {
	if equal, known := sameText(a, b); known {
		return equal
	}
	if a.object != (objectID{}) && a.object == b.object {
		return true
	}
	return scalarEqual(jsonValue([]byte(a.json)).v, jsonValue([]byte(b.json)).v)
}

// alike is the comparison of Yjs for attribute values: identical, or objects with identical entries.
func alike(a, b mark) bool {
	if equal, known := sameText(a, b); known {
		return equal
	}
	if a.object != (objectID{}) && a.object == b.object {
		return true
	}
	x, y := jsonValue([]byte(a.json)).v, jsonValue([]byte(b.json)).v
	if k := x.Kind(); k != y.Kind() || k != lib0.KindList && k != lib0.KindObject {
		return scalarEqual(x, y)
	}
	if len(x.Items()) != len(y.Items()) {
		return false
	}
	for i, v := range x.Items() {
		j := i
		if x.Kind() == lib0.KindObject {
			if j = slices.Index(y.Keys(), x.Keys()[i]); j < 0 {
				return false
			}
		}
		if !scalarEqual(v, y.Items()[j]) {
			return false
		}
	}
	return true
}

// scalarEqual compares values that are not lists or objects; those are never equal to another.
func scalarEqual(x, y lib0.Any) bool {
	number := func(v lib0.Any) bool { return v.Kind() == lib0.KindInt || v.Kind() == lib0.KindFloat }
	switch {
	case number(x) && number(y):
		return x.AsFloat() == y.AsFloat()
	case x.Kind() != y.Kind():
		return false
	case x.Kind() == lib0.KindNull:
		return true
	case x.Kind() == lib0.KindBool:
		return x.AsBool() == y.AsBool()
	case x.Kind() == lib0.KindString:
		return x.AsString() == y.AsString()
	}
	return false
}
