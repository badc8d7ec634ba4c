package membership

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
)

// InviteOptions shape an invite. The zero value invites one editor for 72 hours.
type InviteOptions struct {
	Role    governance.Role // zero: editor, the highest that an invite gives
	Expires time.Duration   // zero: 72 h; at most 30 days, by the hosts' clocks
	Uses    int             // zero: 1; at most 65535
	Approve bool            // a person at the host must agree
	Compact bool            // a shorter code
	Addrs   []string        // where to reach this device, best first; nil: as in its address record
	// Hosts are further devices of editors or managers that may admit, at most 3. They are in the code with the
	// addresses of their records.
	Hosts []identity.DeviceID
}

// CreateInvite announces an invite and returns its code, which is shown once: the secret in it is kept nowhere. It
// fails with [ErrInvite] or, if this device may not invite, with a [*governance.DeniedError].
func (p *Project) CreateInvite(ctx context.Context, o InviteOptions) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("membership: invite: %w", err)
	}
	if err := o.complete(); err != nil {
		return "", err
	}
	secret, err := invite.NewSecret(p.reg.cfg.Random)
	if err != nil {
		return "", err
	}
	defer secret.Wipe()
	code := &invite.Code{Project: p.id, RootVersion: p.Root().N, Root: p.Root().ID, Secret: secret}
	defer code.Secret.Wipe()
	if _, err := io.ReadFull(p.reg.cfg.Random, code.Invite[:]); err != nil {
		return "", fmt.Errorf("membership: invite: %w", err)
	}
	if err := p.announce(code, &o); err != nil {
		return "", err
	}
	return code.Text(), nil
}

// complete fills in the defaults.
func (o *InviteOptions) complete() error {
	if o.Role == governance.None {
		o.Role = governance.Editor
	}
	if o.Expires == 0 {
		o.Expires = DefaultInviteLife
	}
	if o.Uses == 0 {
		o.Uses = 1
	}
	switch {
	case o.Expires < 0 || o.Expires > MaxInviteLife:
		return fmt.Errorf("%w: it would last %v, at most %v are allowed", ErrInvite, o.Expires, MaxInviteLife)
	case o.Uses < 0 || o.Uses > 1<<16-1:
		return fmt.Errorf("%w: %d uses", ErrInvite, o.Uses)
	case len(o.Hosts) >= invite.MaxHosts:
		return fmt.Errorf("%w: %d further hosts, at most %d", ErrInvite, len(o.Hosts), invite.MaxHosts-1)
	}
	return nil
}

// announce fills in the code's hosts, and stores what this host keeps together with the event.
func (p *Project) announce(code *invite.Code, o *InviteOptions) error {
	mac := invite.MACKey(code.Secret)
	defer clear(mac[:])
	expires := p.reg.cfg.Now().Add(o.Expires)
	p.mu.Lock()
	defer p.mu.Unlock()
	body := governance.InviteCreate{
		Invite: code.Invite, ProofHash: invite.ProofHash(invite.ProofKey(code.Secret).Public()), Role: o.Role,
		MaxUses: uint16(o.Uses), Expires: uint64(expires.Unix()),
	}
	if o.Approve {
		body.Approval = 1
	}
	for _, id := range append([]identity.DeviceID{p.self.Device.ID}, o.Hosts...) {
		d, ok := p.State().Device(id)
		if !ok || !p.State().May(id, governance.ActHost) {
			return fmt.Errorf("%w: device %s may not host", ErrInvite, id.Short())
		}
		body.Hosts = append(body.Hosts, governance.InviteHost{Device: id, KemID: d.KemID})
		code.Hosts = append(code.Hosts, invite.Host{Device: id, Peer: d.Cert.Peer, KemID: d.KemID, Addrs: p.codeAddrs(id, o)})
		if id == p.self.Device.ID {
			if _, ok := p.boxKeys.Get(d.KemID); !ok {
				return fmt.Errorf("%w: this device is about to get a new key that a code can name; try again", ErrInvite)
			}
			if !o.Compact {
				code.KEM = d.KEM.Bytes()
			}
			continue
		}
		box, err := invite.SealMAC(p.reg.cfg.Random, mac, code.Invite, id, d.KEM)
		if err != nil {
			return err
		}
		body.MacBoxes = append(body.MacBoxes, box)
	}
	h := []hosting{{Invite: code.Invite, MAC: mac, Until: uint64(expires.Add(inviteMemory).Unix())}}
	_, err := p.propose(governance.KindInviteCreate, body, func(tx *store.Tx) error { return p.putInvites(tx, h) })
	if err != nil {
		return err
	}
	p.host(h)
	return nil
}

// codeAddrs returns the addresses of a host that fit into a code.
func (p *Project) codeAddrs(id identity.DeviceID, o *InviteOptions) []string {
	addrs := o.Addrs
	if id != p.self.Device.ID || addrs == nil {
		addrs = nil
		if rec := p.book[id]; rec != nil {
			addrs = rec.Addrs
		} else if host := p.reg.transport(); host != nil && id == p.self.Device.ID {
			addrs = host.Addrs()
		}
	}
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return wire.CheckText(a, invite.MaxAddrSize) != nil })
	return addrs[:min(len(addrs), invite.MaxAddrs)]
}

// CancelInviteID makes an invite worthless: at once for this host, and with the event for all others. It fails with
// [ErrUnknownInvite], or with a [*governance.DeniedError] if this device neither made the invite nor is a manager's.
func (p *Project) CancelInviteID(ctx context.Context, id governance.InviteID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: cancel an invite: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.State().Invite(id); !ok {
		return ErrUnknownInvite
	}
	var changed []hosting
	if h, ok := (*p.hosted.Load())[invite.Hash(id)]; ok && !h.Cancelled {
		h.Cancelled = true
		changed = []hosting{h}
	}
	_, err := p.propose(governance.KindInviteRevoke, governance.InviteRevoke{Invite: id},
		func(tx *store.Tx) error { return p.putInvites(tx, changed) })
	if err != nil {
		return err
	}
	p.host(changed)
	return nil
}

// invitesIn returns what this device keeps of invites that others announced with it as a host. p.mu is held.
func (p *Project) invitesIn(events []*governance.Event) []hosting {
	var out []hosting
	for _, e := range events {
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue
		}
		b, ok := body.(*governance.InviteCreate)
		if !ok || e.Device == p.self.Device.ID {
			continue
		}
		if _, ok := (*p.hosted.Load())[invite.Hash(b.Invite)]; ok {
			continue // of two invites of one id the first is kept; governance voids the other
		}
		if mac, ok := p.openMAC(e.Device, b); ok {
			until := p.reg.cfg.Now().Add(MaxInviteLife + inviteMemory)
			out = append(out, hosting{Invite: b.Invite, MAC: mac, Until: uint64(until.Unix())})
		}
	}
	return out
}

// openMAC opens this device's box among those that an invite's author sealed to the hosts other than himself.
func (p *Project) openMAC(author identity.DeviceID, b *governance.InviteCreate) (mac [32]byte, ok bool) {
	next := 0
	for _, h := range b.Hosts {
		if h.Device == author {
			continue
		}
		if h.Device == p.self.Device.ID && next < len(b.MacBoxes) {
			key, ok := p.boxKeys.Get(h.KemID)
			if !ok {
				return mac, false
			}
			mac, err := invite.OpenMAC(b.MacBoxes[next], b.Invite, h.Device, key)
			return mac, err == nil
		}
		next++
	}
	return mac, false
}

func (p *Project) putInvites(tx *store.Tx, list []hosting) error {
	for _, h := range list {
		if err := tx.Map(p.names.invites).Put(h.Invite[:], wire.Marshal(h)); err != nil {
			return err
		}
	}
	return nil
}

// host lets the transport see invites that are served here. p.mu is held.
func (p *Project) host(list []hosting) {
	if len(list) == 0 {
		return
	}
	m := maps.Clone(*p.hosted.Load())
	for _, h := range list {
		m[invite.Hash(h.Invite)] = h
	}
	p.hosted.Store(&m)
}

// readInvites reads what this host keeps of invites, and forgets those that ended long ago.
func (p *Project) readInvites(tx *store.Tx) error {
	now := uint64(max(p.reg.cfg.Now().Unix(), 0))
	var over [][]byte
	m := map[wire.ID]hosting{}
	for k, v := range tx.Map(p.names.invites).All() {
		h, err := readHosting(v)
		if err != nil || string(k) != string(h.Invite[:]) {
			return damaged("an invite: %v", err)
		}
		if h.Until < now {
			over = append(over, k)
			continue
		}
		m[invite.Hash(h.Invite)] = h
	}
	p.hosted.Store(&m)
	for _, k := range over {
		if err := tx.Map(p.names.invites).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// hostedInvite returns what this host keeps of an invite, by the hash of its id.
func (p *Project) hostedInvite(hash wire.ID) (hosting, bool) {
	h, ok := (*p.hosted.Load())[hash]
	return h, ok && h.Until >= uint64(max(p.reg.cfg.Now().Unix(), 0))
}

// admissions returns the admissions on an invite that count, oldest first. p.mu is held.
func (p *Project) admissions(id governance.InviteID) []admission {
	var out []admission
	for e := range p.events.All() {
		if e.Kind != governance.KindAdmit {
			continue
		}
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue
		}
		a := body.(*governance.Admit)
		if a.Invite == nil || *a.Invite != id {
			continue
		}
		if x, err := p.events.Explain(e.ID); err != nil || !x.Counts {
			continue
		}
		cert, err := identity.ParseDeviceCert(a.Device)
		if err != nil {
			continue // cannot be: it counts
		}
		out = append(out, admission{event: e, device: cert.ID, member: cert.Member})
	}
	return out
}

type admission struct {
	event  *governance.Event
	device identity.DeviceID
	member identity.MemberID
}

// over says why an invite admits a device no more, nil if it does: it is open, or it has admitted this device, which
// comes again for the answer. p.mu is held.
func (p *Project) over(h hosting, device identity.DeviceID) error {
	x, counts := p.State().Invite(h.Invite)
	if !counts {
		return invite.ErrVoid
	}
	used := p.admissions(h.Invite)
	if d, ok := p.State().Device(device); ok && d.Live &&
		slices.ContainsFunc(used, func(a admission) bool { return a.device == device }) {
		return nil
	}
	switch {
	case h.Cancelled || x.Cancelled:
		return invite.ErrCancelled
	case !p.State().May(p.self.Device.ID, governance.ActHost):
		return invite.ErrVoid
	case x.Expires != 0 && uint64(max(p.reg.cfg.Now().Unix(), 0)) > x.Expires:
		return invite.ErrExpired
	case x.Uses >= x.MaxUses && len(used) > 0:
		return &invite.UsedError{First: used[0].member}
	case x.Uses >= x.MaxUses:
		return invite.ErrUsed
	}
	return nil
}

// codeOf returns the id of the invite that a code is of, if the code is of this project.
func codeOf(text string, project genesis.ProjectID) (governance.InviteID, error) {
	c, err := invite.Parse(text)
	if err != nil {
		return governance.InviteID{}, err
	}
	defer c.Secret.Wipe()
	if c.Project != project {
		return governance.InviteID{}, fmt.Errorf("%w: the code is of project %s", ErrUnknownInvite, c.Project.Short())
	}
	return c.Invite, nil
}

// CancelInvite is [Project.CancelInviteID] for who has the code. It also fails with the errors of [invite.Parse].
func (p *Project) CancelInvite(ctx context.Context, text string) error {
	id, err := codeOf(text, p.id)
	if err != nil {
		return err
	}
	return p.CancelInviteID(ctx, id)
}
