package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
)

// history is random edits of several documents that exchange updates, with what each emitted.
func history(seed uint64, clients ...uint64) (updates [][]byte) {
	rng := rand.New(rand.NewPCG(seed, 7))
	docs := make([]*crdt.Doc, len(clients))
	for i, id := range clients {
		docs[i] = crdt.New(crdt.WithClientID(id))
		docs[i].OnUpdate(func(u []byte, o crdt.Origin) {
			if o.Local {
				updates = append(updates, u)
			}
		})
	}
	for range 60 {
		d := docs[rng.IntN(len(docs))]
		for _, u := range updates {
			if rng.IntN(3) == 0 {
				_, _ = d.ApplyUpdate(u)
			}
		}
		_ = d.Update(func(tx *crdt.Txn) error {
			body := d.Text("body")
			n := body.Len(tx)
			switch {
			case n > 3 && rng.IntN(3) == 0:
				return body.Delete(tx, rng.IntN(n-2), 2)
			case rng.IntN(3) == 0:
				return d.Map("meta").Set(tx, fmt.Sprint(rng.IntN(3)), []any{rng.IntN(9), "é😀"})
			}
			return body.Insert(tx, rng.IntN(n+1), strings.Repeat("é😀x", 1+rng.IntN(3)))
		})
	}
	return updates
}

func docOf(t testing.TB, updates ...[]byte) *crdt.Doc {
	t.Helper()
	d := crdt.New()
	for _, u := range updates {
		if _, err := d.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestChangesRoundTrip(t *testing.T) {
	for seed := range uint64(10) {
		for _, u := range history(seed, 3, 1, 2) {
			c, err := parseChanges(u)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.encode(); !bytes.Equal(got, u) {
				t.Fatalf("\n%x became\n%x", u, got)
			}
		}
	}
}

func TestStructureIsOfTheEditsAlone(t *testing.T) {
	for seed := range uint64(20) {
		updates := history(seed, 3, 1, 2)
		rng := rand.New(rand.NewPCG(seed, 8))
		want, err := structure(docOf(t, updates...))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			rng.Shuffle(len(updates), func(i, k int) { updates[i], updates[k] = updates[k], updates[i] })
			if got, err := structure(docOf(t, updates...)); err != nil || got != want {
				t.Fatalf("seed %d: another order, another structure: %v", seed, err)
			}
		}
		if got, _ := structure(docOf(t, joined(updates)...)); got != want {
			t.Fatalf("seed %d: joined, another structure", seed)
		}
		created, _, _ := crdt.Inspect(updates[0]) // a deletion may have been made twice
		if got, _ := structure(docOf(t, updates[1:]...)); got == want && len(created) > 0 {
			t.Fatalf("seed %d: an update is missing and nobody notices", seed)
		}
	}
}

// TestReissue renames a client from some clock on and compares with the same edits made under the new name.
func TestReissue(t *testing.T) {
	for seed := range uint64(10) {
		updates, renamed := history(seed, 5, 6), history(seed, 5, 7)
		for i, u := range updates {
			got, err := reissue(u, move{from: 6, base: 0, to: 7})
			if err != nil {
				t.Fatal(err)
			}
			updates[i] = got
		}
		a, b := docOf(t, updates...), docOf(t, renamed...)
		// Client IDs break ties between concurrent edits: 6 and 7 are both above 5.
		if x, y := a.Digest(), b.Digest(); x != y {
			t.Fatalf("seed %d: differs from edits made under the new name", seed)
		}
	}
}

func TestReissueFromAClockOn(t *testing.T) {
	var updates [][]byte
	d := crdt.New(crdt.WithClientID(5))
	d.OnUpdate(func(u []byte, _ crdt.Origin) { updates = append(updates, u) })
	edit := func(fn func(*crdt.Txn, *crdt.Text) error) {
		if err := d.Update(func(tx *crdt.Txn) error { return fn(tx, d.Text("body")) }); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(tx *crdt.Txn, b *crdt.Text) error { return b.Insert(tx, 0, "signed") })
	edit(func(tx *crdt.Txn, b *crdt.Text) error { return b.Insert(tx, 3, "-moved-") })
	edit(func(tx *crdt.Txn, b *crdt.Text) error { return b.Delete(tx, 2, 3) }) // of both
	m := move{from: 5, base: 6, to: 9}
	out := [][]byte{updates[0]}
	for _, u := range updates[1:] {
		moved, err := reissue(u, m)
		if err != nil {
			t.Fatal(err)
		}
		if err := createsOnly(moved, 9); err != nil {
			t.Fatal(err)
		}
		out = append(out, moved)
	}
	again, err := reissue(out[1], m)
	if err != nil || !bytes.Equal(again, out[1]) {
		t.Fatalf("moved twice: %v", err)
	}
	e := docOf(t, out...)
	var got, want string
	_ = e.View(func(tx *crdt.ReadTxn) error { got = e.Text("body").String(tx); return nil })
	_ = d.View(func(tx *crdt.ReadTxn) error { want = d.Text("body").String(tx); return nil })
	if got != want || len(e.Pending()) > 0 {
		t.Fatalf("%q, want %q", got, want)
	}
}

func TestSplit(t *testing.T) {
	d := crdt.New(crdt.WithClientID(5))
	var update []byte
	d.OnUpdate(func(u []byte, _ crdt.Origin) { update = u })
	err := d.Update(func(tx *crdt.Txn) error {
		for i := range 50 {
			if err := d.Map("meta").Set(tx, fmt.Sprint(i), strings.Repeat("v", 100)); err != nil {
				return err
			}
		}
		if err := d.Text("body").Insert(tx, 0, strings.Repeat("aé😀", 5000)); err != nil {
			return err
		}
		return d.Text("body").Delete(tx, 100, 200)
	})
	if err != nil {
		t.Fatal(err)
	}
	const max = 4000
	parts, err := split(update, max)
	if err != nil || len(parts) < len(update)/max {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, p := range parts {
		if len(p) > max+pieceOverhead {
			t.Errorf("part %d has %d bytes", i, len(p))
		}
	}
	want, _ := structure(d)
	if got, err := structure(docOf(t, parts...)); err != nil || got != want {
		t.Fatalf("the parts make another document: %v", err)
	}
	if whole, err := split(update, len(update)); err != nil || len(whole) != 1 || !bytes.Equal(whole[0], update) {
		t.Fatalf("split without need: %v", err)
	}
	_ = d.Update(func(tx *crdt.Txn) error { return d.Map("meta").Set(tx, "image", make([]byte, 2*max)) })
	if _, err := split(update, max); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("one large value: %v", err)
	}
}

// TestLargePaste: an edit beyond one envelope becomes several, and one that cannot be cut is undone.
func TestLargePaste(t *testing.T) {
	_, ada, ben := pair(t)
	text := strings.Repeat("0123456789", 250_000)
	envs := ada.write("script", text)
	if len(envs) < 5 {
		t.Fatalf("%d envelopes", len(envs))
	}
	ben.take(ada, envs...)
	if ben.text("script") != text {
		t.Fatal("Ben sees something else")
	}
	r := ada.doc("script")
	_ = r.Update(func(tx *crdt.Txn) error { return r.CRDT().Map("meta").Set(tx, "image", make([]byte, 2<<20)) })
	if _, err := ada.Append(t.Context(), r.ID, nil); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	ada.settle()
	agree(t, []*node{ada, ben}, "script")
	ada.write("script", "!")
	syncNodes(t, ada, ben)
	agree(t, []*node{ada, ben}, "script")
}

func FuzzChanges(f *testing.F) {
	for _, u := range history(1, 3, 1) {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, u []byte) {
		if _, _, err := crdt.Inspect(u); err != nil {
			return
		}
		c, err := parseChanges(u)
		if err != nil {
			t.Fatalf("crdt reads it, parseChanges does not: %v", err)
		}
		if len(joined([][]byte{u, u})) == 1 && len(c.structs) > 0 {
			t.Fatal("overlapping updates were joined")
		}
		_, _ = reissue(u, move{from: 1, base: 2, to: 1 << 40})
		if parts, err := split(u, 300); err == nil && len(parts) > 0 {
			for _, p := range parts {
				if _, _, err := crdt.Inspect(p); err != nil {
					t.Fatalf("part is malformed: %v", err)
				}
			}
		}
		c.digest()
	})
}
