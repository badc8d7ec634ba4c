package crdt

import "github.com/studio-whip/collab/crdt/lib0"

// Shared is a handle to a shared type or subdocument: *Text, *Map, *Array, *XML, *XMLElement, *XMLText, *XMLHook or
// *Subdoc. Handles are cheap and may be kept; two handles to one type are as good as one.
type Shared interface {
	// Deleted says whether the type has been deleted, by itself or with something around it. Reading a deleted
	// type finds it empty, writing to it returns ErrDeleted. Root types are never deleted.
	Deleted(Reader) bool

	// sealed keeps the list above complete.
	sealed()
}

// Type says what a nested shared type is to be. It is inserted like a value, and makes an empty one:
//
//	list.Insert(tx, 0, crdt.NewMap())
//	value, _ := list.Get(tx, 0)
//	value.Map().Set(tx, "done", false)
type Type struct {
	ref  uint8
	name string
}

// The nested types there are.
func NewArray() Type { return Type{ref: typeArray} }

// NewMap makes a Map.
func NewMap() Type { return Type{ref: typeMap} }

// NewText makes a Text.
func NewText() Type { return Type{ref: typeText} }

// NewXML makes an XML fragment.
func NewXML() Type { return Type{ref: typeXMLFragment} }

// NewXMLText makes an XMLText.
func NewXMLText() Type { return Type{ref: typeXMLText} }

// NewXMLElement makes an XMLElement with a node name, which cannot change later.
func NewXMLElement(name string) Type { return Type{ref: typeXMLElement, name: name} }

// NewXMLHook makes an XMLHook with a name, which cannot change later.
func NewXMLHook(name string) Type { return Type{ref: typeXMLHook, name: name} }

// Text returns the text at a root name. The name is reserved when something is first inserted.
func (d *Doc) Text(name string) *Text { return &Text{shared{doc: d, name: name, ref: typeText}} }

// Map returns the map at a root name.
func (d *Doc) Map(name string) *Map { return &Map{shared{doc: d, name: name, ref: typeMap}} }

// Array returns the array at a root name.
func (d *Doc) Array(name string) *Array { return &Array{shared{doc: d, name: name, ref: typeArray}} }

// XML returns the XML fragment at a root name.
func (d *Doc) XML(name string) *XML { return &XML{shared{doc: d, name: name, ref: typeXMLFragment}} }

// handle returns the handle to a branch.
func (d *Doc) handle(b *branch) Shared {
	s := shared{doc: d, name: b.name, ref: b.typeRef}
	if b.item != 0 {
		s.nested = b
	}
	switch b.typeRef {
	case typeMap:
		return &Map{s}
	case typeText:
		return &Text{s}
	case typeXMLElement:
		return &XMLElement{XML{s}}
	case typeXMLFragment:
		return &XML{s}
	case typeXMLHook:
		return &XMLHook{Map{s}}
	case typeXMLText:
		return &XMLText{Text{s}}
	}
	return &Array{s}
}

// shared is what handles have in common. A root is known by its name, since its branch may be yet to come; a nested
// type by its branch, which leaves the document's table of branches when it is collected.
type shared struct {
	doc    *Doc
	name   string
	ref    uint8
	nested *branch
}

func (s *shared) sealed() {}

// look returns the branch to read from, nil if there is nothing to read. It panics if the transaction has ended or
// belongs to another document: reading methods have no error to return, and an empty answer would be a lie.
func (s *shared) look(r Reader) *branch {
	if r.document() != s.doc {
		panic(ErrTxn.Error())
	}
	if s.nested == nil {
		return s.doc.roots[s.name]
	}
	if !s.doc.lives(s.nested) {
		return nil
	}
	return s.nested
}

// lives says whether a nested branch is part of the document and not deleted.
func (d *Doc) lives(b *branch) bool { return d.branches[b.self] == b && !d.dead(b) }

// Deleted says whether the type has been deleted, by itself or with something around it.
func (s *shared) Deleted(tx Reader) bool { return s.look(tx) == nil && s.nested != nil }

// open returns the branch to write to.
func (s *shared) open(t *Txn) (*branch, error) {
	if t == nil || t.doc != s.doc {
		return nil, ErrTxn
	}
	if s.nested != nil {
		if !s.doc.lives(s.nested) {
			return nil, ErrDeleted
		}
		return s.nested, nil
	}
	b, ok := s.doc.roots[s.name]
	if !ok {
		if len(s.name) > maxName || len(s.doc.roots) >= s.doc.limits.Roots || !validText(s.name) {
			return nil, ErrLimit
		}
		b = s.doc.root(s.name)
	}
	if !b.typed {
		b.typed, b.typeRef = true, s.ref
	}
	return b, nil
}

// Shared returns the shared type or subdocument that the value is, nil for plain values.
func (v Value) Shared() Shared { return v.shared }

// as returns what the value is if it is a T, and otherwise nil.
func as[T any](v Value) *T {
	t, _ := any(v.shared).(*T)
	return t
}

// Text returns the Text that the value is, nil if it is something else. So do the calls below for their types.
func (v Value) Text() *Text             { return as[Text](v) }
func (v Value) Map() *Map               { return as[Map](v) }
func (v Value) Array() *Array           { return as[Array](v) }
func (v Value) XML() *XML               { return as[XML](v) }
func (v Value) XMLElement() *XMLElement { return as[XMLElement](v) }
func (v Value) XMLText() *XMLText       { return as[XMLText](v) }
func (v Value) XMLHook() *XMLHook       { return as[XMLHook](v) }
func (v Value) Subdoc() *Subdoc         { return as[Subdoc](v) }

// contentOf is the item content for something the application inserts: a Type, a Subdoc's options, or a plain value.
func contentOf(v any) (content, error) {
	switch v := v.(type) {
	case Type:
		if !validText(v.name) {
			return content{}, ErrValue
		}
		return content{kind: kindType, n: 1, typeRef: v.ref, data: []byte(v.name)}, nil
	case SubdocOptions:
		return v.content()
	}
	x, err := ValueOf(v)
	if err != nil {
		return content{}, err
	}
	if x.Kind() == KindBytes {
		return content{kind: kindBinary, n: 1, data: x.Bytes()}, nil
	}
	return content{kind: kindAny, n: 1, data: lib0.AppendAny(nil, x.v)}, nil
}
