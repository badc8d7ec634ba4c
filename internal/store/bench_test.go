package store

import (
	"path/filepath"
	"testing"
)

// BenchmarkQueue is the cost of an edit: queued and sealed, and synced in groups of a hundred.
func BenchmarkQueue(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "db"), Options{Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rec := make([]byte, 1000)
	b.SetBytes(100 * int64(len(rec)))
	for b.Loop() {
		for range 100 {
			err := s.Queue(func(tx *Tx) error {
				_, err := tx.Log("l").Append(rec)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate is one durable write.
func BenchmarkUpdate(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "db"), Options{Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if err := s.Update(appendOne("l", 1)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads and opens records of 1000 bytes in order.
func BenchmarkRead(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "db"), Options{Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	err = s.Update(func(tx *Tx) error {
		for range 10000 {
			if _, err := tx.Log("l").Append(make([]byte, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(10000 * 1000)
	for b.Loop() {
		err := s.View(func(tx *Tx) error {
			for range tx.Log("l").From(1) {
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
