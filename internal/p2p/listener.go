package p2p

import (
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

// gatedUpgrader puts the gate before TCP connections as they are accepted: a peer that never says which protocol it
// speaks counts as half-open, and its time runs, like one that stops later.
type gatedUpgrader struct {
	transport.Upgrader
	gate    *gate
	refused func(p peer.ID, addr net.Addr, why error)
}

func (u *gatedUpgrader) UpgradeGatedMaListener(t transport.Transport, l transport.GatedMaListener) transport.Listener {
	return u.Upgrader.UpgradeGatedMaListener(t, &gatedListener{GatedMaListener: l, gate: u.gate, refused: u.refused})
}

type gatedListener struct {
	transport.GatedMaListener
	gate    *gate
	refused func(p peer.ID, addr net.Addr, why error)
}

func (l *gatedListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	for {
		c, scope, err := l.GatedMaListener.Accept()
		if err != nil {
			return nil, nil, err
		}
		place, ok := l.gate.enter(c.RemoteAddr())
		if !ok {
			addr := c.RemoteAddr()
			c.Close()
			scope.Done()
			l.refused("", addr, ErrHalfOpen)
			continue
		}
		_ = c.SetDeadline(place.deadline())
		return &halfOpen{Conn: c, slot: place}, scope, nil
	}
}

// halfOpen is a TCP connection that holds its place at the gate until it is proven or closed.
type halfOpen struct {
	manet.Conn
	slot *slot
}

func (c *halfOpen) place() *slot { return c.slot }

func (c *halfOpen) Close() error {
	c.slot.leave()
	return c.Conn.Close()
}
