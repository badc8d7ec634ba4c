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
	for e := range p.events.All() {
		if e.Kind != governance.KindKeyUpdate || e.Device != p.self.Device.ID {
			continue
		}
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue
		}
		key, err := kem.ParsePublicKey(body.(*governance.KeyUpdate).KEM)
		if err != nil || identity.KemID(key) != id {
			continue
		}
		if x, err := p.events.Explain(e.ID); err == nil && x.Counts {
			found = e.ID
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
			return now.Sub(k.Made) >= p.cfg.keyLife()
		}
	}
	return true
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
// one of them could open, and no invite names them whose code still admits. In a project that this device was removed from, nobody
// seals to it: should the removal turn out not to count, the device has a new key made and asks for what it lacks. p.mu is held.
func (p *Project) spentBoxKeys() (out []wire.ID) {
	if p.usable() != nil || p.gate.awaiting() {
		return nil
	}
	removed, settled := p.Removed(), p.State().Settled().Event
	for _, k := range p.boxKeys.All() {
		if removed && k.State != boxkeys.Erased {
			out = append(out, k.ID)
		} else if k.State == boxkeys.Retired && settled != (governance.EventID{}) {
			if in, err := p.events.Contains([]governance.EventID{settled}, k.Retired); err == nil && in {
				out = append(out, k.ID)
			}
		}
	}
	if removed || len(out) == 0 {
		return out
	}
	if len(p.needs()) > 0 {
		return nil
	}
	named := p.namedByInvites()
	return slices.DeleteFunc(out, func(id wire.ID) bool { return named[id] })
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
