package membership

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Acts of a root that several people hold are proposed and signed by the records that managers' acts are, with two
// differences. Holders sign the event itself, whose core the proposal therefore bears, as their keys are in no device that could be
// asked when two of them meet. And its author's device, which has to be one of a holder's, makes it alone once enough have signed: it signs last, so
// that its number stays free for anything that cannot wait, which ends the proposal.

// ActAsRoot makes an event that holders of the root sign here and now; this device only carries it, whatever its owner's role. content is as
// for [Project.ProposeAct], or an Admit without invite. It fails as [Project.Propose] does.
func (p *Project) ActAsRoot(ctx context.Context, kind governance.Kind, content any, holders ...governance.HolderSigner) (governance.EventID, error) {
	content, cuts, err := p.rootTerms(ctx, kind, content)
	if err != nil {
		return governance.EventID{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return governance.EventID{}, err
	}
	body, forget := p.fill(content, cuts)
	defer forget()
	return p.propose(kind, body, nil, governance.WithHolders(holders...))
}

func (p *Project) rootTerms(ctx context.Context, kind governance.Kind, content any) (any, []governance.Cut, error) {
	err := ctx.Err()
	if err == nil {
		content, err = termsOf(kind, content, true)
	}
	var cuts []governance.Cut
	if err == nil {
		cuts, err = p.cutsFor(content)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("membership: act as the root: %w", err)
	}
	return content, cuts, nil
}

// ProposeAsRoot makes an event on the authority of the root if by is enough of its holders, as [Project.ActAsRoot] does; the
// id is zero then. If others must sign as well, by signs it, it is recorded, and they are told: it comes about once enough of them have signed by [Project.SignAct] and
// this device has heard of it. An act that is proposed already is signed instead. It fails with [genesis.ErrNotHolder] if
// this device's owner is no holder, with [ErrRootFork], [ErrRootBehind], or as [Project.ProposeAct] does.
func (p *Project) ProposeAsRoot(ctx context.Context, kind governance.Kind, content any, note string, by governance.HolderSigner) (ActID, error) {
	if p.Root().Policy.Threshold <= 1 {
		_, err := p.ActAsRoot(ctx, kind, content, by)
		return ActID{}, err
	}
	if err := wire.CheckText(note, MaxActNote); err != nil {
		return ActID{}, fmt.Errorf("membership: act as the root: note: %w", err)
	}
	content, cuts, err := p.rootTerms(ctx, kind, content)
	if err != nil {
		return ActID{}, err
	}
	p.mu.Lock()
	o, err := p.askHolders(kind, content, note, cuts)
	if err == nil {
		err = p.signAct(o, by)
	}
	p.mu.Unlock()
	if err != nil {
		return ActID{}, fmt.Errorf("membership: act as the root: %w", err)
	}
	p.told(identity.DeviceID{})
	return o.id, nil
}

// askHolders returns the proposal of a root act, which is not recorded before its first signature. p.mu is held.
func (p *Project) askHolders(kind governance.Kind, content any, note string, cuts []governance.Cut) (*openAct, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	self := p.self.Device.ID
	switch {
	case p.doubt:
		return nil, ErrInDoubt
	case !p.holdsRoot(self):
		return nil, fmt.Errorf("%w: it must be proposed on a device of a holder", genesis.ErrNotHolder)
	}
	terms, err := governance.Terms(kind, content)
	if err != nil {
		return nil, err
	}
	if o := p.proposed(kind, terms, true); o != nil {
		return o, nil
	}
	if err := p.room(p.self.Device.Member); err != nil {
		return nil, err
	}
	body, forget := p.fill(content, cuts)
	defer forget() // if it comes about, this device opens its own box
	d, err := p.events.DraftAsRoot(self, kind, body, p.hint())
	if err != nil {
		return nil, err
	}
	r, err := newActRecord(p.self.Keys, actCore{
		Project: p.id, Kind: kind, Terms: terms, Device: self, Since: d.Parents,
		Expires: uint64(max(p.reg.cfg.Now().Add(DefaultActLife).Unix(), 0)), Note: note, Draft: d.Core,
	})
	if err != nil {
		return nil, err
	}
	return &openAct{actRecord: r, votes: map[voice]*voteRecord{}}, nil
}

// signAct signs a proposed root act as a holder, and makes it durable with that. p.mu is held.
func (p *Project) signAct(o *openAct, by governance.HolderSigner) error {
	if err := p.ready(); err != nil {
		return err
	}
	if err := p.agreedCuts(o, o.draft); err != nil {
		return err
	}
	sig, err := o.draft.SignAsHolder(by)
	if err == nil {
		err = p.events.VerifyHolder(o.draft, by.Member(), sig)
	}
	if err != nil {
		return err
	}
	p.acts[o.id] = o
	holder := by.Member()
	return p.cast(o, voteCore{Approve: 1, Holder: &holder, Signature: sig})
}

// SignAct signs a proposed act of the root with this device's owner's root key, whose shares are asked of custodians. Once a signature is given, it can be
// taken back with [Project.WithdrawAct] for programs that keep to it only: whoever has enough of them, and the author's device, can make the event. It fails
// with [ErrUnknownProposal], [ErrRootFork], [ErrRootBehind], with a [*governance.DeniedError] if the owner is no holder, or as [genesis.Authorize] does.
func (p *Project) SignAct(ctx context.Context, id ActID, from []genesis.Custodian) error {
	if _, err := p.actToSign(id); err != nil {
		return fmt.Errorf("membership: sign as the root: %w", err)
	}
	err := genesis.Authorize(ctx, p.Root(), from, func(a *genesis.Authority) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		o, err := p.openedAct(id) // custodians take their time
		if err != nil {
			return err
		}
		return p.signAct(o, a)
	})
	if err != nil {
		return fmt.Errorf("membership: sign as the root: %w", err)
	}
	p.told(identity.DeviceID{})
	return nil
}

func (p *Project) actToSign(id ActID) (*openAct, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, err := p.openedAct(id)
	if err != nil {
		return nil, err
	}
	if o.draft == nil {
		return nil, fmt.Errorf("%w: %s is not of the root", ErrUnknownProposal, id.Short())
	}
	if err := p.ready(); err != nil {
		return nil, err
	}
	return o, p.mayVote(o)
}

// holdsRoot reports whether a device is live and its owner holds the root that counts.
func (p *Project) holdsRoot(d identity.DeviceID) bool {
	x, ok := p.State().Device(d)
	if !ok || !x.Live {
		return false
	}
	_, holds := p.Root().Holder(x.Member)
	return holds
}

func holdersOf(r *genesis.Root) governance.Signers {
	s := governance.Signers{Need: int(r.Policy.Threshold)}
	for _, h := range r.Holders {
		s.Members = append(s.Members, h.Member)
	}
	s.Members = wire.SortIDs(s.Members)
	return s
}

// holderSpeaks checks a vote on a root act that a device of a member brings: a holder's signature is good whoever brings it, and
// takes it back only for its owner. p.mu is held.
func (p *Project) holderSpeaks(o *openAct, v *voteRecord, owner identity.MemberID) bool {
	if v.Approve == 0 {
		return *v.Holder == owner
	}
	return p.events.VerifyHolder(o.draft, *v.Holder, v.Signature) == nil
}

// signaturesOn returns the signatures on a root act that count: of each holder that of his last word, before which goes no signature
// of his that somebody else brings, or whoever has seen it could bring it again once it is taken back. p.mu is held.
func (p *Project) signaturesOn(o *openAct) map[identity.MemberID][]byte {
	newest := map[identity.MemberID]*voteRecord{}
	own := func(v *voteRecord) bool {
		d, ok := p.State().Device(v.Device)
		return ok && d.Member == *v.Holder
	}
	for _, v := range o.votes {
		last := newest[*v.Holder]
		if slices.Contains(o.draft.Holders, *v.Holder) && (last == nil || own(v) && !own(last) || own(v) == own(last) && v.newer(last)) {
			newest[*v.Holder] = v
		}
	}
	out := map[identity.MemberID][]byte{}
	for m, v := range newest {
		if v.Approve == 1 {
			out[m] = v.Signature
		}
	}
	return out
}

// makeRootAct makes a root act of this device that enough holders have signed.
func (p *Project) makeRootAct(id ActID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, err := p.openedAct(id)
	if err != nil {
		return err
	}
	if _, ready := p.placeFor(o); !ready {
		return fmt.Errorf("%w: %s", ErrUnknownProposal, id.Short())
	}
	raw, err := p.events.AssembleAsRoot(p.author(), o.draft, p.signaturesOn(o))
	if err != nil {
		return err
	}
	res, err := p.events.Add(raw)
	if err != nil {
		return fmt.Errorf("membership: own event: %w", err)
	}
	return p.settle(res.Added, p.self.Device.ID, nil)
}

// reserves reports whether this device's next number is promised to a root act, so that others should do what need not be
// its own. p.mu is held.
func (p *Project) reserves() bool {
	for _, o := range p.acts {
		if o.draft != nil && o.Device == p.self.Device.ID && !p.ended(o.actRecord) {
			return true
		}
	}
	return false
}
