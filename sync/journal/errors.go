package journal

import (
	"errors"
	"fmt"

	"github.com/studio-whip/collab/identity"
)

// Errors of this device's own edits.
var (
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("journal: closed")
	// ErrReadOnly means that this member may not write: it is a viewer, or was removed. A manager can grant the role.
	ErrReadOnly = errors.New("journal: this member may read but not write; ask a manager for the editor role")
	// ErrTooLarge means that one value of an edit does not fit an envelope.
	ErrTooLarge = errors.New("journal: edit too large")
	// ErrName means that a document's name is empty, too long or not plain text.
	ErrName = errors.New("journal: unusable document name")
	// ErrUnknownDoc means that no document of this id is known here yet.
	ErrUnknownDoc = errors.New("journal: unknown document")
)

// Errors of content from others; a [RefusedError] wraps one of the first group.
var (
	// ErrProject means that the envelope or snapshot belongs to another project.
	ErrProject = errors.New("journal: belongs to another project")
	// ErrAuthor means that the author was no member, or may not do this, where the envelope says it stood.
	ErrAuthor = errors.New("journal: author may not do this at the governance heads it names")
	// ErrChain means that the chain was not open for the author, or does not own its client ID.
	ErrChain = errors.New("journal: chain is not open or does not own its client ID")
	// ErrHeads means that the governance heads named are older than those of the envelope before.
	ErrHeads = errors.New("journal: governance heads are older than those of the envelope before")
	// ErrEpoch means that the key epoch was not usable, or the ciphertext does not open under it.
	ErrEpoch = errors.New("journal: key epoch is not usable there, or the content does not open under it")
	// ErrContent means that the payload is malformed or edits under a client ID that is not the chain's.
	ErrContent = errors.New("journal: content is malformed or edits under a foreign client ID")
	// ErrIntroduction means that a chain does not begin with an introduction, or that one does not match its envelope.
	ErrIntroduction = errors.New("journal: chain does not begin with a matching introduction")
	// ErrCut means that the envelope lies beyond the end that governance or a proven fork has set to its chain.
	ErrCut = errors.New("journal: lies beyond the cut of its chain")
	// ErrFork means that the envelope contradicts another of the same place in its chain.
	ErrFork = errors.New("journal: contradicts another envelope of the same chain")
	// ErrUnverifiable means that there is no way yet to judge: governance heads, a key or earlier envelopes are missing.
	ErrUnverifiable = errors.New("journal: cannot be judged yet; governance events, a key or earlier envelopes are missing")
	// ErrSnapshot means that a snapshot is malformed, of another project or document, or unusable here.
	ErrSnapshot = errors.New("journal: unusable snapshot")
)

// RefusedError says why an envelope, or a run of them, was refused. Nothing of it was stored or applied.
type RefusedError struct {
	Device  identity.DeviceID // author
	ChainNo uint32
	Seq     uint64
	Err     error // wraps one of the errors above, or one of the signature's
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("journal: envelope %d of chain %d of device %s refused: %v", e.Seq, e.ChainNo, e.Device.Short(), e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }
