package crdt

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
)

func edit(t testing.TB, d *Doc, fn func(tx *Txn) error) {
	t.Helper()
	if err := d.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func typeInto(t testing.TB, d *Doc, at int, s string) {
	t.Helper()
	edit(t, d, func(tx *Txn) error { return d.Text("t").Insert(tx, at, s) })
}

func TestClientID(t *testing.T) {
	d := New(WithRand(bytes.NewReader([]byte{0, 0, 1, 2})))
	if d.ClientID() != 258 {
		t.Fatalf("random ID %d", d.ClientID())
	}
	if err := d.SetClientID(1 << 53); !errors.Is(err, ErrClientID) {
		t.Fatalf("an ID above 2^53-1: %v", err)
	}
	other := New(WithClientID(5))
	typeInto(t, other, 0, "loaded")
	if _, err := d.ApplyUpdate(mustEncode(t, other)); err != nil {
		t.Fatal(err)
	}
	if err := d.SetClientID(9); err != nil {
		t.Fatalf("before the first own edit: %v", err)
	}
	typeInto(t, d, 0, "x")
	if err := d.SetClientID(10); !errors.Is(err, ErrClientID) || d.ClientID() != 9 {
		t.Fatalf("after the first own edit: %v, ID %d", err, d.ClientID())
	}
}

// TestOwnHistory continues under an ID whose earlier edits were loaded back.
func TestOwnHistory(t *testing.T) {
	a := New(WithClientID(5))
	typeInto(t, a, 0, "before")
	b := New(WithClientID(5))
	applied, err := b.ApplyUpdate(mustEncode(t, a))
	if err != nil || !applied.ClientConflict {
		t.Fatalf("%+v, %v", applied, err)
	}
	if b.ClientID() != 5 {
		t.Fatal("an ID that was set has changed")
	}
	typeInto(t, b, 6, " after")
	if _, err := a.ApplyUpdate(mustEncode(t, b)); err != nil || a.Digest() != b.Digest() {
		t.Fatal("replicas differ", err)
	}
}

// TestClientConflict meets a stranger who has drawn the same random ID.
func TestClientConflict(t *testing.T) {
	d := New(WithRand(bytes.NewReader([]byte{0, 0, 0, 5, 0, 0, 0, 6})))
	stranger := New(WithClientID(5))
	typeInto(t, stranger, 0, "x")
	var heard []ClientConflict
	stop := d.OnClientConflict(func(c ClientConflict) { heard = append(heard, c) })
	applied, err := d.ApplyUpdate(mustEncode(t, stranger), WithOrigin("net"))
	if err != nil || !applied.ClientConflict || d.ClientID() != 6 {
		t.Fatalf("%+v, %v, ID %d", applied, err, d.ClientID())
	}
	if applied, err = d.ApplyUpdate(mustEncode(t, stranger)); err != nil || applied.ClientConflict || applied.Changed {
		t.Fatalf("the same again: %+v, %v", applied, err)
	}
	if want := (ClientConflict{Origin{Tag: "net"}, Range{5, 0, 1}, 6}); !slices.Equal(heard, []ClientConflict{want}) {
		t.Errorf("heard %+v, want %+v", heard, want)
	}
	stop()
	if len(heard) != 1 {
		t.Error("heard of a conflict that was none")
	}
}

// TestSetAnewAfterConflict chooses a new ID when a copy of the profile has edited under the one that was set.
func TestSetAnewAfterConflict(t *testing.T) {
	d, twin := New(WithClientID(5)), New(WithClientID(5))
	var heard []ClientConflict
	d.OnClientConflict(func(c ClientConflict) { heard = append(heard, c) })
	typeInto(t, d, 0, "a")
	if _, err := twin.ApplyUpdate(mustEncode(t, d)); err != nil {
		t.Fatal(err)
	}
	typeInto(t, twin, 1, "bc")
	if _, err := d.ApplyUpdate(mustEncode(t, twin)); err != nil {
		t.Fatal(err)
	}
	if want := (ClientConflict{Origin{}, Range{5, 1, 3}, 5}); !slices.Equal(heard, []ClientConflict{want}) {
		t.Fatalf("heard %+v, want %+v", heard, want)
	}
	if err := d.SetClientID(8); err != nil {
		t.Fatal(err)
	}
	typeInto(t, d, 3, "d")
	typeInto(t, twin, 3, "e")
	for _, p := range [][2]*Doc{{d, twin}, {twin, d}} {
		if _, err := p[1].ApplyUpdate(mustEncode(t, p[0])); err != nil {
			t.Fatal(err)
		}
	}
	if d.Digest() != twin.Digest() || len(textOf(d, "t")) != 5 {
		t.Errorf("%q and %q", textOf(d, "t"), textOf(twin, "t"))
	}
	if err := d.SetClientID(9); !errors.Is(err, ErrClientID) {
		t.Errorf("a third ID: %v", err)
	}
}

func TestTextErrors(t *testing.T) {
	d, other := New(), New()
	typeInto(t, d, 0, "a😀b")
	text := d.Text("t")
	var kept *Txn
	edit(t, d, func(tx *Txn) error {
		kept = tx
		for _, err := range []error{
			text.Insert(tx, -1, "x"), text.Insert(tx, 5, "x"), text.Delete(tx, 3, 2), text.Delete(tx, 5, 0),
			text.Delete(tx, 0, -1), text.Delete(tx, math.MaxInt, math.MaxInt), text.Delete(tx, 1, math.MaxInt),
		} {
			if !errors.Is(err, ErrRange) {
				t.Errorf("error %v, want ErrRange", err)
			}
		}
		if err := other.Text("t").Insert(tx, 0, "x"); !errors.Is(err, ErrTxn) {
			t.Errorf("transaction of another document: %v", err)
		}
		return nil
	})
	if err := text.Insert(kept, 0, "x"); !errors.Is(err, ErrTxn) {
		t.Errorf("ended transaction: %v", err)
	}
	if err := d.Map("m").Set(kept, "k", 1); !errors.Is(err, ErrTxn) {
		t.Errorf("ended transaction: %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("reading with an ended transaction did not panic")
			}
		}()
		text.Len(kept)
	}()
	if got := textOf(d, "t"); got != "a😀b" {
		t.Errorf("refused edits left %q", got)
	}
}

// TestUpdateError checks that what an erring function did before stays, is emitted, and that a panic unlocks.
func TestUpdateError(t *testing.T) {
	d := New()
	n := 0
	d.OnUpdate(func([]byte, Origin) { n++ })
	boom := errors.New("boom")
	err := d.Update(func(tx *Txn) error {
		if err := d.Text("t").Insert(tx, 0, "kept"); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) || textOf(d, "t") != "kept" || n != 1 {
		t.Fatalf("%v, %q, %d updates", err, textOf(d, "t"), n)
	}
	func() {
		defer func() { _ = recover() }()
		_ = d.Update(func(*Txn) error { panic("boom") })
	}()
	typeInto(t, d, 4, "!")
	if textOf(d, "t") != "kept!" {
		t.Fatal("the document is not usable after a panic")
	}
}

func TestSurrogates(t *testing.T) {
	d, e := New(WithClientID(1)), New(WithClientID(2))
	typeInto(t, d, 0, "a😀b")
	typeInto(t, d, 2, "X")
	if got := textOf(d, "t"); got != "a\uFFFDX\uFFFDb" {
		t.Fatalf("inserting inside a pair gives %q", got)
	}
	if _, err := e.ApplyUpdate(mustEncode(t, d)); err != nil || textOf(e, "t") != textOf(d, "t") {
		t.Fatalf("the replica has %q, %v", textOf(e, "t"), err)
	}
	typeInto(t, d, 0, "\xff\xed\xa0\x80")
	if got := textOf(d, "t"); !strings.HasPrefix(got, "\uFFFDa") && !strings.HasPrefix(got, "\uFFFD\uFFFD") {
		t.Fatalf("invalid UTF-8 gives %q", got)
	}

	// A state vector that ends inside a pair gets the whole pair.
	f, g := New(WithClientID(3)), New(WithClientID(4))
	typeInto(t, f, 0, "😀")
	b, err := f.EncodeUpdate([]byte{1, 3, 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.ApplyUpdate(b); err != nil || textOf(g, "t") != "😀" {
		t.Fatalf("%q, %v", textOf(g, "t"), err)
	}
}

func TestUTF16Len(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "é": 1, "日": 1, "😀": 2, "\xff": 1} {
		if got := UTF16Len(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestMapValues(t *testing.T) {
	d, e := New(), New()
	o, err := Object(Pair{"z", BigInt(1)}, Pair{"a", Undefined()})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"null": nil, "bool": true, "int": int32(-5), "big": uint64(1 << 53), "float": 1.5, "whole": 3.0, "text": "é",
		"bytes": []byte{0, 255}, "list": []any{1, "x", nil}, "object": map[string]any{"b": 1, "a": 2.5},
		"bigint": big.NewInt(-7), "undefined": Undefined(), "ordered": o, "nan": math.NaN(),
	}
	kinds := map[string]Kind{
		"null": KindNull, "bool": KindBool, "int": KindInt, "big": KindFloat, "float": KindFloat, "whole": KindInt,
		"text": KindString, "bytes": KindBytes, "list": KindList, "object": KindObject, "bigint": KindBigInt,
		"undefined": KindUndefined, "ordered": KindObject, "nan": KindFloat,
	}
	edit(t, d, func(tx *Txn) error {
		for k, v := range values {
			if err := d.Map("m").Set(tx, k, v); err != nil {
				return err
			}
		}
		for _, bad := range []any{struct{}{}, int64(math.MaxInt64), uint64(math.MaxUint64), "\xff", []any{make(chan int)},
			map[string]any{"\xff": 1}, new(big.Int).Lsh(big.NewInt(1), 70), deepList(200)} {
			if err := d.Map("m").Set(tx, "bad", bad); !errors.Is(err, ErrValue) {
				t.Errorf("%T: error %v, want ErrValue", bad, err)
			}
		}
		return nil
	})
	if _, err := e.ApplyUpdate(mustEncode(t, d)); err != nil {
		t.Fatal(err)
	}
	_ = e.View(func(tx *ReadTxn) error {
		n := 0
		for k, v := range e.Map("m").All(tx) {
			n++
			if v.Kind() != kinds[k] {
				t.Errorf("%s is %v, want %v", k, v.Kind(), kinds[k])
			}
		}
		if n != len(values) {
			t.Errorf("%d entries, want %d", n, len(values))
		}
		v, _ := e.Map("m").Get(tx, "ordered")
		if ps := v.Object(); len(ps) != 2 || ps[0].Key != "z" || ps[0].Value.Int() != 1 || ps[1].Value.Kind() != KindUndefined {
			t.Errorf("ordered object is %v", ps)
		}
		if v, _ := e.Map("m").Get(tx, "big"); v.Float() != 1<<53 || v.Int() != 1<<53 {
			t.Errorf("big is %v", v)
		}
		if v, _ := e.Map("m").Get(tx, "bytes"); !bytes.Equal(v.Bytes(), []byte{0, 255}) {
			t.Errorf("bytes are %v", v)
		}
		if _, ok := e.Map("m").Get(tx, "absent"); ok {
			t.Error("an absent key has a value")
		}
		return nil
	})
}

func deepList(n int) any {
	v := any(1)
	for range n {
		v = []any{v}
	}
	return v
}

// TestMapConcurrent sets and deletes one key on two replicas at once.
func TestMapConcurrent(t *testing.T) {
	a, b := New(WithClientID(1)), New(WithClientID(2))
	edit(t, a, func(tx *Txn) error { return a.Map("m").Set(tx, "k", "a") })
	edit(t, b, func(tx *Txn) error { return b.Map("m").Set(tx, "k", "b") })
	ua, ub := mustEncode(t, a), mustEncode(t, b)
	for d, u := range map[*Doc][]byte{a: ub, b: ua} {
		if _, err := d.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
		_ = d.View(func(tx *ReadTxn) error {
			if v, ok := d.Map("m").Get(tx, "k"); !ok || v.String() != "b" {
				t.Errorf("value is %v", v)
			}
			return nil
		})
	}
	edit(t, a, func(tx *Txn) error { return a.Map("m").Delete(tx, "k") })
	edit(t, a, func(tx *Txn) error { return a.Map("m").Delete(tx, "never set") })
	if _, err := b.ApplyUpdate(mustEncode(t, a)); err != nil || a.Digest() != b.Digest() {
		t.Fatal("replicas differ", err)
	}
	_ = b.View(func(tx *ReadTxn) error {
		if _, ok := b.Map("m").Get(tx, "k"); ok {
			t.Error("a deleted key has a value")
		}
		return nil
	})
}

// TestObservers checks order, origins, registration and cancelling, and that observers may edit.
func TestObservers(t *testing.T) {
	d := New(WithClientID(1))
	var log []string
	stopText := d.Text("t").Observe(func(e TextEvent) { log = append(log, "text:"+e.Delta[len(e.Delta)-1].Insert) })
	first := true
	stop := d.OnUpdate(func(u []byte, o Origin) {
		tag, _ := o.Tag.(string)
		log = append(log, "update:"+tag)
		if first {
			first = false
			typeInto(t, d, 0, "inside")
			log = append(log, "edited")
		}
	})
	if err := d.Update(func(tx *Txn) error { return d.Text("t").Insert(tx, 0, "a") }, WithOrigin("mine")); err != nil {
		t.Fatal(err)
	}
	edit(t, d, func(*Txn) error { return nil }) // says nothing
	remote := New(WithClientID(2))
	if _, err := remote.ApplyUpdate(mustEncode(t, d)); err != nil {
		t.Fatal(err)
	}
	typeInto(t, remote, 0, "r")
	u := mustEncode(t, remote)
	for range 2 { // the second time nothing is new
		if _, err := d.ApplyUpdate(u, WithOrigin("net")); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	stopText()
	typeInto(t, d, 0, "unheard")
	want := []string{"text:a", "update:mine", "edited", "text:inside", "update:", "text:r", "update:net"}
	if !slices.Equal(log, want) {
		t.Fatalf("heard %v, want %v", log, want)
	}
}

// TestConcurrentUse edits, applies, reads and observes from several goroutines. Every update must be heard, in an
// order in which a second replica needs nothing to wait.
func TestConcurrentUse(t *testing.T) {
	d, copied := New(WithClientID(1)), New(WithClientID(9))
	d.OnUpdate(func(u []byte, _ Origin) {
		a, err := copied.ApplyUpdate(u)
		if err != nil || len(a.Pending) > 0 {
			t.Errorf("%+v, %v", a, err)
		}
	})
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			remote := New(WithClientID(uint64(100 + k)))
			for i := range 100 {
				switch i % 4 {
				case 0:
					typeInto(t, d, 0, "x")
				case 1:
					typeInto(t, remote, 0, "y")
					b, _ := remote.EncodeUpdate(d.StateVector())
					if _, err := d.ApplyUpdate(b); err != nil {
						t.Error(err)
					}
				case 2:
					_ = textOf(d, "t")
				case 3:
					d.Digest()
				}
			}
		})
	}
	wg.Wait()
	d.feed.deliver()
	if d.Digest() != copied.Digest() {
		t.Fatal("the copy differs")
	}
}

// TestGC checks that deleted content leaves the encoded document, and stays without collection.
func TestGC(t *testing.T) {
	for _, gc := range []bool{true, false} {
		opts := []Option{WithClientID(1)}
		if !gc {
			opts = append(opts, WithoutGC())
		}
		d := New(opts...)
		typeInto(t, d, 0, "a secret word")
		edit(t, d, func(tx *Txn) error { return d.Text("t").Delete(tx, 2, 7) })
		if got := bytes.Contains(mustEncode(t, d), []byte("secret")); got == gc {
			t.Errorf("collection %v: deleted content encoded %v", gc, got)
		}
	}
}

// TestCompaction edits far more than remains, so that the arena is rewritten many times.
func TestCompaction(t *testing.T) {
	a, b := New(WithClientID(1)), New(WithClientID(2))
	a.OnUpdate(func(u []byte, o Origin) {
		if _, err := b.ApplyUpdate(u); err != nil {
			t.Error(err)
		}
	})
	long := strings.Repeat("0123456789é", 300)
	for i := range 50 {
		typeInto(t, a, min(i*7, 100), long)
		edit(t, a, func(tx *Txn) error { return a.Text("t").Delete(tx, 40, len([]rune(long))-60) })
	}
	if a.Digest() != b.Digest() || textOf(a, "t") != textOf(b, "t") {
		t.Fatal("replicas differ")
	}
	if n := len(a.arena.buf); n > 30_000 {
		t.Errorf("arena holds %d bytes for %d of text", n, len(textOf(a, "t")))
	}
	if err := a.selfCheck(); err != nil {
		t.Fatal(err)
	}
}

// TestDeepNesting deletes a chain of nested maps as deep as an update can make it.
func TestDeepNesting(t *testing.T) {
	_, data := loadHostile(t)
	d := New()
	if _, err := d.ApplyUpdate(data["v1-nest-deep"]); err != nil {
		t.Fatal(err)
	}
	if err := d.selfCheck(); err != nil {
		t.Fatal(err)
	}
	live := 0
	for _, b := range d.branches {
		if b != nil && b.item != 0 {
			live++
		}
	}
	if live != 0 {
		t.Errorf("%d nested branches are left", live)
	}
}

// TestMalformedStateVector checks the one input of EncodeUpdate.
func TestMalformedStateVector(t *testing.T) {
	var de *DecodeError
	if _, err := New().EncodeUpdate([]byte{5, 1}); !errors.As(err, &de) {
		t.Errorf("error %v", err)
	}
	if _, err := New().EncodeUpdate([]byte{0}); err != nil {
		t.Error(err)
	}
}

// TestEncodePendingOvertaken encodes a document in which a struct waits whose clocks another one has filled.
func TestEncodePendingOvertaken(t *testing.T) {
	d := New(WithClientID(1))
	for _, update := range [][]byte{
		{1, 1, 7, 0, 0x84, 9, 0, 3, 'a', 'b', 'c', 0},      // after a struct that is not there
		{1, 1, 7, 0, 0x04, 1, 1, 'x', 3, 'a', 'b', 'c', 0}, // the same clocks, at the start of a text
	} {
		if _, err := d.ApplyUpdate(update); err != nil {
			t.Fatal(err)
		}
	}
	full, err := d.EncodeUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	again := New(WithClientID(2))
	if _, err := again.ApplyUpdate(full); err != nil {
		t.Fatalf("its own encoding %x is refused: %v", full, err)
	}
	if again.Digest() != d.Digest() {
		t.Error("the copy has another digest")
	}
}
