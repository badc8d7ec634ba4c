package store_test

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/internal/store"
)

func ExampleOpen() {
	s, err := store.Open("", store.Options{Memory: true})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	err = s.Queue(func(tx *store.Tx) error {
		_, err := tx.Log("chain").Append([]byte("first"))
		return err
	})
	if err != nil {
		panic(err)
	}
	if err := s.Flush(context.Background()); err != nil { // now it would survive a crash
		panic(err)
	}
	err = s.View(func(tx *store.Tx) error {
		for i, rec := range tx.Log("chain").From(1) {
			fmt.Println(i, string(rec))
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output: 1 first
}
