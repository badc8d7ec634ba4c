package wire

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CheckText verifies that s may stand in a text field: valid UTF-8 in normal form C, no control characters, at
// most limit bytes. The error wraps [ErrTooLarge] or [ErrMalformed].
func CheckText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%w: text of %d bytes, at most %d are allowed", ErrTooLarge, len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: text is not UTF-8", ErrMalformed)
	}
	if !norm.NFC.IsNormalString(s) {
		return fmt.Errorf("%w: text is not in Unicode normal form C", ErrMalformed)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: text holds the control character %U", ErrMalformed, r)
		}
	}
	return nil
}

// NFC returns s in Unicode normal form C, the form of every text field.
func NFC(s string) string { return norm.NFC.String(s) }
