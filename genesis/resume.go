package genesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/internal/wire"
)

// Outcome is what became of an interrupted ceremony.
type Outcome int

const (
	NothingToDo Outcome = iota // no ceremony was interrupted
	Undone                     // the shares from before it count, as ever
	Finished                   // its new shares count
)

func (o Outcome) String() string {
	return [...]string{"nothing to do", "undone", "finished"}[min(max(o, 0), 2)]
}

// Resumed is what [Resume] found and did.
type Resumed struct {
	Outcome Outcome
	Left    []error // why shares that count no longer could not be erased
}

// Resume finishes or undoes what a crash interrupted, and erases shares that count no longer. root is the record that the
// program has stored as the one in force: it decides, and its share sets are the usable ones, before the call as after.
// records are the signed ones before it, from all custodians of both ceremonies that can be reached. A custodian that
// carries records may ask its person once more. It can be called at every start, and again after it was interrupted.
//
// If a custodian that carries records could not be given the new one it fails with [ErrUnfinished], among others, and
// nothing is erased.
func Resume(ctx context.Context, j Journal, root *Root, records [][]byte, from []Custodian) (Resumed, error) {
	rec, err := loadJournal(ctx, j, root.Project)
	if err != nil {
		return Resumed{}, err
	}
	switch {
	case rec.Phase == phaseCommitted, rec.Phase == phasePrepared && rec.Next == root.ID:
		left, err := rec.finish(ctx, j, root, records, from, from)
		return Resumed{Finished, left}, err
	case rec.Phase == phasePrepared:
		left, err := rec.undo(ctx, j, root, from)
		return Resumed{Undone, left}, err
	case rec.stale(root):
		left := rec.erase(ctx, root, from)
		return Resumed{NothingToDo, left}, rec.rest(ctx, j, root)
	}
	return Resumed{}, nil
}

// ResumeFounding erases the shares of a founding that was interrupted before the program had stored the project's root
// record; where it had, it takes the ceremony for complete. known returns the stored record of a project, nil if there is
// none. Shares that cannot be erased are worthless: no project has their key.
func ResumeFounding(ctx context.Context, j Journal, known func(ProjectID) *Root, from []Custodian) (Resumed, error) {
	raw, err := j.Load(ctx, ProjectID{})
	if err != nil || raw == nil {
		return Resumed{}, wrapJournal(err)
	}
	rec, err := parseJournal(raw)
	if err != nil {
		return Resumed{}, err
	}
	if root := known(rec.Project); root != nil {
		return Resumed{Outcome: Finished}, rec.founded(ctx, j)
	}
	left := rec.erase(context.WithoutCancel(ctx), &Root{Project: rec.Project}, from)
	return Resumed{Undone, left}, wrapJournal(j.Save(ctx, ProjectID{}, nil))
}

func wrapJournal(err error) error {
	if err != nil {
		return fmt.Errorf("genesis: journal: %w", err)
	}
	return nil
}

// founded moves the note of a founding to its project.
func (r *journalRecord) founded(ctx context.Context, j Journal) error {
	there, err := j.Load(ctx, r.Project)
	if err != nil {
		return wrapJournal(err)
	}
	if there == nil { // else a crash came between the two writes below
		r.Phase, r.Base, r.Next = phaseIdle, r.Next, RootID{}
		if err := r.save(ctx, j); err != nil {
			return err
		}
	}
	return wrapJournal(j.Save(ctx, ProjectID{}, nil))
}

// beginFounding notes that a project's first shares are about to be kept.
func (r *journalRecord) beginFounding(ctx context.Context, j Journal, root *Root, custodians []Custodian) error {
	there, err := j.Load(ctx, ProjectID{})
	if err != nil {
		return wrapJournal(err)
	}
	if there != nil {
		return ErrUnfinished
	}
	if err := r.begin(root, &root.ShareSets[0], custodians); err != nil {
		return err
	}
	r.Next = root.ID
	return r.saveAs(ctx, j, ProjectID{})
}

// begin notes that the shares of a set are about to be kept by custodians, in the order of x.
func (r *journalRecord) begin(root *Root, set *ShareSet, custodians []Custodian) error {
	r.tidy(root)
	if len(r.Sets) >= maxSets {
		return fmt.Errorf("%w: shares of %d ceremonies wait to be erased; resume with their custodians, or give them up",
			ErrJournal, len(r.Sets))
	}
	if len(r.Signed) >= maxSigned {
		return fmt.Errorf("%w: %d records were signed in one place and lost", ErrJournal, len(r.Signed))
	}
	s := setRecord{Ceremony: set.Ceremony, Key: set.RootPubHash, K: set.K}
	for i, c := range custodians {
		s.Places = append(s.Places, placeRecord{X: uint8(i + 1), Place: placeOf(c.Label())})
	}
	r.Sets = append(r.Sets, s)
	r.Phase, r.Next = phasePrepared, RootID{}
	return nil
}

// locate notes where the shares of a set were found. One that was not is anywhere: others may know it.
func (r *journalRecord) locate(set *ShareSet, from []Custodian, answers []answer) {
	s := setRecord{Ceremony: set.Ceremony, Key: set.RootPubHash, K: set.K}
	for i, a := range answers {
		if a.share != nil && a.share.Ceremony == set.Ceremony {
			s.Places = append(s.Places, placeRecord{X: a.share.X, Place: placeOf(from[i].Label())})
		}
	}
	slices.SortFunc(s.Places, func(a, b placeRecord) int { return int(a.X) - int(b.X) })
	for x := uint8(1); x <= set.M; x++ {
		if !slices.ContainsFunc(s.Places, func(p placeRecord) bool { return p.X == x }) {
			s.Known |= 1 << (x - 1)
		}
	}
	r.Sets = append(r.Sets, s)
}

// undo erases the new shares, as root is still the record from before. It goes on when ctx has ended.
func (r *journalRecord) undo(ctx context.Context, j Journal, root *Root, from []Custodian) ([]error, error) {
	ctx = context.WithoutCancel(ctx)
	left := r.erase(ctx, root, from)
	return left, r.rest(ctx, j, root)
}

// finish gives the new record to custodians that carry records, then erases the old shares.
func (r *journalRecord) finish(ctx context.Context, j Journal, root *Root, records [][]byte, keepers, former []Custodian) ([]error, error) {
	r.Phase, r.Next = phaseCommitted, root.ID
	if err := r.save(ctx, j); err != nil {
		return nil, errors.Join(err, ErrUnfinished)
	}
	if err := SpreadRecords(ctx, root, records, keepers); err != nil {
		return nil, errors.Join(err, ErrUnfinished)
	}
	left := r.erase(ctx, root, former)
	return left, r.rest(ctx, j, root)
}

// stale reports whether shares that do not count under root lie somewhere.
func (r *journalRecord) stale(root *Root) bool {
	return slices.ContainsFunc(r.Sets, func(s setRecord) bool {
		return root.shareSet(s.Ceremony) == nil && len(s.Places) > 0
	})
}

// erase has custodians forget the shares that do not count under root, and notes where that was done. It returns why
// some are left. A medium may have come back under another name, so custodians that say nothing to a place are asked.
func (r *journalRecord) erase(ctx context.Context, root *Root, from []Custodian) []error {
	var errs []error
	lost := 0
	for i := range r.Sets {
		s := &r.Sets[i]
		if root.shareSet(s.Ceremony) != nil {
			continue
		}
		s.Places = slices.DeleteFunc(s.Places, func(p placeRecord) bool {
			tried, err := forgetAt(ctx, ShareRef{Project: r.Project, Ceremony: s.Ceremony, X: p.X}, p.Place, from)
			if err != nil {
				errs = append(errs, err)
			} else if !tried {
				lost++
			}
			return tried && err == nil
		})
	}
	if lost > 0 {
		errs = append(errs, fmt.Errorf("genesis: %d shares that count no longer lie with custodians that were not named", lost))
	}
	return errs
}

// forgetAt has the custodians of a place forget a share; where none is of that place, whoever holds the share.
func forgetAt(ctx context.Context, ref ShareRef, place [placeSize]byte, from []Custodian) (tried bool, err error) {
	for _, byName := range []bool{true, false} {
		for _, c := range from {
			if byName && placeOf(c.Label()) != place || !byName && !holds(ctx, c, ref) {
				continue
			}
			tried = true
			if failed := c.Forget(ctx, ref); failed != nil {
				err = &ShareError{Custodian: c.Label(), Err: fmt.Errorf("a share that counts no longer may still lie there: %w", failed)}
			}
		}
		if tried {
			break
		}
	}
	return tried, err
}

// rest ends a ceremony. What was signed in vain is remembered, to be abandoned by the next record in its place.
func (r *journalRecord) rest(ctx context.Context, j Journal, root *Root) error {
	switch {
	case root.ID != r.Base:
		r.Base, r.Signed = root.ID, nil
	case r.Next != RootID{} && r.Next != root.ID && !slices.Contains(r.Signed, wire.ID(r.Next)):
		r.Signed = wire.SortIDs(append(r.Signed, wire.ID(r.Next)))
	}
	r.Phase, r.Next = phaseIdle, RootID{}
	r.tidy(root)
	return r.save(ctx, j)
}
