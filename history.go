package collab

import (
	"iter"

	"github.com/studio-whip/collab/sync/journal"
)

// Edit is one signed envelope of a document: what a device wrote at once.
type Edit struct {
	By      MemberID
	Device  DeviceID
	Chain   uint32   // which of the device's chains
	Seq     uint64   // its place in the chain
	Counts  bool     // governance has not cut it off: the document shows it, unless it is Held
	Held    bool     // it counts, but a quarantine or [Session.Mute] keeps it from being shown on this device
	Updates [][]byte // Yjs v1
	Sealed  []byte   // the envelope as it is stored: header and ciphertext
}

// History yields the edits of the document that this device holds, with their authors. The order differs between
// devices, but no edit comes before one that it depends on. Edits that governance has cut off are there too and do not
// count, and so are those that are held back. The error comes alone and last; it is [ErrClosed] once the session is closed.
func (d *Doc) History() iter.Seq2[Edit, error] {
	return func(yield func(Edit, error) bool) {
		for w, err := range d.s.journal.History(d.replica.ID) {
			if err != nil {
				yield(Edit{}, wrap("read the history", err))
				return
			}
			if !yield(d.s.edit(w), nil) {
				return
			}
		}
	}
}

// ReadEdit opens an envelope of this project with the keys of this device, wherever it was recorded. It fails with
// [ErrNoKey] if it was written after this device's owner was removed, or before they had every key, and with [ErrClosed]. Counts is true only
// of what this device holds itself: nothing else vouches for the author.
func (s *Session) ReadEdit(sealed []byte) (Edit, error) {
	if err := s.readable(); err != nil {
		return Edit{}, err
	}
	w, err := s.journal.Read(sealed)
	if err != nil {
		return Edit{}, wrap("read an edit", err)
	}
	return s.edit(w), nil
}

func (s *Session) edit(w journal.Written) Edit {
	e := Edit{Device: w.Device, Chain: w.ChainNo, Seq: w.Seq, Counts: w.Counts, Held: w.Held, Updates: w.Updates, Sealed: w.Sealed}
	if d, ok := s.membership.State().Device(w.Device); ok {
		e.By = d.Member
	}
	return e
}
