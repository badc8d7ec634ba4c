package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// CheckpointPolicy says when this node makes checkpoints, and which it signs. It is local: it never changes what counts.
// Zero fields stand for the defaults.
type CheckpointPolicy struct {
	Off    bool          // make none and sign none
	Events int           // unsettled events at which one is made: DefaultCheckpointEvents
	Age    time.Duration // time after the last one at which one is made, if anything is unsettled: DefaultCheckpointAge
	Pause  time.Duration // none is made so soon after the last one, unless a manager has fallen: DefaultCheckpointPause
	Grace  time.Duration // what came here longer ago, a draft must know to be signed: a minute
}

func (c CheckpointPolicy) events() int {
	if c.Events > 0 {
		return c.Events
	}
	return DefaultCheckpointEvents
}

func (c CheckpointPolicy) age() time.Duration {
	if c.Age > 0 {
		return c.Age
	}
	return DefaultCheckpointAge
}

func (c CheckpointPolicy) pause() time.Duration {
	if c.Pause > 0 {
		return c.Pause
	}
	return DefaultCheckpointPause
}

func (c CheckpointPolicy) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return arrivalGrace
}

// signedPoint is the draft of a checkpoint that this device has signed last, as author or beside him. It is kept: of two
// checkpoints of one number neither is settled, so whoever gets a second signature and hides the first could undo with it
// what was settled on the second.
type signedPoint struct {
	Number uint64             `cbor:"1,keyasint"`
	Draft  governance.EventID `cbor:"2,keyasint"`
	Author identity.DeviceID  `cbor:"3,keyasint"`
	Aseq   uint64             `cbor:"4,keyasint"` // the number among its author's events that it would take
	At     uint64             `cbor:"5,keyasint"` // Unix seconds
}

const maxSignedPoint = 256

// blocks reports whether a draft on some parents may not be signed because another of its number was, or of a later one,
// that could still be brought beside it: that one is not before it, nor has its author given its place to something else
// there, so that to bring it would prove him an equivocator. After Age it is given up. p.mu is held.
func (p *Project) blocks(number uint64, draft governance.EventID, parents []governance.EventID) bool {
	s := p.signed
	if number > s.Number || draft == s.Draft {
		return false
	}
	for id := range p.closure(parents) {
		if e := p.events.Get(id); id == s.Draft || e.Device == s.Author && e.Aseq == s.Aseq {
			return false
		}
	}
	age := p.reg.cfg.Now().Sub(time.Unix(int64(s.At), 0))
	return p.events.Has(s.Draft) || age < p.cfg.Checkpoints.age()
}

// noteSigned keeps which checkpoint this device signs, before anybody has the signature. p.mu is held.
func (p *Project) noteSigned(number uint64, d *governance.Draft) error {
	s := p.pointOf(number, d)
	err := p.write(func(tx *store.Tx) error { return s.put(tx, p.names) })
	if err == nil {
		p.signed = s
	}
	return err
}

func (p *Project) pointOf(number uint64, d *governance.Draft) signedPoint {
	return signedPoint{Number: number, Draft: d.ID, Author: d.Author, Aseq: d.Aseq, At: uint64(max(p.reg.cfg.Now().Unix(), 0))}
}

func (s signedPoint) put(tx *store.Tx, n names) error {
	return tx.Map(n.meta).Put(metaSigned, wire.Marshal(s))
}

// readSigned reads which checkpoint this device has signed last.
func (p *Project) readSigned(tx *store.Tx) error {
	raw, ok, err := tx.Map(p.names.meta).Get(metaSigned)
	if err != nil || !ok {
		return err
	}
	if err := wire.Unmarshal(raw, &p.signed, maxSignedPoint); err != nil {
		return damaged("the checkpoint that was signed last: %v", err)
	}
	return nil
}

// runCheckpoints makes a checkpoint whenever one is due, until the project closes. It looks again when it is woken, and
// once a minute, as clocks may be set and machines sleep.
func (p *Project) runCheckpoints(ctx context.Context) error {
	for {
		if place, due := p.checkpointDue(); due {
			if !pause(ctx, time.Duration(place)*mintStep, nil) {
				return nil
			}
			if err := p.makeCheckpoint(ctx); err != nil {
				p.log.Debug("membership: a checkpoint waits", "err", err)
				if !pause(ctx, checkpointRetry, nil) {
					return nil
				}
			}
		}
		if !pause(ctx, checkpointLook, p.settling) {
			return nil
		}
	}
}

// pause waits for a time, or until it is woken. It reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// wakeCheckpoints has it looked whether a checkpoint is due.
func (p *Project) wakeCheckpoints() {
	select {
	case p.settling <- struct{}{}:
	default:
	}
}

// checkpointDue reports whether a checkpoint is due, and this device's place among those that may make it.
func (p *Project) checkpointDue() (place int, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	self := p.self.Device.ID
	if p.cfg.Checkpoints.Off || p.doubt || p.usable() != nil || p.Removed() || !p.mayPropose(self) {
		return 0, false
	}
	if !p.ripe(1) {
		return 0, false
	}
	for _, m := range p.State().Members() {
		for _, d := range p.managing(m.ID) {
			if p.settlesBefore(d, self) {
				place++
			}
		}
	}
	return place, true
}

// ripe reports whether there is enough to settle. A cosigner asks for half as much, as he may know less: else somebody
// could have one settled every minute, until nothing counts any more that others do offline, as it misses too many of
// them. p.mu is held.
func (p *Project) ripe(part int) bool {
	u, last := p.events.Unsettled(), p.State().Settled().Time
	if u.Events == 0 {
		return false
	}
	since := last
	if since == 0 {
		since = u.Oldest
	}
	age := time.Duration(0)
	if since > 0 {
		age = p.reg.cfg.Now().Sub(time.Unix(int64(since), 0))
	}
	c, n := p.cfg.Checkpoints, time.Duration(part)
	full := u.Events >= (c.events()+part-1)/part && (last == 0 || age >= c.pause()/n)
	return u.Urgent || full || age >= c.age()/n
}

// settlesBefore reports whether a device is to make the next checkpoint before another does.
func (p *Project) settlesBefore(a, b identity.DeviceID) bool {
	last := p.State().Settled().Event
	return derive.ListID("checkpoint-author", last, a).Compare(derive.ListID("checkpoint-author", last, b)) < 0
}

// makeCheckpoint drafts a checkpoint of all that is held, has the managers' devices sign it that must, and adds it, unless
// it has been made meanwhile.
func (p *Project) makeCheckpoint(ctx context.Context) error {
	p.setPointing(true)
	defer p.setPointing(false)
	refused := map[identity.DeviceID]bool{}
	var last error
	for range cosignTries {
		if _, due := p.checkpointDue(); !due {
			return nil
		}
		var content []governance.Cut
		if p.cfg.Content != nil {
			var err error
			if content, err = p.cfg.Content(ctx); err != nil {
				return fmt.Errorf("membership: what is settled of the documents: %w", err)
			}
		}
		d, err := p.draftCheckpoint(content, refused)
		if err != nil {
			return errors.Join(err, last)
		}
		if last = p.finish(ctx, d, nil, refused); last == nil || ctx.Err() != nil {
			return last
		}
	}
	return last
}

func (p *Project) setPointing(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pointing = on
}

func (p *Project) draftCheckpoint(content []governance.Cut, refused map[identity.DeviceID]bool) (*governance.Draft, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return nil, err
	}
	if err := p.gather(); err != nil {
		return nil, err
	}
	self := p.self.Device.ID
	b, err := p.events.NextCheckpoint(self, content, uint64(max(p.reg.cfg.Now().Unix(), 0)))
	if err != nil {
		return nil, err
	}
	if p.blocks(b.Number, governance.EventID{}, p.Heads()) {
		return nil, fmt.Errorf("%w: another's checkpoint %d is on its way", ErrCosigners, b.Number)
	}
	s, err := p.events.Signers(self, governance.KindCheckpoint, b)
	if err != nil {
		return nil, err
	}
	with, err := p.reachable(s.Members, s.Need-1, refused)
	if err != nil {
		return nil, err
	}
	return p.events.Draft(self, with, governance.KindCheckpoint, b, p.hint())
}

// answerCheckpoint signs a checkpoint that says nothing but what this device would say, and leaves out nothing that has
// been here for a while: who would settle without it means harm.
func (p *Project) answerCheckpoint(d *governance.Draft, probe bool) (*cosignAnswer, error) {
	content, err := d.Content()
	b, ok := content.(*governance.Checkpoint)
	if err != nil || !ok {
		return &cosignAnswer{Result: cosignRefused}, fmt.Errorf("%w: a draft that nobody has proposed", ErrProtocol)
	}
	if !p.mayPropose(d.Author) { // before anything is looked up for him
		return &cosignAnswer{Result: cosignRefused}, fmt.Errorf("%w: a checkpoint is made by managers", ErrNotMember)
	}
	for _, c := range b.Content { // outside the lock: it asks those who ask this project
		if p.cfg.Counts == nil || !p.cfg.Counts(c) {
			return &cosignAnswer{Result: cosignLater}, fmt.Errorf("membership: envelope %d of chain %d of device %s is not here, or does not count", c.Seq, c.ChainNo, c.Device.Short())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if result, err := p.pointAgreed(d, b); err != nil {
		return &cosignAnswer{Result: result}, err
	}
	a, err := p.cosignFresh(d)
	if err != nil || probe {
		return a, err
	}
	if err := p.noteSigned(b.Number, d); err != nil {
		return &cosignAnswer{Result: cosignRefused}, err
	}
	return a, nil
}

// pointAgreed checks what a checkpoint's draft says that no log can judge. p.mu is held.
func (p *Project) pointAgreed(d *governance.Draft, b *governance.Checkpoint) (cosignResult, error) {
	now := p.reg.cfg.Now()
	ahead := time.Unix(int64(min(b.Time, 1<<40)), 0).Sub(now)
	switch {
	case p.usable() != nil:
		return cosignRefused, p.usable()
	case p.doubt:
		return cosignLater, ErrInDoubt
	case p.cfg.Checkpoints.Off:
		return cosignRefused, errors.New("membership: this device signs no checkpoints")
	case !p.mayPropose(d.Author) || !p.mayPropose(p.self.Device.ID):
		return cosignRefused, fmt.Errorf("%w: a checkpoint is made by managers", ErrNotMember)
	case ahead > governance.MaxAhead || ahead < -governance.MaxAhead:
		return cosignRefused, fmt.Errorf("membership: the checkpoint's time is %s from this device's clock", ahead)
	case p.pointing && p.settlesBefore(p.self.Device.ID, d.Author):
		return cosignLater, errors.New("membership: this device is about to make it itself")
	case b.Number <= p.State().Settled().Number:
		return cosignAhead, fmt.Errorf("membership: checkpoint %d would be a rival of one that is settled", b.Number)
	case p.blocks(b.Number, d.ID, d.Parents):
		return cosignLater, fmt.Errorf("membership: another checkpoint %d was signed here", b.Number)
	case !p.ripe(2):
		return cosignLater, errors.New("membership: there is too little to settle yet")
	}
	return cosignSigned, nil
}

// Late returns the admissions, grants and invites that count for nothing because they came too late, were used at once by
// too many, or stood beside an equivocation, although their authors might make them: an act of kind Endorse, by [Project.ProposeAct], brings them back.
func (p *Project) Late() []governance.EventID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events.Endorsable(p.self.Device.ID)
}
