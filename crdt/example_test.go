package crdt_test

import (
	"fmt"

	"github.com/studio-whip/collab/crdt"
)

func Example() {
	alice, bob := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	alice.OnUpdate(func(u []byte, o crdt.Origin) {
		if o.Local {
			_, _ = bob.ApplyUpdate(u) // stands for the network
		}
	})

	text := alice.Text("greeting")
	_ = alice.Update(func(tx *crdt.Txn) error {
		return text.Insert(tx, 0, "Hello 😀")
	})

	_ = bob.View(func(tx *crdt.ReadTxn) error {
		copied := bob.Text("greeting")
		fmt.Println(copied.String(tx), copied.Len(tx))
		return nil
	})
	fmt.Println(alice.Digest() == bob.Digest())
	// Output:
	// Hello 😀 8
	// true
}

func ExampleDoc_EncodeUpdate() {
	a, b := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	_ = a.Update(func(tx *crdt.Txn) error { return a.Map("m").Set(tx, "colour", "red") })
	_ = b.Update(func(tx *crdt.Txn) error { return b.Map("m").Set(tx, "size", 3) })

	// Each sends what the other lacks.
	forA, _ := b.EncodeUpdate(a.StateVector())
	forB, _ := a.EncodeUpdate(b.StateVector())
	_, _ = a.ApplyUpdate(forA)
	_, _ = b.ApplyUpdate(forB)

	_ = a.View(func(tx *crdt.ReadTxn) error {
		for key, value := range a.Map("m").All(tx) {
			fmt.Println(key, value)
		}
		return nil
	})
	// Output:
	// colour red
	// size 3
}

func ExampleDoc_ApplyUpdate() {
	a, b := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	var updates [][]byte
	a.OnUpdate(func(u []byte, _ crdt.Origin) { updates = append(updates, u) })
	for _, s := range []string{"one ", "two ", "three "} {
		_ = a.Update(func(tx *crdt.Txn) error {
			text := a.Text("t")
			return text.Insert(tx, text.Len(tx), s)
		})
	}

	// The second update arrives first and waits.
	applied, _ := b.ApplyUpdate(updates[1])
	fmt.Println(applied.Changed, applied.Pending, b.Missing())
	applied, _ = b.ApplyUpdate(updates[0])
	fmt.Println(applied.Changed, b.Pending())
	// Output:
	// false [{1 4 8}] [{1 0 4}]
	// true []
}

func ExampleText_Observe() {
	doc := crdt.New(crdt.WithClientID(1))
	text := doc.Text("t")
	stop := text.Observe(func(e crdt.TextEvent) {
		for _, d := range e.Delta {
			fmt.Printf("keep %d, erase %d, insert %q\n", d.Retain, d.Erase, d.Insert)
		}
	})
	defer stop()
	_ = doc.Update(func(tx *crdt.Txn) error { return text.Insert(tx, 0, "hello world") })
	_ = doc.Update(func(tx *crdt.Txn) error { return text.Delete(tx, 5, 6) })
	// Output:
	// keep 0, erase 0, insert "hello world"
	// keep 5, erase 0, insert ""
	// keep 0, erase 6, insert ""
}

func ExampleText_Format() {
	doc := crdt.New(crdt.WithClientID(1))
	text := doc.Text("t")
	_ = doc.Update(func(tx *crdt.Txn) error {
		if err := text.Insert(tx, 0, "hello world"); err != nil {
			return err
		}
		return text.Format(tx, 0, 5, crdt.Attr{Key: "bold", Value: []byte("true")})
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		for run := range text.Delta(tx) {
			fmt.Printf("%q", run.Insert)
			for _, a := range run.Attrs {
				fmt.Printf(" %s: %s", a.Key, a.Value)
			}
			fmt.Println()
		}
		return nil
	})
	// Output:
	// "hello" bold: true
	// " world"
}

func ExampleInspect() {
	doc := crdt.New(crdt.WithClientID(7))
	var update []byte
	doc.OnUpdate(func(u []byte, _ crdt.Origin) { update = u })
	_ = doc.Update(func(tx *crdt.Txn) error { return doc.Text("t").Insert(tx, 0, "abc") })
	created, deleted, err := crdt.Inspect(update)
	fmt.Println(created, deleted, err)
	// Output: [{7 0 3}] [] <nil>
}

func ExampleNew() {
	doc := crdt.New(crdt.WithClientID(7), crdt.WithLimits(crdt.Limits{UpdateBytes: 1 << 20}))
	fmt.Println(doc.ClientID())
	// Output: 7
}

func ExampleValueOf() {
	v, _ := crdt.ValueOf([]any{1, 2.5, nil, "x", true})
	for _, x := range v.List() {
		fmt.Println(x.Kind(), x)
	}
	// Output:
	// int 1
	// float 2.5
	// null null
	// string x
	// bool true
}

func ExampleMergeUpdates() {
	doc := crdt.New(crdt.WithClientID(7))
	var log [][]byte
	doc.OnUpdate(func(u []byte, _ crdt.Origin) { log = append(log, u) })
	for _, s := range []string{"a", "b", "c"} {
		_ = doc.Update(func(tx *crdt.Txn) error { return doc.Text("t").Insert(tx, 0, s) })
	}

	// A server keeps one update instead of three, and needs no document for it.
	stored, _ := crdt.MergeUpdates(crdt.V1, log...)
	has, _ := crdt.UpdateStateVector(crdt.V1, log[0])
	rest, _ := crdt.DiffUpdate(crdt.V1, stored, has)
	created, _, _ := crdt.Inspect(rest)
	fmt.Println(created)
	// Output: [{7 1 3}]
}

func ExampleConvert() {
	doc := crdt.New(crdt.WithClientID(7))
	for _, s := range []string{"world", "hello "} {
		_ = doc.Update(func(tx *crdt.Txn) error { return doc.Text("t").Insert(tx, 0, s) })
	}
	v1, _ := doc.EncodeUpdate(nil)
	v2, _ := crdt.Convert(v1, crdt.V1, crdt.V2)

	other := crdt.New(crdt.WithClientID(8))
	_, err := other.ApplyUpdate(v2, crdt.V2)
	fmt.Println(other.Digest() == doc.Digest(), err)
	// Output: true <nil>
}

func ExampleNewMap() {
	doc := crdt.New(crdt.WithClientID(1))
	tasks := doc.Array("tasks")
	_ = doc.Update(func(tx *crdt.Txn) error {
		if err := tasks.Append(tx, crdt.NewMap()); err != nil {
			return err
		}
		v, _ := tasks.Get(tx, 0)
		task := v.Map()
		if err := task.Set(tx, "done", false); err != nil {
			return err
		}
		return task.Set(tx, "title", "water the plants")
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		for i, v := range tasks.All(tx) {
			for key, x := range v.Map().All(tx) {
				fmt.Println(i, key, x)
			}
		}
		return nil
	})
	// Output:
	// 0 done false
	// 0 title water the plants
}

func ExampleNewXMLElement() {
	doc := crdt.New(crdt.WithClientID(1))
	page := doc.XML("page")
	_ = doc.Update(func(tx *crdt.Txn) error {
		if err := page.Insert(tx, 0, crdt.NewXMLElement("p")); err != nil {
			return err
		}
		v, _ := page.Get(tx, 0)
		p := v.XMLElement()
		if err := p.SetAttr(tx, "lang", "en"); err != nil {
			return err
		}
		if err := p.Insert(tx, 0, crdt.NewXMLText()); err != nil {
			return err
		}
		v, _ = p.Get(tx, 0)
		return v.XMLText().Insert(tx, 0, "hello", crdt.Attr{Key: "em", Value: []byte("true")})
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		fmt.Println(page.String(tx))
		return nil
	})
	// Output: <p lang="en"><em>hello</em></p>
}

func ExampleDoc_OnSubdocs() {
	library := crdt.New(crdt.WithClientID(1))
	library.OnSubdocs(func(e crdt.SubdocEvent) {
		for _, s := range e.Loaded {
			fmt.Println("load", s.GUID()) // fetch the updates stored under this name into s.New()
		}
	})
	_ = library.Update(func(tx *crdt.Txn) error {
		return library.Map("books").Set(tx, "novel", crdt.SubdocOptions{GUID: "8c1f"})
	})
	// Output: load 8c1f
}

func ExampleMap_ObserveDeep() {
	doc := crdt.New(crdt.WithClientID(1))
	root := doc.Map("root")
	defer root.ObserveDeep(func(events []crdt.Event) {
		for _, e := range events {
			fmt.Println(e.Path, e.List, e.Keys)
		}
	})()
	_ = doc.Update(func(tx *crdt.Txn) error { return root.Set(tx, "list", crdt.NewArray()) })
	_ = doc.Update(func(tx *crdt.Txn) error {
		v, _ := root.Get(tx, "list")
		return v.Array().Append(tx, "x")
	})
	// Output:
	// [] [] [{list added undefined}]
	// [{list -1}] [{[x] 0 0}] []
}

func ExampleNewUndo() {
	doc := crdt.New(crdt.WithClientID(1))
	text := doc.Text("t")
	undo := crdt.NewUndo(doc, crdt.UndoOptions{Scope: []crdt.Shared{text}})
	defer undo.Close()
	for _, s := range []string{"world", "hello "} {
		_ = doc.Update(func(tx *crdt.Txn) error { return text.Insert(tx, 0, s) })
	}
	show := func() {
		_ = doc.View(func(tx *crdt.ReadTxn) error {
			fmt.Println(text.String(tx))
			return nil
		})
	}
	undo.Undo()
	show()
	undo.Redo()
	show()
	// Output:
	// world
	// hello world
}

func ExampleDoc_Restore() {
	doc := crdt.New(crdt.WithClientID(1), crdt.WithoutGC())
	text := doc.Text("t")
	_ = doc.Update(func(tx *crdt.Txn) error { return text.Insert(tx, 0, "first draft") })
	draft := doc.Snapshot()
	_ = doc.Update(func(tx *crdt.Txn) error { return text.Delete(tx, 0, 6) })

	old, _ := doc.Restore(draft)
	_ = old.View(func(tx *crdt.ReadTxn) error {
		fmt.Println(old.Text("t").String(tx))
		return nil
	})
	// Output: first draft
}

func ExampleRelPos() {
	doc := crdt.New(crdt.WithClientID(1))
	text := doc.Text("t")
	var cursor crdt.RelPos
	_ = doc.Update(func(tx *crdt.Txn) error {
		if err := text.Insert(tx, 0, "world"); err != nil {
			return err
		}
		cursor = text.RelPos(tx, 5)
		return text.Insert(tx, 0, "hello ")
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		fmt.Println(text.AbsPos(tx, cursor))
		return nil
	})
	// Output: 11 true
}

// Two people write while they cannot hear each other. Whoever meets first exchanges what the other lacks; the order does
// not matter, nor does hearing things twice.
func Example_offline() {
	ann, ben := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	write := func(d *crdt.Doc, at int, s string) {
		_ = d.Update(func(tx *crdt.Txn) error { return d.Text("t").Insert(tx, at, s) })
	}
	exchange := func() {
		forAnn, _ := ben.EncodeUpdate(ann.StateVector())
		forBen, _ := ann.EncodeUpdate(ben.StateVector())
		_, _ = ann.ApplyUpdate(forAnn)
		_, _ = ben.ApplyUpdate(forBen)
	}
	write(ann, 0, "Dinner at eight.")
	exchange()

	write(ann, 16, " Bring wine.") // both are offline now
	write(ben, 6, " with Cleo")
	_ = ben.Update(func(tx *crdt.Txn) error { return ben.Map("guests").Set(tx, "Cleo", true) })
	exchange()
	exchange()

	for _, d := range []*crdt.Doc{ann, ben} {
		_ = d.View(func(tx *crdt.ReadTxn) error {
			fmt.Println(d.Text("t").String(tx))
			return nil
		})
	}
	fmt.Println(ann.Digest() == ben.Digest())
	// Output:
	// Dinner with Cleo at eight. Bring wine.
	// Dinner with Cleo at eight. Bring wine.
	// true
}

// A delta says how to get from one formatted text to another; Delta reads a text as one, Apply makes its steps.
func ExampleText_Apply() {
	doc := crdt.New(crdt.WithClientID(1))
	text := doc.Text("t")
	image, _ := crdt.ValueOf(map[string]any{"image": "cat.png"})
	_ = doc.Update(func(tx *crdt.Txn) error {
		return text.Apply(tx,
			crdt.Delta{Insert: "A cat: "},
			crdt.Delta{Embed: &image},
			crdt.Delta{Insert: " purrs", Attrs: []crdt.Attr{{Key: "em", Value: []byte("true")}}},
		)
	})
	_ = doc.Update(func(tx *crdt.Txn) error {
		return text.Apply(tx, crdt.Delta{Retain: 2}, crdt.Delta{Erase: 3}, crdt.Delta{Insert: "lion"})
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		for run := range text.Delta(tx) {
			if run.Embed != nil {
				fmt.Println("embed", run.Embed)
				continue
			}
			fmt.Printf("%q", run.Insert)
			for _, a := range run.Attrs {
				fmt.Printf(" %s=%s", a.Key, a.Value)
			}
			fmt.Println()
		}
		return nil
	})
	// Output:
	// "A lion: "
	// embed [{image cat.png}]
	// " purrs" em=true
}

func ExampleText_Changes() {
	doc := crdt.New(crdt.WithClientID(1), crdt.WithoutGC())
	text := doc.Text("t")
	_ = doc.Update(func(tx *crdt.Txn) error { return text.Insert(tx, 0, "a small cat") })
	before := doc.Snapshot()
	_ = doc.Update(func(tx *crdt.Txn) error {
		if err := text.Delete(tx, 2, 5); err != nil {
			return err
		}
		return text.Insert(tx, 2, "large")
	})
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		for run := range text.Changes(tx, crdt.ChangeOptions{Before: before}) {
			fmt.Printf("%q", run.Insert)
			for _, a := range run.Attrs {
				fmt.Printf(" %s=%s", a.Key, a.Value)
			}
			fmt.Println()
		}
		return nil
	})
	// Output:
	// "a "
	// "small" ychange={"type":"removed"}
	// "large" ychange={"type":"added"}
	// " cat"
}

func ExampleText_Authors() {
	ann, ben := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	ann.OnUpdate(func(u []byte, _ crdt.Origin) { _, _ = ben.ApplyUpdate(u) })
	_ = ann.Update(func(tx *crdt.Txn) error { return ann.Text("t").Insert(tx, 0, "one three") })
	_ = ben.Update(func(tx *crdt.Txn) error { return ben.Text("t").Insert(tx, 4, "two ") })
	_ = ben.View(func(tx *crdt.ReadTxn) error {
		text := ben.Text("t")
		for run := range text.Authors(tx, 0, text.Len(tx)) {
			fmt.Println(run.Index, "by client", run.Client, "as clocks", run.From, "to", run.To)
		}
		return nil
	})
	// Output:
	// 0 by client 1 as clocks 0 to 4
	// 4 by client 2 as clocks 0 to 4
	// 8 by client 1 as clocks 4 to 9
}

func ExampleDoc_OnClientConflict() {
	doc, copied := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(1)) // a profile was copied
	doc.OnClientConflict(func(c crdt.ClientConflict) {
		fmt.Println("somebody else edits as client", c.Clocks.Client)
		_ = doc.SetClientID(2)
	})
	_ = copied.Update(func(tx *crdt.Txn) error { return copied.Map("m").Set(tx, "k", true) })
	update, _ := copied.EncodeUpdate(nil)
	_, _ = doc.ApplyUpdate(update)
	fmt.Println("now client", doc.ClientID())
	// Output:
	// somebody else edits as client 1
	// now client 2
}
