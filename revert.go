package collab

import (
	"context"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/sync/journal"
)

// Reverted says what [Doc.RevertAuthor] did, in units of text, elements of lists, values of keys, marks of formatting, shared
// types (maps, lists, texts, XML elements, subdocuments' names), and everything inside those.
type Reverted struct {
	Deleted  uint64 // of what the member had inserted
	Kept     uint64 // shared types that he had inserted and that are there for what others have put inside
	Restored uint64 // of what he had deleted
	Doubles  uint64 // second copies of what two members had brought back at the same time, which were deleted
	Lost     uint64 // of what he had deleted, and nobody has kept: see [Doc.RevertAuthor]
	Unread   uint64 // of what he had inserted: it rests on a snapshot, his edits have not arrived, and it was left alone
}

// RevertAuthor undoes what a member wrote in the document: it deletes what he inserted, formatting included, and brings
// back what he deleted or replaced of others, unless somebody else has deleted it too: text, values, whole shared types
// with everything inside, the former values of keys. What others wrote stays. A shared type of his in which they have put something is
// kept for that, with what he put in taken out; a key that they have set since keeps their value. With since, edits of
// [Doc.History], only what he wrote from these on is undone in their chains, and nothing in his other chains. It is an
// ordinary edit of this device's owner: signed, in the history, merged with what others write meanwhile, and undone like
// any other. Nobody's role or membership matters to it but one's own.
//
// A CRDT cannot undelete: what comes back is a copy, by this device's owner. A handle to a shared type that was deleted stays
// dead, take that of the new one, and an edit that arrives later in the deleted one is not in the new one. Done twice it
// brings nothing back twice, but for two members who do so at the same time, neither of whom can know: then both
// copies are there. Doing it once more adds no third and deletes the second one of text and values, if nobody has changed either;
// shared types stay double, since people may have gone on in either. What he has inserted and others moved, by deleting and inserting
// it again, or brought back themselves, is theirs.
//
// Nothing is lost by collecting deleted content or by compacting: the edits that had it are kept for good. Lost are what
// edits did not carry, since it was deleted before they were signed. A document that still rests on a snapshot
// ([Doc.Unverified]) misses edits: what of his is known only from there is left alone and counted as Unread; call it again
// when the document is verified. Edits that are held back or do not count are left alone too: they are not shown.
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
	his := func(id DeviceID) bool {
		device, ok := st.Device(id)
		return ok && device.Member == who
	}
	w, err := d.s.journal.Wrote(ctx, d.replica.ID, func(e journal.Written) bool { return his(e.Device) && from(since, e) })
	if err != nil {
		return r, wrap(doing, err)
	}
	r.Unread = d.s.journal.Unread(d.replica.ID, w.Source, his)
	err = d.Update(func(tx *crdt.Txn) error {
		did, err := tx.Revert(w.Inserted, w.Deleted, w.Source)
		r.Deleted, r.Kept, r.Restored, r.Doubles, r.Lost = did.Deleted, did.Kept, did.Restored, did.Doubles, did.Lost
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
