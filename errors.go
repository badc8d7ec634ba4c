package collab

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/sync/coordinator"
	"github.com/studio-whip/collab/sync/foundation"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/live"
	"github.com/studio-whip/collab/sync/membership"
)

// What a caller branches on. Every error of this package wraps one of these or one of a backing package, says what
// was being done and what to do next.
var (
	ErrClosed          = errors.New("collab: closed")
	ErrInUse           = errors.New("collab: directory is in use by another process")
	ErrDamaged         = errors.New("collab: a file on this device is damaged")
	ErrDiskFull        = errors.New("collab: disk full")
	ErrKeyMissing      = errors.New("collab: the key store does not hold this directory's key")
	ErrUnknownProject  = errors.New("collab: no such project on this device")
	ErrDenied          = errors.New("collab: not permitted")
	ErrInviteInvalid   = errors.New("collab: invite code damaged or of another kind")
	ErrInviteExpired   = errors.New("collab: invite expired")
	ErrInviteUsed      = errors.New("collab: invite already used")
	ErrInviteCancelled = errors.New("collab: invite cancelled")
	ErrPending         = errors.New("collab: admitted by one host, waiting for a manager")
	ErrUnreachable     = errors.New("collab: no peer reachable")
	ErrNotPostQuantum  = errors.New("collab: connection would not be post-quantum")
	ErrVersion         = errors.New("collab: written by a newer version")

	// ErrNoShare means that a custodian holds no share of this project's ceremony.
	ErrNoShare = genesis.ErrNoShare
)

// QuorumError says how many shares were gathered and what each custodian answered.
type QuorumError = genesis.QuorumError

// DeniedError says which rule forbids a governance act and what would be needed.
type DeniedError = governance.DeniedError

// translations maps what the rooms below report to what callers of this package branch on. The first match wins.
var translations = []struct{ from, to error }{
	{store.ErrInUse, ErrInUse},
	{keystore.ErrInUse, ErrInUse},
	{store.ErrClosed, ErrClosed},
	{store.ErrDiskFull, ErrDiskFull},
	{store.ErrDamaged, ErrDamaged},
	{store.ErrWrongKey, ErrDamaged},
	{keystore.ErrDamaged, ErrDamaged},
	{invite.ErrExpired, ErrInviteExpired},
	{invite.ErrUsed, ErrInviteUsed},
	{invite.ErrCancelled, ErrInviteCancelled},
	{invite.ErrDamaged, ErrInviteInvalid},
	{invite.ErrNotACode, ErrInviteInvalid},
	{invite.ErrVersion, ErrVersion},
	{invite.ErrHost, ErrInviteInvalid},
	{invite.ErrInvalid, ErrInviteInvalid},
	{invite.ErrVoid, ErrInviteInvalid},
	{invite.ErrDenied, ErrDenied},
	{invite.ErrFull, ErrDenied},
	{invite.ErrNoAnswer, ErrUnreachable},
	{membership.ErrClosed, ErrClosed},
	{membership.ErrUnknownInvite, ErrInviteInvalid},
	{membership.ErrNotMember, ErrDenied},
	{membership.ErrInDoubt, ErrUnreachable},
	{journal.ErrClosed, ErrClosed},
	{journal.ErrReadOnly, ErrDenied},
	{live.ErrClosed, ErrClosed},
	{coordinator.ErrStopped, ErrClosed},
	{foundation.ErrClosed, ErrClosed},
	{foundation.ErrRefused, ErrUnreachable},
	{foundation.ErrStalled, ErrUnreachable},
	{live.ErrNotReady, ErrUnreachable},
	{p2p.ErrNotPostQuantum, ErrNotPostQuantum},
	{p2p.ErrUnreachable, ErrUnreachable},
	{p2p.ErrRefused, ErrUnreachable},
	{p2p.ErrWrongDevice, ErrUnreachable},
}

// wrap says what was being done and makes err answer to the sentinel that callers branch on; the cause stays in the
// chain.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	if denied := new(governance.DeniedError); errors.As(err, &denied) && !errors.Is(err, ErrDenied) {
		return fmt.Errorf("%w: %s: %w", ErrDenied, doing, err)
	}
	for _, t := range translations {
		if errors.Is(err, t.from) && !errors.Is(err, t.to) {
			return fmt.Errorf("%w: %s: %w", t.to, doing, err)
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("collab: %s: %w; check the owner and mode of the directory", doing, err)
	}
	return fmt.Errorf("collab: %s: %w", doing, err)
}
