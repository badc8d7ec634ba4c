package collab

import (
	"context"
	"errors"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/sync/membership"
)

// ShareCondition is how the shares of this device's owner's root key stand, as far as this device has noted it: whether
// a ceremony was interrupted, what is owed because others may know shares, and how many old ones are left to erase.
type ShareCondition = genesis.Condition

// What [ShareCondition] says is owed.
const (
	OwedNothing = genesis.OwedNothing
	OwedRefresh = genesis.OwedRefresh // call [Session.Refresh]
	OwedRekey   = genesis.OwedRekey   // call [Session.Rekey]
)

// Refresh makes new shares of the root key, by the ceremony next, and erases the old ones at the custodians from; name all
// that can be reached, as many as rebuild the key at least. It is for when one share may be known to others, or when
// custodians change. The new shares count as soon as the new root record is in force, before the old ones are erased: what
// could not be erased [Session.ShareCondition] counts, and [Session.ResumeCeremony] tries again.
//
// A crash at any point leaves one usable set of shares. It fails with [ErrUnfinished] after such a crash, or if the new
// record is in force but a custodian that carries records lacks it: call ResumeCeremony. It fails with
// genesis.ErrRekeyOwed if others may know enough shares to have the key, with genesis.ErrCeremony if the root has several
// holders (see [Authority.Migrate]), with *[QuorumError], or with what a custodian answered; nothing has changed then.
func (s *Session) Refresh(ctx context.Context, from []Custodian, next Ceremony) error {
	return s.changeShares(ctx, "make new shares", from, next, genesis.Refresh)
}

// Rekey makes a new root key, with shares by the ceremony next. It is the only answer when others may know enough shares
// to have the key. Otherwise it is as [Session.Refresh].
func (s *Session) Rekey(ctx context.Context, from []Custodian, next Ceremony) error {
	return s.changeShares(ctx, "make a new root key", from, next, genesis.Rekey)
}

func (s *Session) changeShares(ctx context.Context, doing string, from []Custodian, next Ceremony, do membership.Reshare) error {
	if err := s.alive(); err != nil {
		return err
	}
	s.ceremony.Lock()
	defer s.ceremony.Unlock()
	res, err := s.membership.ChangeShares(ctx, genesis.Change{From: slices.Clone(from), Next: next, Journal: s.ceremonies()}, do)
	if res != nil && len(res.Left) > 0 {
		s.log.Warn("collab: shares that count no longer are not erased", "left", len(res.Left))
	}
	return wrap(doing, err)
}

// ShareCondition tells how the shares stand. It can be called at any time; see [ShareCondition].
func (s *Session) ShareCondition(ctx context.Context) (ShareCondition, error) {
	if err := s.alive(); err != nil {
		return ShareCondition{}, err
	}
	c, err := genesis.Inspect(ctx, s.ceremonies(), s.membership.Root())
	return c, wrap("inspect the shares", err)
}

// MarkKnown notes for good that others may know the share that a custodian keeps: its medium was lost or stolen, or who
// keeps it is trusted no longer. [Session.ShareCondition] then tells what is owed. It fails with [ErrNoShare] if this device
// has not noted that the custodian keeps one; it notes that with the first Refresh or Rekey.
func (s *Session) MarkKnown(ctx context.Context, c Custodian) error {
	if err := s.alive(); err != nil {
		return err
	}
	s.ceremony.Lock()
	defer s.ceremony.Unlock()
	return wrap("mark a share as known", genesis.MarkKnown(ctx, s.ceremonies(), s.membership.Root().Project, c))
}

// ResumeCeremony finishes or undoes a ceremony that was interrupted, and tries again to erase old shares at the custodians
// from. It does nothing where there is nothing to do. Old shares that are left are an error, each a genesis.ShareError.
func (s *Session) ResumeCeremony(ctx context.Context, from []Custodian) error {
	if err := s.alive(); err != nil {
		return err
	}
	s.ceremony.Lock()
	defer s.ceremony.Unlock()
	records := s.membership.RootRecords()
	r, err := genesis.Resume(ctx, s.ceremonies(), s.membership.Root(), records[:len(records)-1], slices.Clone(from))
	return wrap("resume a ceremony", errors.Join(append(r.Left, err)...))
}

// ceremonies is where this device notes the ceremonies of its owner.
func (s *Session) ceremonies() genesis.Journal { return custodian.Journal(s.node.home.vault) }
