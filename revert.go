package collab

import (
	"context"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/sync/journal"
)

// Reverted says what [Doc.RevertAuthor] did, in units of text, elements of lists, values of keys and marks of formatting:
// what was Deleted of what the member had inserted, what was Restored of what he had deleted, and what is Lost of that.
type Reverted = crdt.Reverted

// RevertAuthor undoes what a member wrote in the document: it deletes what he inserted and brings back what he deleted of
// others, unless somebody else has deleted it too. With since, edits of [Doc.History], only what he wrote from these on is undone
// in their chains, and nothing in his other chains. It is an ordinary edit of this device's owner: signed, in the history,
// merged with what others write meanwhile, and undone like any other. Nobody's role or membership matters to it but one's own.
//
// Done twice it brings nothing back twice, unless two members do so at the same time.
// What it cannot bring back it counts as Lost: what lay in a shared type that he deleted, and the type; a key's value
// that somebody has set since stays as it is. What he has inserted in text that others moved, by deleting and inserting
// it again, is theirs. Edits that are held back or do not count are left alone: they are not shown.
//
// It reads the whole history of the document, before the edit. It fails with [ErrDenied] for a viewer, [ErrNoKey], [ErrTooLarge],
// [ErrClosed], or the context's error.
func (d *Doc) RevertAuthor(ctx context.Context, who MemberID, since ...Edit) (r Reverted, err error) {
	if err := d.s.alive(); err != nil {
		return r, err
	}
	if err := d.s.mayWrite(); err != nil {
		return r, err
	}
	const doing = "undo what a member wrote"
	if err := d.s.live.Flush(ctx); err != nil { // own edits, if they are to be undone, must be in the history
		return r, wrap(doing, err)
	}
	st := d.s.membership.State()
	w, err := d.s.journal.Wrote(ctx, d.replica.ID, func(e journal.Written) bool {
		device, ok := st.Device(e.Device)
		return ok && device.Member == who && from(since, e)
	})
	if err != nil {
		return r, wrap(doing, err)
	}
	err = d.Update(func(tx *crdt.Txn) (err error) {
		r, err = tx.Revert(w.Inserted, w.Deleted, w.Source)
		return err
	})
	return r, wrap(doing, err)
}

// from reports whether an envelope is one of those chosen, or follows it in its chain.
func from(since []Edit, e journal.Written) bool {
	if len(since) == 0 {
		return true
	}
	for _, s := range since {
		if s.Device == e.Device && s.Chain == e.ChainNo && s.Seq <= e.Seq {
			return true
		}
	}
	return false
}
