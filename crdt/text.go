package crdt

import (
	"iter"
	"strings"
	"unicode/utf8"
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
	c.insert(self, kindString, []byte(s), uint32(n), want)
	return nil
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

// Delta yields the text in runs of equal formatting, each with Insert and Attrs set. An embedded object is a run of
// its own that shows as U+FFFC.
func (t *Text) Delta(tx Reader) iter.Seq[Delta] {
	b := t.look(tx)
	return func(yield func(Delta) bool) {
		if b == nil {
			return
		}
		d := t.doc
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
				if !flush() || !yield(Delta{Insert: objectReplacement, Attrs: now.attrs()}) {
					return
				}
			}
		}
		flush()
	}
}
