package crdt

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// seedUpdates adds recorded and hostile updates to a corpus.
func seedUpdates(f *testing.F, add func([]byte)) {
	files, data := loadHostile(f)
	for _, h := range files {
		if len(data[h.Name]) < 1000 && h.Format == V1 {
			add(data[h.Name])
		}
	}
	for _, fx := range someFixtures(f, 12) {
		for i := range fx.Updates {
			if i%5 == 0 {
				add(fx.Updates[i].V1)
			}
		}
	}
}

// FuzzDecode checks that what decodes also applies, and that Inspect tells the same as applying does.
func FuzzDecode(f *testing.F) {
	seedUpdates(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		created, _, err := Inspect(b)
		d := New(WithClientID(1 << 50))
		a, applyErr := d.ApplyUpdate(b)
		if (err == nil) != (applyErr == nil) {
			t.Fatalf("Inspect: %v, ApplyUpdate: %v", err, applyErr)
		}
		if err != nil {
			if len(d.clients) > 0 || len(d.roots) > 0 || a.Changed {
				t.Fatal("a refused update left traces")
			}
			return
		}
		covered := map[uint64]uint64{}
		for _, r := range created {
			covered[r.Client] = max(covered[r.Client], r.To)
		}
		for _, c := range d.clients {
			if uint64(c.state) > covered[c.id] {
				t.Fatalf("client %d got to %d, Inspect announced %d", c.id, c.state, covered[c.id])
			}
		}
	})
}

// FuzzApply applies two updates to a document that holds something: it must stay sound, reload into the same state,
// and take both again without a change.
func FuzzApply(f *testing.F) {
	var last []byte
	seedUpdates(f, func(b []byte) {
		f.Add(b, last)
		last = b
	})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := typedDoc(t)
		for _, u := range [][]byte{a, b} {
			before, digest := mustEncode(t, d), d.Digest()
			if _, err := d.ApplyUpdate(u); err != nil {
				if !bytes.Equal(mustEncode(t, d), before) || d.Digest() != digest {
					t.Fatal("a refused update changed the document")
				}
			}
			if err := d.selfCheck(); err != nil {
				t.Fatal(err)
			}
		}
		again := 0
		// Of contents that contradict each other one may find its place only when it comes again, but it ends somewhere.
		for settled := 0; settled < 2; {
			digest := d.Digest()
			for _, u := range [][]byte{a, b} {
				_, _ = d.ApplyUpdate(u)
			}
			if settled++; d.Digest() != digest {
				if again++; again > 8 {
					t.Fatal("applying again changes the document without end")
				}
				settled = 0
			}
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
		reloads(t, d)
		if err := d.Update(func(tx *Txn) error {
			text := d.Text("t")
			if err := text.Insert(tx, text.Len(tx)/2, "é"); err != nil {
				return err
			}
			return text.Delete(tx, 0, text.Len(tx)/3)
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
		reloads(t, d)
	})
}

// seedUpdates2 adds recorded and hostile updates in format v2.
func seedUpdates2(f *testing.F, add func([]byte)) {
	files, data := loadHostile(f)
	for _, h := range files {
		if h.Format == V2 {
			add(data[h.Name])
		}
	}
	for _, fx := range someFixtures(f, 12) {
		for i := range fx.Updates {
			if i%5 == 0 {
				add(fx.Updates[i].V2)
			}
		}
		add(fx.Final.Canon2)
	}
}

// FuzzDecodeV2 checks that what decodes from format v2 applies, reads back from both formats as the same, and costs no
// more than its size allows.
func FuzzDecodeV2(f *testing.F) {
	seedUpdates2(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		created, deleted, err := Inspect(b, V2)
		d := New(WithClientID(1 << 50))
		if _, applyErr := d.ApplyUpdate(b, V2); (err == nil) != (applyErr == nil) {
			t.Fatalf("Inspect: %v, ApplyUpdate: %v", err, applyErr)
		}
		if err != nil {
			if len(d.clients) > 0 || len(d.roots) > 0 {
				t.Fatal("a refused update left traces")
			}
			return
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
		v1, err := Convert(b, V2, V1)
		if err != nil {
			t.Fatal(err)
		}
		c, del, err := Inspect(v1)
		if err != nil || !slices.Equal(c, created) || !slices.Equal(del, deleted) {
			t.Fatalf("v1 says %v, %v, %v; v2 said %v, %v", c, del, err, created, deleted)
		}
		e := New(WithClientID(1 << 50))
		if _, err := e.ApplyUpdate(v1); err != nil || e.Digest() != d.Digest() && !contradicts(b) {
			t.Fatalf("documents differ, %v", err)
		}
		v2, err := Convert(v1, V1, V2)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Convert(v2, V2, V1)
		if err != nil || !bytes.Equal(again, v1) {
			t.Fatalf("v1 → v2 → v1: %v\n%x\n%x", err, v1, again)
		}
	})
}

// FuzzMerge checks that a merged update does what its parts do one after another, and that what is cut off it is known.
func FuzzMerge(f *testing.F) {
	var last []byte
	seedUpdates(f, func(b []byte) {
		f.Add(b, last)
		last = b
	})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		merged, err := MergeUpdates(V1, a, b)
		if err != nil {
			return
		}
		ca, da, _ := Inspect(a)
		cb, db, _ := Inspect(b)
		c, del, err := Inspect(merged)
		if err != nil {
			t.Fatalf("the merged update does not read: %v", err)
		}
		if !slices.Equal(c, mergeRanges(append(ca, cb...))) || !slices.Equal(del, mergeRanges(append(da, db...))) {
			t.Fatalf("merged: %v %v, of %v %v and %v %v", c, del, ca, da, cb, db)
		}
		sv, err := UpdateStateVector(V1, merged)
		if err != nil {
			t.Fatal(err)
		}
		diff, err := DiffUpdate(V1, merged, sv)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Inspect(diff); err != nil {
			t.Fatal(err)
		}
	})
}

// contradicts says whether an update in format v2 has two structs for one clock: what a document makes of such a
// forgery depends on which of them it meets first.
func contradicts(b []byte) bool {
	us, err := decodeAll(V2, b)
	if err != nil {
		return false
	}
	for _, bl := range us[0].blocks {
		end := uint32(0)
		for _, w := range us[0].structs[bl.from:bl.to] {
			if w.clock < end {
				return true
			}
			end = w.end()
		}
	}
	return false
}

// FuzzOrder applies two updates to a document that holds something, in both orders: what neither contradicts must end
// equal, however little sense it makes.
func FuzzOrder(f *testing.F) {
	var last []byte
	seedUpdates(f, func(b []byte) {
		f.Add(b, last)
		last = b
	})
	f.Fuzz(func(t *testing.T, x, y []byte) {
		if !judged(x) || !judged(y) || sameClients(x, y) {
			return
		}
		a, b := typedDoc(t), typedDoc(t)
		for _, u := range [][]byte{x, y} {
			_, _ = a.ApplyUpdate(u)
		}
		for _, u := range [][]byte{y, x} {
			_, _ = b.ApplyUpdate(u)
		}
		if a.foretold() || b.foretold() {
			return
		}
		if a.Digest() != b.Digest() {
			t.Fatalf("replicas differ:\n%x\n%x", x, y)
		}
	})
}

// judged says whether two replicas must make the same of an update: it decodes, and contradicts neither itself nor what
// typedDoc has written under its own ID.
func judged(b []byte) bool {
	created, _, err := Inspect(b)
	if err != nil || slices.ContainsFunc(created, func(r Range) bool { return r.Client == 77 }) {
		return false
	}
	v2, err := Convert(b, V1, V2)
	return err == nil && !contradicts(v2)
}

// FuzzDeliver lets three replicas edit as the input says, and delivers what they emit in the order and as often as the
// input says, to a document that holds something: the end must be that of delivering everything in order, to the byte.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte("some edits, some deliveries"), []byte{3, 1, 4, 1, 5, 9, 2, 6})
	f.Add([]byte{0, 9, 18, 27, 250, 251, 252, 7, 7, 7, 100, 99, 98}, []byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0})
	f.Fuzz(func(t *testing.T, edits, order []byte) {
		if len(edits) > 200 {
			edits = edits[:200]
		}
		start := mustEncode(t, typedDoc(t))
		var log [][]byte
		docs := make([]*Doc, 3)
		for i := range docs {
			docs[i] = loadedDoc(t, uint64(i+1), start)
			docs[i].OnUpdate(func(u []byte, o Origin) {
				if o.Local {
					log = append(log, u)
				}
			})
		}
		for i, e := range edits {
			d := docs[int(e)%3]
			if e%8 == 7 && len(log) > 0 { // hears of something, perhaps before what it builds on
				if _, err := d.ApplyUpdate(log[int(e)*(i+1)%len(log)]); err != nil {
					t.Fatal(err)
				}
				continue
			}
			edit(t, d, func(tx *Txn) error { return fuzzedEdit(tx, d, int(e)/3, i) })
		}
		inOrder, shuffled := loadedDoc(t, 98, start), loadedDoc(t, 99, start)
		for i, o := range order {
			if len(log) > 0 {
				deliver(t, shuffled, log[(int(o)+i)%len(log)], i)
			}
		}
		for i := range log {
			deliver(t, inOrder, log[i], 0)
			deliver(t, shuffled, log[len(log)-1-i], i)
		}
		for _, d := range []*Doc{inOrder, shuffled} {
			if err := d.selfCheck(); err != nil {
				t.Fatal(err)
			}
		}
		if inOrder.Digest() != shuffled.Digest() {
			t.Fatal("replicas differ")
		}
		one, two := loadedDoc(t, 97, mustEncode(t, inOrder)), loadedDoc(t, 97, mustEncode(t, shuffled))
		if !bytes.Equal(mustEncode(t, one), mustEncode(t, two)) {
			t.Fatal("replicas encode to other bytes")
		}
	})
}

func loadedDoc(t *testing.T, id uint64, u []byte) *Doc {
	d := New(WithClientID(id))
	deliver(t, d, u, 0)
	return d
}

// deliver applies an update, every other one in format v2.
func deliver(t *testing.T, d *Doc, u []byte, i int) {
	format := V1
	if i%2 == 1 {
		v2, err := Convert(u, V1, V2)
		if err != nil {
			t.Fatal(err)
		}
		u, format = v2, V2
	}
	if _, err := d.ApplyUpdate(u, format); err != nil {
		t.Fatal(err)
	}
}

// fuzzedEdit makes an edit that two numbers stand for.
func fuzzedEdit(tx *Txn, d *Doc, what, n int) error {
	text, list, m := d.Text("t"), d.Array("a"), d.Map("m")
	units, elements := text.Len(tx), list.Len(tx)
	at := wholeIndex(tx, text, n*7%(units+1))
	switch what % 8 {
	case 0, 1:
		return text.Insert(tx, at, []string{"x", "yz", "é😀"}[n%3])
	case 2:
		return text.Delete(tx, at, wholeIndex(tx, text, min(units, at+n%4))-at)
	case 3:
		return text.Format(tx, at, min(2, units-at), bold)
	case 4:
		return list.Insert(tx, n%(elements+1), n, "e", NewMap())
	case 5:
		if elements == 0 {
			return list.Append(tx, NewText())
		}
		return list.Delete(tx, n%elements, 1)
	case 6:
		return m.Set(tx, fmt.Sprint("k", n%2), n)
	}
	return m.Delete(tx, fmt.Sprint("k", n%2))
}

// FuzzStates reads arbitrary state vectors, snapshots and positions against a document that holds something: none of
// them changes it, and what reads is written the same way again.
func FuzzStates(f *testing.F) {
	f.Add([]byte{1, 77, 5}, true)
	f.Add([]byte{1, 77, 1, 2, 3, 1, 77, 9}, false)
	f.Add([]byte{0, 77, 4, 0x40}, true)
	f.Add([]byte{1, 1, 't'}, true)
	f.Add([]byte{2, 77, 4}, false)
	f.Fuzz(func(t *testing.T, b []byte, v2 bool) {
		format := V1
		if v2 {
			format = V2
		}
		d := typedDoc(t)
		digest := d.Digest()
		if u, err := d.EncodeUpdate(b); err == nil {
			if _, _, err := Inspect(u); err != nil {
				t.Fatalf("what is encoded for a state vector does not read: %v", err)
			}
		}
		if s, err := DecodeSnapshot(b, format); err == nil {
			for _, other := range []Format{V1, V2} {
				again, err := DecodeSnapshot(s.Encode(other), other)
				if err != nil || !again.Equal(s) {
					t.Fatalf("snapshot %v became %v, %v", s, again, err)
				}
			}
			if _, err := d.Restore(s); err == nil {
				t.Fatal("a document that collects has restored a state")
			}
			_ = d.View(func(tx *ReadTxn) error {
				for range d.Text("t").Changes(tx, ChangeOptions{Before: s}) {
				}
				for range d.Text("t").DeltaAt(tx, s) {
				}
				return nil
			})
		}
		_ = d.View(func(tx *ReadTxn) error {
			text := d.Text("t")
			if i, ok := text.AbsPos(tx, RelPos(b)); ok && (i < 0 || i > text.Len(tx)) {
				t.Fatalf("position %x is at %d of %d", b, i, text.Len(tx))
			}
			return nil
		})
		if d.Digest() != digest || d.selfCheck() != nil {
			t.Fatal("reading has changed the document")
		}
	})
}
