package crdt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// show writes a document's values for comparison.
func show(tx Reader, v Value) string {
	var parts []string
	switch s := v.Shared().(type) {
	case nil:
		return v.String()
	case *Text:
		return fmt.Sprintf("%q", s.String(tx))
	case *Map:
		for k, v := range s.All(tx) {
			parts = append(parts, k+":"+show(tx, v))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case *Array:
		for _, v := range s.All(tx) {
			parts = append(parts, show(tx, v))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case *XML:
		return s.String(tx)
	case *XMLElement:
		return s.String(tx)
	case *XMLText:
		return s.XML(tx)
	case *XMLHook:
		return "hook " + s.Name() + show(tx, Value{shared: &s.Map})
	case *Subdoc:
		return "doc " + s.GUID()
	}
	return "?"
}

func shows(d *Doc, s Shared) (out string) {
	_ = d.View(func(tx *ReadTxn) error {
		out = show(tx, Value{shared: s})
		return nil
	})
	return out
}

func TestNestedTypes(t *testing.T) {
	d := New(WithClientID(1))
	list := d.Array("list")
	edit(t, d, func(tx *Txn) error {
		if err := list.Insert(tx, 0, 1, "two", []byte{3}, nil, NewMap(), NewText(), NewArray(), NewXML()); err != nil {
			return err
		}
		v, _ := list.Get(tx, 4)
		if err := v.Map().Set(tx, "inner", NewArray()); err != nil {
			return err
		}
		inner, _ := v.Map().Get(tx, "inner")
		if err := inner.Array().Append(tx, Undefined(), BigInt(7), 2.5, SubdocOptions{GUID: "g"}); err != nil {
			return err
		}
		v, _ = list.Get(tx, 5)
		if err := v.Text().Insert(tx, 0, "text"); err != nil {
			return err
		}
		v, _ = list.Get(tx, 7)
		x := v.XML()
		if err := x.Insert(tx, 0, NewXMLElement("P"), NewXMLText(), NewXMLHook("h")); err != nil {
			return err
		}
		p, _ := x.Get(tx, 0)
		if err := p.XMLElement().SetAttr(tx, "class", "a"); err != nil {
			return err
		}
		xt, _ := x.Get(tx, 1)
		if err := xt.XMLText().SetAttr(tx, "lang", "en"); err != nil {
			return err
		}
		if err := xt.XMLText().Insert(tx, 0, "hi", Attr{"b", json.RawMessage(`{"z":1,"a":"2"}`)}); err != nil {
			return err
		}
		h, _ := x.Get(tx, 2)
		return h.XMLHook().Set(tx, "k", true)
	})
	const want = `[1 two 03 null {inner:[undefined 7 2.5 doc g]} "text" [] <p class="a"></p><b a="2" z="1">hi</b>[object Object]]`
	if got := shows(d, list); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, f := range []Format{V1, V2} {
		b := mustEncode(t, d)
		if f == V2 {
			b, _ = d.EncodeUpdateV2(nil)
		}
		e := New(WithClientID(2))
		if _, err := e.ApplyUpdate(b, f); err != nil {
			t.Fatal(err)
		}
		if got := shows(e, e.Array("list")); got != want {
			t.Errorf("%v: %s", f, got)
		}
	}
}

// TestDeletedTypes uses handles to what is deleted, by itself or with what is around it, before and after its content
// has been collected, and when its place in the document's tables has been taken.
func TestDeletedTypes(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithoutGC()}} {
		d := New(append(opts, WithClientID(1))...)
		list := d.Array("list")
		var outer *Map
		var inner *Text
		edit(t, d, func(tx *Txn) error {
			if err := list.Insert(tx, 0, NewMap()); err != nil {
				return err
			}
			v, _ := list.Get(tx, 0)
			outer = v.Map()
			if err := outer.Set(tx, "t", NewText()); err != nil {
				return err
			}
			v, _ = outer.Get(tx, "t")
			inner = v.Text()
			return inner.Insert(tx, 0, "x")
		})
		gone := func(tx *Txn) error {
			if !outer.Deleted(tx) || !inner.Deleted(tx) || list.Deleted(tx) {
				t.Error("what is deleted does not say so, or what is not does")
			}
			if inner.String(tx) != "" || inner.Len(tx) != 0 || outer.Len(tx) != 0 {
				t.Error("a deleted type is not empty")
			}
			if err := inner.Insert(tx, 0, "y"); !errors.Is(err, ErrDeleted) {
				t.Errorf("inserting: %v", err)
			}
			if err := outer.Set(tx, "k", 1); !errors.Is(err, ErrDeleted) {
				t.Errorf("setting: %v", err)
			}
			return nil
		}
		edit(t, d, func(tx *Txn) error {
			if err := list.Delete(tx, 0, 1); err != nil {
				return err
			}
			return gone(tx)
		})
		edit(t, d, gone)
		edit(t, d, func(tx *Txn) error { return list.Insert(tx, 0, NewText(), NewMap()) })
		edit(t, d, gone)
		inner.ObserveDeep(func([]Event) { t.Error("an observer of a deleted type heard something") })
		edit(t, d, func(tx *Txn) error { return list.Append(tx, 1) })
	}
}

func TestListErrors(t *testing.T) {
	d, other := New(WithClientID(1)), New(WithClientID(2))
	a := d.Array("a")
	edit(t, d, func(tx *Txn) error {
		for name, err := range map[string]error{
			"insert behind the end": a.Insert(tx, 1, 1),
			"insert before start":   a.Insert(tx, -1, 1),
			"delete nothing there":  a.Delete(tx, 0, 1),
			"delete overflow":       a.Delete(tx, 0, int(^uint(0)>>1)),
			"apply behind the end":  d.Text("t").Apply(tx, Delta{Retain: 1}),
			"erase behind the end":  d.Text("t").Apply(tx, Delta{Erase: 1}),
		} {
			if !errors.Is(err, ErrRange) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, err := range map[string]error{
			"a channel":          a.Insert(tx, 0, 1, make(chan int)),
			"bad UTF-8":          a.Insert(tx, 0, "\xff"),
			"bad name":           a.Insert(tx, 0, NewXMLElement("\xff")),
			"subdoc without ID":  a.Insert(tx, 0, SubdocOptions{}),
			"bigint embed":       d.Text("t").Embed(tx, 0, BigInt(1)),
			"bytes embed":        d.Text("t").Embed(tx, 0, []byte{1}),
			"bad attribute":      d.Text("t").Embed(tx, 0, 1, Attr{"a", nil}),
			"bad subdoc options": a.Insert(tx, 0, SubdocOptions{GUID: "x", Meta: make(chan int)}),
		} {
			if !errors.Is(err, ErrValue) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := other.Array("a").Append(tx, 1); !errors.Is(err, ErrTxn) {
			t.Errorf("foreign transaction: %v", err)
		}
		if _, ok := a.Get(tx, 0); ok || a.Len(tx) != 0 {
			t.Error("a refused insertion left something")
		}
		return nil
	})
	if len(d.clients) > 0 && d.clients[0].state > 0 {
		t.Error("refused edits made structs")
	}
}

func TestValuesKeepTheirKind(t *testing.T) {
	o, err := Object(Pair{"b", BigInt(-5)}, Pair{"1", Undefined()}, Pair{"a", Null()})
	if err != nil {
		t.Fatal(err)
	}
	d := New(WithClientID(1))
	edit(t, d, func(tx *Txn) error {
		return d.Array("a").Insert(tx, 0, 1, 1.5, BigInt(1), Undefined(), nil, o, []byte{}, true, []any{1, "x"})
	})
	e := New(WithClientID(2))
	b, _ := d.EncodeUpdateV2(nil)
	if _, err := e.ApplyUpdate(b, V2); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	_ = e.View(func(tx *ReadTxn) error {
		for _, v := range e.Array("a").All(tx) {
			kinds = append(kinds, v.Kind().String())
			for _, p := range v.Object() {
				kinds = append(kinds, p.Key+"="+p.Value.Kind().String())
			}
		}
		return nil
	})
	want := "int float bigint undefined null object b=bigint 1=undefined a=null bytes bool list"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSubdocuments(t *testing.T) {
	a, b := New(WithClientID(1)), New(WithClientID(2))
	var log []string
	record := func(who string, d *Doc) {
		d.OnSubdocs(func(e SubdocEvent) {
			for name, list := range map[string][]*Subdoc{"added": e.Added, "removed": e.Removed, "loaded": e.Loaded} {
				for _, s := range list {
					log = append(log, who+" "+name+" "+s.GUID())
				}
			}
		})
	}
	record("a", a)
	record("b", b)
	a.OnUpdate(func(u []byte, _ Origin) {
		if _, err := b.ApplyUpdate(u); err != nil {
			t.Error(err)
		}
	})
	expect := func(want ...string) {
		t.Helper()
		slices.Sort(log)
		slices.Sort(want)
		if !slices.Equal(log, want) {
			t.Errorf("heard %v, want %v", log, want)
		}
		log = nil
	}
	m := a.Map("docs")
	edit(t, a, func(tx *Txn) error {
		if err := m.Set(tx, "lazy", SubdocOptions{GUID: "lazy", Meta: map[string]any{"title": "L"}, WithoutGC: true}); err != nil {
			return err
		}
		return m.Set(tx, "auto", SubdocOptions{GUID: "auto", AutoLoad: true})
	})
	expect("a added auto", "a added lazy", "a loaded auto", "a loaded lazy", "b added auto", "b added lazy", "b loaded auto")
	subs := b.Subdocs()
	if len(subs) != 2 || subs[1].GUID() != "lazy" || subs[1].GC() || subs[1].AutoLoad() || !subs[0].AutoLoad() || !subs[0].GC() {
		t.Fatalf("%v", subs)
	}
	if meta := subs[1].Meta().Object(); len(meta) != 1 || meta[0].Value.String() != "L" {
		t.Errorf("meta %v", meta)
	}
	if subs[1].New(WithClientID(5)).gc {
		t.Error("the replica of a subdocument without garbage collection collects")
	}
	edit(t, b, func(tx *Txn) error {
		if err := subs[1].Load(tx); err != nil {
			return err
		}
		return subs[1].Load(tx)
	})
	expect("b loaded lazy")
	edit(t, a, func(tx *Txn) error {
		if err := m.Set(tx, "short", SubdocOptions{GUID: "short"}); err != nil {
			return err
		}
		if err := m.Delete(tx, "short"); err != nil {
			return err
		}
		return m.Set(tx, "lazy", 1)
	})
	expect("a removed lazy", "b removed lazy") // nobody hears of what was gone before anybody could see it
	edit(t, b, func(tx *Txn) error {
		if !subs[1].Deleted(tx) || subs[0].Deleted(tx) {
			t.Error("deleted subdocuments do not say so")
		}
		if err := subs[1].Load(tx); !errors.Is(err, ErrDeleted) {
			t.Errorf("loading a deleted subdocument: %v", err)
		}
		return nil
	})
}

func TestKeyEvents(t *testing.T) {
	d := New(WithClientID(1))
	m := d.Map("m")
	var got []string
	stop := m.Observe(func(e Event) {
		for _, k := range e.Keys {
			got = append(got, fmt.Sprint(k.Key, " ", k.Action, " ", k.Old))
		}
	})
	edit(t, d, func(tx *Txn) error {
		_ = m.Set(tx, "b", 1)
		_ = m.Set(tx, "a", 1)
		return m.Set(tx, "a", 2)
	})
	edit(t, d, func(tx *Txn) error {
		_ = m.Set(tx, "a", 3)
		_ = m.Delete(tx, "b")
		_ = m.Set(tx, "c", 1)
		return m.Delete(tx, "c")
	})
	edit(t, d, func(tx *Txn) error { return m.Clear(tx) })
	stop()
	stop()
	edit(t, d, func(tx *Txn) error { return m.Set(tx, "a", 9) })
	want := []string{"a added undefined", "b added undefined", "a updated 2", "b removed 1", "a removed 3"}
	if !slices.Equal(got, want) {
		t.Errorf("heard %v\nwant %v", got, want)
	}
}

// unit is one code unit of a text, or an embedded object, and its formatting.
type unit struct {
	text  string
	attrs string
}

func unitsOf(steps []Delta) (out []unit) {
	for _, s := range steps {
		attrs := map[string]string{}
		for _, a := range s.Attrs {
			attrs[a.Key] = string(a.Value)
		}
		b, _ := json.Marshal(attrs)
		text := []rune(s.Insert)
		if s.Embed != nil {
			text = []rune{'#'}
		}
		for _, r := range text {
			out = append(out, unit{string(r), string(b)})
		}
	}
	return out
}

// follow makes the change that an event tells in a list of units.
func follow(us []unit, steps []Delta) (out []unit) {
	for _, s := range steps {
		switch {
		case s.Insert != "":
			out = append(out, unitsOf([]Delta{s})...)
		case s.Erase > 0:
			us = us[s.Erase:]
		default:
			for _, u := range us[:s.Retain] {
				attrs := map[string]string{}
				_ = json.Unmarshal([]byte(u.attrs), &attrs)
				for _, a := range s.Attrs {
					if string(a.Value) == jsonNull {
						delete(attrs, a.Key)
					} else {
						attrs[a.Key] = string(a.Value)
					}
				}
				b, _ := json.Marshal(attrs)
				out = append(out, unit{u.text, string(b)})
			}
			us = us[s.Retain:]
		}
	}
	return append(out, us...)
}

// TestTextEventsAreExact edits a formatted text on several replicas and follows the events of each: who makes the
// changes told in a copy ends up with the text. Reading events changes nothing.
func TestTextEventsAreExact(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		docs := []*Doc{New(WithClientID(1)), New(WithClientID(2)), New(WithClientID(3))}
		copies := make([][]unit, len(docs))
		var log [][]byte
		for i, d := range docs {
			d.Text("t").Observe(func(e TextEvent) { copies[i] = follow(copies[i], e.Delta) })
			d.OnUpdate(func(u []byte, o Origin) {
				if o.Local {
					log = append(log, u)
				}
			})
		}
		steps := 120
		if seed%20 == 0 {
			steps = 600 // long enough for an index of several levels
		}
		for range steps {
			i := rng.IntN(len(docs))
			d := docs[i]
			if rng.IntN(2) == 0 && len(log) > 0 {
				if _, err := d.ApplyUpdate(log[rng.IntN(len(log))]); err != nil {
					t.Fatal(err)
				}
			} else {
				edit(t, d, func(tx *Txn) error { return editFormatted(rng, tx, d.Text("t")) })
			}
			_ = d.View(func(tx *ReadTxn) error {
				if want := unitsOf(slices.Collect(d.Text("t").Delta(tx))); !slices.Equal(copies[i], want) {
					t.Fatalf("seed %d: the copy is %v\nthe text %v", seed, copies[i], want)
				}
				return nil
			})
		}
	}
}

// wholeIndex moves an index that lies inside a surrogate pair behind it. Replicas of Yjs that cut a pair differ from those
// that need not.
func wholeIndex(tx *Txn, text *Text, i int) int {
	at := 0
	for run := range text.Delta(tx) {
		for _, r := range run.Insert {
			if at >= i {
				return at
			}
			at += UTF16Len(string(r))
		}
	}
	return at
}

// editFormatted makes one or more random edits of a formatted text.
func editFormatted(rng *rand.Rand, tx *Txn, text *Text) error {
	values := []string{"true", "null", "1", `{"a":1}`}
	attr := func() Attr {
		return Attr{string(rune('a' + rng.IntN(3))), json.RawMessage(values[rng.IntN(len(values))])}
	}
	for range 1 + rng.IntN(3) {
		n := text.Len(tx)
		i := wholeIndex(tx, text, rng.IntN(n+1))
		k := wholeIndex(tx, text, i+rng.IntN(min(5, n-i)+1)) - i
		var err error
		switch rng.IntN(6) {
		case 0, 1:
			err = text.Insert(tx, i, []string{"x", "yz", "123"}[rng.IntN(3)])
		case 2:
			err = text.Insert(tx, i, "A", attr(), attr())
		case 3:
			err = text.Delete(tx, i, k)
		case 4:
			err = text.Format(tx, i, k, attr())
		case 5:
			err = text.Embed(tx, i, map[string]any{"n": i}, attr())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
