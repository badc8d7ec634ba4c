package crdt

import (
	"bytes"
	"testing"
)

// seedUpdates adds recorded and hostile updates to a corpus.
func seedUpdates(f *testing.F, add func([]byte)) {
	files, data := loadHostile(f)
	for _, h := range files {
		if len(data[h.Name]) < 1000 {
			add(data[h.Name])
		}
	}
	for _, fx := range loadFixtures(f)[:12] {
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
