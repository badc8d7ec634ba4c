package collabtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/marcopolo/simnet"
)

// machine is a node's place on the network; it is a collab.Network. What is in flight when a partition begins arrives.
type machine struct {
	net      *Network
	ip       netip.Addr
	up, down int // bits per second

	// Guarded by the network's lock.
	group    int  // of the partition
	off      bool // nothing goes in or out
	firewall bool
	port     int // the last that was given away
}

// firstFreePort is where the ports begin that are given to those who ask for any.
const firstFreePort = 49152

// addMachine adds a machine with an address of its own; the network's lock is held.
func (n *Network) addMachine() *machine {
	ip, _ := netip.AddrFromSlice(simnet.IntToPublicIPv4(len(n.machines)))
	m := &machine{net: n, ip: ip.Unmap(), up: n.up, down: n.down, port: firstFreePort}
	n.machines[m.ip] = m
	return m
}

// ListenPacket opens a socket on the simulated wire.
func (m *machine) ListenPacket(network string, addr *net.UDPAddr) (net.PacketConn, error) {
	if network != "udp4" {
		return nil, fmt.Errorf("collabtest: the simulated network has no %s", network)
	}
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	local := &net.UDPAddr{IP: m.ip.AsSlice(), Port: addr.Port}
	if local.Port == 0 {
		m.port++
		local.Port = m.port
	}
	conn := m.net.wire.NewEndpoint(local, simnet.NodeBiDiLinkSettings{
		Uplink: simnet.LinkSettings{BitsPerSecond: m.up}, Downlink: simnet.LinkSettings{BitsPerSecond: m.down},
	})
	return &socket{SimConn: conn, machine: m, sent: map[netip.AddrPort]time.Time{}}, nil
}

// SourceAddress returns the machine's only address.
func (m *machine) SourceAddress(*net.UDPAddr) (net.IP, error) { return m.ip.AsSlice(), nil }

// travel is how long a datagram is on its way.
func (n *Network) travel(p *simnet.Packet) time.Duration {
	from, to := addrPort(p.From), addrPort(p.To)
	n.mu.RLock()
	defer n.mu.RUnlock()
	if l, ok := n.links[[2]*machine{n.machines[from.Addr()], n.machines[to.Addr()]}]; ok {
		return l.Latency
	}
	return n.latency
}

// sends reports whether a datagram of this machine gets onto the wire.
func (m *machine) sends(to netip.Addr) bool {
	m.net.mu.RLock()
	defer m.net.mu.RUnlock()
	peer := m.net.machines[to]
	if peer == nil || m.off || m.group != peer.group {
		return false
	}
	loss := m.net.links[[2]*machine{m, peer}].Loss
	return loss == 0 || rand.Float64() >= loss
}

// socket is an endpoint of the wire at whose ends a machine may refuse what passes.
type socket struct {
	*simnet.SimConn
	machine *machine

	mu   sync.Mutex
	sent map[netip.AddrPort]time.Time // when last to whom
}

// openFor is how long a firewall lets in what comes from where something was sent to (RFC 4787, REQ-5).
const openFor = 2 * time.Minute

func (s *socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	to := addrPort(addr)
	s.mu.Lock()
	s.sent[to] = time.Now()
	s.mu.Unlock()
	if !s.machine.sends(to.Addr()) {
		return len(b), nil // a sender is not told
	}
	return s.SimConn.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		size, from, err := s.SimConn.ReadFrom(b)
		if err != nil || s.lets(addrPort(from)) {
			return size, from, err
		}
	}
}

// lets reports whether a datagram that has arrived is let in.
func (s *socket) lets(from netip.AddrPort) bool {
	s.machine.net.mu.RLock()
	off, firewall := s.machine.off, s.machine.firewall
	s.machine.net.mu.RUnlock()
	if off || !firewall {
		return !off
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, ok := s.sent[from]
	return ok && time.Since(asked) < openFor
}

// addrPort returns a UDP address as a value, IPv4 in its short form.
func addrPort(addr net.Addr) netip.AddrPort {
	a := addr.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
