package crdt

import (
	"iter"
	"slices"
	"strings"

	"github.com/studio-whip/collab/crdt/lib0"
)

// XML is a Y.XmlFragment: a list of XML elements, texts and hooks, and the children of an XMLElement. Indexes count
// children.
type XML struct{ shared }

// Insert puts children before an index between 0 and Len: NewXMLElement, NewXMLText, NewXMLHook, NewXML. Other values are
// stored, but are not XML.
func (x *XML) Insert(tx *Txn, index int, children ...any) error {
	return x.insertElements(tx, index, children)
}

// Delete removes n children from an index on.
func (x *XML) Delete(tx *Txn, index, n int) error { return x.deleteElements(tx, index, n) }

// Get returns the child at an index, and whether there is one.
func (x *XML) Get(tx Reader, index int) (Value, bool) { return x.element(tx, index) }

// Len returns how many children there are.
func (x *XML) Len(tx Reader) int { return x.elements(tx) }

// All yields the children with their indexes.
func (x *XML) All(tx Reader) iter.Seq2[int, Value] { return x.allElements(tx) }

// Observe calls fn after every transaction that changed the children, or the attributes of an element, in commit order
// and outside the lock. stop ends the calls. Observe must not be called inside Update or View.
func (x *XML) Observe(fn func(Event)) (stop func()) { return x.observe(&observer{one: fn}) }

// String writes the children as Yjs does: sorted attributes, names in lower case, and NOTHING escaped. What others have
// typed must not reach a browser this way.
func (x *XML) String(tx Reader) string {
	b := x.look(tx)
	if b == nil {
		return ""
	}
	var sb strings.Builder
	x.doc.writeXML(&sb, b, typeXMLFragment)
	return sb.String()
}

// XMLElement is a Y.XmlElement: a node with a name, attributes and children.
type XMLElement struct{ XML }

// Name returns the name the element was made with.
func (e *XMLElement) Name() string { return string(e.nested.node) }

// SetAttr gives an attribute a value, most often a string.
func (e *XMLElement) SetAttr(tx *Txn, name string, v any) error { return e.setEntry(tx, name, v) }

// DeleteAttr removes an attribute.
func (e *XMLElement) DeleteAttr(tx *Txn, name string) error { return e.deleteEntry(tx, name) }

// Attr returns the value of an attribute, and whether it has one.
func (e *XMLElement) Attr(tx Reader, name string) (Value, bool) { return e.entry(tx, name) }

// Attrs yields the attributes that have a value, sorted by name.
func (e *XMLElement) Attrs(tx Reader) iter.Seq2[string, Value] { return e.allEntries(tx) }

// String writes the element like XML.String, with nothing escaped.
func (e *XMLElement) String(tx Reader) string {
	b := e.look(tx)
	if b == nil {
		return ""
	}
	var sb strings.Builder
	e.doc.writeXML(&sb, b, typeXMLElement)
	return sb.String()
}

// XMLText is a Y.XmlText: a formatted text among XML elements, with attributes of its own.
type XMLText struct{ Text }

// SetAttr gives an attribute of the whole text a value.
func (t *XMLText) SetAttr(tx *Txn, name string, v any) error { return t.setEntry(tx, name, v) }

// DeleteAttr removes an attribute.
func (t *XMLText) DeleteAttr(tx *Txn, name string) error { return t.deleteEntry(tx, name) }

// Attr returns the value of an attribute, and whether it has one.
func (t *XMLText) Attr(tx Reader, name string) (Value, bool) { return t.entry(tx, name) }

// Attrs yields the attributes that have a value, sorted by name.
func (t *XMLText) Attrs(tx Reader) iter.Seq2[string, Value] { return t.allEntries(tx) }

// XML writes the text as Yjs does: formatting as elements around it, and nothing escaped. String leaves formatting out.
func (t *XMLText) XML(tx Reader) string {
	b := t.look(tx)
	if b == nil {
		return ""
	}
	var sb strings.Builder
	t.doc.writeXML(&sb, b, typeXMLText)
	return sb.String()
}

// XMLHook is a Y.XmlHook: a map among XML elements, with a name.
type XMLHook struct{ Map }

// Name returns the name the hook was made with.
func (h *XMLHook) Name() string { return string(h.nested.node) }

// xmlFrame is an element being written: where to go on after its children, and how it ends.
type xmlFrame struct {
	next ref
	end  string
}

// writeXML writes a branch as Yjs does. Elements are worked off a stack, not by recursion.
func (d *Doc) writeXML(sb *strings.Builder, b *branch, typeRef uint8) {
	stack := []xmlFrame{d.openXML(sb, b, typeRef)}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == 0 {
			sb.WriteString(f.end)
			stack = stack[:len(stack)-1]
			continue
		}
		it := d.items.at(f.next)
		f.next = it.right
		switch {
		case it.kind == kindType && !it.deleted():
			nb := d.branches[it.off]
			stack = append(stack, d.openXML(sb, nb, nb.typeRef))
		default:
			for v := range d.values(it) {
				sb.WriteString(jsString(v.v))
			}
		}
	}
}

// openXML writes what comes before the children of a branch.
func (d *Doc) openXML(sb *strings.Builder, b *branch, typeRef uint8) xmlFrame {
	switch typeRef {
	case typeXMLElement:
		name := strings.ToLower(string(b.node))
		sb.WriteString("<" + name)
		for _, sub := range d.keysByName(b) {
			if v, ok := d.entry(b, sub); ok {
				sb.WriteString(" " + d.subName(sub) + `="` + jsString(v.v) + `"`)
			}
		}
		sb.WriteString(">")
		return xmlFrame{next: b.start, end: "</" + name + ">"}
	case typeXMLText:
		d.writeXMLText(sb, b)
		return xmlFrame{}
	case typeXMLFragment:
		return xmlFrame{next: b.start}
	case typeText:
		for r := b.start; r != 0; r = d.items.at(r).right {
			if it := d.items.at(r); it.kind == kindString && !it.deleted() {
				sb.Write(d.payload(it))
			}
		}
		return xmlFrame{}
	}
	sb.WriteString("[object Object]")
	return xmlFrame{}
}

// writeXMLText writes formatted text: each attribute is an element, and an attribute of that element for each of its
// value's entries.
func (d *Doc) writeXMLText(sb *strings.Builder, b *branch) {
	for run := range d.delta(b) {
		attrs := slices.Clone(run.Attrs)
		slices.SortFunc(attrs, func(x, y Attr) int { return strings.Compare(x.Key, y.Key) })
		for _, a := range attrs {
			sb.WriteString("<" + a.Key)
			keys, values := jsEntries(jsonValue(a.Value).v)
			for i, k := range keys {
				sb.WriteString(" " + k + `="` + values[i] + `"`)
			}
			sb.WriteString(">")
		}
		switch {
		case run.Embed == nil:
			sb.WriteString(run.Insert)
		case run.Embed.shared != nil:
			if s, ok := run.Embed.shared.(interface{ branch() *branch }); ok {
				d.writeXML(sb, s.branch(), s.branch().typeRef)
			}
		default:
			sb.WriteString(jsString(run.Embed.v))
		}
		for i := len(attrs) - 1; i >= 0; i-- {
			sb.WriteString("</" + attrs[i].Key + ">")
		}
	}
}

func (s *shared) branch() *branch { return s.nested }

// jsEntries lists what JavaScript's for-in finds in a value, sorted by key.
func jsEntries(v lib0.Any) (keys, values []string) {
	switch v.Kind() {
	case lib0.KindObject:
		keys = slices.Clone(v.Keys())
		slices.Sort(keys)
		for _, k := range keys {
			values = append(values, jsString(v.Items()[slices.Index(v.Keys(), k)]))
		}
	case lib0.KindList:
		for i, x := range v.Items() {
			keys, values = append(keys, jsString(lib0.Int(int64(i)))), append(values, jsString(x))
		}
	case lib0.KindString:
		for i, r := range []rune(v.AsString()) {
			keys, values = append(keys, jsString(lib0.Int(int64(i)))), append(values, string(r))
		}
	}
	return keys, values
}

// jsString writes a value as JavaScript's String does.
func jsString(v lib0.Any) string {
	switch v.Kind() {
	case lib0.KindUndefined:
		return "undefined"
	case lib0.KindString:
		return v.AsString()
	case lib0.KindObject:
		return "[object Object]"
	case lib0.KindList:
		parts := make([]string, len(v.Items()))
		for i, x := range v.Items() {
			if k := x.Kind(); k != lib0.KindNull && k != lib0.KindUndefined {
				parts[i] = jsString(x)
			}
		}
		return strings.Join(parts, ",")
	case lib0.KindBytes:
		parts := make([]string, len(v.AsString()))
		for i := range parts {
			parts[i] = jsString(lib0.Int(int64(v.AsString()[i])))
		}
		return strings.Join(parts, ",")
	}
	return lib0.JSString(v)
}
