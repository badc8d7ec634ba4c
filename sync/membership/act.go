package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
)

func (p *Project) author() governance.Author {
	return governance.Author{Keys: p.self.Keys, Device: p.self.Device.ID}
}

// write is an Update whose failure stops the project: the log in memory may be ahead of the disk. p.mu is held.
func (p *Project) write(fn func(tx *store.Tx) error) error {
	if err := p.cfg.Store.Update(fn); err != nil {
		p.failed = fmt.Errorf("membership: store: %w", err)
		p.log.Error("membership: store failed, project stopped", "err", err)
		return p.failed
	}
	return nil
}

// take adds received events to the log, in their order, and makes durable and visible what is new. It stops at the
// first that is refused; those before it stay. It returns how many are new.
func (p *Project) take(from identity.DeviceID, raws [][]byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return 0, err
	}
	res, refused := p.events.AddUntil(from.String(), raws, func(_ int, err error) bool { return p.tolerable(from, err) })
	if refused != nil {
		refused = fmt.Errorf("%w: %w", ErrProtocol, refused)
	}
	if len(res.Added) == 0 {
		return 0, refused
	}
	if err := p.settle(res.Added, from, nil); err != nil {
		return 0, err
	}
	return len(res.Added), refused
}

// settle makes events that the log has just taken durable, with the keys and invites that they bring and what also
// writes, and only then visible. p.mu is held.
func (p *Project) settle(added []governance.EventID, from identity.DeviceID, also func(tx *store.Tx) error) error {
	events := make([]*governance.Event, len(added))
	for i, id := range added {
		events[i] = p.events.Get(id)
	}
	before, after := p.State(), p.events.State()
	pinned := after.Settled().Event != before.Settled().Event && p.settleByCheckpoint()
	if pinned {
		after = p.events.State()
	}
	keys := p.openObjects(objectsOf(events))
	invites := p.invitesIn(events)
	err := p.write(func(tx *store.Tx) error {
		for _, e := range events {
			if _, err := tx.Log(p.names.events).Append(e.Raw); err != nil {
				return err
			}
		}
		if err := errors.Join(p.putKeys(tx, keys), p.putInvites(tx, invites)); err != nil {
			return err
		}
		if pinned {
			if err := p.putPin(tx); err != nil {
				return err
			}
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.hold(keys)
	p.host(invites)
	p.noteArrival(added)
	for _, d := range p.gone(before, after) {
		p.gate.depart(d.Cert)
	}
	p.state.Store(after)
	rootBefore, rootAfter := p.noteRoot()
	p.changes.add(step{
		Change: Change{Before: before, After: after, Added: added, RootBefore: rootBefore, RootAfter: rootAfter}, from: from,
		root: rootBefore.Current != rootAfter.Current,
	})
	return nil
}

// Propose makes an event of this device and returns when it is durable; it then goes to all connected members. It
// fails with a [*governance.DeniedError] if the event would not count, and with [ErrInDoubt] after a crash until a
// peer was reached.
func (p *Project) Propose(ctx context.Context, kind governance.Kind, body any, opts ...governance.ProposeOption) (governance.EventID, error) {
	if err := ctx.Err(); err != nil {
		return governance.EventID{}, fmt.Errorf("membership: propose: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.propose(kind, body, nil, opts...)
}

// propose is Propose with further writes in the transaction that makes the event durable. p.mu is held.
func (p *Project) propose(kind governance.Kind, body any, also func(tx *store.Tx) error, opts ...governance.ProposeOption) (governance.EventID, error) {
	var none governance.EventID
	if err := p.usable(); err != nil {
		return none, err
	}
	if p.doubt {
		return none, ErrInDoubt
	}
	opts = append(opts, governance.WithTime(uint64(max(p.reg.cfg.Now().Unix(), 0))))
	raw, id, err := p.events.Propose(p.author(), kind, body, opts...)
	if err != nil {
		return none, err
	}
	res, err := p.events.Add(raw)
	if err != nil {
		return none, fmt.Errorf("membership: own event: %w", err)
	}
	return id, p.settle(res.Added, p.self.Device.ID, also)
}

// OpenChain opens this device's next chain and returns its number when the event is durable.
func (p *Project) OpenChain(ctx context.Context) (uint32, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("membership: open a chain: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := uint32(1)
	for e := range p.events.All() {
		if e.Kind != governance.KindChainOpen || e.Device != p.self.Device.ID {
			continue
		}
		if body, err := governance.DecodeBody(e); err == nil {
			next = max(next, body.(*governance.ChainOpen).ChainNo+1)
		}
	}
	_, err := p.propose(governance.KindChainOpen, governance.ChainOpen{ChainNo: next}, nil)
	return next, err
}

// Removal says who is to be removed.
type Removal struct {
	Member identity.MemberID
	Cuts   []governance.Cut // the last envelopes of the member's chains that were applied here
	Reason string           // at most 512 bytes
	Notify bool             // the removed may be told why
}

// Remove removes a member with all devices, and rotates the key in the same event. Options may add cosigners. A key that
// cannot be minted does not stop the removal: it is owed then, and an editor's device mints it. It fails as Propose does.
func (p *Project) Remove(ctx context.Context, r Removal, opts ...governance.ProposeOption) (governance.EventID, error) {
	if err := ctx.Err(); err != nil {
		return governance.EventID{}, fmt.Errorf("membership: remove: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	body := governance.Revoke{Member: r.Member, Cuts: r.Cuts, Reason: r.Reason}
	if r.Notify {
		body.Notify = 1
	}
	if m, err := p.newEpoch(func(d *governance.Device) bool { return d.Member == r.Member }); err != nil {
		p.log.Warn("membership: removal without a new key", "err", err)
	} else {
		defer clear(m.Key[:])
		body.Epoch = &m.Object
	}
	return p.propose(governance.KindRevoke, body, nil, opts...)
}

// newEpoch mints a key for the devices that are live, but those that gone names, to be carried by this device's next
// event. p.mu is held.
func (p *Project) newEpoch(gone func(*governance.Device) bool) (*epoch.Minted, error) {
	s := p.events.StateFor(p.self.Device.ID)
	var recipients []epoch.Recipient
	for _, d := range s.Devices() {
		if !gone(d) {
			recipients = append(recipients, epoch.Recipient{Device: d.ID, KEM: d.KEM, Later: p.heldBack(s, d.Member)})
		}
	}
	var previous []epoch.IDKey
	for _, e := range s.EpochTips() {
		if k, ok := p.keys.held[e.ID]; ok && len(previous) < governance.MaxPrevEpochs {
			previous = append(previous, epoch.IDKey{ID: e.ID, Key: k})
		}
	}
	self := p.self.Device.ID
	m, err := epoch.Mint(p.reg.cfg.Random, p.id, self, p.events.NextAseq(self), recipients, previous)
	if err != nil {
		return nil, fmt.Errorf("membership: mint a key: %w", err)
	}
	*p.keys.minted.Get() = m.IDKey
	return m, nil
}

// Rotate mints a new key for all who are live. Members' devices do so by themselves when one is owed.
func (p *Project) Rotate(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mint(ctx, nil)
}

func (p *Project) mint(ctx context.Context, also func(tx *store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: rotate: %w", err)
	}
	m, err := p.newEpoch(func(*governance.Device) bool { return false })
	if err != nil {
		return err
	}
	defer clear(m.Key[:])
	_, err = p.propose(governance.KindKeyEpoch, m.Object, also)
	return err
}

// owe starts a timer if a new key is owed and this device may mint it. The further back the device stands in the
// order, the longer it waits, so that usually one of them mints.
func (p *Project) owe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, owed := p.State().Owed(p.self.Device.ID)
	if !owed || place < 0 || p.minting || p.doubt {
		return
	}
	if p.reserves() { // to mint would end what holders of the root may be signing: after all others
		place += len(p.State().Devices())
	}
	p.minting = p.tasks.Go("mint", func(ctx context.Context) error {
		timer := time.NewTimer(time.Duration(place) * mintStep)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.minting = false
		if _, owed := p.State().Owed(p.self.Device.ID); !owed || p.usable() != nil {
			return nil
		}
		if err := p.mint(ctx, nil); err != nil {
			p.log.Warn("membership: mint a key that is owed", "err", err)
		}
		return nil
	})
}
