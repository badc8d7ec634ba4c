package envelope

import (
	"errors"
	"fmt"

	"github.com/studio-whip/collab/internal/wire"
)

// Errors of reading and verifying.
var (
	// ErrMalformed means that bytes are not an envelope, run or payload. Drop them; who sent them is at fault.
	ErrMalformed = errors.New("envelope: malformed; drop it")
	// ErrTooLarge means that something is above the caps of limits.go. A writer splits it; a reader drops it.
	ErrTooLarge = errors.New("envelope: too large; split it")
	// ErrVersion means that an envelope was written by a newer version or under another suite. Update the program.
	ErrVersion = errors.New("envelope: unknown version or suite; update the program")
	// ErrSignature means that the signature is missing, altered or of another key. Drop it.
	ErrSignature = errors.New("envelope: signature does not verify; drop it")
	// ErrSealed means that the content does not open: it was altered, or sealed under another key or for another
	// place. Ask for the epoch's key again, or drop it.
	ErrSealed = errors.New("envelope: content does not open under this key")
)

// Errors of placing an envelope in its chain.
var (
	// ErrGap means that envelopes before this one are missing. Fetch them.
	ErrGap = errors.New("envelope: envelopes before it are missing; fetch them")
	// ErrFork means that two different envelopes claim one place in a chain: its device equivocates, or was restored
	// from an old copy. Keep both as evidence.
	ErrFork = errors.New("envelope: its chain is forked; keep both branches as evidence")
	// ErrHeld means that this very envelope is held already.
	ErrHeld = errors.New("envelope: held already")
	// ErrPast means that the envelope's place lies before the newest held: compare it with the one held there.
	ErrPast = errors.New("envelope: its place is filled; compare it with the one held")
	// ErrOtherChain means that the envelope belongs to another project, device or chain.
	ErrOtherChain = errors.New("envelope: belongs to another chain")
)

// malformed wraps ErrMalformed with what was wrong.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decode reads the encoding of a record into v and gives errors this room's types.
func decode(what string, raw []byte, v any, limit int) error {
	err := wire.Unmarshal(raw, v, limit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wire.ErrTooLarge):
		return fmt.Errorf("%w: %s: %w", ErrTooLarge, what, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
}
