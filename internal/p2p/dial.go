package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Target is a device to dial, as a roster entry, an address book or an invite names it.
type Target struct {
	Device identity.DeviceID
	Peer   [32]byte // its transport key
	Addrs  []string // multiaddresses; empty: those that libp2p remembers
	// Invite makes the connection a guest's. Without it the device must be live in the roster.
	Invite *InviteAuth
}

// InviteAuth is a guest's authorisation: knowledge of an invite's secret.
type InviteAuth struct {
	Hash wire.ID  // H("invite", invite id)
	Key  [32]byte // the invite's MAC key; must be kept secret
}

func (InviteAuth) String() string { return "invite [redacted]" }

// Format keeps the key out of every verb.
func (InviteAuth) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "invite [redacted]") }

// GoString keeps the key out of %#v.
func (InviteAuth) GoString() string { return "invite [redacted]" }

// MarshalJSON keeps the key out of JSON.
func (InviteAuth) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// turn is a dial under way to one peer; others to that peer wait for it.
type turn struct {
	done chan struct{}
	want *expected
}

// Dial connects to a device, or returns the connection that serves: one of a member's class if there is one, which
// also carries everything that a guest may do. A guest connection that we opened is closed when the same device is
// dialed as a member, or with another invite.
//
// The error is a [*DialError], or wraps [ErrNotMember], [ErrGuestBusy], [ErrConfig], [ErrClosed] or ctx's error.
func (h *Host) Dial(ctx context.Context, t Target) (*Conn, error) {
	want, pid, err := h.want(t)
	if err != nil {
		return nil, err
	}
	addrs, err := t.multiaddrs(pid)
	if err != nil {
		return nil, err
	}
	release, err := h.takeTurn(ctx, t.Peer, &want)
	if err != nil {
		return nil, err
	}
	defer release()
	if c, err := h.existing(pid, want); c != nil || err != nil {
		return c, err
	}
	h.host.Peerstore().AddAddrs(pid, addrs, peerstore.TempAddrTTL)
	h.swarm.Backoff().Clear(pid) // whoever calls Dial has waited long enough
	c, err := h.swarm.DialPeer(ctx, pid)
	if err != nil {
		return nil, h.dialError(ctx, t.Device, pid, err)
	}
	conn, ok := h.conn(c)
	if !ok {
		c.Close()
		return nil, errNoProof
	}
	if err := conn.serves(want); err != nil { // it came in while we dialed
		return nil, err
	}
	return conn, nil
}

// serves fails if a connection cannot stand for the one that was wanted.
func (c *Conn) serves(want expected) error {
	switch {
	case c.proven.cert.ID != want.device:
		return &DialError{Device: want.device, Addrs: []string{c.conn.RemoteMultiaddr().String()}, Kind: ErrWrongDevice}
	case c.proven.class < want.class:
		return fmt.Errorf("%w: device %s; it dials again when it is admitted", ErrGuestBusy, want.device.Short())
	}
	return nil
}

// want checks a target and says what its listener must prove.
func (h *Host) want(t Target) (expected, peer.ID, error) {
	pid, err := peerIDOf(t.Peer)
	switch {
	case err != nil:
		return expected{}, "", fmt.Errorf("%w: transport key of device %s: %w", ErrConfig, t.Device.Short(), err)
	case t.Device.IsZero():
		return expected{}, "", fmt.Errorf("%w: target without a device", ErrConfig)
	case pid == h.host.ID():
		return expected{}, "", fmt.Errorf("%w: target is this device", ErrConfig)
	}
	want := expected{device: t.Device, class: Guest, invite: t.Invite}
	if t.Invite == nil {
		cert, ok := h.cfg.Roster.DeviceByPeer(t.Peer)
		if !ok || cert.ID != t.Device {
			return expected{}, "", fmt.Errorf("%w: device %s; it was removed, or an invite is needed", ErrNotMember, t.Device.Short())
		}
		want.class = Member
	}
	return want, pid, nil
}

func (t Target) multiaddrs(pid peer.ID) ([]ma.Multiaddr, error) {
	list, err := multiaddrs(t.Addrs)
	if err != nil {
		return nil, err
	}
	for i, a := range list {
		rest, last := ma.SplitLast(a)
		if last == nil || last.Protocol().Code != ma.P_P2P || last.Value() != pid.String() {
			continue // a relay's own ID stands before /p2p-circuit and stays
		}
		list[i] = rest
	}
	return list, nil
}

// takeTurn waits until no other dial to the peer is under way.
func (h *Host) takeTurn(ctx context.Context, key [32]byte, want *expected) (release func(), err error) {
	for {
		h.mu.Lock()
		other := h.dialing[key]
		if other == nil {
			t := &turn{done: make(chan struct{}), want: want}
			h.dialing[key] = t
			h.mu.Unlock()
			return func() {
				h.mu.Lock()
				delete(h.dialing, key)
				h.mu.Unlock()
				close(t.done)
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("p2p: another dial to the device is under way: %w", ctx.Err())
		case <-h.tasks.Context().Done():
			return nil, ErrClosed
		}
	}
}

// expect tells the transports whom they dial: the target of a dial under way, or else a member. The latter serves
// dials that libp2p makes by itself, as when it punches a hole.
func (h *Host) expect(key [32]byte) (expected, bool) {
	h.mu.Lock()
	t := h.dialing[key]
	h.mu.Unlock()
	if t != nil {
		return *t.want, true
	}
	cert, ok := h.cfg.Roster.DeviceByPeer(key)
	if !ok {
		return expected{}, false
	}
	return expected{device: cert.ID, class: Member}, true
}

// existing returns a connection that serves, and closes those that stand in the way of one.
func (h *Host) existing(pid peer.ID, want expected) (*Conn, error) {
	if c := bestConn(h.swarm, pid, Member); c != nil {
		conn, _ := h.conn(c)
		if conn.proven.cert.ID == want.device && h.live(conn.proven) {
			return conn, nil
		}
		c.Close()
	}
	for _, c := range h.swarm.ConnsToPeer(pid) {
		conn, ok := h.conn(c)
		switch {
		case !ok || c.IsClosed():
			c.Close()
		case conn.proven.class == Guest && conn.proven.inbound:
			return nil, conn.serves(expected{device: want.device, class: Member})
		case want.class == Guest && conn.proven.invite == want.invite.Hash && conn.proven.cert.ID == want.device:
			return conn, nil
		default:
			c.Close()
		}
	}
	return nil, nil
}

// dialError says what was tried and which of the attempts' errors tells most.
func (h *Host) dialError(ctx context.Context, device identity.DeviceID, pid peer.ID, err error) error {
	switch {
	case h.tasks.Context().Err() != nil || errors.Is(err, swarm.ErrSwarmClosed):
		return ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("p2p: dial device %s: %w", device.Short(), ctx.Err())
	}
	e := &DialError{Device: device, Kind: dialKind(err), Cause: err}
	for _, a := range h.host.Peerstore().Addrs(pid) {
		e.Addrs = append(e.Addrs, a.String())
	}
	return e
}

func peerIDOf(key [32]byte) (peer.ID, error) {
	pub, err := ic.UnmarshalEd25519PublicKey(ed25519.PublicKey(key[:]))
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(pub)
}

// keyOfPeer returns the transport key inside a peer ID, if it is an Ed25519 one.
func keyOfPeer(p peer.ID) ([32]byte, bool) {
	pub, err := p.ExtractPublicKey()
	if err != nil {
		return [32]byte{}, false
	}
	key, err := peerKey(pub)
	return key, err == nil
}

// bestConn returns the connection of a class that serves best: direct before relayed, then the newest.
func bestConn(n network.Dialer, pid peer.ID, class Class) network.Conn {
	var best network.Conn
	for _, c := range n.ConnsToPeer(pid) {
		if p, ok := provenOf(c); !ok || p.class != class || c.IsClosed() {
			continue
		}
		if best == nil || !c.Stat().Limited || best.Stat().Limited {
			best = c
		}
	}
	return best
}
