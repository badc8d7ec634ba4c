package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/studio-whip/collab/crdt"
)

// growthSizes are the numbers of edits; each is twice the one before.
var growthSizes = []int{10_000, 20_000, 40_000, 80_000}

// growth prints how long plain and formatted editing takes as the number of edits doubles: an index serves both, so both
// grow like the number of edits, a little more than twofold. Of several runs, in turns, the fastest counts: what else the
// machine does only ever makes one slower.
func growth(runs int) error {
	kinds := []func(*crdt.Txn, *crdt.Text, *rand.Rand) error{plain, formatted}
	best := make([][2]float64, len(growthSizes))
	for range runs {
		for row, edits := range growthSizes {
			for i, edit := range kinds {
				ms, err := scatter(edits, edit)
				if err != nil {
					return err
				}
				if best[row][i] == 0 || ms < best[row][i] {
					best[row][i] = ms
				}
			}
		}
	}
	fmt.Printf("growth: edits at random places, milliseconds, fastest of %d, and times the row above\n", runs)
	fmt.Printf("  %7s  %18s  %18s\n", "edits", "plain", "formatted")
	for row, edits := range growthSizes {
		line := fmt.Sprintf("  %7d", edits)
		for i := range kinds {
			times := ""
			if row > 0 {
				times = fmt.Sprintf("%.2fx", best[row][i]/best[row-1][i])
			}
			line += fmt.Sprintf("  %10.1f %7s", best[row][i], times)
		}
		fmt.Println(line)
	}
	return nil
}

// scatter makes edits at random places of a new text, each a transaction that emits its update.
func scatter(edits int, edit func(*crdt.Txn, *crdt.Text, *rand.Rand) error) (ms float64, err error) {
	d, text := fresh(1)
	size := 0
	d.OnUpdate(func(u []byte, _ crdt.Origin) { size += len(u) })
	r := rand.New(rand.NewPCG(9, 9))
	start := time.Now()
	for range edits {
		if err := d.Update(func(tx *crdt.Txn) error { return edit(tx, text, r) }); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 1e6, nil
}

// plain inserts a few letters.
func plain(tx *crdt.Txn, text *crdt.Text, r *rand.Rand) error {
	return text.Insert(tx, r.IntN(text.Len(tx)+1), "word")
}

// formatted inserts bold letters, or formats some that are there, or takes the formatting away.
func formatted(tx *crdt.Txn, text *crdt.Text, r *rand.Rand) error {
	length := text.Len(tx)
	at := r.IntN(length + 1)
	value := []byte("true")
	switch r.IntN(4) {
	case 0:
		value = []byte("null")
	case 1:
	default:
		return text.Insert(tx, at, "word", crdt.Attr{Key: "bold", Value: value})
	}
	key := []string{"italic", "bold", "link"}[r.IntN(3)]
	return text.Format(tx, at, min(6, length-at), crdt.Attr{Key: key, Value: value})
}
