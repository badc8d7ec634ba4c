package crdt

import (
	"errors"
	"fmt"
)

// Errors of local edits. They are returned before anything has changed.
var (
	// ErrRange says that an index or a count lies outside the text or list.
	ErrRange = errors.New("crdt: index out of range; indexes run from 0 to Len, in UTF-16 code units for texts")
	// ErrTxn says that a transaction was used after its function returned, or with another document.
	ErrTxn = errors.New("crdt: transaction has ended or belongs to another document; use the one Update passes in")
	// ErrValue says that a value has no form in the document format.
	ErrValue = errors.New("crdt: value cannot be stored")
	// ErrClientID says that SetClientID came too late or was given an ID above 2^53-1.
	ErrClientID = errors.New("crdt: client ID must be set before the first own edit and be at most 2^53-1")
	// ErrDeleted says that a nested type has been deleted, and with it everything inside.
	ErrDeleted = errors.New("crdt: shared type has been deleted; look it up again where it was")
	// ErrSnapshot says that a state cannot be restored.
	ErrSnapshot = errors.New("crdt: the state is not kept here; restoring needs a document made WithoutGC that has all of it")
	// ErrLimit says that a limit of the document would be exceeded.
	ErrLimit = errors.New("crdt: limit exceeded")
)

// DecodeError says why an update or a state vector was refused. The document is unchanged.
type DecodeError struct {
	Offset int    // bytes from the start of the input
	Reason string // what was wrong there
	limit  bool
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("crdt: malformed input at byte %d: %s; document unchanged", e.Offset, e.Reason)
}

// Unwrap makes errors.Is(err, ErrLimit) true for input that was refused for its size alone.
func (e *DecodeError) Unwrap() error {
	if e.limit {
		return ErrLimit
	}
	return nil
}
