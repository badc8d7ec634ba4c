package assets

import (
	"context"
	"time"
)

// collectGarbage removes blocks that belong to no file, some time after the project was opened and after a file went: an
// index that was brought back from a copy, or that governance takes back and gives again, may name them by then.
func (a *Assets) collectGarbage(ctx context.Context) error {
	timer := time.NewTimer(a.tidyAfter)
	defer timer.Stop()
	due := true
	for {
		select {
		case <-a.collect:
			if !due {
				timer.Reset(a.tidyAfter)
				due = true
			}
		case <-timer.C:
			due = false
			a.tidy(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// tidy removes what belongs to no file. While a manifest is missing it cannot be known what belongs to its file, and
// nothing is removed.
func (a *Assets) tidy(ctx context.Context) {
	if !a.allKnown() {
		return
	}
	for _, h := range a.shelf.all() {
		if ctx.Err() != nil {
			return
		}
		if !a.garbage(h) {
			continue
		}
		if err := a.shelf.drop(ctx, h); err != nil {
			a.log.Warn("assets: a block that is not needed stays", "err", err)
		}
	}
}

func (a *Assets) allKnown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.assets {
		if x.blocks == nil && x.invalid == nil {
			return false
		}
	}
	return true
}

func (a *Assets) garbage(h hash) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.places[h]) == 0 && a.adding[h] == 0
}
