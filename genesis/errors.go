package genesis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of root records.
var (
	// ErrUnsupportedVersion means that the record is not version 1 of a root: later versions are verified only by
	// walking the chain of records from version 1, as a [Chain] does.
	ErrUnsupportedVersion = errors.New("genesis: root record of a later version; its chain must be walked from version 1")
	// ErrUpgradeRequired means that the project uses a feature or suite that this build lacks. Update the program.
	ErrUpgradeRequired = errors.New("genesis: project needs a newer program")
	// ErrRoot means that a root record is well formed but breaks a rule.
	ErrRoot = errors.New("genesis: root record breaks a rule")
	// ErrDowngrade means that a record would let weaker cryptography in than this build accepts.
	ErrDowngrade = errors.New("genesis: root record lowers the suite below what this program accepts")
	// ErrForeignRoot means that a record belongs to the chain of another project.
	ErrForeignRoot = errors.New("genesis: root record of another project")
	// ErrTooManyRivals means that more rival records of a root are known than are kept: its holders' keys are misused.
	ErrTooManyRivals = errors.New("genesis: too many rival root records")
	// ErrPinned means that a version is settled here already and another one was to be settled in its place. People
	// who were cut off compare safety numbers and pin by hand: [Chain.Repin].
	ErrPinned = errors.New("genesis: another root record is settled here")
	// ErrUnknownRoot means that a chain holds no verified record of this id: fetch it first.
	ErrUnknownRoot = errors.New("genesis: root record is not held")
)

// Errors of moving a root.
var (
	// ErrSecondRecord means that a holder was asked to sign a second record in one place of the chain, one that does not
	// abandon the first: holders who do so fork the root. Let the new record abandon the old one.
	ErrSecondRecord = errors.New("genesis: another record was signed in this place, and this one does not abandon it")
	// ErrExpired means that the time of a proposal is over: propose anew.
	ErrExpired = errors.New("genesis: proposal has expired")
	// ErrIncomplete means that signatures are missing from a proposal.
	ErrIncomplete = errors.New("genesis: signatures are missing")
	// ErrNotHolder means that a key is neither one of the root's nor one of those proposed.
	ErrNotHolder = errors.New("genesis: the key holds no part of this root")
)

// Errors of ceremonies and of single shares.
var (
	// ErrCeremony means that a ceremony cannot be held as asked; nothing was stored.
	ErrCeremony = errors.New("genesis: ceremony cannot be held")
	// ErrClosed means that an [Authority] was used after its function had returned.
	ErrClosed = errors.New("genesis: authority is closed")
	// ErrNoShare means that a custodian keeps no share of this ceremony. Custodians return it from Recall.
	ErrNoShare = errors.New("genesis: custodian keeps no such share")
	// ErrShareCorrupt means that a share is not what the ceremony made: damaged, mistyped or forged.
	ErrShareCorrupt = errors.New("genesis: share is damaged or forged")
	// ErrShareForeignProject means that a share belongs to no ceremony of this project.
	ErrShareForeignProject = errors.New("genesis: share belongs to another project")
	// ErrShareOtherCeremony means that a share belongs to this project, but to a ceremony that is not the current one.
	ErrShareOtherCeremony = errors.New("genesis: share belongs to another ceremony of this project")
	// ErrShareDuplicate means that a custodian gave the same share as another one.
	ErrShareDuplicate = errors.New("genesis: share is a copy of another one")
	// ErrRootMismatch means that the shares rebuild no key of the current root record: they are superseded by a later
	// ceremony, or the record's commitments were made wrongly.
	ErrRootMismatch = errors.New("genesis: shares do not give the root's key")
)

// ShareError says which custodian's share failed, and why. Err wraps one of the share errors above, or is what the
// custodian itself reported.
type ShareError struct {
	Custodian string // its label
	Err       error
}

func (e *ShareError) Error() string {
	return fmt.Sprintf("genesis: custodian %q: %v", e.Custodian, e.Err)
}

func (e *ShareError) Unwrap() error { return e.Err }

// QuorumError means that too few good shares came together. No part of the key was built.
type QuorumError struct {
	Have    int              // good shares
	Need    int              // shares that must agree
	Answers map[string]error // what each custodian answered, by label; nil: its share is good
}

func (e *QuorumError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "genesis: %d good shares, %d are needed", e.Have, e.Need)
	for _, label := range e.labels() {
		if err := e.Answers[label]; err != nil {
			fmt.Fprintf(&b, "; custodian %q: %v", label, err)
		}
	}
	return b.String()
}

// Unwrap returns the custodians' errors in the order of their labels.
func (e *QuorumError) Unwrap() []error {
	var errs []error
	for _, label := range e.labels() {
		if err := e.Answers[label]; err != nil {
			errs = append(errs, &ShareError{Custodian: label, Err: err})
		}
	}
	return errs
}

func (e *QuorumError) labels() []string {
	labels := make([]string, 0, len(e.Answers))
	for label := range e.Answers {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	return labels
}
