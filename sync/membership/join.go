package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/invite"
)

// Redeem holds the invite handshake with the first host of the code that can be reached. show, if not nil, is given
// the six words that a person at the host sees too. A host that answers decides: [invite.ErrExpired],
// [invite.ErrUsed], [invite.ErrCancelled], [invite.ErrDenied], [invite.ErrVoid], [invite.ErrFull]. If none does, the
// error joins what each attempt met: [p2p.ErrUnreachable], [p2p.ErrRefused], [invite.ErrNoAnswer] and others.
//
// Nothing is stored; hand the welcome to [Registry.Adopt], unless it is pending. Redeeming a code again gives the same
// admission.
func (r *Registry) Redeem(ctx context.Context, code *invite.Code, show func(words []string)) (*invite.Welcome, error) {
	host := r.transport()
	if host == nil {
		return nil, ErrNoHost
	}
	var errs []error
	for _, h := range code.Hosts {
		if h.Device == r.cfg.Self.Device.ID {
			errs = append(errs, fmt.Errorf("%w: the code was made on this device", invite.ErrHost))
			continue
		}
		w, err := r.redeem(ctx, host, code, h, show)
		if err == nil {
			return w, nil
		}
		if decided(err) || ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// decided reports whether a host has answered, so that asking another one is of no use.
func decided(err error) bool {
	for _, final := range []error{
		invite.ErrExpired, invite.ErrUsed, invite.ErrCancelled, invite.ErrDenied, invite.ErrVoid, invite.ErrFull,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

func (r *Registry) redeem(ctx context.Context, host *p2p.Host, code *invite.Code, h invite.Host, show func([]string)) (*invite.Welcome, error) {
	conn, err := host.Dial(ctx, p2p.Target{
		Device: h.Device, Peer: h.Peer, Addrs: h.Addrs,
		Invite: &p2p.InviteAuth{Hash: invite.Hash(code.Invite), Key: invite.MACKey(code.Secret)},
	})
	if err != nil {
		return nil, err
	}
	if conn.Class() == p2p.Guest {
		defer conn.Close() // a guest's; the member dials anew
	}
	s, err := conn.Open(ctx, protocolInvite)
	if err != nil { // a host that has too many handshakes resets at once
		return nil, fmt.Errorf("%w: %w", invite.ErrNoAnswer, err)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(handshakeTime))
	w, err := invite.Join(r.cfg.Random, s, invite.Joiner{
		Exporter: s.Exporter(), Remote: s.Cert(), Code: code,
		Identity: r.cfg.Self.Identity, Device: r.cfg.Self.Device, Keys: r.cfg.Self.Keys,
		OnWords: func(words []string) {
			_ = s.SetDeadline(time.Now().Add(joinTime)) // a person may have to decide
			if show != nil {
				show(words)
			}
		},
	})
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, err
	}
	drain(s)
	return w, nil
}

// drain waits until the other side has read what was sent and closed.
func drain(s *p2p.Stream) {
	_ = s.CloseWrite()
	_ = s.SetReadDeadline(time.Now().Add(farewellTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(s, maxFrame))
}

// Adopt opens a project that this device was just admitted to: it fetches the log from the host that admitted, checks
// that the log admits this device, and takes over the keys. Only then the project is in the store; if anything fails
// nothing stays there, and the code can be redeemed again. It fails with [ErrNotAdmitted], [ErrExists], or an error of
// the transport or the store.
func (r *Registry) Adopt(ctx context.Context, cfg Config, code *invite.Code, w *invite.Welcome) (*Project, error) {
	if w.Pending || w.Root.Project != code.Project {
		return nil, fmt.Errorf("%w: the host has not admitted it", ErrNotAdmitted)
	}
	p := r.newProject(cfg, w.Root)
	p.events.SetClock(r.cfg.Now)
	err := cfg.Store.Update(func(tx *store.Tx) error {
		if s, err := readStatus(tx, p.id); err != nil || s == statusReady {
			return errors.Join(err, existsIf(s == statusReady, p.id))
		}
		return p.names.begin(tx, p.id, w.Root)
	})
	if err != nil {
		return nil, fmt.Errorf("membership: join: %w", err)
	}
	p.gate.setSponsor(w.HostDevice)
	if err := p.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("membership: join: %w", err), p.discard())
	}
	if err := p.adopt(ctx, code, w); err != nil {
		return nil, errors.Join(fmt.Errorf("membership: join: %w", err), p.discard())
	}
	return p, nil
}

// Return opens a project from which this device was removed, after a new invite has admitted it again: it takes what has
// happened since from the host that admitted. If that fails the store is as it was, but for events that may have come.
// It fails as Adopt does, and with [ErrUnknownProject].
func (r *Registry) Return(ctx context.Context, cfg Config, code *invite.Code, w *invite.Welcome) (*Project, error) {
	if w.Pending || w.Root.Project != code.Project {
		return nil, fmt.Errorf("%w: the host has not admitted it", ErrNotAdmitted)
	}
	if r.project(code.Project) != nil {
		return nil, fmt.Errorf("membership: return: %w", existsIf(true, code.Project))
	}
	p, err := r.load(cfg, code.Project)
	if err != nil {
		return nil, fmt.Errorf("membership: return: %w", err)
	}
	p.gate.setSponsor(w.HostDevice)
	err = p.start()
	if err == nil {
		err = p.adopt(ctx, code, w)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("membership: return: %w", err), p.Close())
	}
	return p, nil
}

// adopt fetches the log and the keys, and makes the project ready.
func (p *Project) adopt(ctx context.Context, code *invite.Code, w *invite.Welcome) error {
	host := p.reg.transport()
	if host == nil {
		return ErrNoHost
	}
	target := p2p.Target{Device: w.HostDevice.ID, Peer: w.HostDevice.Peer}
	for _, h := range code.Hosts {
		if h.Device == w.HostDevice.ID {
			target.Addrs = h.Addrs
		}
	}
	if _, err := host.Dial(ctx, target); err != nil {
		return err
	}
	if err := p.settleRoot(ctx, code.Root, (*genesis.Chain).Settle); err != nil {
		return err
	}
	if err := p.TakeRoots(w.HostDevice.ID, w.Records[1:]); err != nil {
		return err
	}
	if err := p.Pull(ctx, w.HostDevice.ID); err != nil {
		return err
	}
	if d, ok := p.State().Device(p.self.Device.ID); !ok || !d.Live {
		return ErrNotAdmitted
	}
	admit, err := governance.ReadEvent(w.Admit)
	if err != nil || !p.Knows([]governance.EventID{admit.ID}) {
		return fmt.Errorf("%w (the event that it sent is not in its log)", ErrNotAdmitted)
	}
	if err := p.takeBoxes(w.Boxes); err != nil {
		return err
	}
	if err := p.takeAddresses(w.Addrs); err != nil {
		return err
	}
	p.mu.Lock()
	err = p.write(func(tx *store.Tx) error { return writeStatus(tx, p.id, statusReady) })
	if err == nil {
		p.gate.setSponsor(nil)
	}
	lacking := len(p.needs()) > 0
	p.mu.Unlock()
	if err == nil && lacking {
		p.askAgain(ctx, w.HostDevice.ID)
	}
	p.tendBoxKeys()
	return err
}

// askAgain gives a device that has come to a project after it erased the key of its certificate a new one, and asks for what was
// sealed to the old. If that fails it is done later, as with any key that is missing.
func (p *Project) askAgain(ctx context.Context, host identity.DeviceID) {
	err := p.careForBoxKeys(ctx)
	if err == nil {
		p.mu.Lock()
		d, _ := p.State().Device(p.self.Device.ID)
		update := p.updateTo(d.KemID)
		p.mu.Unlock()
		err = p.exchange(ctx, host, []governance.EventID{update}) // which the host has to know before it seals anything
	}
	if err != nil {
		p.log.Debug("membership: the keys of a newcomer", "err", err)
	}
}
