package assets

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// lane is one of the two lines of the background: what waits for its turn, and what is pinned as PriorityNow, which has
// the right of way itself.
type lane struct {
	eager bool
	wake  chan struct{}
}

func (a *Assets) wakeLanes() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakeLanesLocked()
}

func (a *Assets) wakeLanesLocked() {
	for i := range a.lanes {
		poke(a.lanes[i].wake)
	}
}

// job is a block to fetch.
type job struct {
	asset *asset
	hash  hash
	size  int // sealed
	no    int // of the block; -1: it is a part of the manifest
}

// background fetches what is missing, a window of blocks at a time, until ctx ends.
func (a *Assets) background(ctx context.Context, l *lane) error {
	slots := make(chan struct{}, backgroundWindow)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		j, err := a.nextJob(ctx, l)
		if err != nil {
			return nil // ctx has ended
		}
		turn, end, err := a.turn(ctx, l, j)
		if err != nil {
			a.finish(j, context.Canceled)
			<-slots
			if ctx.Err() != nil {
				return nil
			}
			a.log.Warn("assets: no turn in the background", "err", err)
			a.rest()
			continue
		}
		if !a.tasks.Go("background block", func(context.Context) error {
			err := a.fetcher.get(turn, j.hash, j.size, false)
			end()
			a.finish(j, err)
			<-slots
			return nil
		}) {
			end()
			return nil
		}
	}
}

// turn waits until a job may run.
func (a *Assets) turn(ctx context.Context, l *lane, j job) (context.Context, func(), error) {
	if !l.eager {
		return a.urgent.schedule.Background(ctx, j.size)
	}
	a.urgent.enter()
	return ctx, a.urgent.leave, nil
}

// nextJob waits for something to fetch.
func (a *Assets) nextJob(ctx context.Context, l *lane) (job, error) {
	for {
		j, wait, ok := a.pick(l, time.Now())
		if ok {
			return j, nil
		}
		var later <-chan time.Time
		if wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-l.wake:
		case <-later:
		case <-ctx.Done():
			return job{}, ctx.Err()
		}
	}
}

// pick takes the best block that is missing and not under way. Without one, wait says when there may be one again; 0: not
// before something changes.
func (a *Assets) pick(l *lane, now time.Time) (_ job, wait time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.failed.Sub(now); d > 0 {
		return job{}, d, false
	}
	if a.order == nil {
		a.sortAssets()
	}
	for _, x := range a.order {
		// The manifest is fetched in any case: without it nobody knows which blocks are garbage.
		if !x.wanted && x.blocks != nil || x.invalid != nil || x.complete() || l.eager != (x.priority == PriorityNow) {
			continue
		}
		if d := x.held.Sub(now); d > 0 {
			if wait == 0 || d < wait {
				wait = d
			}
			continue
		}
		if j, ok := a.missing(x); ok {
			a.inflight[j.hash] = struct{}{}
			return j, 0, true
		}
	}
	return job{}, wait, false
}

// sortAssets decides what is wanted, and in which order; a.mu is held.
func (a *Assets) sortAssets() {
	first := map[*asset]string{}
	for _, path := range slices.Sorted(maps.Keys(a.files)) {
		x, p := a.files[path].asset, a.policies[path]
		if _, seen := first[x]; !seen {
			first[x] = path
			x.wanted, x.priority = false, PriorityBackground
		}
		if p.Mode != modeUnpinned {
			x.wanted, x.priority = true, max(x.priority, p.Priority)
		}
	}
	a.order = slices.SortedFunc(maps.Keys(first), func(x, y *asset) int {
		return cmp.Or(cmp.Compare(y.priority, x.priority), cmp.Compare(first[x], first[y]))
	})
}

// missing returns the next block of a file that is missing and not under way; a.mu is held.
func (a *Assets) missing(x *asset) (job, bool) {
	if x.blocks == nil {
		for i, h := range x.Manifest {
			if _, busy := a.inflight[h]; !busy && !a.shelf.has(h) {
				return job{x, h, manifestPartLen(i, x.Size) + overhead, -1}, true
			}
		}
		return job{}, false
	}
	for i := range x.blocks {
		no := (x.cursor + i) % len(x.blocks)
		if _, busy := a.inflight[x.blocks[no]]; !busy && !x.here[no] {
			x.cursor = (no + 1) % len(x.blocks)
			return job{x, x.blocks[no], blockLen(no, x.Size) + overhead, no}, true
		}
	}
	return job{}, false
}

// finish notes how a job went.
func (a *Assets) finish(j job, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := j.asset
	delete(a.inflight, j.hash)
	switch {
	case err == nil:
		x.misses = 0
	case errors.Is(err, errUnavailable):
		left := len(x.Manifest)
		if x.blocks != nil {
			left = len(x.blocks) - x.haveNo
		}
		if x.misses++; x.misses >= min(missesToHold, left) {
			x.misses, x.held = 0, time.Now().Add(holdFor)
		}
	case errors.Is(err, ErrInvalid):
		x.invalid = err
		a.log.Warn("assets: unusable file", "id", x.id.Short(), "err", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrClosed):
		if j.no >= 0 {
			x.cursor = min(x.cursor, j.no) // the turn was over; it is the first in the next
		}
	default:
		a.log.Warn("assets: blocks cannot be stored; the background rests", "err", err)
		a.failed = time.Now().Add(failedFor)
	}
	a.wakeLanesLocked()
}

// rest lets the background pause.
func (a *Assets) rest() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = time.Now().Add(failedFor)
}
