package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/boxkeys"
)

func (c *Config) keyLife() time.Duration {
	if c.KeyLife > 0 {
		return c.KeyLife
	}
	return DefaultKeyLife
}

// BoxKeys tells of this device's KEM keys in the project, oldest first.
func (p *Project) BoxKeys() []boxkeys.Key { return p.boxKeys.All() }

// runBoxKeys gives this device a new KEM key whenever one is due, and erases those that nothing needs any more, until the project
// closes. It looks again when it is woken, and once a minute, as clocks may be set and machines sleep.
func (p *Project) runBoxKeys(ctx context.Context) error {
	for {
		if err := p.careForBoxKeys(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("membership: this device's keys", "err", err)
		}
		if !pause(ctx, boxKeyLook, p.tending) {
			return nil
		}
	}
}

// tendBoxKeys has it looked whether a KEM key is due, or may go.
func (p *Project) tendBoxKeys() {
	select {
	case p.tending <- struct{}{}:
	default:
	}
}

// careForBoxKeys does what is due. Each step is durable by itself, and looks at what is there and not at what the one before has
// done: so that whatever a crash has left is finished by the next start.
func (p *Project) careForBoxKeys(ctx context.Context) error {
	if err := p.followBoxKey(ctx); err != nil {
		return err
	}
	if err := p.renewBoxKey(ctx); err != nil {
		return err
	}
	return p.eraseBoxKeys(ctx)
}

// followBoxKey notes which key the others seal to, once an event has changed it.
func (p *Project) followBoxKey(ctx context.Context) error {
	p.mu.Lock()
	d, ok := p.State().Device(p.self.Device.ID)
	if !ok || p.gate.awaiting() || slices.ContainsFunc(p.boxKeys.All(), func(k boxkeys.Key) bool {
		return k.ID == d.KemID && k.State == boxkeys.Current
	}) {
		p.mu.Unlock()
		return nil
	}
	since := p.updateTo(d.KemID)
	p.mu.Unlock()
	if since == (governance.EventID{}) {
		return nil // it is the certificate's
	}
	return p.boxKeys.Follow(ctx, d.KemID, since)
}

// updateTo returns the newest event that made a key this device's, zero if none did. p.mu is held.
func (p *Project) updateTo(id wire.ID) (found governance.EventID) {
	for _, u := range p.updatesTo(id) {
		if x, err := p.events.Explain(u); err == nil && x.Counts {
			found = u
		}
	}
	return found
}

// updatesTo returns the events of this device that name a key, whether they count or not. p.mu is held.
func (p *Project) updatesTo(id wire.ID) (found []governance.EventID) {
	for e := range p.events.All() {
		if e.Kind != governance.KindKeyUpdate || e.Device != p.self.Device.ID {
			continue
		}
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue
		}
		key, err := kem.ParsePublicKey(body.(*governance.KeyUpdate).KEM)
		if err == nil && identity.KemID(key) == id {
			found = append(found, e.ID)
		}
	}
	return found
}

// boxKeyDue reports whether this device is to have a new key: that which the others seal to is old, or is not here, as in a project
// that the device joins after it has erased the key of its certificate. p.mu is held.
func (p *Project) boxKeyDue() bool {
	now := p.reg.cfg.Now()
	if p.usable() != nil || p.doubt || p.gate.awaiting() {
		return false
	}
	if since := now.Sub(p.renewed); since >= 0 && since < boxKeyPause {
		return false
	}
	d, ok := p.State().Device(p.self.Device.ID)
	if !ok || !d.Live || d.Suspended { // what a suspended device signs would not count
		return false
	}
	for _, k := range p.boxKeys.All() {
		if k.ID == d.KemID && k.State != boxkeys.Erased {
			return p.outlived(k) && !p.reserves() // which can wait, and a root act's number cannot be had again
		}
	}
	return true
}

// outlived reports whether a key is old, or was made by a clock that ran far ahead, by that of now, which the managers' in their last
// checkpoint does not belie: it would be used until that day came. p.mu is held.
func (p *Project) outlived(k boxkeys.Key) bool {
	now, settled := p.reg.cfg.Now(), p.State().Settled().Time
	latest := now.Add(governance.MaxAhead)
	ahead := k.Made.After(latest) && settled > 0 && settled <= uint64(max(latest.Unix(), 0))
	return ahead || now.Sub(k.Made) >= p.cfg.keyLife()
}

// renewBoxKey gives this device a new key if one is due. The key is durable before the event that names it is signed: a crash
// between leaves a key that the next attempt takes.
func (p *Project) renewBoxKey(ctx context.Context) error {
	p.mu.Lock()
	due := p.boxKeyDue()
	p.mu.Unlock()
	if !due {
		return nil
	}
	key, err := p.boxKeys.Prepare(ctx)
	if err == nil {
		err = p.announceBoxKey(key.Public().Bytes())
	}
	var denied *governance.DeniedError
	if errors.As(err, &denied) || errors.Is(err, boxkeys.ErrFull) {
		p.mu.Lock()
		p.renewed = p.reg.cfg.Now()
		p.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("membership: a new key for this device: %w", err)
	}
	return p.followBoxKey(ctx)
}

func (p *Project) announceBoxKey(public []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.boxKeyDue() {
		return nil
	}
	_, err := p.propose(governance.KindKeyUpdate, governance.KeyUpdate{KEM: public}, nil)
	return err
}

// eraseBoxKeys erases the keys that nothing needs any more.
func (p *Project) eraseBoxKeys(ctx context.Context) error {
	p.mu.Lock()
	spent := p.spentBoxKeys()
	p.mu.Unlock()
	if len(spent) == 0 && p.boxKeys.Finished() {
		return nil
	}
	if err := p.boxKeys.Erase(ctx, spent...); err != nil {
		return fmt.Errorf("membership: erase this device's old keys: %w", err)
	}
	p.log.Info("membership: erased old keys of this device", "keys", len(spent))
	return nil
}

// spentBoxKeys returns the keys that nothing needs any more: those whose successor is settled, when no epoch's key is missing that
// one of them could open, and no invite names them whose code still admits; that is waited for as long as an invite lasts at most, or
// whoever mints what nobody can open, or announces an invite for ever, could have them kept. In a project that this device was removed from, nobody
// seals to it: should the removal turn out not to count, the device has a new key made and asks for what it lacks. p.mu is held.
func (p *Project) spentBoxKeys() (out []wire.ID) {
	if p.usable() != nil || p.gate.awaiting() {
		return nil
	}
	all := p.boxKeys.All()
	if p.Removed() {
		for _, k := range all {
			if k.State != boxkeys.Erased {
				out = append(out, k.ID)
			}
		}
		return out
	}
	out = p.succeededBoxKeys(all)
	if len(out) == 0 {
		return nil
	}
	lacking, named := len(p.needs()) > 0, p.namedByInvites()
	return slices.DeleteFunc(out, func(id wire.ID) bool {
		i := slices.IndexFunc(all, func(k boxkeys.Key) bool { return k.ID == id })
		waited := i+1 < len(all) && p.reg.cfg.Now().Sub(all[i+1].Made) > boxKeyHold
		return !waited && (lacking || named[id])
	})
}

// succeededBoxKeys returns the retired keys that cannot become this device's again: the one that is, what put it in their place and
// what named them before are all settled. p.mu is held.
func (p *Project) succeededBoxKeys(all []boxkeys.Key) (out []wire.ID) {
	settled := p.State().Settled().Event
	d, ok := p.State().Device(p.self.Device.ID)
	if !ok || settled == (governance.EventID{}) {
		return nil
	}
	open := func(id governance.EventID) bool {
		in, err := p.events.Contains([]governance.EventID{settled}, id)
		return err != nil || !in
	}
	for _, k := range all {
		if k.State == boxkeys.Retired && k.ID != d.KemID && !open(k.Retired) && !open(p.updateTo(d.KemID)) &&
			!slices.ContainsFunc(p.updatesTo(k.ID), open) {
			out = append(out, k.ID)
		}
	}
	return out
}

// namedByInvites returns this device's keys that invites name which have not ended. One that does not count may come to, so it ends
// with its time. p.mu is held.
func (p *Project) namedByInvites() map[wire.ID]bool {
	now := uint64(max(p.reg.cfg.Now().Unix(), 0))
	out := map[wire.ID]bool{}
	for e := range p.events.All() {
		if e.Kind != governance.KindInviteCreate {
			continue
		}
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue
		}
		b := body.(*governance.InviteCreate)
		x, counts := p.State().Invite(b.Invite)
		if b.Expires != 0 && b.Expires < now || counts && x.Create == e.ID && x.Closed {
			continue
		}
		for _, h := range b.Hosts {
			if h.Device == p.self.Device.ID {
				out[h.KemID] = true
			}
		}
	}
	return out
}
