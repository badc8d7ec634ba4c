package crdt

import (
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/studio-whip/collab/crdt/lib0"
)

func validText(s string) bool { return utf8.ValidString(s) }

// Text is a Y.Text. Indexes and lengths count UTF-16 code units, as in Yjs; see UTF16Len.
type Text struct{ shared }

// Insert puts s at an index between 0 and Len. Without attributes it takes on the formatting of the text before it;
// with attributes it has exactly these, and with an empty list ([]Attr{}...) none. Invalid UTF-8 in s becomes U+FFFD.
// An insertion inside a surrogate pair cuts the character in two U+FFFD, as in Yjs.
func (t *Text) Insert(tx *Txn, index int, s string, attrs ...Attr) error {
	b, err := t.open(tx)
	if err != nil {
		return err
	}
	if index < 0 || index > int(b.length) {
		return ErrRange
	}
	if s == "" {
		return nil
	}
	s = strings.ToValidUTF8(s, replacement)
	if attrs == nil && !b.hasFormat {
		left, right := tx.locate(b, uint32(index))
		return tx.insertText(b, left, right, uint32(index), s)
	}
	want, err := marksOf(attrs)
	if err != nil {
		return err
	}
	c := tx.cursorAt(b, uint32(index))
	if attrs == nil {
		want = append(want, c.now...)
	}
	n := UTF16Len(s)
	self, err := tx.self(n+2*(len(want)+len(c.now)), len(s)+2*(want.size()+c.now.size()))
	if err != nil {
		return err
	}
	c.insert(self, content{kind: kindString, n: uint32(n), data: []byte(s)}, want)
	return nil
}

// Embed puts an object, or a new nested type, at an index, with exactly the given attributes. It takes one code unit.
// Objects are stored as JSON: undefined, bigints and bytes are refused.
func (t *Text) Embed(tx *Txn, index int, v any, attrs ...Attr) error {
	b, err := t.open(tx)
	if err != nil {
		return err
	}
	if index < 0 || index > int(b.length) {
		return ErrRange
	}
	what, err := embedOf(v)
	if err != nil {
		return err
	}
	want, err := marksOf(attrs)
	if err != nil {
		return err
	}
	c := tx.cursorAt(b, uint32(index))
	self, err := tx.self(1+2*(len(want)+len(c.now)), len(what.data)+2*(want.size()+c.now.size()))
	if err != nil {
		return err
	}
	c.insert(self, what, want)
	return nil
}

// embedOf is the item content for something embedded in a text.
func embedOf(v any) (content, error) {
	if _, ok := v.(Type); ok {
		return contentOf(v)
	}
	x, err := ValueOf(v)
	if err != nil {
		return content{}, err
	}
	if !x.v.HasJSON() || x.Kind() == KindBytes {
		return content{}, fmt.Errorf("%w: an embedded object must have a form in JSON", ErrValue)
	}
	return content{kind: kindEmbed, n: 1, data: lib0.AppendJSON(nil, x.v)}, nil
}

// Apply makes the steps of a delta, one after another from the start of the text: each inserts (Embed, if set, instead
// of Insert) with exactly the attributes given, erases, or goes over units and changes their formatting as Format does.
// The units retained and erased must be there.
func (t *Text) Apply(tx *Txn, steps ...Delta) error {
	b, err := t.open(tx)
	if err != nil {
		return err
	}
	plan, units, size, err := planOf(steps)
	if err != nil {
		return err
	}
	passed := 0
	for _, s := range steps {
		if s.Retain < 0 || s.Erase < 0 || s.Retain > int(b.length)-passed || s.Erase > int(b.length)-passed-s.Retain {
			return ErrRange
		}
		passed += s.Retain + s.Erase
	}
	self, err := tx.self(units, size)
	if err != nil {
		return err
	}
	c := tx.cursorAt(b, 0)
	for i, s := range steps {
		switch p := plan[i]; {
		case p.what.n > 0:
			c.insert(self, p.what, p.want)
		case s.Retain > 0 && len(p.want) == 0:
			c.move(uint32(s.Retain))
		case s.Retain > 0:
			c.format(self, uint32(s.Retain), p.want)
		case s.Erase > 0:
			c.remove(uint32(s.Erase))
		}
	}
	return nil
}

// planned is a step of a delta, checked.
type planned struct {
	what content
	want marks
}

// planOf checks the steps of a delta. units and size bound what they may add: every step may switch each attribute
// that is in force, on and off.
func planOf(steps []Delta) (plan []planned, units, size int, err error) {
	marks, markBytes := 0, 0
	for _, s := range steps {
		var p planned
		switch {
		case s.Embed != nil:
			p.what, err = embedOf(*s.Embed)
		case s.Insert != "":
			text := strings.ToValidUTF8(s.Insert, replacement)
			p.what = content{kind: kindString, n: uint32(UTF16Len(text)), data: []byte(text)}
		}
		if err != nil {
			return nil, 0, 0, err
		}
		if p.want, err = marksOf(s.Attrs); err != nil {
			return nil, 0, 0, err
		}
		plan = append(plan, p)
		marks, markBytes = marks+len(p.want), markBytes+p.want.size()
		units, size = units+int(p.what.n)+2*marks, size+len(p.what.data)+2*markBytes
	}
	return plan, units, size, nil
}

// Delete removes n code units from an index on.
func (t *Text) Delete(tx *Txn, index, n int) error {
	b, err := t.span(tx, index, n)
	if err != nil || n == 0 {
		return err
	}
	if b.hasFormat {
		tx.cursorAt(b, uint32(index)).remove(uint32(n))
	} else {
		tx.deleteUnits(b, uint32(index), uint32(n))
	}
	return nil
}

// Format gives n code units from an index on the given attributes; the value null takes one away. Others stay.
func (t *Text) Format(tx *Txn, index, n int, attrs ...Attr) error {
	b, err := t.span(tx, index, n)
	if err != nil || n == 0 {
		return err
	}
	want, err := marksOf(attrs)
	if err != nil {
		return err
	}
	c := tx.cursorAt(b, uint32(index))
	self, err := tx.self(2*len(want), 2*(want.size()+c.now.size()))
	if err != nil {
		return err
	}
	c.format(self, uint32(n), want)
	return nil
}

// span opens the text for writing and checks a range of it.
func (t *Text) span(tx *Txn, index, n int) (*branch, error) {
	b, err := t.open(tx)
	if err != nil {
		return nil, err
	}
	if index < 0 || n < 0 || index > int(b.length) || n > int(b.length)-index {
		return nil, ErrRange
	}
	return b, nil
}

// Len returns the length in UTF-16 code units; embedded objects count one each.
func (t *Text) Len(tx Reader) int {
	b := t.look(tx)
	if b == nil {
		return 0
	}
	return int(b.length)
}

// String returns the text without formatting and embedded objects.
func (t *Text) String(tx Reader) string {
	b := t.look(tx)
	if b == nil {
		return ""
	}
	d := t.doc
	var sb strings.Builder
	sb.Grow(int(b.length))
	for r := b.start; r != 0; {
		it := d.items.at(r)
		if it.kind == kindString && !it.deleted() {
			sb.Write(d.payload(it))
		}
		r = it.right
	}
	return sb.String()
}

// Delta yields the text in runs of equal formatting, each with Insert and Attrs set. An embedded object or nested type is
// a run of its own that shows as U+FFFC and is in Embed.
func (t *Text) Delta(tx Reader) iter.Seq[Delta] {
	b := t.look(tx)
	if b == nil {
		return func(func(Delta) bool) {}
	}
	return t.doc.delta(b)
}

func (d *Doc) delta(b *branch) iter.Seq[Delta] {
	return func(yield func(Delta) bool) {
		var now marks
		var text []byte
		flush := func() bool {
			if len(text) == 0 {
				return true
			}
			run := Delta{Insert: string(text), Attrs: now.attrs()}
			text = text[:0]
			return yield(run)
		}
		for r := b.start; r != 0; r = d.items.at(r).right {
			it := d.items.at(r)
			switch {
			case it.deleted():
			case it.kind == kindString:
				text = append(text, d.payload(it)...)
			case it.kind == kindFormat:
				if !flush() {
					return
				}
				now.pass(d.readMark(r))
			case it.kind.countable():
				if !flush() {
					return
				}
				for v := range d.values(it) {
					if !yield(Delta{Insert: objectReplacement, Attrs: now.attrs(), Embed: &v}) {
						return
					}
				}
			}
		}
		flush()
	}
}
