package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
)

// cosignRequest asks a device to sign a draft beside its author, who is the one who asks.
type cosignRequest struct {
	Project genesis.ProjectID `cbor:"1,keyasint"`
	Act     *ActID            `cbor:"2,keyasint,omitempty"` // the proposal that it carries out; absent for a checkpoint
	Core    []byte            `cbor:"3,keyasint"`
	Probe   bool              `cbor:"4,keyasint"` // would it sign? Nothing is signed
}

// cosignAnswer is the signature, or why there is none.
type cosignAnswer struct {
	Result    cosignResult `cbor:"1,keyasint"`
	Signature []byte       `cbor:"2,keyasint,omitempty"`
}

type cosignResult uint8

const (
	cosignSigned  cosignResult = 1
	cosignBehind  cosignResult = 2 // the one asked lacks events that the draft rests on
	cosignAhead   cosignResult = 3 // the draft lacks events that the one asked has
	cosignLater   cosignResult = 4 // the one asked is at it himself, or is not ready: ask again
	cosignRefused cosignResult = 5 // he has not agreed, or it would not count
	cosignWould   cosignResult = 6 // to a probe: it would sign
)

func (r *cosignRequest) check() error {
	if len(r.Core) > governance.MaxEventCore {
		return fmt.Errorf("%w: draft of %d bytes", ErrProtocol, len(r.Core))
	}
	return nil
}

func (a *cosignAnswer) check() error {
	if a.Result < cosignSigned || a.Result > cosignWould || (a.Result == cosignSigned) != (len(a.Signature) == sign.SignatureSize) {
		return fmt.Errorf("%w: answer %d with %d bytes", ErrProtocol, a.Result, len(a.Signature))
	}
	return nil
}

// serveCosign answers a manager's device that has drafted an event.
func (r *Registry) serveCosign(_ context.Context, s *p2p.Stream) {
	var q cosignRequest
	named := func() genesis.ProjectID { return q.Project }
	r.serveExchange(s, "a draft", &q, named, func(p *Project) error {
		a, err := p.answerDraft(s.Device(), &q)
		if q.Probe && a.Result == cosignSigned {
			a = &cosignAnswer{Result: cosignWould}
		}
		if err != nil {
			p.log.Debug("membership: not signed", "author", s.Device().Short(), "err", err)
		}
		return send(s, a)
	})
}

// answerDraft signs a draft for its author, or says why not.
func (p *Project) answerDraft(from identity.DeviceID, q *cosignRequest) (*cosignAnswer, error) {
	d, err := governance.ParseDraft(q.Core)
	if err == nil && d.Author != from {
		err = fmt.Errorf("%w: another device's draft", ErrProtocol)
	}
	if err != nil {
		return &cosignAnswer{Result: cosignRefused}, err
	}
	if q.Act == nil {
		return p.answerCheckpoint(d, q.Probe)
	}
	applied, err := p.appliedOf(*q.Act)
	if err != nil {
		return &cosignAnswer{Result: cosignLater}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return &cosignAnswer{Result: cosignRefused}, err
	}
	if p.doubt {
		return &cosignAnswer{Result: cosignLater}, ErrInDoubt
	}
	return p.cosignAct(*q.Act, d, applied, q.Probe)
}

// appliedOf returns what is applied here of the chains of whom a proposed act is about. p.mu is not held.
func (p *Project) appliedOf(id ActID) ([]governance.Cut, error) {
	p.mu.Lock()
	o := p.acts[id]
	p.mu.Unlock()
	if o == nil {
		return nil, nil
	}
	return p.cutsFor(o.content)
}

// cosignAct signs a draft that carries out an act to which this device's owner has agreed, and that drops nothing which was applied
// here when he did, and is. p.mu is held.
func (p *Project) cosignAct(id ActID, d *governance.Draft, applied []governance.Cut, probe bool) (*cosignAnswer, error) {
	o := p.acts[id]
	if o == nil || o.draft != nil || p.ended(o.actRecord) {
		return &cosignAnswer{Result: cosignLater}, fmt.Errorf("%w: %s", ErrUnknownProposal, id.Short())
	}
	if err := p.agreed(o, d); err != nil {
		return &cosignAnswer{Result: cosignRefused}, err
	}
	if !o.marked { // the owner agreed on another device of his
		o.marks, o.marked = applied, true
	}
	if n := dropped(lesser(o.marks, applied), d); n > 0 {
		return &cosignAnswer{Result: cosignLater}, fmt.Errorf("membership: the draft drops %d envelopes that were here when this device's owner agreed", n)
	}
	if p.concluding[id] && !p.pausing(id) && p.precedes(o, p.self.Device.ID, d.Author) {
		return &cosignAnswer{Result: cosignLater}, errors.New("membership: this device is about to make it itself")
	}
	a, err := p.cosignFresh(d)
	if _, before := p.cosigned[id]; err == nil && !probe && !before { // who asks again and again keeps nobody from making it
		p.cosigned[id] = p.reg.cfg.Now()
	}
	return a, err
}

// agreed checks that a draft is what its author and this device's owner have agreed to, and that it cuts nobody else's
// chains.
func (p *Project) agreed(o *openAct, d *governance.Draft) error {
	content, err := d.Content()
	if err != nil {
		return err
	}
	terms, err := governance.Terms(d.Kind, content)
	if err != nil {
		return err
	}
	if d.Kind != o.Kind || !bytes.Equal(terms, o.Terms) {
		return fmt.Errorf("%w: the draft is not what was proposed", ErrProtocol)
	}
	s, err := p.events.Signers(d.Author, o.Kind, o.content)
	if err != nil {
		return err
	}
	approved := p.approved(o, s.Members)
	author, ok := p.State().Device(d.Author)
	if !ok || !slices.Contains(approved, author.Member) || !slices.Contains(approved, p.self.Device.Member) {
		return errors.New("membership: not everybody who is to sign has agreed")
	}
	return p.agreedCuts(o, d)
}

// agreedCuts checks that a draft of a proposed act cuts nobody's chains but those of whom it is about. p.mu is held.
func (p *Project) agreedCuts(o *openAct, d *governance.Draft) error {
	content, err := d.Content()
	if err != nil {
		return err
	}
	subject := p.events.Subject(o.content)
	for _, c := range cutsOf(content) {
		if x, ok := p.State().Device(c.Device); !ok || x.Member != subject {
			return fmt.Errorf("%w: the draft cuts a chain of somebody else", ErrProtocol)
		}
	}
	return nil
}

// lesser returns some cuts where others end no chain before them. What does not count any more need not be kept.
func lesser(cuts, others []governance.Cut) []governance.Cut {
	var out []governance.Cut
	for _, c := range cuts {
		for _, x := range others {
			if x.Device == c.Device && x.ChainNo == c.ChainNo {
				c.Seq = min(c.Seq, x.Seq)
				out = append(out, c)
			}
		}
	}
	return out
}

// dropped counts the envelopes that are applied, by the last ones of chains, and that a draft cuts off.
func dropped(applied []governance.Cut, d *governance.Draft) uint64 {
	content, err := d.Content()
	if err != nil {
		return 0
	}
	n, cuts := uint64(0), cutsOf(content)
	for _, c := range applied {
		end := uint64(0) // of a chain that is not named nothing counts
		for _, x := range cuts {
			if x.Device == c.Device && x.ChainNo == c.ChainNo {
				end = x.Seq
			}
		}
		n += max(c.Seq, end) - end
	}
	return n
}

// cosignFresh signs a draft that leaves out nothing that has been here for a while. p.mu is held.
func (p *Project) cosignFresh(d *governance.Draft) (*cosignAnswer, error) {
	sig, err := p.events.Cosign(p.author(), d)
	switch {
	case errors.Is(err, governance.ErrUnknownEvent), errors.Is(err, governance.ErrUnknownRoot):
		return &cosignAnswer{Result: cosignBehind}, err
	case errors.Is(err, governance.ErrEvent):
		return &cosignAnswer{Result: cosignAhead}, err
	case err != nil:
		return &cosignAnswer{Result: cosignRefused}, err
	}
	if p.omits(d) {
		return &cosignAnswer{Result: cosignAhead}, errors.New("membership: the draft leaves out events that have been here for a while")
	}
	return &cosignAnswer{Result: cosignSigned, Signature: sig}, nil
}

// arrival is an event that came a short while ago.
type arrival struct {
	id governance.EventID
	at time.Time
}

// noteArrival remembers for a while what has just come. p.mu is held.
func (p *Project) noteArrival(added []governance.EventID) {
	now := p.reg.cfg.Now()
	for _, id := range added {
		p.arrived = append(p.arrived, arrival{id, now})
	}
	p.dropArrivals(now)
}

func (p *Project) dropArrivals(now time.Time) {
	old := 0
	for old < len(p.arrived) && now.Sub(p.arrived[old].at) >= p.cfg.Checkpoints.grace() {
		old++
	}
	p.arrived = p.arrived[old:]
}

// omits reports whether a draft's past lacks an event that has been here for longer than the grace that the way between
// members is given. p.mu is held.
func (p *Project) omits(d *governance.Draft) bool {
	p.dropArrivals(p.reg.cfg.Now())
	fresh := map[governance.EventID]bool{}
	for _, a := range p.arrived {
		fresh[a.id] = true
	}
	return !p.events.Omits(d, func(id governance.EventID) bool { return fresh[id] }).IsZero()
}

// gather brings what is sound together in events that change nothing, until the next event of this device can have all of it
// in its past. p.mu is held.
func (p *Project) gather() error {
	for range maxGathers {
		if !p.events.Crowded(p.self.Device.ID) {
			return nil
		}
		if _, err := p.propose(governance.KindFrontierExtend, governance.FrontierExtend{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// reduces reports whether acts of a kind take away standing.
func reduces(k governance.Kind) bool {
	return k == governance.KindRevoke || k == governance.KindRoleDrop || k == governance.KindDeviceRemove
}

// cutsOf returns the cuts in a body.
func cutsOf(content any) []governance.Cut {
	switch b := content.(type) {
	case *governance.Revoke:
		return b.Cuts
	case *governance.RoleDrop:
		return b.Cuts
	case *governance.DeviceRemove:
		return b.Cuts
	}
	return nil
}

// cutsFor asks which cuts belong to an act. p.mu is not held.
func (p *Project) cutsFor(content any) ([]governance.Cut, error) {
	if b, ok := content.(*governance.RoleDrop); p.cfg.Cuts == nil || ok && b.Role >= governance.Editor {
		return nil, nil // who goes on writing is not cut
	}
	switch b := content.(type) {
	case *governance.Revoke:
		return p.cfg.Cuts(b.Member)
	case *governance.RoleDrop:
		return p.cfg.Cuts(b.Member)
	case *governance.DeviceRemove:
		d, ok := p.State().Device(b.Device)
		if !ok {
			return nil, nil
		}
		cuts, err := p.cfg.Cuts(d.Member)
		return slices.DeleteFunc(cuts, func(c governance.Cut) bool { return c.Device != b.Device }), err
	}
	return nil, nil
}

// fill returns the body of an act as its author makes it, with cuts and a new key. A key that cannot be minted does not
// stop it: it is owed then. forget is to be called when the event has been made. p.mu is held.
func (p *Project) fill(content any, cuts []governance.Cut) (body any, forget func()) {
	forget = func() {}
	mint := func(gone func(*governance.Device) bool) *governance.KeyEpoch {
		if !p.State().May(p.self.Device.ID, governance.ActMint) {
			return nil
		}
		m, err := p.newEpoch(gone)
		if err != nil {
			p.log.Warn("membership: removal without a new key", "err", err)
			return nil
		}
		forget = func() { clear(m.Key[:]) }
		return &m.Object
	}
	switch b := content.(type) {
	case *governance.Revoke:
		x := *b
		x.Cuts, x.Epoch = cuts, mint(func(d *governance.Device) bool { return d.Member == b.Member })
		return &x, forget
	case *governance.RoleDrop:
		x := *b
		x.Cuts = cuts
		return &x, forget
	case *governance.DeviceRemove:
		x := *b
		x.Cuts, x.Epoch = cuts, mint(func(d *governance.Device) bool { return d.ID == b.Device })
		return &x, forget
	}
	return content, forget
}

// conclude starts a task for each act on which enough have agreed, this device's owner among them. The further back the
// device stands in the order, the longer it waits, so that usually one of them makes the event.
func (p *Project) conclude() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, o := range p.acts {
		place, ready := p.placeFor(o)
		if !ready || p.concluding[id] || p.doubt || p.usable() != nil {
			continue
		}
		wait := time.Duration(place) * mintStep
		if p.pausing(id) {
			wait += cosignPause
		}
		p.concluding[id] = p.tasks.Go("conclude an act", func(ctx context.Context) error {
			if !pause(ctx, wait, nil) {
				return nil
			}
			if err := p.bringAbout(ctx, id); err != nil {
				p.log.Debug("membership: an act that was agreed on waits", "act", id.Short(), "err", err)
			}
			p.mu.Lock()
			delete(p.concluding, id)
			p.mu.Unlock()
			return nil
		})
	}
}

// pausing reports whether this device has just signed another's draft of an act, which is to come. p.mu is held.
func (p *Project) pausing(id ActID) bool { return p.reg.cfg.Now().Sub(p.cosigned[id]) < cosignPause }

// placeFor returns this device's place among those that make an act, and whether it is to be made: enough have agreed,
// its owner among them. p.mu is held.
func (p *Project) placeFor(o *openAct) (place int, ready bool) {
	self := p.self.Device.ID
	s, err := p.signersOf(o)
	if err != nil || p.ended(o.actRecord) || !p.maySpeak(self, o.actRecord) {
		return 0, false
	}
	approved := p.approved(o, s.Members)
	if o.draft != nil {
		return 0, o.Device == self && len(approved) >= s.Need && p.ready() == nil
	}
	if len(approved) < s.Need || !slices.Contains(approved, p.self.Device.Member) {
		return 0, false
	}
	for _, m := range approved {
		for _, d := range p.managing(m) {
			if p.precedes(o, d, self) {
				place++
			}
		}
	}
	return place, true
}

// precedes reports whether a device is to make an act before another does: nobody can choose his place.
func (p *Project) precedes(o *openAct, a, b identity.DeviceID) bool {
	x, y := derive.ListID("act-author", o.Terms, a), derive.ListID("act-author", o.Terms, b)
	return x.Compare(y) < 0
}

// bringAbout makes an act on which enough have agreed.
func (p *Project) bringAbout(ctx context.Context, id ActID) error {
	p.mu.Lock()
	o := p.acts[id]
	p.mu.Unlock()
	if o != nil && o.draft != nil {
		return p.makeRootAct(id)
	}
	return p.makeAct(ctx, id)
}

// makeAct drafts an act, collects signatures from connected devices of those who agree, signs last and adds it.
func (p *Project) makeAct(ctx context.Context, id ActID) error {
	refused := map[identity.DeviceID]bool{}
	var last error
	for range cosignTries {
		p.mu.Lock()
		o, err := p.openedAct(id)
		pausing := p.pausing(id)
		p.mu.Unlock()
		if err != nil || pausing {
			return errors.Join(err, last)
		}
		cuts, err := p.cutsFor(o.content)
		if err != nil {
			return err
		}
		d, forget, err := p.draftAct(o, cuts, refused)
		if err != nil {
			return errors.Join(err, last)
		}
		err = p.finish(ctx, d, &id, refused)
		forget()
		if err == nil || ctx.Err() != nil {
			return err
		}
		last = err
	}
	return last
}

// draftAct drafts an act with connected devices of those who agree.
func (p *Project) draftAct(o *openAct, cuts []governance.Cut, refused map[identity.DeviceID]bool) (*governance.Draft, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ready := p.placeFor(o); !ready {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknownProposal, o.id.Short())
	}
	if err := p.gather(); err != nil {
		return nil, nil, err
	}
	s, err := p.events.Signers(p.self.Device.ID, o.Kind, o.content)
	if err != nil {
		return nil, nil, err
	}
	with, err := p.reachable(p.approved(o, s.Members), s.Need-1, refused)
	if err != nil {
		return nil, nil, err
	}
	body, forget := p.fill(o.content, cuts)
	d, err := p.events.Draft(p.self.Device.ID, with, o.Kind, body, p.hint())
	if err != nil {
		forget()
		return nil, nil, err
	}
	return d, forget, nil
}

// hint notes this device's clock in an event, for people. p.mu is held.
func (p *Project) hint() governance.ProposeOption {
	return governance.WithTime(uint64(max(p.reg.cfg.Now().Unix(), 0)))
}

// reachable returns connected devices of n of some members but this device's owner, one of each, without those that have
// refused. It fails with [ErrCosigners]. p.mu is held.
func (p *Project) reachable(members []identity.MemberID, n int, refused map[identity.DeviceID]bool) ([]identity.DeviceID, error) {
	connected := map[identity.DeviceID]bool{}
	if host := p.reg.transport(); host != nil {
		for _, x := range host.Connected() {
			connected[x.Device] = x.Class == p2p.Member || connected[x.Device]
		}
	}
	var out []identity.DeviceID
	for _, m := range members {
		if m == p.self.Device.Member || len(out) == n {
			continue
		}
		devices := p.managing(m)
		if k := slices.IndexFunc(devices, func(d identity.DeviceID) bool { return connected[d] && !refused[d] }); k >= 0 {
			out = append(out, devices[k])
		}
	}
	if len(out) < n {
		return nil, fmt.Errorf("%w: %d of %d are connected", ErrCosigners, len(out), n)
	}
	return out, nil
}

// finish collects the cosigners' signatures, signs a draft last and makes the event durable and visible. Of several
// cosigners nobody signs before all have said that they would. Who does not is noted in refused, unless there is hope once
// both hold the same events.
func (p *Project) finish(ctx context.Context, d *governance.Draft, act *ActID, refused map[identity.DeviceID]bool) error {
	q := &cosignRequest{Project: p.id, Act: act, Core: d.Core, Probe: true}
	if len(d.Cosigners) > 1 {
		if _, err := p.collect(ctx, d, q, refused); err != nil {
			return err
		}
	}
	q.Probe = false
	signatures, err := p.collect(ctx, d, q, refused)
	if err != nil {
		return err
	}
	return p.assemble(d, act, signatures)
}

// collect asks a draft's cosigners one after the other, until one does not agree.
func (p *Project) collect(ctx context.Context, d *governance.Draft, q *cosignRequest, refused map[identity.DeviceID]bool) (map[identity.DeviceID][]byte, error) {
	signatures := map[identity.DeviceID][]byte{}
	for _, c := range d.Cosigners {
		a, err := p.askToSign(ctx, c.Device, q)
		if err != nil {
			refused[c.Device] = true
			return nil, err
		}
		switch a.Result {
		case cosignSigned, cosignWould:
			signatures[c.Device] = a.Signature
			continue
		case cosignBehind, cosignAhead:
			if p.exchange(ctx, c.Device, nil) != nil {
				refused[c.Device] = true
			}
		default:
			refused[c.Device] = true
		}
		return nil, fmt.Errorf("%w: %s answered %d", ErrCosigners, c.Device.Short(), a.Result)
	}
	return signatures, nil
}

// assemble signs a draft as its author and makes the event durable and visible.
func (p *Project) assemble(d *governance.Draft, act *ActID, signatures map[identity.DeviceID][]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	if act != nil {
		if _, err := p.openedAct(*act); err != nil {
			return err // somebody else has made it meanwhile
		}
	}
	var also func(*store.Tx) error
	if content, err := d.Content(); err == nil && d.Kind == governance.KindCheckpoint {
		number := content.(*governance.Checkpoint).Number
		if p.blocks(number, d.ID, d.Parents) {
			return fmt.Errorf("%w: another checkpoint %d was signed meanwhile", ErrCosigners, number)
		}
		also = func(tx *store.Tx) error {
			p.signed = p.pointOf(number, d)
			return p.signed.put(tx, p.names)
		}
	}
	raw, err := p.events.Assemble(p.author(), d, signatures)
	if err != nil {
		return err
	}
	res, err := p.events.Add(raw)
	if err != nil {
		return fmt.Errorf("membership: own event: %w", err)
	}
	return p.settle(res.Added, p.self.Device.ID, also)
}

// askToSign asks one device for its signature.
func (p *Project) askToSign(ctx context.Context, device identity.DeviceID, q *cosignRequest) (*cosignAnswer, error) {
	host := p.reg.transport()
	if host == nil {
		return nil, ErrNoHost
	}
	s, err := host.Open(ctx, device, protocolCosign)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(cosignTime))
	var a cosignAnswer
	if err := send(s, q); err == nil {
		err = receive(s, &a)
		if err == nil {
			return &a, nil
		}
	}
	_ = s.Reset()
	return nil, fmt.Errorf("%w: %s did not answer", ErrCosigners, device.Short())
}
