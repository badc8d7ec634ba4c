package crdt

import (
	"strings"
	"unicode/utf8"
)

func validText(s string) bool { return utf8.ValidString(s) }

// Text is a Y.Text. Indexes and lengths count UTF-16 code units, as in Yjs; see UTF16Len.
type Text struct{ shared }

// Insert puts s at an index between 0 and Len. Text inside formatted text takes on its formatting. Invalid UTF-8 in s
// becomes U+FFFD. An insertion inside a surrogate pair cuts the character in two U+FFFD, as in Yjs.
func (t *Text) Insert(tx *Txn, index int, s string) error {
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
	left, right := tx.locate(b, uint32(index))
	return tx.insertText(b, left, right, uint32(index), s)
}

// Delete removes n code units from an index on.
func (t *Text) Delete(tx *Txn, index, n int) error {
	b, err := t.open(tx)
	if err != nil {
		return err
	}
	if index < 0 || n < 0 || index > int(b.length) || n > int(b.length)-index {
		return ErrRange
	}
	if n > 0 {
		tx.deleteUnits(b, uint32(index), uint32(n))
	}
	return nil
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
