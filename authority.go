package collab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/sync/membership"
)

// Authority is the rebuilt root key, of one holder. It is valid only inside the function given to [Session.Authorize].
type Authority struct {
	*genesis.Authority
	session *Session
}

// PendingError says that an act was proposed and waits for others to agree, or to sign it: see [Session.Vote]. It is no
// refusal, and no [ErrDenied].
type PendingError struct {
	Proposal ProposalID
	Needed   int // as [Proposal].Needed was when it was proposed
}

func (e *PendingError) Error() string {
	s := fmt.Sprintf("collab: proposed as %x; it waits for others to sign", e.Proposal[:4])
	if e.Needed > 0 {
		s += fmt.Sprintf(", %d more", e.Needed)
	}
	return s + "; they see it in Session.Proposals and answer with Session.Vote"
}

// Team is the ceremony of a root with several holders, threshold of whom must sign. Each keeps a key of their own: they
// call [Session.OfferToHold] before the root is moved to them.
func Team(threshold int, holders ...MemberID) Ceremony {
	return Ceremony{Threshold: threshold, Holders: holders}
}

// proposalLife is how long holders may take to sign.
const proposalLife = 7 * 24 * time.Hour

// OfferToHold makes a new root key for this device's owner, keeps its shares by the ceremony c, and tells the root's
// holders that they can hand the root on to it. It decides nothing: see [Authority.Migrate] and [Session.Vote]. A second
// offer takes the place of the first, whose shares then serve nothing. It fails as [Node.Create] does.
func (s *Session) OfferToHold(ctx context.Context, c Ceremony) error {
	if err := s.alive(); err != nil {
		return err
	}
	return wrap("offer to hold the root", s.membership.OfferToHold(ctx, c))
}

// Migrate moves the root of trust to the ceremony next: a new key of this holder alone, over next's custodians, or the
// keys that a [Team] has offered; members of the present team who have not offered another one go on with theirs. Peers
// verify the new record and switch at once. What the old shares rebuild counts for nothing then: erase them.
//
// It returns nil when the new record is in force here, and *[PendingError] if others have yet to sign: every new holder,
// this one as well if it offered a key, and enough old ones, each by [Session.Vote], within a week. [ErrNoOffer] says whose offer is missing.
func (a *Authority) Migrate(ctx context.Context, next Ceremony) error {
	s := a.session
	if err := s.alive(); err != nil {
		return err
	}
	const doing = "migrate the root"
	if err := s.membership.RootReady(); err != nil {
		return wrap(doing, err)
	}
	solo := len(next.Holders) == 0
	if solo {
		if err := s.membership.OfferToHold(ctx, next); err != nil {
			return wrap(doing, err)
		}
		next.Holders, next.Threshold = []MemberID{a.Member()}, 1
	}
	d, err := s.draft(a, next)
	if err != nil {
		return wrap(doing, err)
	}
	id, err := s.membership.ProposeRoot(ctx, d, proposalLife, func(p *genesis.Proposal) error {
		now := s.node.cfg.now()
		if err := p.Sign(a.Authority, s.membership.Ledger(), now); err != nil || !solo {
			return err
		}
		return genesis.AuthorizeOffer(ctx, p.Parent, &d.Holders[0], next.Custodians, func(fresh *genesis.Authority) error {
			return p.Sign(fresh, s.membership.Ledger(), now)
		})
	})
	if err != nil {
		if solo { // unless the new key is in the record all the same: then there is no offer any more
			err = errors.Join(err, s.membership.WithdrawOffer(ctx, next.Custodians))
		}
		return wrap(doing, err)
	}
	if root := s.membership.Root(); root.ID != id {
		return s.pending(ProposalID(id))
	}
	return s.spreadRecords(ctx, next.Custodians)
}

// draft is the next root record: like the present one, but held by others.
func (s *Session) draft(a *Authority, next Ceremony) (genesis.Draft, error) {
	root := a.Root()
	d := genesis.Draft{Title: root.Title, Policy: root.Policy}
	d.Policy.Threshold = uint8(min(max(next.Threshold, 0), 255))
	offers := s.membership.HolderOffers()
	for _, m := range next.Holders {
		o, ok := offers[m]
		if !ok && len(root.Holders) > 1 {
			o, ok = root.Offer(m)
		}
		if !ok {
			return d, fmt.Errorf("%w: %s", ErrNoOffer, m.Short())
		}
		d.Holders = append(d.Holders, o)
	}
	return d, nil
}

// spreadRecords gives the new record to custodians that carry records beside their shares.
func (s *Session) spreadRecords(ctx context.Context, to []Custodian) error {
	records := s.membership.RootRecords()
	err := genesis.SpreadRecords(ctx, s.membership.Root(), records[:len(records)-1], to)
	return wrap("migrate the root: it has moved, but a custodian lacks its record", err)
}

// PinRoot settles a version of the root record on this device, against what was settled before if need be. It is for
// people who have compared the id ([Status], [SecurityAlert]) with somebody they trust: after a fork of the root, or to keep
// old holders from ever signing another record in its place. It fails with [ErrNoProposal] if no such record is held.
func (s *Session) PinRoot(ctx context.Context, id RootID) error {
	if err := s.alive(); err != nil {
		return err
	}
	return wrap("pin the root", s.membership.PinRoot(ctx, id))
}

// rootChanged tells what has happened to the root.
func (s *Session) rootChanged(before, after membership.RootStatus) {
	if before.Current.ID != after.Current.ID {
		s.log.Info("collab: the root has moved", "version", after.Current.N, "root", after.Current.ID.Short())
		s.events.Send(RootChanged{From: before.Current.ID, To: after.Current.ID, Version: after.Current.N})
		if err := s.markRoot(s.node.life); err != nil && s.node.life.Err() == nil {
			s.storeFailed(err)
		}
	}
	if f := after.View.Fork; f != nil && (before.View.Fork == nil || len(before.View.Fork.Records) != len(f.Records)) {
		detail := fmt.Sprintf("%d records claim to be version %d:", len(f.Records), f.Version)
		for _, id := range f.Records {
			detail += " " + id.String()
		}
		s.rootAlert(AlertRootFork, detail)
	}
	for _, l := range after.View.Late {
		if !slices.Contains(before.View.Late, l) {
			s.rootAlert(AlertLateRootFork, fmt.Sprintf("version %d is %s; somebody signed %s in its place", l.Version, l.Settled, l.Rival))
		}
	}
	if g := after.View.Gap; g != nil && (before.View.Gap == nil || *before.View.Gap != *g) {
		s.rootAlert(AlertRootBehind, fmt.Sprintf("version %d is in force, version %d is missing, version %d is said to exist", g.Have, g.Missing, g.Newest))
	}
	if after.View.Upgrade != nil && before.View.Upgrade == nil {
		s.rootAlert(AlertRootVersion, after.View.Upgrade.Error())
	}
}

func (s *Session) rootAlert(kind AlertKind, detail string) {
	s.log.Warn("collab: "+kind.String(), "detail", detail)
	s.troubles.note(s.node.cfg.now(), "alert: "+kind.String(), nil)
	s.events.Send(SecurityAlert{Kind: kind, Detail: detail})
}
