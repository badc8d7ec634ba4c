package p2p

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hub is a network in memory: datagrams go from address to address without an operating system.
type hub struct {
	mu    sync.Mutex
	ports map[netip.AddrPort]*hubConn
	next  uint16
	sent  int
}

// hubHost is one machine on the hub.
type hubHost struct {
	hub *hub
	ip  netip.Addr
}

func (h *hubHost) ListenPacket(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
	h.hub.mu.Lock()
	defer h.hub.mu.Unlock()
	port := uint16(addr.Port)
	if port == 0 {
		h.hub.next++
		port = 40000 + h.hub.next
	}
	c := &hubConn{hub: h.hub, local: netip.AddrPortFrom(h.ip, port), in: make(chan datagram, 1024), closed: make(chan struct{}), wake: make(chan struct{})}
	if h.hub.ports[c.local] != nil {
		return nil, os.ErrExist
	}
	h.hub.ports[c.local] = c
	return c, nil
}

func (h *hubHost) SourceAddress(*net.UDPAddr) (net.IP, error) { return h.ip.AsSlice(), nil }

type datagram struct {
	from netip.AddrPort
	data []byte
}

type hubConn struct {
	hub    *hub
	local  netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
	wake     chan struct{} // closed when the deadline changes
}

func (c *hubConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, wake := c.deadline, c.wake
		c.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case d := <-c.in:
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		case <-c.closed:
			return 0, nil, net.ErrClosed
		case <-late:
			return 0, nil, os.ErrDeadlineExceeded
		case <-wake:
		}
	}
}

func (c *hubConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to := addr.(*net.UDPAddr).AddrPort()
	c.hub.mu.Lock()
	peer := c.hub.ports[netip.AddrPortFrom(to.Addr().Unmap(), to.Port())]
	c.hub.sent++
	c.hub.mu.Unlock()
	if peer != nil {
		select {
		case peer.in <- datagram{c.local, append([]byte(nil), b...)}:
		default: // lost, as on any network
		}
	}
	return len(b), nil
}

func (c *hubConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.hub.mu.Lock()
		defer c.hub.mu.Unlock()
		delete(c.hub.ports, c.local)
	})
	return nil
}

func (c *hubConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *hubConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.wake)
	c.wake = make(chan struct{})
	return nil
}

func (c *hubConn) SetDeadline(t time.Time) error  { return c.SetReadDeadline(t) }
func (*hubConn) SetWriteDeadline(time.Time) error { return nil }

// TestNetworkSeam runs real QUIC between two hosts that have no socket, on a clock that does not tick by itself.
func TestNetworkSeam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
		r := newRoster(anna, berta)
		wires := &hub{ports: map[netip.AddrPort]*hubConn{}}
		on := func(ip string) func(*Config) {
			return func(c *Config) {
				c.Network = &hubHost{wires, netip.MustParseAddr(ip)}
				c.Listen = []string{"/ip4/" + ip + "/udp/4001/quic-v1"}
			}
		}
		a, b := start(t, anna, r, on("192.0.2.1")), start(t, berta, r, on("192.0.2.2"))
		c, err := a.Dial(timeout(t), target(t, berta, b, "quic"))
		if err != nil {
			t.Fatal(err)
		}
		if addr := c.Peer().Addr; addr != "/ip4/192.0.2.2/udp/4001/quic-v1" {
			t.Errorf("connected to %s", addr)
		}
		s, err := c.Open(timeout(t), "secret")
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, s)
		if wires.sent < 50 {
			t.Errorf("only %d datagrams crossed the simulated network", wires.sent)
		}
	})
}

func TestNoTCPBesideASimulatedNetwork(t *testing.T) {
	checkLeaks(t)
	anna := newDevice(t, "anna")
	wires := &hub{ports: map[netip.AddrPort]*hubConn{}}
	h, err := New(t.Context(), Config{
		Device: anna.keys, Cert: anna.cert, Roster: newRoster(anna),
		Network: &hubHost{wires, netip.MustParseAddr("192.0.2.1")}, Listen: []string{loopTCP},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err == nil {
		t.Error("it listens")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
