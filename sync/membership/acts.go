package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// openAct is a proposed act that is known here, with the votes on it.
type openAct struct {
	*actRecord
	votes    map[voice]*voteRecord
	declined bool
	marks    []governance.Cut // what was applied here of the subject's chains when this device's owner agreed,
	marked   bool             // or, if he did so on another device, when this one was first asked to sign
}

// Act is an act that managers are asked to agree on, or holders of the root.
type Act struct {
	ID       ActID
	AsRoot   bool // holders of the root sign it: [Project.SignAct]
	Kind     governance.Kind
	Body     any               // as [governance.DecodeBody] returns it, without cuts and key; must not be changed
	Subject  identity.MemberID // whom it is about, zero if nobody
	By       identity.MemberID // who proposed it
	Note     string
	Approved []identity.MemberID // who agrees, ascending; only of those who may
	Needed   int                 // how many must
	Mine     bool                // it waits for this device's owner
	Expires  time.Time
	Drops    uint64 // of a root act, whose cuts are fixed: envelopes applied here that it would drop

	draft *governance.Draft
}

// Acts returns the proposed acts that are open and known here, but those that were declined, ascending by id.
func (p *Project) Acts() []Act {
	out := p.openActs()
	for k, x := range out {
		if x.draft == nil {
			continue
		}
		if applied, err := p.cutsFor(x.Body); err == nil && len(applied) > 0 {
			out[k].Drops = dropped(applied, x.draft)
		}
	}
	return out
}

func (p *Project) openActs() []Act {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Act
	for id, o := range p.acts {
		x, open := p.describe(o)
		if o.declined || !open || len(x.Approved) == 0 {
			continue
		}
		x.ID = id
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Act) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// describe says how a proposed act stands, and whether it is open. p.mu is held.
func (p *Project) describe(o *openAct) (Act, bool) {
	s, err := p.signersOf(o)
	if err != nil || p.ended(o.actRecord) {
		return Act{}, false
	}
	d, _ := p.State().Device(o.Device)
	x := Act{
		draft: o.draft, AsRoot: o.draft != nil, Kind: o.Kind, Body: o.content, Subject: p.events.Subject(o.content), By: d.Member, Note: o.Note, Needed: s.Need,
		Expires: time.Unix(int64(o.Expires), 0), Approved: p.approved(o, s.Members),
	}
	me := p.self.Device.Member
	x.Mine = len(x.Approved) < s.Need && p.maySpeak(p.self.Device.ID, o.actRecord) && slices.Contains(s.Members, me) && !slices.Contains(x.Approved, me)
	return x, true
}

// signersOf says how many must sign a proposed act, and who may. p.mu is held.
func (p *Project) signersOf(o *openAct) (governance.Signers, error) {
	if o.draft != nil {
		return holdersOf(p.events.Root()), nil
	}
	return p.events.Signers(p.self.Device.ID, o.Kind, o.content)
}

// maySpeak reports whether a device may propose an act or vote on it.
func (p *Project) maySpeak(d identity.DeviceID, r *actRecord) bool {
	if r.draft != nil {
		return p.holdsRoot(d)
	}
	return p.mayPropose(d)
}

// mayPropose reports whether a device may propose acts and vote on them: a manager's, that has not lost its authority.
func (p *Project) mayPropose(d identity.DeviceID) bool { return p.State().May(d, governance.ActManage) }

// ended reports whether a proposal has come to its end: by time, because who made it may not any more, or because the
// standing of whom it is about has changed. p.mu is held.
func (p *Project) ended(r *actRecord) bool {
	if p.expired(r) || !p.maySpeak(r.Device, r) || r.draft != nil && p.events.CheckAsRoot(r.draft) != nil {
		return true
	}
	overtaken, err := p.events.Overtaken(r.content, r.Since)
	return err != nil || overtaken
}

func (p *Project) expired(r *actRecord) bool {
	return r.Expires <= uint64(max(p.reg.cfg.Now().Unix(), 0))
}

// approved returns which of the members who may sign agree to an act, ascending: of each the newest vote by a device that
// may still speak for him. People agree to what is to be done, so votes on another proposal of the same count too. p.mu
// is held.
func (p *Project) approved(o *openAct, may []identity.MemberID) []identity.MemberID {
	if o.draft != nil {
		return wire.SortIDs(slices.Collect(maps.Keys(p.signaturesOn(o))))
	}
	newest := map[identity.MemberID]*voteRecord{}
	hear := func(v *voteRecord) {
		d, ok := p.State().Device(v.Device)
		if ok && p.mayPropose(v.Device) && slices.Contains(may, d.Member) && v.newer(newest[d.Member]) {
			newest[d.Member] = v
		}
	}
	for _, same := range p.acts {
		if !same.sameAs(o) || same != o && p.ended(same.actRecord) {
			continue
		}
		hear(&voteRecord{voteCore: voteCore{Device: same.Device, Approve: 1}}) // who proposes approves, until he says otherwise
		for _, v := range same.votes {
			hear(v)
		}
	}
	var out []identity.MemberID
	for m, v := range newest {
		if v.Approve == 1 {
			out = append(out, m)
		}
	}
	return wire.SortIDs(out)
}

// sameAs reports whether two proposals are to do the same, on the same authority.
func (o *openAct) sameAs(x *openAct) bool {
	return o.Kind == x.Kind && bytes.Equal(o.Terms, x.Terms) && (o.draft == nil) == (x.draft == nil)
}

// ProposeAct makes an event of this device if it may do so alone, as [Project.Propose] does; the id is zero then. If other
// managers must sign as well, the act is recorded and they are told: it comes about once enough of them agree by
// [Project.ApproveAct] and their devices meet. An act that is proposed already is approved instead.
//
// content is a body of RoleGrant, RoleDrop, Revoke, DeviceRemove, Endorse or LiftQuarantine; cuts and key are left out:
// they are added when the event is made. The error is a [*governance.DeniedError] if the act would not count even so, or
// if there are not as many managers as it needs.
func (p *Project) ProposeAct(ctx context.Context, kind governance.Kind, content any, note string) (ActID, error) {
	if err := ctx.Err(); err != nil {
		return ActID{}, fmt.Errorf("membership: propose: %w", err)
	}
	if err := wire.CheckText(note, MaxActNote); err != nil {
		return ActID{}, fmt.Errorf("membership: propose: note: %w", err)
	}
	content, err := termsOf(kind, content, false)
	if err != nil {
		return ActID{}, fmt.Errorf("membership: propose: %w", err)
	}
	cuts, err := p.cutsFor(content)
	if err != nil {
		return ActID{}, fmt.Errorf("membership: propose: %w", err)
	}
	id, err := p.actOrAsk(kind, content, note, cuts)
	if err == nil && !id.IsZero() {
		p.told(identity.DeviceID{})
	}
	return id, err
}

// termsOf returns a body of its own, without cuts and key.
func termsOf(kind governance.Kind, content any, asRoot bool) (any, error) {
	if !proposable(kind, asRoot) {
		return nil, fmt.Errorf("%w: %v is not decided by several", governance.ErrUnknownKind, kind)
	}
	terms, err := governance.Terms(kind, content)
	if err != nil {
		return nil, err
	}
	return governance.DecodeTerms(kind, terms)
}

func (p *Project) actOrAsk(kind governance.Kind, content any, note string, cuts []governance.Cut) (ActID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return ActID{}, err
	}
	body, forget := p.fill(content, cuts)
	defer forget()
	_, err := p.propose(kind, body, nil)
	denied := new(governance.DeniedError)
	if !errors.As(err, &denied) || denied.Reason != governance.ReasonQuorum {
		return ActID{}, err
	}
	if possible := p.withOthers(kind, body); possible != nil {
		return ActID{}, possible
	}
	return p.ask(kind, content, note, cuts)
}

// withOthers checks that an act would count if enough managers signed it. p.mu is held.
func (p *Project) withOthers(kind governance.Kind, body any) error {
	s, err := p.events.Signers(p.self.Device.ID, kind, body)
	if err != nil {
		return err
	}
	var with []identity.DeviceID
	for _, m := range s.Members {
		devices := p.managing(m)
		if m != p.self.Device.Member && len(devices) > 0 && len(with) < s.Need-1 {
			with = append(with, devices[0])
		}
	}
	_, err = p.events.Draft(p.self.Device.ID, with, kind, body)
	return err
}

// managing returns the devices that may act for a manager, ascending.
func (p *Project) managing(m identity.MemberID) []identity.DeviceID {
	var out []identity.DeviceID
	for _, d := range p.State().Devices() {
		if d.Member == m && p.mayPropose(d.ID) {
			out = append(out, d.ID)
		}
	}
	return out
}

// ask records a proposal of this device, or its approval of the same act that is proposed already. p.mu is held.
func (p *Project) ask(kind governance.Kind, content any, note string, marks []governance.Cut) (ActID, error) {
	terms, err := governance.Terms(kind, content)
	if err != nil {
		return ActID{}, err
	}
	if o := p.proposed(kind, terms, false); o != nil {
		o.marks, o.marked = marks, true
		return o.id, p.vote(o, true)
	}
	now := p.reg.cfg.Now()
	since := p.State().Heads()
	r, err := newActRecord(p.self.Keys, actCore{
		Project: p.id, Kind: kind, Terms: terms, Device: p.self.Device.ID, Since: since[:min(len(since), maxActSince)],
		Expires: uint64(max(now.Add(DefaultActLife).Unix(), 0)), Note: note,
	})
	if err != nil {
		return ActID{}, err
	}
	if err := p.room(p.self.Device.Member); err != nil {
		return ActID{}, err
	}
	o := &openAct{actRecord: r, votes: map[voice]*voteRecord{}, marks: marks, marked: true}
	p.acts[r.id] = o
	return r.id, p.putAct(o)
}

// proposed returns an open proposal of an act, the one with the lowest id of several, or nil. p.mu is held.
func (p *Project) proposed(kind governance.Kind, terms []byte, asRoot bool) *openAct {
	for _, id := range slices.SortedFunc(maps.Keys(p.acts), func(a, b ActID) int { return bytes.Compare(a[:], b[:]) }) {
		o := p.acts[id]
		if o.Kind == kind && bytes.Equal(o.Terms, terms) && (o.draft != nil) == asRoot && !p.ended(o.actRecord) {
			return o
		}
	}
	return nil
}

// room fails with [ErrTooManyActs] if no further proposal of a member is kept. p.mu is held.
func (p *Project) room(of identity.MemberID) error {
	p.forget(p.expired) // nothing else may have happened since
	n := 0
	for _, o := range p.acts {
		if d, ok := p.State().Device(o.Device); ok && d.Member == of {
			n++
		}
	}
	if n >= maxMemberActs || len(p.acts) >= maxActs {
		return fmt.Errorf("%w: %d, %d of them by the same member", ErrTooManyActs, len(p.acts), n)
	}
	return nil
}

// ApproveAct says that this device's owner agrees to a proposed act: his device will sign it, or make it, with those of
// others who do. It fails with [ErrUnknownProposal], or with a [*governance.DeniedError] if the owner is no manager, the
// act is about him, or it is one of the root, which is signed by [Project.SignAct].
func (p *Project) ApproveAct(ctx context.Context, id ActID) error { return p.speak(ctx, id, true) }

// WithdrawAct takes an approval, or the proposal itself, back. What has come about stays. It fails as
// [Project.ApproveAct] does.
func (p *Project) WithdrawAct(ctx context.Context, id ActID) error { return p.speak(ctx, id, false) }

func (p *Project) speak(ctx context.Context, id ActID, approve bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: vote: %w", err)
	}
	p.mu.Lock()
	o, err := p.openedAct(id)
	if err == nil {
		err = p.mayVote(o)
	}
	if err == nil && approve && o.draft != nil {
		err = &governance.DeniedError{Kind: o.Kind, Reason: governance.ReasonRootAct}
	}
	p.mu.Unlock()
	var marks []governance.Cut
	if err == nil && approve {
		marks, err = p.cutsFor(o.content)
	}
	if err == nil {
		err = p.say(id, approve, marks)
	}
	if err != nil {
		return fmt.Errorf("membership: vote: %w", err)
	}
	p.told(identity.DeviceID{})
	return nil
}

func (p *Project) say(id ActID, approve bool, marks []governance.Cut) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, err := p.openedAct(id)
	if err != nil {
		return err
	}
	if approve {
		o.marks, o.marked = marks, true
	}
	return p.vote(o, approve)
}

// openedAct returns a proposed act that may be voted on. p.mu is held.
func (p *Project) openedAct(id ActID) (*openAct, error) {
	if err := p.usable(); err != nil {
		return nil, err
	}
	o, ok := p.acts[id]
	if !ok || p.ended(o.actRecord) {
		return nil, fmt.Errorf("%w: %s", ErrUnknownProposal, id.Short())
	}
	return o, nil
}

func (p *Project) mayVote(o *openAct) error {
	s, err := p.signersOf(o)
	switch {
	case err != nil:
		return err
	case o.draft != nil && !p.holdsRoot(p.self.Device.ID):
		return &governance.DeniedError{Kind: o.Kind, Reason: governance.ReasonRootAct}
	case !p.maySpeak(p.self.Device.ID, o.actRecord):
		if d, ok := p.State().Device(p.self.Device.ID); ok && d.Suspended {
			return &governance.DeniedError{Kind: o.Kind, Reason: governance.ReasonEquivocation}
		}
		return &governance.DeniedError{Kind: o.Kind, Reason: governance.ReasonRole, Role: governance.Manager}
	case !slices.Contains(s.Members, p.self.Device.Member):
		return &governance.DeniedError{Kind: o.Kind, Reason: governance.ReasonSubject}
	}
	return nil
}

// vote records this device's vote. p.mu is held.
func (p *Project) vote(o *openAct, approve bool) error {
	me := p.self.Device.Member
	if o.draft != nil {
		return p.cast(o, voteCore{Holder: &me})
	}
	c := voteCore{}
	if approve {
		c.Approve = 1
	}
	return p.cast(o, c)
}

// cast numbers a vote of this device, signs it and makes it durable. p.mu is held.
func (p *Project) cast(o *openAct, c voteCore) error {
	c.Project, c.Act, c.Device = p.id, o.id, p.self.Device.ID
	c.N = uint64(max(p.reg.cfg.Now().Unix(), 1))
	for _, same := range p.acts { // the member's last word on any proposal of the act, as approved hears them
		if !same.sameAs(o) {
			continue
		}
		for _, v := range same.votes {
			if p.speaker(v) == p.speaker(&voteRecord{voteCore: c}) {
				c.N = max(c.N, v.N+1)
			}
		}
	}
	if c.Approve == 1 {
		o.declined = false
	}
	v, err := newVoteRecord(p.self.Keys, c)
	if err != nil {
		return err
	}
	o.votes[v.voice()] = v
	return p.putAct(o)
}

// speaker returns whose word a vote is.
func (p *Project) speaker(v *voteRecord) identity.MemberID {
	if v.Holder != nil {
		return *v.Holder
	}
	d, ok := p.State().Device(v.Device)
	if !ok {
		return identity.MemberID{}
	}
	return d.Member
}

// DeclineAct puts a proposed act away on this device: it is not shown again, unless its owner approves it. Others are not
// told. It fails with [ErrUnknownProposal].
func (p *Project) DeclineAct(id ActID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, err := p.openedAct(id)
	if err != nil {
		return fmt.Errorf("membership: decline: %w", err)
	}
	o.declined = true
	return p.putAct(o)
}

// told spreads what is new of proposed acts, and brings about what enough have agreed on.
func (p *Project) told(from identity.DeviceID) {
	p.mu.Lock()
	p.changes.add(step{Change: p.nothingChanged()})
	p.mu.Unlock()
	p.outbox.spread(nil, from)
	p.conclude()
}

// putAct makes a proposed act durable as it is. p.mu is held.
func (p *Project) putAct(o *openAct) error { return p.putActs(o) }

// putActs makes proposed acts durable as they are, in one write. p.mu is held.
func (p *Project) putActs(acts ...*openAct) error {
	return p.write(func(tx *store.Tx) error {
		for _, o := range acts {
			if err := tx.Map(p.names.acts).Put(o.id[:], wire.Marshal(o.stored())); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o *openAct) stored() storedAct {
	x := storedAct{Record: o.raw, Declined: o.declined, Marks: o.marks}
	for _, v := range slices.SortedFunc(maps.Keys(o.votes), voice.compare) {
		x.Votes = append(x.Votes, o.votes[v].raw)
	}
	return x
}

// tidyActs forgets the proposals that are over.
func (p *Project) tidyActs() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.usable() == nil {
		p.forget(p.ended)
	}
}

// forget is tidyActs for the proposals that are over in some way. p.mu is held.
func (p *Project) forget(over func(*actRecord) bool) {
	var gone []ActID
	for id, o := range p.acts {
		if over(o.actRecord) {
			gone = append(gone, id)
			delete(p.acts, id)
			delete(p.cosigned, id)
		}
	}
	if len(gone) == 0 {
		return
	}
	_ = p.write(func(tx *store.Tx) error { // a failure has stopped the project
		for _, id := range gone {
			if err := tx.Map(p.names.acts).Delete(id[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// readActs reads the proposed acts that the store holds.
func (p *Project) readActs(tx *store.Tx) error {
	for k, raw := range tx.Map(p.names.acts).All() {
		o, err := readAct(raw)
		if err != nil || !bytes.Equal(k, o.id[:]) {
			return damaged("a proposed act: %v", err)
		}
		p.acts[o.id] = o
	}
	return nil
}

func readAct(raw []byte) (*openAct, error) {
	var x storedAct
	if err := wire.Unmarshal(raw, &x, maxStoredAct); err != nil {
		return nil, err
	}
	r, err := parseActRecord(x.Record)
	if err != nil {
		return nil, err
	}
	o := &openAct{actRecord: r, votes: map[voice]*voteRecord{}, declined: x.Declined, marks: x.Marks, marked: len(x.Marks) > 0}
	for _, raw := range x.Votes {
		v, err := parseVoteRecord(raw)
		if err != nil {
			return nil, err
		}
		o.votes[v.voice()] = v
	}
	return o, nil
}

// takeActs takes proposals and votes that a peer brought, makes what is new durable in one write, and reports whether anything
// was. What is wrong in itself ends the exchange; what does not count here, or not yet, is left out.
func (p *Project) takeActs(b *actBatch) (fresh bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return false, err
	}
	taken, refused := p.readBatch(b)
	if len(taken) == 0 {
		return false, refused
	}
	if err := p.putActs(slices.Collect(maps.Keys(taken))...); err != nil {
		return false, err
	}
	return true, refused
}

// readBatch takes the records of a batch in their order and returns the acts that are new or have new votes; it stops at the first record
// that is wrong in itself. p.mu is held.
func (p *Project) readBatch(b *actBatch) (taken map[*openAct]bool, err error) {
	taken = map[*openAct]bool{}
	note := func(o *openAct, err error) error {
		if o != nil {
			taken[o] = true
		}
		return err
	}
	for _, raw := range b.Proposals {
		r, err := parseActRecord(raw)
		if err != nil || r.Project != p.id {
			return taken, fmt.Errorf("%w: proposed act: %w", ErrProtocol, orMalformed(err))
		}
		if err := note(p.takeAct(r)); err != nil {
			return taken, err
		}
	}
	for _, raw := range b.Votes {
		v, err := parseVoteRecord(raw)
		if err != nil || v.Project != p.id {
			return taken, fmt.Errorf("%w: vote: %w", ErrProtocol, orMalformed(err))
		}
		if err := note(p.takeVote(v)); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// orMalformed gives a record of another project an error.
func orMalformed(err error) error {
	if err == nil {
		return fmt.Errorf("%w: another project's", wire.ErrMalformed)
	}
	return err
}

// takeAct returns the act if it is new and was taken.
func (p *Project) takeAct(r *actRecord) (*openAct, error) {
	d, known := p.State().Device(r.Device)
	if p.acts[r.id] != nil || !known || p.ended(r) {
		return nil, nil
	}
	if r.Expires > uint64(max(p.reg.cfg.Now().Add(MaxActLife).Unix(), 0)) || p.room(d.Member) != nil {
		return nil, nil
	}
	if err := r.verify(d.Cert.DK); err != nil {
		return nil, fmt.Errorf("%w: proposed act: %w", ErrProtocol, err)
	}
	o := &openAct{actRecord: r, votes: map[voice]*voteRecord{}}
	p.acts[r.id] = o
	return o, nil
}

// takeVote returns the act if the vote on it was taken.
func (p *Project) takeVote(v *voteRecord) (*openAct, error) {
	o := p.acts[v.Act]
	d, known := p.State().Device(v.Device)
	if o == nil || !known || !p.maySpeak(v.Device, o.actRecord) || (o.draft != nil) != (v.Holder != nil) {
		return nil, nil
	}
	if latest := p.reg.cfg.Now().Add(governance.MaxAhead); v.N > uint64(max(latest.Unix(), 0)) {
		return nil, nil // nobody's word is to stand against his own later one
	}
	last := o.votes[v.voice()]
	if !v.newer(last) || last == nil && len(o.votes) >= maxVotes {
		return nil, nil
	}
	if err := v.verify(d.Cert.DK); err != nil {
		return nil, fmt.Errorf("%w: vote: %w", ErrProtocol, err)
	}
	if o.draft != nil && !p.holderSpeaks(o, v, d.Member) {
		return nil, nil
	}
	o.votes[v.voice()] = v
	return o, nil
}
