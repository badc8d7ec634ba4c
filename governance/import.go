package governance

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/studio-whip/collab/internal/wire"
)

// Import takes events without signatures from somebody who has dropped them, together with the checkpoints that attest
// them. They wait, at most [MaxImport] bytes and [MaxImportEvents] in all, until [Import.Adopt] finds them attested or drops
// them. It is not safe for concurrent use.
type Import struct {
	l    *Log
	raws [][]byte
	size int
}

// Import begins an import.
func (l *Log) Import() *Import { return &Import{l: l} }

// Add lets events wait, with and without signatures, each after its parents. It fails with [wire.ErrTooLarge] beyond what
// may wait.
func (im *Import) Add(raws [][]byte) error {
	for _, raw := range raws {
		if im.size += len(raw); im.size > MaxImport || len(im.raws) == MaxImportEvents {
			return fmt.Errorf("governance: import: %w: more than %d bytes or %d events", wire.ErrTooLarge, MaxImport, MaxImportEvents)
		}
		im.raws = append(im.raws, raw)
	}
	return nil
}

// Adopt verifies what waits, on all cores, and takes it if settled checkpoints attest all that has no signatures; else it
// fails with [ErrNotAttested] and takes nothing. Otherwise it is as [Log.AddUntil]: it stops at the first event whose
// error pass does not let pass, and what was before that stays. What rests on an event that was passed over is left out.
func (im *Import) Adopt(pass func(i int, err error) bool) (AddResult, error) {
	l := im.l
	scratch := l.scratch()
	if err := scratch.takeOver(l); err != nil {
		return AddResult{}, fmt.Errorf("governance: import: %w", err)
	}
	res, refused := scratch.addBare(im.raws, pass)
	im.raws, im.size = nil, 0
	if len(res.Added) == 0 {
		return AddResult{}, refused
	}
	if i := scratch.unattested(); i != none {
		return AddResult{}, errors.Join(refused, fmt.Errorf("governance: import: event %s: %w", scratch.h.entries[i].id.Short(), ErrNotAttested))
	}
	l.h, l.heads = scratch.h, scratch.heads
	clear(l.states)
	l.release(&res)
	if err := l.keep(res.Added); err != nil {
		return res, err
	}
	return res, refused
}

// AddAttested is [Log.AddUntil] for events of which some have no signatures, and that come in an order in which each stands
// after its parents. As an [Import] it takes all or nothing if some are not attested.
func (l *Log) AddAttested(raws [][]byte, pass func(i int, err error) bool) (AddResult, error) {
	im := &Import{l: l, raws: raws}
	return im.Adopt(pass)
}

// unattested returns the first entry without signatures that no settled checkpoint attests, or none.
func (l *Log) unattested() int { return l.h.unattested(l.newest()) }

// newest returns the last settled checkpoint, or none.
func (l *Log) newest() int { return l.h.verdictNow(l.h.maximal(l.heads)).base }

// scratch returns an empty log of the same project, under the same root, that takes events without signatures.
func (l *Log) scratch() *Log {
	s := NewLog(l.root)
	s.bare, s.clock = true, l.clock
	s.SetRoots(l.view, slices.Collect(maps.Values(l.h.roots.known)))
	return s
}

// takeOver adds what another log has verified.
func (l *Log) takeOver(other *Log) error {
	for e := range other.All() {
		if err := l.take(e); err != nil {
			return err
		}
	}
	return nil
}

// addBare is AddUntil for events with and without signatures, none of which waits for parents.
func (l *Log) addBare(raws [][]byte, pass func(i int, err error) bool) (res AddResult, err error) {
	events, errs := l.prepare(raws)
	for i, ev := range events {
		if ev != nil && (l.Has(ev.ID) || len(l.missingOf(ev)) > 0) {
			continue
		}
		if ev != nil {
			_, errs[i] = l.addEvent("", ev)
		}
		switch {
		case errs[i] == nil:
			res.Added = append(res.Added, ev.ID)
		case !pass(i, errs[i]):
			return res, errs[i]
		}
	}
	return res, nil
}
