package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
)

// ID is a 32-byte SHA-256 identifier of a record or of a public value.
type ID [32]byte

// String returns the whole identifier in lower-case hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first four bytes in hex, for people and logs.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether id is all zeros, which no hash is.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders identifiers by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// ParseID reads the form that [ID.String] writes.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("%w: an identifier has %d hex digits, not %d", ErrMalformed, 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("%w: identifier: %w", ErrMalformed, err)
	}
	return id, nil
}

// SortIDs sorts ids in ascending byte order and drops repeats, in place.
func SortIDs[T ~[32]byte](ids []T) []T {
	slices.SortFunc(ids, func(a, b T) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// SortedIDs reports whether ids are in ascending byte order without repeats, as records require.
func SortedIDs[T ~[32]byte](ids []T) bool {
	for i := 1; i < len(ids); i++ {
		if bytes.Compare(ids[i-1][:], ids[i][:]) >= 0 {
			return false
		}
	}
	return true
}
