package crdt

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestEncodeWhileWriting encodes a document again and again while others edit it, format it, and delete nested types in
// it. Every encoding must be of one state, which a new document can take, and later ones must contain earlier ones.
func TestEncodeWhileWriting(t *testing.T) {
	d := New(WithClientID(1))
	text, m := d.Text("t"), d.Map("m")
	var writers sync.WaitGroup
	for w := range uint64(2) {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(w, 3))
			for i := range 1500 {
				err := d.Update(func(tx *Txn) error {
					if i%5 > 0 {
						return scatterMark(tx, text, r)
					}
					key := fmt.Sprint(r.IntN(4))
					if err := m.Set(tx, key, NewMap()); err != nil {
						return err
					}
					v, _ := m.Get(tx, key)
					return v.Map().Set(tx, "k", i)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	copied := New(WithClientID(2))
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		u, err := d.EncodeUpdate(copied.StateVector())
		if err != nil {
			t.Fatal(err)
		}
		full, err := d.EncodeUpdate(nil)
		if err != nil {
			t.Fatal(err)
		}
		fresh := New(WithClientID(3))
		for to, b := range map[*Doc][]byte{copied: u, fresh: full} {
			if a, err := to.ApplyUpdate(b); err != nil || len(a.Pending) > 0 {
				t.Fatalf("applying: %v, pending %v", err, a.Pending)
			}
		}
		if err := fresh.selfCheck(); err != nil {
			t.Fatal(err)
		}
	}
	if copied.Digest() != d.Digest() {
		t.Fatal("the copy differs")
	}
}
