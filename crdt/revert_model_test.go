package crdt

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt/lib0"
)

// The reference: what a document would show if one of its clients had done nothing, told unit by unit from who inserted
// and who deleted what, with nothing remembered between calls. A shared type of his is there if something is in it.
type asIf struct {
	d       *Doc // made WithoutGC
	without uint64
	by      map[unitID]map[uint64]bool // who has deleted it
}

func newAsIf(t *testing.T, d *Doc, without uint64, pads ...*pad) asIf {
	m := asIf{d, without, map[unitID]map[uint64]bool{}}
	for _, p := range pads {
		for _, r := range p.deleted {
			for clock := r.From; clock < r.To; clock++ {
				u := unitID{d.clientIndex[r.Client], uint32(clock)}
				if m.by[u] == nil {
					m.by[u] = map[uint64]bool{}
				}
				m.by[u][p.ClientID()] = true
			}
		}
	}
	return m
}

func (m asIf) his(it *item) bool { return m.d.clients[it.client].id == m.without }

// others says whether somebody else has deleted a unit.
func (m asIf) others(it *item, i uint32) bool {
	by := m.by[unitID{it.client, it.clock + i}]
	return len(by) > 1 || len(by) == 1 && !by[m.without]
}

// shown writes a branch; held says that there is anything in it.
func (m asIf) shown(b *branch) (text string, held bool) {
	w := writer{d: m.d}
	for x := b.start; x != 0; x = m.d.items.at(x).right {
		it := m.d.items.at(x)
		for i := range it.len {
			if m.others(it, i) || it.kind <= kindDeleted {
				continue
			}
			in, inside := "", false
			if it.kind == kindType {
				in, inside = m.shown(m.d.branches[it.off])
			}
			if m.his(it) && !inside {
				continue
			}
			held = held || it.kind != kindFormat
			w.unit(it, i, in)
		}
	}
	for _, sub := range m.d.byName(b) {
		if it, i, in := m.value(b, sub); it != nil {
			held = true
			w.key(sub, it, i, in)
		}
	}
	return w.String(), held
}

// value returns the value of a key, and what is inside it.
func (m asIf) value(b *branch, sub uint32) (of *item, i uint32, in string) {
	for x := b.entries[sub]; x != 0; x = m.d.items.at(x).left {
		it := m.d.items.at(x)
		for i := range it.len {
			i, inside := it.len-1-i, false
			if it.kind == kindType {
				in, inside = m.shown(m.d.branches[it.off])
			}
			if m.others(it, i) {
				return nil, 0, ""
			}
			if !m.his(it) || inside {
				return it, i, in
			}
		}
	}
	return nil, 0, ""
}

// there writes what a branch shows.
func (d *Doc) there(b *branch) string {
	w := writer{d: d}
	inside := func(it *item) string {
		if it.kind == kindType {
			return d.there(d.branches[it.off])
		}
		return ""
	}
	for x := b.start; x != 0; x = d.items.at(x).right {
		it := d.items.at(x)
		for i := range it.len {
			if !it.deleted() {
				w.unit(it, i, inside(it))
			}
		}
	}
	for _, sub := range d.byName(b) {
		if it := d.items.at(b.entries[sub]); !it.deleted() {
			w.key(sub, it, it.len-1, inside(it))
		}
	}
	return w.String()
}

// byName lists the keys of a branch in the order of their names.
func (d *Doc) byName(b *branch) []uint32 {
	return slices.SortedFunc(maps.Keys(b.entries), func(x, y uint32) int { return strings.Compare(d.subName(x), d.subName(y)) })
}

// writer writes units with the formatting in force.
type writer struct {
	strings.Builder
	d     *Doc
	marks map[string]string
}

func (w *writer) unit(it *item, i uint32, inside string) {
	if it.kind == kindFormat {
		r := lib0.NewReader(w.d.payload(it))
		key, _ := r.Text()
		if w.marks == nil {
			w.marks = map[string]string{}
		}
		if w.marks[string(key)] = string(r.Buffer()); w.marks[string(key)] == "null" {
			delete(w.marks, string(key))
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(w.marks)) {
		fmt.Fprintf(w, "<%s=%s>", k, w.marks[k])
	}
	w.content(it, i, inside)
}

func (w *writer) key(sub uint32, it *item, i uint32, inside string) {
	fmt.Fprintf(w, "|%s:", w.d.subName(sub))
	w.content(it, i, inside)
}

func (w *writer) content(it *item, i uint32, inside string) {
	switch it.kind {
	case kindType:
		b := w.d.branches[it.off]
		fmt.Fprintf(w, "%d%q{%s}", b.typeRef, b.node, inside)
	case kindDoc:
		fmt.Fprintf(w, "doc %q", w.d.payload(it))
	default:
		fmt.Fprintf(w, "%s ", w.d.value(it, i))
	}
}

// editor makes edits that say something nobody has said before.
type editor struct {
	rng *rand.Rand
	n   *int
}

// word makes a text of which no unit occurs anywhere else: what is equal and in the same place would pass for a copy.
func (e editor) word() string {
	*e.n++
	w := []rune{rune(0x4e00 + *e.n)}
	if e.rng.IntN(2) == 0 {
		w = append(w, rune(0x20000+*e.n))
	}
	return string(w)
}

func (e editor) edit(tx *Txn, d *Doc) error {
	switch e.rng.IntN(4) {
	case 0:
		return e.text(tx, d.Text("t"))
	case 1:
		return e.keys(tx, d.Map("m"), 0)
	case 2:
		return e.list(tx, d.Array("a"), 0)
	}
	return e.xml(tx, d.XML("x"), 0)
}

func (e editor) text(tx *Txn, text *Text) error {
	n := text.Len(tx)
	i := wholeIndex(tx, text, e.rng.IntN(n+1))
	k := wholeIndex(tx, text, i+e.rng.IntN(min(6, n-i)+1)) - i
	attr := Attr{string(rune('a' + e.rng.IntN(2))), json.RawMessage(fmt.Sprint(*e.n))}
	switch *e.n++; e.rng.IntN(6) {
	case 0, 1:
		return text.Delete(tx, i, k)
	case 2:
		if e.rng.IntN(3) == 0 {
			attr.Value = json.RawMessage("null")
		}
		return text.Format(tx, i, k, attr)
	case 3:
		return text.Embed(tx, i, map[string]any{"n": *e.n}, attr)
	case 4:
		return text.Insert(tx, i, e.word(), attr)
	}
	return text.Insert(tx, i, e.word())
}

// value makes something to put somewhere, and what fills it.
func (e editor) value() (v any, fill func(*Txn, Value) error) {
	none := func(*Txn, Value) error { return nil }
	switch e.rng.IntN(5) {
	case 0:
		return NewText(), func(tx *Txn, v Value) error { return v.Text().Insert(tx, 0, e.word()) }
	case 1:
		return NewMap(), func(tx *Txn, v Value) error { return v.Map().Set(tx, "first", e.word()) }
	case 2:
		return NewArray(), func(tx *Txn, v Value) error { return v.Array().Append(tx, e.word(), e.word()) }
	case 3:
		return SubdocOptions{GUID: e.word()}, none
	}
	return e.word(), none
}

func (e editor) inside(tx *Txn, v Value, deep int) error {
	switch {
	case deep > 3:
	case v.Text() != nil:
		return e.text(tx, v.Text())
	case v.Map() != nil:
		return e.keys(tx, v.Map(), deep+1)
	case v.Array() != nil:
		return e.list(tx, v.Array(), deep+1)
	}
	return nil
}

func (e editor) keys(tx *Txn, m *Map, deep int) error {
	key := string(rune('a' + e.rng.IntN(3)))
	switch v, ok := m.Get(tx, key); {
	case ok && e.rng.IntN(2) == 0:
		return e.inside(tx, v, deep)
	case ok && e.rng.IntN(3) == 0:
		return m.Delete(tx, key)
	}
	v, fill := e.value()
	if err := m.Set(tx, key, v); err != nil {
		return err
	}
	got, _ := m.Get(tx, key)
	return fill(tx, got)
}

func (e editor) list(tx *Txn, a *Array, deep int) error {
	n := a.Len(tx)
	switch {
	case n > 0 && e.rng.IntN(2) == 0:
		v, _ := a.Get(tx, e.rng.IntN(n))
		return e.inside(tx, v, deep)
	case n > 0 && e.rng.IntN(2) == 0:
		i := e.rng.IntN(n)
		return a.Delete(tx, i, 1+e.rng.IntN(min(3, n-i)))
	}
	i := e.rng.IntN(n + 1)
	v, fill := e.value()
	if err := a.Insert(tx, i, v); err != nil {
		return err
	}
	got, _ := a.Get(tx, i)
	return fill(tx, got)
}

func (e editor) xml(tx *Txn, x interface {
	Len(Reader) int
	Get(Reader, int) (Value, bool)
	Insert(*Txn, int, ...any) error
	Delete(*Txn, int, int) error
}, deep int) error {
	n := x.Len(tx)
	if n > 0 {
		i := e.rng.IntN(n)
		v, _ := x.Get(tx, i)
		switch e.rng.IntN(4) {
		case 0:
			return x.Delete(tx, i, 1)
		case 1, 2:
			switch {
			case v.XMLText() != nil:
				return e.text(tx, &v.XMLText().Text)
			case e.rng.IntN(2) == 0:
				return v.XMLElement().SetAttr(tx, "k", e.word())
			case deep < 3:
				return e.xml(tx, v.XMLElement(), deep+1)
			}
		}
	}
	i := e.rng.IntN(n + 1)
	if e.rng.IntN(2) == 0 {
		if err := x.Insert(tx, i, NewXMLText()); err != nil {
			return err
		}
		v, _ := x.Get(tx, i)
		return v.XMLText().Insert(tx, 0, e.word())
	}
	if err := x.Insert(tx, i, NewXMLElement("p")); err != nil {
		return err
	}
	v, _ := x.Get(tx, i)
	return v.XMLElement().SetAttr(tx, "id", e.word())
}

// because lists what is deleted and what no other client has deleted: what Revert calls deleted.
func because(t *testing.T, d *Doc, others ...*pad) []Range {
	u, err := d.EncodeUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, gone, err := Inspect(u)
	if err != nil {
		t.Fatal(err)
	}
	var theirs []Range
	for _, p := range others {
		theirs = append(theirs, p.deleted...)
	}
	return without(gone, theirs)
}

// without returns what is in some ranges and not in others.
func without(rs, but []Range) (out []Range) {
	not := map[Range]bool{}
	for _, r := range but {
		for clock := r.From; clock < r.To; clock++ {
			not[Range{r.Client, clock, clock + 1}] = true
		}
	}
	for _, r := range rs {
		for clock := r.From; clock < r.To; clock++ {
			if one := (Range{r.Client, clock, clock + 1}); !not[one] {
				out = append(out, one)
			}
		}
	}
	return mergeRanges(out)
}

func roots(d *Doc) (out map[string]string) {
	out = map[string]string{}
	for name, b := range d.roots {
		out[name] = d.there(b)
	}
	return out
}

// TestRevertAsIf: three write into all types, delete and format; one of them is reverted. What is left is what the other two
// made of it, all replicas end up equal, and reverting again changes nothing, wherever it is done.
func TestRevertAsIf(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		rng, n := rand.New(rand.NewPCG(seed, 5)), 0
		pads := []*pad{newPad(t, 1), newPad(t, 2), newPad(t, 3)}
		docs := []*Doc{pads[0].Doc, pads[1].Doc, pads[2].Doc}
		scribble := func(p *pad) {
			p.edit(t, func(tx *Txn) error { return editor{rng, &n}.edit(tx, p.Doc) })
		}
		for range 60 {
			if scribble(pads[rng.IntN(3)]); rng.IntN(6) == 0 {
				swap(t, docs...)
			}
		}
		swap(t, docs...)
		source, bad := unforgetting(t, pads...), pads[2]
		model := newAsIf(t, source, 3, pads...)
		want := map[string]string{}
		for name, b := range source.roots {
			want[name], _ = model.shown(b)
		}
		deleted := because(t, source, pads[:2]...)
		var r Reverted
		pads[0].edit(t, func(tx *Txn) (err error) { r, err = tx.Revert(bad.inserted, deleted, source); return err })
		if got := roots(pads[0].Doc); !maps.Equal(got, want) {
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("seed %d: %s shows\n%s, want\n%s", seed, name, got[name], want[name])
				}
			}
			t.FailNow()
		}
		if r.Lost != 0 {
			t.Errorf("seed %d: %+v", seed, r)
		}
		meanwhile := seed%2 == 0
		for range 5 {
			if meanwhile {
				scribble(pads[1])
			}
		}
		swap(t, docs...)
		for _, d := range docs {
			if d.Digest() != docs[0].Digest() {
				t.Fatalf("seed %d: documents differ", seed)
			}
			if err := d.selfCheck(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			reloads(t, d)
		}
		before := roots(pads[1].Doc)
		source = unforgetting(t, pads...)
		var again Reverted
		pads[1].edit(t, func(tx *Txn) (err error) {
			again, err = tx.Revert(bad.inserted, because(t, source, pads[:2]...), source)
			return err
		})
		if again.Restored+again.Lost != 0 || !meanwhile && (again.Deleted != 0 || !maps.Equal(roots(pads[1].Doc), before)) {
			t.Fatalf("seed %d: again: %+v", seed, again)
		}
	}
}
