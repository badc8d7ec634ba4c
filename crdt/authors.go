package crdt

import "iter"

// Authored is a run of text, or of the elements of a list, that one client inserted.
type Authored struct {
	Index int // where it begins
	Range     // who inserted it, and as which clocks; To-From units long
}

// Authors yields who inserted n code units of the text from an index on, run by run. What an undo manager has brought
// back counts as inserted by whoever brought it back. Formatting has no author here, and of a range that ends behind the
// text the part inside counts.
func (t *Text) Authors(tx Reader, index, n int) iter.Seq[Authored] { return t.authors(tx, index, n) }

// Authors yields who inserted n elements from an index on, like Text.Authors.
func (a *Array) Authors(tx Reader, index, n int) iter.Seq[Authored] { return a.authors(tx, index, n) }

// Authors yields who inserted n children from an index on, like Text.Authors.
func (x *XML) Authors(tx Reader, index, n int) iter.Seq[Authored] { return x.authors(tx, index, n) }

func (s *shared) authors(tx Reader, index, n int) iter.Seq[Authored] {
	b := s.look(tx)
	return func(yield func(Authored) bool) {
		if b == nil || index < 0 || index >= int(b.length) || n <= 0 {
			return
		}
		d := s.doc
		at, end := uint32(index), uint32(index+min(n, int(b.length)-index))
		r, start := d.visibleAt(tx, b, at)
		var run Authored
		for ; r != 0 && at < end; r = d.items.at(r).right {
			it := d.items.at(r)
			v := it.visible()
			if v == 0 {
				continue
			}
			from, to := it.clock+at-start, it.clock+min(v, end-start)
			start += v
			next := Authored{int(at), Range{d.clients[it.client].id, uint64(from), uint64(to)}}
			at += to - from
			if run.Client == next.Client && run.To == next.From && run.To > 0 {
				run.To = next.To
				continue
			}
			if run.To > 0 && !yield(run) {
				return
			}
			run = next
		}
		if run.To > 0 {
			yield(run)
		}
	}
}
