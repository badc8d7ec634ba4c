package membership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
)

// RootStatus is how the project's root stands here. It is immutable.
type RootStatus struct {
	Current *genesis.Root     // the version that counts: all events that its frontier names are here
	View    genesis.ChainView // what the records say; its newest version may still wait for events
}

// Roots returns how the root stands. All of it is durable.
func (p *Project) Roots() RootStatus { return *p.rootNow.Load() }

// Root returns the version of the root record that counts.
func (p *Project) Root() *genesis.Root { return p.rootNow.Load().Current }

// RootRecords returns the signed records in force, from version 1 to the newest.
func (p *Project) RootRecords() [][]byte {
	var out [][]byte
	for _, r := range p.Roots().View.Versions {
		out = append(out, r.Raw)
	}
	return out
}

// SetBack reports whether a root record is missing that was in force before: [Config.RootMark].
func (p *Project) SetBack() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.setBack()
}

// setBack is SetBack with p.mu held.
func (p *Project) setBack() bool {
	return !p.cfg.RootMark.IsZero() && p.chain.Get(p.cfg.RootMark) == nil
}

// noteRoot makes the root's standing visible and returns it with the one before. p.mu is held, and everything durable.
func (p *Project) noteRoot() (before, after RootStatus) {
	before = *p.rootNow.Load()
	after = RootStatus{Current: p.events.Root(), View: p.chain.View()}
	p.rootNow.Store(&after)
	return before, after
}

// TakeRoots adds signed records that a device, or a medium that carries them, has brought to the chain, in their order, and
// makes durable and visible what is new. It stops at the first that is refused; those before it stay.
func (p *Project) TakeRoots(from identity.DeviceID, raws [][]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addRoots(from, raws)
}

// addRoots is TakeRoots with p.mu held.
func (p *Project) addRoots(from identity.DeviceID, raws [][]byte) error {
	if err := p.usable(); err != nil {
		return err
	}
	var added []*genesis.Root
	var refused error
	for _, raw := range raws {
		res, err := p.chain.Add(raw)
		added = append(added, res.Added...)
		for _, dropped := range res.Dropped {
			p.log.Warn("membership: a root record that had waited is wrong", "err", dropped)
		}
		if err != nil && !errors.Is(err, genesis.ErrTooManyRivals) {
			refused = fmt.Errorf("%w: %w", ErrProtocol, err)
			break
		}
	}
	err := p.moveRoot(from, func(tx *store.Tx) error {
		for _, r := range added {
			if err := tx.Map(p.names.roots).Put(recordKey(r), r.Raw); err != nil {
				return err
			}
		}
		return nil
	}, len(added) > 0)
	return errors.Join(err, refused)
}

// moveRoot makes what has happened to the chain durable, by write, and then visible. p.mu is held.
func (p *Project) moveRoot(from identity.DeviceID, write func(tx *store.Tx) error, changed bool) error {
	if changed {
		p.events.SetRoots(p.chain.View(), p.chain.Records())
		p.settleByCheckpoint() // a checkpoint may have come before the record that it settles
	}
	before, after := p.State(), p.events.State()
	if changed {
		if err := p.write(func(tx *store.Tx) error { return errors.Join(write(tx), p.putPin(tx), p.dropProposals(tx)) }); err != nil {
			return err
		}
	}
	for _, d := range p.gone(before, after) {
		p.gate.depart(d.Cert)
	}
	p.state.Store(after)
	rootBefore, rootAfter := p.noteRoot()
	if changed || !equalGap(rootBefore.View.Gap, rootAfter.View.Gap) {
		p.changes.add(step{
			Change: Change{Before: before, After: after, RootBefore: rootBefore, RootAfter: rootAfter}, from: from, root: changed,
		})
	}
	return nil
}

func equalGap(a, b *genesis.Gap) bool { return a == b || a != nil && b != nil && *a == *b }

// PinRoot settles a version of the root here, against what was settled before if need be, by the word of a person who has
// compared its id with somebody they trust. It fails with [genesis.ErrUnknownRoot].
func (p *Project) PinRoot(ctx context.Context, id genesis.RootID) error {
	return p.settleRoot(ctx, id, (*genesis.Chain).Repin)
}

// settleRoot settles a version that a code or a checkpoint names. It fails with [genesis.ErrPinned].
func (p *Project) settleRoot(ctx context.Context, id genesis.RootID, settle func(*genesis.Chain, genesis.RootID) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: pin the root: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	old := p.chain.Pin()
	if err := settle(p.chain, id); err != nil {
		return fmt.Errorf("membership: pin the root: %w", err)
	}
	return p.moveRoot(p.self.Device.ID, func(*store.Tx) error { return nil }, p.chain.Pin() != old)
}

// settleByCheckpoint settles the version that the last settled checkpoint settles, unless it is settled here already or
// another is, and reports whether it did: it is then to be made durable with [Project.putPin]. p.mu is held.
func (p *Project) settleByCheckpoint() bool {
	settled := p.events.State().Settled()
	if settled.Number == 0 {
		return false
	}
	id, ok := p.events.SettledBy(settled.Event)
	if !ok {
		return false
	}
	old := p.chain.Pin()
	if err := p.chain.Settle(id); err != nil {
		p.log.Warn("membership: a checkpoint names another root than the one settled here", "version", id.Short(), "err", err)
		return false
	}
	if p.chain.Pin() == old {
		return false
	}
	p.events.SetRoots(p.chain.View(), p.chain.Records())
	return true
}

// putPin notes which version is settled here.
func (p *Project) putPin(tx *store.Tx) error {
	pin := p.chain.Pin()
	return tx.Map(p.names.meta).Put(metaPin, pin[:])
}

// recordKey files version 1 under its number and later records, of which there may be several, under number and id.
func recordKey(r *genesis.Root) []byte {
	if r.N == 1 {
		return versionKey(1)
	}
	return append(versionKey(r.N), r.ID[:]...)
}

// readRoots fills the chain with the records that the store holds; p has version 1.
func (p *Project) readRoots(tx *store.Tx) error {
	if pin, ok, err := tx.Map(p.names.meta).Get(metaPin); err != nil {
		return err
	} else if ok {
		if len(pin) != len(genesis.RootID{}) {
			return damaged("the settled root has a wrong size")
		}
		if err := p.chain.Settle(genesis.RootID(pin)); err != nil {
			return damaged("settled root: %v", err)
		}
	}
	records := map[string][]byte{}
	for k, raw := range tx.Map(p.names.roots).All() {
		records[string(k)] = raw
	}
	for _, k := range slices.Sorted(maps.Keys(records)) { // in the order of their numbers
		r, err := p.chain.Restore(records[k])
		if err == nil && string(recordKey(r)) != k {
			err = errors.New("it stands in another's place")
		}
		if err != nil {
			return damaged("root record %x: %v", k, err)
		}
	}
	p.events.SetRoots(p.chain.View(), p.chain.Records())
	return nil
}
