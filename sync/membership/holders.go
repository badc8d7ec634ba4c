package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
)

// openProposal is a proposal of the next root record that is known here, and the device that brought it last.
type openProposal struct {
	*genesis.Proposal
	from identity.DeviceID
}

// RootProposal is a proposal of the next root record.
type RootProposal struct {
	ID      genesis.RootID
	From    identity.DeviceID // who brought it last
	By      identity.MemberID // a present holder who has signed it
	Parent  *genesis.Root
	Next    *genesis.Root // what is proposed; the id is the hash of exactly this
	Expires time.Time
	Signed  []identity.MemberID // present holders who have signed
	Before  int                 // signatures of present holders that are missing
	Now     []identity.MemberID // future holders who have not signed
	Mine    bool                // it waits for this device's owner
}

// RootProposals returns the open proposals that are known here.
func (p *Project) RootProposals() []RootProposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []RootProposal
	for _, o := range p.proposals {
		x := RootProposal{
			ID: o.ID, From: o.from, Parent: o.Parent, Next: o.Next, Expires: time.Unix(int64(o.Expires), 0),
			Mine: o.Needs(p.self.Device.Member),
		}
		x.Before, x.Now = o.Lacks()
		for _, h := range slices.Backward(o.Parent.Holders) {
			if signed, _ := o.Signed(h.Member); signed {
				x.By = h.Member
				x.Signed = append(x.Signed, h.Member)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b RootProposal) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// OfferToHold prepares this device's owner for holding the root: a new key is made and its shares are kept by c's
// custodians; whoever proposes the next root is told of it when he asks. A second offer takes the place of the first. It
// fails as [genesis.MakeHolder] does.
func (p *Project) OfferToHold(ctx context.Context, c genesis.Ceremony) error {
	offer, err := genesis.MakeHolder(ctx, p.reg.cfg.Random, p.Root(), p.self.Identity, c)
	if err != nil {
		return fmt.Errorf("membership: offer to hold the root: %w", err)
	}
	p.mu.Lock()
	err = p.usable()
	if err == nil {
		err = p.write(func(tx *store.Tx) error { return tx.Map(p.names.meta).Put(metaOffer, offer.Encode()) })
	}
	if err == nil {
		p.offer = offer
		p.offers[offer.Member] = offer
	}
	p.mu.Unlock()
	if err == nil {
		p.outbox.spread(nil, identity.DeviceID{})
	}
	return err
}

// WithdrawOffer takes this device's owner's offer back, if a record or an open proposal does not have it, and has the
// custodians forget its shares.
func (p *Project) WithdrawOffer(ctx context.Context, from []genesis.Custodian) error {
	p.mu.Lock()
	o := p.offer
	err := p.usable()
	for _, x := range p.proposals {
		if h, ok := x.Next.Holder(p.self.Device.Member); ok && o != nil && h.Key.Equal(o.Key) {
			o = nil // others may be signing it
		}
	}
	if err == nil && o != nil {
		p.offer = nil
		delete(p.offers, o.Member)
		err = p.write(func(tx *store.Tx) error { return tx.Map(p.names.meta).Delete(metaOffer) })
	}
	p.mu.Unlock()
	if err != nil || o == nil || o.Shares == nil {
		return err
	}
	errs := make([]error, len(from))
	for i, c := range from {
		ref := genesis.ShareRef{Project: p.id, Ceremony: o.Shares.Ceremony, X: byte(i + 1)}
		if err := c.Forget(context.WithoutCancel(ctx), ref); err != nil {
			errs[i] = &genesis.ShareError{Custodian: c.Label(), Err: err}
		}
	}
	return errors.Join(errs...)
}

// HolderOffers returns with which keys members have offered to hold the root, as far as they are known here.
func (p *Project) HolderOffers() map[identity.MemberID]genesis.Offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[identity.MemberID]genesis.Offer{}
	for m, o := range p.offers {
		out[m] = *o
	}
	return out
}

// offerFor returns this device's offer for a holder's device. p.mu is held.
func (p *Project) offerFor(device identity.DeviceID) [][]byte {
	d, ok := p.State().Device(device)
	if p.offer == nil || !ok {
		return nil
	}
	if _, holds := p.events.Root().Holder(d.Member); !holds {
		return nil
	}
	return [][]byte{p.offer.Encode()}
}

// takeOffers notes the offer of the member whose device sent it.
func (p *Project) takeOffers(from identity.DeviceID, raws [][]byte) error {
	d, ok := p.State().Device(from)
	for _, raw := range raws {
		o, err := genesis.ParseOffer(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if !ok || o.Member != d.Member {
			return fmt.Errorf("%w: a device offers another member's key", ErrProtocol)
		}
		p.mu.Lock()
		p.offers[o.Member] = o
		p.mu.Unlock()
	}
	return nil
}

// ProposeRoot proposes the next root record: sign signs it, as one or several holders, and may complete it. Members who
// hold the root, or are to, are told. It returns when the proposal, or the record, is durable. Proposals for the same place
// that this device has signed or knows of are abandoned by the new one.
func (p *Project) ProposeRoot(ctx context.Context, d genesis.Draft, life time.Duration, sign func(*genesis.Proposal) error) (genesis.RootID, error) {
	if err := ctx.Err(); err != nil {
		return genesis.RootID{}, fmt.Errorf("membership: propose a root: %w", err)
	}
	p.mu.Lock()
	err := p.ready()
	parent := p.events.Root()
	if err == nil {
		d.Frontier = p.events.RootFrontier()
		d.Abandons, err = p.toAbandon(parent)
	}
	p.mu.Unlock()
	if err != nil {
		return genesis.RootID{}, fmt.Errorf("membership: propose a root: %w", err)
	}
	prop, err := genesis.Propose(p.reg.cfg.Random, parent, d, p.reg.cfg.Now().Add(life))
	if err == nil {
		err = sign(prop)
	}
	if err == nil {
		err = p.keepProposal(prop, p.self.Device.ID)
	}
	if err != nil {
		return genesis.RootID{}, fmt.Errorf("membership: propose a root: %w", err)
	}
	return prop.ID, nil
}

// RootReady says why no root record can be made or signed now: [ErrRootFork], [ErrRootBehind], a newer program is needed,
// or the project has stopped.
func (p *Project) RootReady() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready()
}

// ready is RootReady with p.mu held.
func (p *Project) ready() error {
	v := p.chain.View()
	switch {
	case p.usable() != nil:
		return p.usable()
	case v.Upgrade != nil:
		return v.Upgrade
	case v.Fork != nil:
		return fmt.Errorf("%w: version %d", ErrRootFork, v.Fork.Version)
	case p.setBack(), v.Gap != nil || v.Current() != p.events.Root():
		return fmt.Errorf("%w: version %d counts", ErrRootBehind, p.events.Root().N)
	}
	return nil
}

// toAbandon returns what is known of the place after parent. p.mu is held.
func (p *Project) toAbandon(parent *genesis.Root) ([]genesis.RootID, error) {
	signed, err := p.signedAfter(parent.ID)
	for id := range p.proposals {
		signed = append(signed, id)
	}
	slices.SortFunc(signed, func(a, b genesis.RootID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(signed), err
}

// SignRoot signs a proposal with this device's owner's keys: that of the present root, that offered for the next, or both;
// their shares are asked of custodians. It fails with [ErrUnknownProposal], [ErrNotMember] if who brought it is no member any
// more, [genesis.ErrExpired], [genesis.ErrSecondRecord], [genesis.ErrNotHolder], or as [genesis.Authorize] does.
func (p *Project) SignRoot(ctx context.Context, id genesis.RootID, from []genesis.Custodian) error {
	p.mu.Lock()
	prop, asker, err := p.proposal(id)
	own := p.offer
	p.mu.Unlock()
	if err == nil {
		err = p.signWith(ctx, prop, own, from)
	}
	if err == nil && !p.allowed(asker) { // custodians take their time
		err = fmt.Errorf("%w: %s, who asked for it", ErrNotMember, asker.Short())
	}
	if err == nil {
		err = p.keepProposal(prop, asker)
	}
	if err != nil {
		return fmt.Errorf("membership: sign a root: %w", err)
	}
	return nil
}

// proposal returns a copy of an open proposal that may be signed, and the device that brought it. p.mu is held.
func (p *Project) proposal(id genesis.RootID) (*genesis.Proposal, identity.DeviceID, error) {
	if err := p.ready(); err != nil {
		return nil, identity.DeviceID{}, err
	}
	o, ok := p.proposals[id]
	switch {
	case !ok:
		return nil, identity.DeviceID{}, fmt.Errorf("%w: %s", ErrUnknownProposal, id.Short())
	case !p.allowed(o.from):
		return nil, identity.DeviceID{}, fmt.Errorf("%w: %s, who asks for it", ErrNotMember, o.from.Short())
	}
	copied, err := genesis.ParseProposal(o.Parent, o.Encode())
	return copied, o.from, err
}

// DeclineRoot puts a proposal away: it is neither shown nor taken again while the project is open. It fails with
// [ErrUnknownProposal].
func (p *Project) DeclineRoot(id genesis.RootID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.proposals[id]; !ok {
		return fmt.Errorf("membership: decline: %w: %s", ErrUnknownProposal, id.Short())
	}
	if err := p.usable(); err != nil {
		return err
	}
	delete(p.proposals, id)
	p.declined[id] = true
	return p.write(func(tx *store.Tx) error { return tx.Map(p.names.proposals).Delete(id[:]) })
}

// signWith signs with whichever of the owner's keys the proposal waits for.
func (p *Project) signWith(ctx context.Context, prop *genesis.Proposal, own *genesis.Offer, from []genesis.Custodian) error {
	now := p.reg.cfg.Now()
	if err := prop.Open(now); err != nil {
		return err
	}
	sign := func(a *genesis.Authority) error { return prop.Sign(a, p.Ledger(), now) }
	me := p.self.Device.Member
	signed := false
	if h, ok := prop.Next.Holder(me); ok && own != nil && own.Key.Equal(h.Key) {
		if err := genesis.AuthorizeOffer(ctx, prop.Parent, own, from, sign); err != nil {
			return err
		}
		signed = true
	}
	if prop.Needs(me) {
		err := genesis.Authorize(ctx, prop.Parent, from, sign)
		if err != nil && (!signed || ctx.Err() != nil) {
			return err
		}
		signed = true
	}
	if !signed {
		return fmt.Errorf("%w: version %d", genesis.ErrNotHolder, prop.Next.N)
	}
	return nil
}

// takeProposals takes proposals that a peer brought. One that no present holder has signed, that has ended, or that is for
// another place than the next is left out.
func (p *Project) takeProposals(from identity.DeviceID, raws [][]byte) error {
	for _, raw := range raws {
		_, prev, err := genesis.PeekProposal(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		parent := p.Root()
		if prev != parent.ID {
			continue
		}
		prop, err := genesis.ParseProposal(parent, raw)
		if errors.Is(err, genesis.ErrUpgradeRequired) {
			p.log.Warn("membership: a root is proposed that needs a newer program", "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if prop.Open(p.reg.cfg.Now()) != nil || !prop.Endorsed() {
			continue
		}
		if err := p.keepProposal(prop, from); err != nil {
			return err
		}
	}
	return nil
}

// keepProposal merges a proposal with what is known of it, makes it durable, and completes it if nothing is missing. It is
// then passed on.
func (p *Project) keepProposal(prop *genesis.Proposal, from identity.DeviceID) error {
	p.mu.Lock()
	fresh, err := p.mergeProposal(prop, from)
	p.mu.Unlock()
	if fresh {
		p.outbox.spread(nil, from)
	}
	return err
}

func (p *Project) mergeProposal(prop *genesis.Proposal, from identity.DeviceID) (fresh bool, err error) {
	if err := p.usable(); err != nil {
		return false, err
	}
	if prop.Parent.ID != p.events.Root().ID || p.chain.Get(prop.ID) != nil || p.declined[prop.ID] {
		return false, nil // the root has moved meanwhile
	}
	o, known := p.proposals[prop.ID]
	switch {
	case known:
		if !o.Merge(prop) {
			return false, nil
		}
	case len(p.proposals) >= maxProposals:
		return false, nil
	default:
		o = &openProposal{prop, from}
		p.proposals[prop.ID] = o
	}
	o.from = from
	if raw, err := o.Complete(p.reg.cfg.Now()); err == nil {
		return true, p.addRoots(p.self.Device.ID, [][]byte{raw})
	} else if !errors.Is(err, genesis.ErrIncomplete) {
		return false, err
	}
	err = p.write(func(tx *store.Tx) error {
		return tx.Map(p.names.proposals).Put(o.ID[:], append(bytes.Clone(from[:]), o.Encode()...))
	})
	p.changes.add(step{Change: p.nothingChanged()})
	return true, err
}

// nothingChanged tells observers to look again at what is no event: a key, a proposal. p.mu is held.
func (p *Project) nothingChanged() Change {
	s, r := p.State(), p.Roots()
	return Change{Before: s, After: s, RootBefore: r, RootAfter: r}
}

// proposalsFor returns the proposals that concern a device's member: as a holder, present or to be. p.mu is held.
func (p *Project) proposalsFor(device identity.DeviceID) [][]byte {
	d, ok := p.State().Device(device)
	if !ok {
		return nil
	}
	var out [][]byte
	for _, o := range p.proposals {
		_, holds := o.Parent.Holder(d.Member)
		_, willHold := o.Next.Holder(d.Member)
		if (holds || willHold) && o.Open(p.reg.cfg.Now()) == nil {
			out = append(out, o.Encode())
		}
	}
	return out
}

// dropProposals forgets the proposals for places that are taken, and this device's offer once a record has it. p.mu is
// held.
func (p *Project) dropProposals(tx *store.Tx) error {
	current := p.events.Root()
	var errs []error
	for id, o := range p.proposals {
		if o.Parent.ID != current.ID {
			delete(p.proposals, id)
			errs = append(errs, tx.Map(p.names.proposals).Delete(id[:]))
		}
	}
	for m, o := range p.offers {
		if h, ok := current.Holder(m); ok && h.Key.Equal(o.Key) {
			delete(p.offers, m)
			if p.offer == o {
				p.offer = nil
				errs = append(errs, tx.Map(p.names.meta).Delete(metaOffer))
			}
		}
	}
	return errors.Join(errs...)
}

// readProposals reads what the store holds of moving the root. What no longer fits is left where it is.
func (p *Project) readProposals(tx *store.Tx) error {
	for k, v := range tx.Map(p.names.proposals).All() {
		if len(v) < len(identity.DeviceID{}) {
			return damaged("a proposal is too short")
		}
		prop, err := genesis.ParseProposal(p.events.Root(), v[len(identity.DeviceID{}):])
		if err == nil && bytes.Equal(k, prop.ID[:]) {
			p.proposals[prop.ID] = &openProposal{prop, identity.DeviceID(v[:len(identity.DeviceID{})])}
		}
	}
	raw, ok, err := tx.Map(p.names.meta).Get(metaOffer)
	if err != nil || !ok {
		return err
	}
	if p.offer, err = genesis.ParseOffer(raw); err != nil {
		return damaged("the offer to hold the root: %v", err)
	}
	p.offers[p.offer.Member] = p.offer
	return nil
}

// Ledger is this project's record, on this device, of what its owner has signed as a holder of the root.
func (p *Project) Ledger() genesis.Ledger { return ledger{p} }

type ledger struct{ p *Project }

// Note implements [genesis.Ledger].
func (l ledger) Note(s genesis.Signing) error {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	signed, err := p.signedAfter(s.Prev)
	if err != nil {
		return err
	}
	if err := s.Allowed(signed); err != nil {
		return err
	}
	if slices.Contains(signed, s.ID) {
		return nil
	}
	var row []byte
	for _, id := range append(signed, s.ID) {
		row = append(row, id[:]...)
	}
	return p.write(func(tx *store.Tx) error { return tx.Map(p.names.signed).Put(s.Prev[:], row) })
}

// signedAfter returns which records the owner has signed here in one place.
func (p *Project) signedAfter(prev genesis.RootID) ([]genesis.RootID, error) {
	var out []genesis.RootID
	err := p.cfg.Store.View(func(tx *store.Tx) error {
		row, _, err := tx.Map(p.names.signed).Get(prev[:])
		if err != nil {
			return err
		}
		for ; len(row) >= len(genesis.RootID{}); row = row[len(genesis.RootID{}):] {
			out = append(out, genesis.RootID(row[:len(genesis.RootID{})]))
		}
		if len(row) != 0 {
			return damaged("what was signed after root %s", prev.Short())
		}
		return nil
	})
	return out, err
}
