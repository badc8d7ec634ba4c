package journal

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// ErrNoKey means that the key of the epoch that an envelope is sealed under is not held here: this device was no member
// when it was written, or the key has not arrived.
var ErrNoKey = errors.New("journal: no key is held for the epoch that it is sealed under")

// Written is one envelope of a document and what it says.
type Written struct {
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
	Counts  bool     // it lies within its chain's end
	Held    bool     // it counts, but this device does not show it now: see [Journal.OnHold] and [Journal.Mute]
	Updates [][]byte // Yjs v1
	Sealed  []byte   // the envelope as it is stored, [header, content]; a later signature of its chain attests it
}

// History yields the envelopes of a document that are held, in the order in which they were accepted, which differs
// between devices but respects what each edit depends on. The error comes alone and last.
func (j *Journal) History(doc DocID) iter.Seq2[Written, error] {
	return func(yield func(Written, error) bool) {
		errStop := errors.New("stop")
		j.mu.Lock()
		by := j.routes()
		j.mu.Unlock()
		_, err := j.entries(doc, 1, by, func(e *envelope.Envelope) error {
			w, err := j.written(e)
			if err != nil {
				return err
			}
			if !yield(w, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(Written{}, err)
		}
	}
}

// Read opens an envelope of this project with the keys that are held here, wherever it was recorded: sealed is as in
// [Written], or the envelope as it is sent. It fails with [ErrNoKey], [ErrProject], [ErrEpoch], [ErrContent], or an error
// of the form. Counts is true only of an envelope that is held.
func (j *Journal) Read(sealed []byte) (Written, error) {
	e, err := envelope.ParseStored(sealed)
	if err != nil {
		if e, err = envelope.Parse(sealed); err != nil {
			return Written{}, fmt.Errorf("journal: read: %w", err)
		}
	}
	if e.Project != j.project {
		return Written{}, ErrProject
	}
	if e.Kind != envelope.KindUpdate {
		return Written{}, fmt.Errorf("%w: it is no edit", ErrContent)
	}
	return j.written(e)
}

// written opens an envelope that edits a document.
func (j *Journal) written(e *envelope.Envelope) (Written, error) {
	w := Written{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, ID: e.ID, Sealed: bytes.Clone(e.Stored())}
	updates, err := j.updates(e)
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		return Written{}, ErrNoKey
	}
	if err != nil {
		return Written{}, err
	}
	w.Updates = updates
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chains[keyOf(e)]
	if c == nil || e.Seq > c.head || e.Seq > c.limit {
		return w, nil
	}
	held, err := j.idAt(c, e.Seq)
	w.Counts = err == nil && held == e.ID
	w.Held = w.Counts && e.Seq > c.shown()
	return w, nil
}
