package p2p

import (
	"context"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	ma "github.com/multiformats/go-multiaddr"
)

// MemberHost returns a view of the libp2p host for protocols that bring their own libp2p code, such as gossip. In
// this view guests do not exist: they are not connected, no event tells of their coming, no stream goes to them or
// comes from them. A device that was a guest and dials again as a member appears as newly connected.
//
// Closing the view does nothing; the host owns what is below it.
func (h *Host) MemberHost() host.Host {
	m := &memberHost{Host: h.host, h: h}
	m.network = &memberNetwork{Network: h.swarm, h: h}
	m.bus = &memberBus{Bus: h.host.EventBus(), h: h}
	return m
}

type memberHost struct {
	host.Host
	h       *Host
	network *memberNetwork
	bus     *memberBus
}

func (*memberHost) Close() error               { return nil }
func (m *memberHost) Network() network.Network { return m.network }
func (m *memberHost) EventBus() event.Bus      { return m.bus }

// Connect dials a member of the roster; addresses may be remembered ones.
func (m *memberHost) Connect(ctx context.Context, info peer.AddrInfo) error {
	_, err := m.network.dial(ctx, info)
	return err
}

func (m *memberHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	c := bestConn(m.h.swarm, p, Member)
	if c == nil {
		if nodial, _ := network.GetNoDial(ctx); nodial {
			return nil, network.ErrNoConn
		}
		conn, err := m.network.dial(ctx, peer.AddrInfo{ID: p})
		if err != nil {
			return nil, err
		}
		c = conn.conn
	}
	return m.h.openOn(ctx, c, ids...)
}

func (m *memberHost) SetStreamHandler(id protocol.ID, fn network.StreamHandler) {
	m.Host.SetStreamHandler(id, membersOnly(fn))
}

func (m *memberHost) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, fn network.StreamHandler) {
	m.Host.SetStreamHandlerMatch(id, match, membersOnly(fn))
}

// membersOnly stands behind the host's own gate, which a protocol registered for guests under the same name would
// open.
func membersOnly(fn network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		if !isMember(s.Conn()) {
			_ = s.Reset()
			return
		}
		fn(s)
	}
}

func isMember(c network.Conn) bool {
	p, ok := provenOf(c)
	return ok && p.class == Member
}

// memberNetwork is the swarm without its guests.
type memberNetwork struct {
	network.Network
	h *Host
}

func (n *memberNetwork) Close() error { return nil }

func (n *memberNetwork) dial(ctx context.Context, info peer.AddrInfo) (*Conn, error) {
	key, ok := keyOfPeer(info.ID)
	if !ok {
		return nil, fmt.Errorf("%w: peer %s has no transport key of ours", ErrNotMember, info.ID)
	}
	cert, ok := n.h.cfg.Roster.DeviceByPeer(key)
	if !ok {
		return nil, fmt.Errorf("%w: peer %s", ErrNotMember, info.ID)
	}
	t := Target{Device: cert.ID, Peer: key}
	for _, a := range info.Addrs {
		t.Addrs = append(t.Addrs, a.String())
	}
	return n.h.Dial(ctx, t)
}

func (n *memberNetwork) DialPeer(ctx context.Context, p peer.ID) (network.Conn, error) {
	c, err := n.dial(ctx, peer.AddrInfo{ID: p})
	if err != nil {
		return nil, err
	}
	return c.conn, nil
}

func (n *memberNetwork) NewStream(ctx context.Context, p peer.ID) (network.Stream, error) {
	c, err := n.DialPeer(ctx, p)
	if err != nil {
		return nil, err
	}
	return c.NewStream(ctx)
}

// SetStreamHandler is not for users of the view: it would replace the host's own.
func (*memberNetwork) SetStreamHandler(network.StreamHandler) {}

func (n *memberNetwork) Connectedness(p peer.ID) network.Connectedness {
	switch c := bestConn(n.h.swarm, p, Member); {
	case c == nil:
		return network.NotConnected
	case c.Stat().Limited:
		return network.Limited
	}
	return network.Connected
}

func (n *memberNetwork) Conns() []network.Conn { return members(n.h.swarm.Conns()) }

func (n *memberNetwork) ConnsToPeer(p peer.ID) []network.Conn {
	return members(n.h.swarm.ConnsToPeer(p))
}

func members(conns []network.Conn) []network.Conn {
	var out []network.Conn
	for _, c := range conns {
		if isMember(c) {
			out = append(out, c)
		}
	}
	return out
}

func (n *memberNetwork) Peers() []peer.ID {
	seen := map[peer.ID]bool{}
	var out []peer.ID
	for _, c := range n.Conns() {
		if p := c.RemotePeer(); !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

func (n *memberNetwork) ClosePeer(p peer.ID) error {
	for _, c := range n.ConnsToPeer(p) {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Notify passes on what concerns members. The wrapper is comparable, so StopNotify finds it again.
func (n *memberNetwork) Notify(f network.Notifiee) { n.h.swarm.Notify(memberNotifiee{f, n}) }

func (n *memberNetwork) StopNotify(f network.Notifiee) { n.h.swarm.StopNotify(memberNotifiee{f, n}) }

type memberNotifiee struct {
	to network.Notifiee
	n  *memberNetwork
}

func (m memberNotifiee) Listen(_ network.Network, a ma.Multiaddr)      { m.to.Listen(m.n, a) }
func (m memberNotifiee) ListenClose(_ network.Network, a ma.Multiaddr) { m.to.ListenClose(m.n, a) }
func (m memberNotifiee) Connected(_ network.Network, c network.Conn) {
	if isMember(c) {
		m.to.Connected(m.n, c)
	}
}
func (m memberNotifiee) Disconnected(_ network.Network, c network.Conn) {
	if isMember(c) {
		m.to.Disconnected(m.n, c)
	}
}

// memberBus is the event bus without guests' events.
type memberBus struct {
	event.Bus
	h *Host
}

func (b *memberBus) Subscribe(types any, opts ...event.SubscriptionOpt) (event.Subscription, error) {
	inner, err := b.Bus.Subscribe(types, opts...)
	if err != nil {
		return nil, err
	}
	s := &memberSubscription{Subscription: inner, out: make(chan any), closing: make(chan struct{})}
	// On a closed host the subscription stays silent. It must not fail: gossipsub subscribes from a goroutine of its own
	// some time after its start, and forgets to release its address book if that fails.
	b.h.tasks.Go("member events", func(ctx context.Context) error { s.forward(ctx, b.keep); return nil })
	return s, nil
}

// keep returns an event as members' users see it, and whether they see it.
func (b *memberBus) keep(e any) (any, bool) {
	n := &memberNetwork{Network: b.h.swarm, h: b.h}
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		return e, e.Conn == nil || isMember(e.Conn)
	case event.EvtPeerIdentificationFailed:
		return e, n.Connectedness(e.Peer) != network.NotConnected
	case event.EvtPeerProtocolsUpdated:
		return e, n.Connectedness(e.Peer) != network.NotConnected
	case event.EvtPeerConnectednessChanged:
		e.Connectedness = n.Connectedness(e.Peer)
		return e, true
	}
	return e, true
}

type memberSubscription struct {
	event.Subscription
	out     chan any
	closing chan struct{}
	once    sync.Once
}

func (s *memberSubscription) Out() <-chan any { return s.out }

func (s *memberSubscription) Close() error {
	s.once.Do(func() { close(s.closing) })
	return s.Subscription.Close()
}

// forward runs until the subscription or the host is closed. In the first case it closes the channel; in the second
// it leaves it open and silent, as the bus itself does, and unsubscribes, or the bus would wait for a reader.
func (s *memberSubscription) forward(ctx context.Context, keep func(any) (any, bool)) {
	defer s.Subscription.Close()
	for {
		var e any
		var open bool
		select {
		case e, open = <-s.Subscription.Out():
		case <-ctx.Done():
			return
		}
		if !open {
			close(s.out)
			return
		}
		e, seen := keep(e)
		if !seen {
			continue
		}
		select {
		case s.out <- e:
		case <-s.closing:
			close(s.out)
			return
		case <-ctx.Done():
			return
		}
	}
}
