package membership

import (
	"context"
	"errors"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
)

// deadliner is the stream of a handshake.
type deadliner interface {
	SetDeadline(time.Time) error
	Device() identity.DeviceID
}

// terms returns what the handshake on an invite needs to know, if this device still is one of its hosts.
func (p *Project) terms(h hosting, s deadliner) (*invite.Terms, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	create, rootID, ok := p.announcement(h.Invite)
	if !ok || p.usable() != nil || p.doubt {
		return nil, false
	}
	root, records := p.recordsFrom(genesis.RootID(rootID))
	if root == nil {
		return nil, false
	}
	t := &invite.Terms{
		Project: p.id, RootVersion: root.N, Root: root.ID, Invite: h.Invite, ProofHash: create.ProofHash,
		MAC: h.MAC, Records: records,
		Ended: func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.over(h, s.Device())
		},
		Admit: func(stream context.Context, r invite.Request) (a invite.Admission, err error) {
			err = p.within("admit", func(ctx context.Context) (err error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				defer context.AfterFunc(stream, cancel)()
				a, err = p.admit(ctx, h, r, s)
				return err
			})
			return a, err
		},
	}
	for _, x := range create.Hosts {
		if x.Device == p.self.Device.ID { // which the code names, whatever key this device has now
			if t.KEM, ok = p.boxKeys.Get(x.KemID); !ok {
				return nil, false
			}
		}
		d, ok := p.State().Device(x.Device)
		if !ok {
			return nil, false
		}
		t.Hosts = append(t.Hosts, invite.Host{Device: x.Device, Peer: d.Cert.Peer, KemID: x.KemID})
	}
	return t, t.KEM != nil
}

// recordsFrom returns a version in force and the records that prove it to a newcomer: version 1, which the project is named
// for, that version, and those after it as far as they fit the handshake. p.mu is held.
func (p *Project) recordsFrom(id genesis.RootID) (root *genesis.Root, records [][]byte) {
	size := 0
	for _, r := range p.chain.View().Versions {
		if r.ID == id {
			root = r
		}
		if r.N > 1 && root == nil {
			continue
		}
		if size += len(r.Raw); r.N > 1 && r != root && size > maxWelcomeRoots {
			break
		}
		records = append(records, r.Raw)
	}
	return root, records
}

// announcement returns the event that announced an invite, in force or not: its holder is to be told, if it is not.
func (p *Project) announcement(id governance.InviteID) (create *governance.InviteCreate, root wire.ID, ok bool) {
	if x, counts := p.State().Invite(id); counts {
		e := p.events.Get(x.Create)
		body, err := governance.DecodeBody(e)
		if err != nil {
			return nil, root, false
		}
		return body.(*governance.InviteCreate), wire.ID(e.Root), true
	}
	for e := range p.events.All() {
		if e.Kind != governance.KindInviteCreate {
			continue
		}
		body, err := governance.DecodeBody(e)
		if b, is := body.(*governance.InviteCreate); err == nil && is && b.Invite == id {
			return b, wire.ID(e.Root), true
		}
	}
	return nil, root, false
}

// admit decides on somebody who has proved to hold the code.
func (p *Project) admit(ctx context.Context, h hosting, r invite.Request, s deadliner) (invite.Admission, error) {
	p.mu.Lock()
	again, done := p.admittedBefore(h.Invite, r.Device.ID)
	p.mu.Unlock()
	if done {
		return again, nil
	}
	if refused := p.consent(ctx, h, r, s); refused != nil {
		return *refused, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// While a person decided, another handshake may have gone through.
	if again, done := p.admittedBefore(h.Invite, r.Device.ID); done {
		return again, nil
	}
	if err := p.over(h, r.Device.ID); err != nil {
		return refusal(err), nil
	}
	if p.members() >= int(p.events.Root().Policy.MaxMembers) {
		return refusal(invite.ErrFull), nil
	}
	return p.admitNow(h, r)
}

func refusal(err error) invite.Admission {
	a := invite.Admission{Result: invite.Refused, Reason: invite.ReasonOf(err)}
	var used *invite.UsedError
	if errors.As(err, &used) {
		a.First = &used.First
	}
	return a
}

func (p *Project) members() int {
	n := 0
	for _, m := range p.State().Members() {
		if m.Present {
			n++
		}
	}
	return n
}

// consent asks the project's policy. It returns nil if the newcomer may come in.
func (p *Project) consent(ctx context.Context, h hosting, r invite.Request, s deadliner) *invite.Admission {
	x, ok := p.State().Invite(h.Invite)
	if !ok {
		a := refusal(invite.ErrVoid)
		return &a
	}
	pending := &invite.Admission{Result: invite.Pending}
	if p.cfg.JoinPolicy == nil {
		if x.Approval {
			return pending // nobody is there to ask
		}
		return nil
	}
	if !p.reg.limiter.pause() {
		return pending
	}
	defer p.reg.limiter.resume()
	_ = s.SetDeadline(time.Now().Add(approvalTime + handshakeTime))
	ctx, cancel := context.WithTimeout(ctx, approvalTime)
	defer cancel()
	err := p.cfg.JoinPolicy(ctx, JoinRequest{
		Project: p.id, Identity: r.Identity, Device: r.Device, Role: x.Role, Approval: x.Approval, Words: r.Words,
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return pending
	case err != nil:
		p.log.Info("membership: join policy refused", "member", r.Identity.Member().Short())
		a := refusal(invite.ErrDenied)
		return &a
	}
	return nil
}

// admitNow makes the event that admits. p.mu is held.
func (p *Project) admitNow(h hosting, r invite.Request) (invite.Admission, error) {
	x, ok := p.State().Invite(h.Invite)
	if !ok {
		return refusal(invite.ErrVoid), nil
	}
	id, th := h.Invite, r.Th
	_, err := p.propose(governance.KindAdmit, governance.Admit{
		Invite: &id, Role: x.Role, Identity: r.Identity.Raw, Device: r.Device.Raw, ProofPub: r.ProofPub, Proof: r.Proof,
		Th: &th,
	}, nil)
	var denied *governance.DeniedError
	if errors.As(err, &denied) {
		p.log.Info("membership: admission would not count", "reason", denied.Reason.String())
		if denied.Reason == governance.ReasonInviteUsed {
			return refusal(invite.ErrUsed), nil
		}
		return refusal(invite.ErrDenied), nil
	}
	if err != nil {
		return invite.Admission{}, err
	}
	a, done := p.admittedBefore(h.Invite, r.Device.ID)
	if !done {
		return refusal(invite.ErrDenied), nil
	}
	return a, nil
}

// admittedBefore answers a device that an invite has admitted. p.mu is held.
func (p *Project) admittedBefore(id governance.InviteID, device identity.DeviceID) (invite.Admission, bool) {
	if d, ok := p.State().Device(device); !ok || !d.Live {
		return invite.Admission{}, false
	}
	for _, a := range p.admissions(id) {
		if a.device != device {
			continue
		}
		w := invite.Admission{Result: invite.Admitted, Admit: a.event.Raw, Boxes: p.giveAll(device), Addrs: p.bookFor(nil, maxWelcomeRecords)}
		for _, head := range p.State().Heads() {
			if len(w.Heads) < maxHave {
				w.Heads = append(w.Heads, wire.ID(head))
			}
		}
		return w, true
	}
	return invite.Admission{}, false
}
