package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// CheckpointPolicy says when this node makes checkpoints, and which it signs. It is local: it never changes what counts.
// Zero fields stand for the defaults.
type CheckpointPolicy struct {
	Off    bool          // make none and sign none
	Events int           // unsettled events at which one is made: DefaultCheckpointEvents
	Age    time.Duration // time after the last one at which one is made, if anything is unsettled: DefaultCheckpointAge
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

func (c CheckpointPolicy) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return arrivalGrace
}

// signedPoint is the draft of a checkpoint that this device has co-signed last.
type signedPoint struct {
	number uint64
	author identity.DeviceID
	at     time.Time
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
	u := p.events.Unsettled()
	if u.Events == 0 {
		return 0, false
	}
	since := p.State().Settled().Time
	if since == 0 {
		since = u.Oldest
	}
	old := since > 0 && p.reg.cfg.Now().Sub(time.Unix(int64(since), 0)) >= p.cfg.Checkpoints.age()
	if !u.Urgent && !old && u.Events < p.cfg.Checkpoints.events() {
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
	self := p.self.Device.ID
	b, err := p.events.NextCheckpoint(self, content, uint64(max(p.reg.cfg.Now().Unix(), 0)))
	if err != nil {
		return nil, err
	}
	if s := p.signed; s.number == b.Number && s.author != self && p.reg.cfg.Now().Sub(s.at) < p.cfg.Checkpoints.grace() {
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
func (p *Project) answerCheckpoint(d *governance.Draft) (*cosignAnswer, error) {
	content, err := d.Content()
	b, ok := content.(*governance.Checkpoint)
	if err != nil || !ok {
		return &cosignAnswer{Result: cosignRefused}, fmt.Errorf("%w: a draft that nobody has proposed", ErrProtocol)
	}
	for _, c := range b.Content { // outside the lock: it asks those who ask this project
		if p.cfg.Counts == nil || !p.cfg.Counts(c) {
			return &cosignAnswer{Result: cosignLater}, fmt.Errorf("membership: envelope %d of chain %d of device %s is not here, or does not count", c.Seq, c.ChainNo, c.Device.Short())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if result, err := p.pointAgreed(d.Author, b); err != nil {
		return &cosignAnswer{Result: result}, err
	}
	a, err := p.cosignFresh(d)
	if err == nil {
		p.signed = signedPoint{number: b.Number, author: d.Author, at: p.reg.cfg.Now()}
	}
	return a, err
}

// pointAgreed checks what a checkpoint's draft says that no log can judge. p.mu is held.
func (p *Project) pointAgreed(author identity.DeviceID, b *governance.Checkpoint) (cosignResult, error) {
	now := p.reg.cfg.Now()
	ahead := time.Unix(int64(min(b.Time, 1<<40)), 0).Sub(now)
	switch s := p.signed; {
	case p.usable() != nil:
		return cosignRefused, p.usable()
	case p.doubt:
		return cosignLater, ErrInDoubt
	case p.cfg.Checkpoints.Off:
		return cosignRefused, errors.New("membership: this device signs no checkpoints")
	case !p.mayPropose(author) || !p.mayPropose(p.self.Device.ID):
		return cosignRefused, fmt.Errorf("%w: a checkpoint is made by managers", ErrNotMember)
	case ahead > governance.MaxAhead || ahead < -governance.MaxAhead:
		return cosignRefused, fmt.Errorf("membership: the checkpoint's time is %s from this device's clock", ahead)
	case p.pointing && p.settlesBefore(p.self.Device.ID, author):
		return cosignLater, errors.New("membership: this device is about to make it itself")
	case s.number == b.Number && s.author != author && now.Sub(s.at) < p.cfg.Checkpoints.grace():
		return cosignLater, fmt.Errorf("membership: another's checkpoint %d is on its way", b.Number)
	}
	return cosignSigned, nil
}

// Late returns the admissions, grants and invites that count for nothing because they came too late, were used at once by
// too many, or stood beside an equivocation, although their authors might make them: [Project.Endorse] brings them back.
func (p *Project) Late() []governance.EventID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events.Endorsable(p.self.Device.ID)
}

// Endorse brings acts of [Project.Late] back, at most governance.MaxEndorsed, as if this device's owner made them now. It
// behaves as [Project.ProposeAct]: what makes a manager needs as many as that does.
func (p *Project) Endorse(ctx context.Context, events ...governance.EventID) (ActID, error) {
	return p.ProposeAct(ctx, governance.KindEndorse, governance.Endorse{Events: wire.SortIDs(slices.Clone(events))}, "")
}
