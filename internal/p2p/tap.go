package p2p

import (
	"context"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Layer says where a [Tap] sees bytes.
type Layer uint8

// The layers.
const (
	// Wire is what a network sees: datagrams of QUIC, and the bytes of TCP connections before TLS.
	Wire Layer = iota + 1
	// Inside is what a peer sees: the bytes of streams within the proven connections, of libp2p's own ones too.
	Inside
)

// Tap sees every byte that leaves or reaches a host, so that tests can look for what must not be there. It is called
// from many goroutines at once, with pieces of any size, and must not keep b.
type Tap func(layer Layer, b []byte)

// tappedPackets shows a socket's datagrams to a tap.
type tappedPackets struct {
	net.PacketConn
	tap Tap
}

func (c *tappedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.PacketConn.ReadFrom(b)
	if n > 0 {
		c.tap(Wire, b[:n])
	}
	return n, addr, err
}

func (c *tappedPackets) WriteTo(b []byte, addr net.Addr) (int, error) {
	c.tap(Wire, b)
	return c.PacketConn.WriteTo(b, addr)
}

// SetReadBuffer and SetWriteBuffer are what QUIC asks of a socket.
func (c *tappedPackets) SetReadBuffer(bytes int) error {
	b, ok := c.PacketConn.(interface{ SetReadBuffer(int) error })
	if !ok {
		return nil
	}
	return b.SetReadBuffer(bytes)
}

func (c *tappedPackets) SetWriteBuffer(bytes int) error {
	b, ok := c.PacketConn.(interface{ SetWriteBuffer(int) error })
	if !ok {
		return nil
	}
	return b.SetWriteBuffer(bytes)
}

// listenTapped opens the sockets that listen would.
func (t Tap) listenTapped(listen func(string, *net.UDPAddr) (net.PacketConn, error)) func(string, *net.UDPAddr) (net.PacketConn, error) {
	return func(network string, addr *net.UDPAddr) (net.PacketConn, error) {
		c, err := listen(network, addr)
		if err != nil {
			return nil, err
		}
		return &tappedPackets{PacketConn: c, tap: t}, nil
	}
}

func systemUDP(network string, addr *net.UDPAddr) (net.PacketConn, error) {
	return net.ListenUDP(network, addr)
}

// tappedUpgrader shows the bytes of TCP connections to a tap. Those that are accepted come through the listener.
type tappedUpgrader struct {
	transport.Upgrader
	tap Tap
}

func (u *tappedUpgrader) Upgrade(ctx context.Context, t transport.Transport, c manet.Conn, dir network.Direction, p peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	return u.Upgrader.Upgrade(ctx, t, &tappedConn{c, u.tap}, dir, p, scope)
}

func (u *tappedUpgrader) UpgradeGatedMaListener(t transport.Transport, l transport.GatedMaListener) transport.Listener {
	return u.Upgrader.UpgradeGatedMaListener(t, &tappedListener{l, u.tap})
}

type tappedListener struct {
	transport.GatedMaListener
	tap Tap
}

func (l *tappedListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	c, scope, err := l.GatedMaListener.Accept()
	if err != nil {
		return nil, nil, err
	}
	return &tappedConn{c, l.tap}, scope, nil
}

type tappedConn struct {
	manet.Conn
	tap Tap
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.tap(Wire, b[:n])
	}
	return n, err
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.tap(Wire, b)
	return c.Conn.Write(b)
}

// tapped shows the bytes of a stream to the host's tap, if there is one.
func (h *Host) tapped(s network.Stream) network.Stream {
	if h.cfg.Tap == nil {
		return s
	}
	return &tappedStream{s, h.cfg.Tap}
}

type tappedStream struct {
	network.Stream
	tap Tap
}

func (s *tappedStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 {
		s.tap(Inside, b[:n])
	}
	return n, err
}

func (s *tappedStream) Write(b []byte) (int, error) {
	s.tap(Inside, b)
	return s.Stream.Write(b)
}
