// Package custodian has the built-in keepers of root shares, for a [genesis.Ceremony].
//
//   - [KeyStore] leaves the share in a key store: the operating system's keychain, or a sealed file.
//   - [Token] seals it to a hardware token, on the token itself: token, PIN and touch give it back.
//   - [File] writes it, unsealed, to a file on a removable medium: whoever holds the medium holds one factor.
//   - [Phrase] seals it under a generated phrase of twelve words, into a recovery file that is kept elsewhere. The
//     recovery file also carries the root records, so that phrase and file start again where everything else is lost.
//   - [OwnPhrase] is [Phrase] under words that the person chooses, over a floor of strength.
//
// Each returns from Keep only when the share is durable and has been read back from its medium, and never replaces
// another share. [Solo] puts three of them together for one person. A ceremony should use places that do not fail
// together: no two of them on one disk. [Journal] keeps the journal of ceremonies in a key store.
//
// Errors wrap [genesis.ErrNoShare] where there is nothing under a reference, [ErrDamaged], [ErrOccupied] or
// [ErrWrongPhrase], or the failure of the medium. No error, label or file name holds a share or a phrase. SPEC.md of
// package genesis gives the formats.
package custodian

import "errors"

var (
	// ErrDamaged means that the file is not what was written: truncated, altered, or another program's. It was left
	// as it is; use another custodian's share, or a copy of the file.
	ErrDamaged = errors.New("custodian: file is damaged or of another kind")
	// ErrOccupied means that another share lies under this reference already; it was left as it is.
	ErrOccupied = errors.New("custodian: another share lies here already")
	// ErrWrongPhrase means that the phrase is not the one that the share was sealed under. Try again.
	ErrWrongPhrase = errors.New("custodian: wrong phrase")
)
