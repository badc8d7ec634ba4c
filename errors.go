package collab

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/sync/assets"
	"github.com/studio-whip/collab/sync/boxkeys"
	"github.com/studio-whip/collab/sync/coordinator"
	"github.com/studio-whip/collab/sync/foundation"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/live"
	"github.com/studio-whip/collab/sync/membership"
)

// What a caller branches on. Every error of this package wraps one of these or one of a backing package, says what
// was being done and what to do next. None holds a key, a phrase, an invite code or content.
var (
	// ErrClosed means that the node or the session was closed: open it again.
	ErrClosed = errors.New("collab: closed")
	// ErrInUse means that another process, or another node of this one, has the directory open: close that one.
	ErrInUse = errors.New("collab: directory is in use by another process")
	// ErrDamaged means that a file or an item of the key store is not what was written: restore it from a backup.
	ErrDamaged = errors.New("collab: a file on this device is damaged")
	// ErrDiskFull means that there was no room to write: make room and open again.
	ErrDiskFull = errors.New("collab: disk full")
	// ErrKeyMissing means that the directory was made with another key store, or lost its key: open it with that one.
	ErrKeyMissing = errors.New("collab: the key store does not hold this directory's key")
	// ErrUnknownProject means that the project is not on this device: join it with a code.
	ErrUnknownProject = errors.New("collab: no such project on this device")
	// ErrDenied means that a role or a rule forbids it, or that the host of an invite refused: ask a manager.
	ErrDenied = errors.New("collab: not permitted")
	// ErrQuarantined means that a vote of the members holds this device's owner back: until it ends he proposes, votes and
	// admits nothing, and what a member of at least his role has voted for also voids what he takes from others.
	ErrQuarantined = fmt.Errorf("%w while in quarantine", ErrDenied)
	// ErrNoQuorum means that no number of votes could decide it, as too few members may vote. Two people cannot hold each other
	// back; a mute hides somebody on this device alone.
	ErrNoQuorum = errors.New("collab: too few members may vote")
	// ErrRevoked means that this device's owner was removed from the project: what is here can still be read; ask a
	// manager for a new invite.
	ErrRevoked = errors.New("collab: removed from the project")
	// ErrLeft means that this device's owner has left the project: what is here can still be read; ask a manager for a new
	// invite.
	ErrLeft = errors.New("collab: left the project")
	// ErrNoChange means that things are already as they were to be.
	ErrNoChange = errors.New("collab: nothing to change")
	// ErrKitWritten means that this device's revocation kit was written before and that its key is not here any more.
	ErrKitWritten = errors.New("collab: the revocation kit was written before")
	// ErrKit means that a text is no revocation kit, is damaged, or is of nobody who is known here: type the words.
	ErrKit = governance.ErrKit
	// ErrInviteInvalid means that a code was mistyped, is no code, or has no force: ask for a new one.
	ErrInviteInvalid = errors.New("collab: invite code damaged or of another kind")
	// ErrInviteExpired means that a code's time is over by the host's clock: ask for a new one.
	ErrInviteExpired = errors.New("collab: invite expired")
	// ErrInviteUsed means that a code was used up; a *[UsedError] in it says by whom. Ask for a new one.
	ErrInviteUsed = errors.New("collab: invite already used")
	// ErrInviteCancelled means that a member cancelled the code: ask for a new one.
	ErrInviteCancelled = errors.New("collab: invite cancelled")
	// ErrPending means that the admission waits for a person: come again with the same code.
	ErrPending = errors.New("collab: admitted by one host, waiting for a manager")
	// ErrUnreachable means that nobody who could help was reached: try again when another member is online.
	ErrUnreachable = errors.New("collab: no peer reachable")
	// ErrNotPostQuantum means that the other end, or this process, has post-quantum key exchange switched off.
	ErrNotPostQuantum = errors.New("collab: connection would not be post-quantum")
	// ErrVersion means that a code, record or project needs a newer version of this library: update the program.
	ErrVersion = errors.New("collab: written by a newer version")
	// ErrTooLarge means that an edit, a state or a message exceeds its cap: split it, or put it into a document.
	ErrTooLarge = errors.New("collab: too large")
	// ErrTooFast means that others would not take so many messages: send fewer, or put them into a document.
	ErrTooFast = errors.New("collab: too many messages at once")

	// ErrNoKey means that an envelope is sealed under a project key that this device was never given.
	ErrNoKey = errors.New("collab: sealed under a key that this device does not have")

	// ErrNoOffer means that somebody is to hold the root who has not said so: ask them to call [Session.OfferToHold] and to
	// connect.
	ErrNoOffer = errors.New("collab: a future holder of the root has not offered a key yet")
	// ErrNoProposal means that no such proposal is open: it was decided, has come to its end, or never came.
	ErrNoProposal = errors.New("collab: no such proposal is open")
	// ErrRootFork means that two records claim to be the next root: nothing moves until people have compared them with
	// somebody they trust and called [Session.PinRoot].
	ErrRootFork = errors.New("collab: the root is forked")

	// ErrUnfinished means that a ceremony was interrupted: call [Session.ResumeCeremony] with all custodians.
	ErrUnfinished = genesis.ErrUnfinished
	// ErrNoShare means that a custodian holds no share of this project's ceremony: ask another one.
	ErrNoShare = genesis.ErrNoShare
)

// QuorumError says how many shares were gathered and what each custodian answered.
type QuorumError = genesis.QuorumError

// UsedError says who used an invite first, so that a newcomer whose code was stolen learns of it. It is an
// [ErrInviteUsed].
type UsedError = invite.UsedError

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
	{boxkeys.ErrDamaged, ErrDamaged},
	{syscall.ENOSPC, ErrDiskFull},
	{genesis.ErrUpgradeRequired, ErrVersion},
	{genesis.ErrUnsupportedVersion, ErrVersion},
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
	{membership.ErrUnknownProposal, ErrNoProposal},
	{genesis.ErrExpired, ErrNoProposal},
	{genesis.ErrUnknownRoot, ErrNoProposal},
	{genesis.ErrNotHolder, ErrDenied},
	{genesis.ErrSecondRecord, ErrDenied},
	{membership.ErrRootFork, ErrRootFork},
	{membership.ErrRootBehind, ErrUnreachable},
	{governance.ErrUnknownRoot, ErrUnreachable},
	{membership.ErrUnknownInvite, ErrInviteInvalid},
	{membership.ErrNotAdmitted, ErrInviteInvalid},
	{membership.ErrUnknownProject, ErrUnknownProject},
	{membership.ErrNotMember, ErrDenied},
	{membership.ErrNoEpoch, ErrUnreachable},
	{membership.ErrRefused, ErrUnreachable},
	{membership.ErrProtocol, ErrUnreachable},
	{membership.ErrInDoubt, ErrUnreachable},
	{journal.ErrClosed, ErrClosed},
	{journal.ErrReadOnly, ErrDenied},
	{journal.ErrMute, ErrDenied},
	{journal.ErrNoKey, ErrNoKey},
	{journal.ErrTooLarge, ErrTooLarge},
	{live.ErrClosed, ErrClosed},
	{live.ErrTooLarge, ErrTooLarge},
	{live.ErrTooFast, ErrTooFast},
	{coordinator.ErrStopped, ErrClosed},
	{foundation.ErrClosed, ErrClosed},
	{foundation.ErrRefused, ErrUnreachable},
	{foundation.ErrStalled, ErrUnreachable},
	{foundation.ErrProtocol, ErrUnreachable},
	{live.ErrNotReady, ErrUnreachable},
	{assets.ErrClosed, ErrClosed},
	{assets.ErrTooLarge, ErrTooLarge},
	{p2p.ErrClosed, ErrClosed},
	{p2p.ErrNotPostQuantum, ErrNotPostQuantum},
	{p2p.ErrUnreachable, ErrUnreachable},
	{p2p.ErrRefused, ErrUnreachable},
	{p2p.ErrWrongDevice, ErrUnreachable},
	{p2p.ErrNotMember, ErrUnreachable},
	{p2p.ErrGuestBusy, ErrUnreachable},
	{p2p.ErrNotConnected, ErrUnreachable},
	{p2p.ErrProtocol, ErrUnreachable},
	{wire.ErrVersion, ErrVersion},
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
	if isCustodians(err) { // it speaks of the custodian's place, not of this node's
		return fmt.Errorf("collab: %s: %w", doing, err)
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

// isCustodians reports whether err is what custodians answered.
func isCustodians(err error) bool {
	var quorum *genesis.QuorumError
	var share *genesis.ShareError
	return errors.As(err, &quorum) || errors.As(err, &share)
}
