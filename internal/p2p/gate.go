package p2p

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// gate counts half-open connections and never waits: whoever does not fit is dropped.
type gate struct {
	perAddress int
	all        int
	loopback   bool // loopback addresses have a number of their own too

	mu    sync.Mutex
	total int
	by    map[netip.Prefix]int
}

// newGate takes the number per address; 0 is the default one, which spares loopback: all programs of a machine
// share that address, and who runs one there can do worse.
func newGate(perAddress int) *gate {
	g := &gate{perAddress: perAddress, all: HalfOpen, loopback: true, by: map[netip.Prefix]int{}}
	if perAddress == 0 {
		g.perAddress, g.loopback = HalfOpenPerAddress, false
	}
	return g
}

// slot is one half-open connection's place.
type slot struct {
	gate    *gate
	key     netip.Prefix
	entered time.Time
	once    sync.Once
}

// enter takes a place for a connection from addr, or reports false.
func (g *gate) enter(addr net.Addr) (*slot, bool) {
	key := gateKey(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.all {
		return nil, false
	}
	if g.by[key] >= g.perAddress && (g.loopback || !key.Addr().IsLoopback()) {
		return nil, false
	}
	g.total++
	g.by[key]++
	return &slot{gate: g, key: key, entered: time.Now()}, true
}

// deadline is when the connection must be proven. Without a slot, as for connections that we dial, it is counted from
// now.
func (s *slot) deadline() time.Time {
	if s == nil {
		return time.Now().Add(ProofDeadline)
	}
	return s.entered.Add(ProofDeadline)
}

// leave gives the place back. Leaving again, or a nil slot, does nothing.
func (s *slot) leave() {
	if s == nil {
		return
	}
	s.once.Do(func() {
		g := s.gate
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.by[s.key]--; g.by[s.key] == 0 {
			delete(g.by, s.key)
		}
	})
}

// crowded reports whether so many places are taken that new peers should first prove their address.
func (g *gate) crowded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total >= g.all/4
}

// gateKey is the address as one party holds it: a whole IPv4 address, the upper half of an IPv6 one. Addresses that
// are not IP, as those of relayed connections, share one key.
func gateKey(addr net.Addr) netip.Prefix {
	var ip netip.Addr
	switch a := addr.(type) {
	case *net.TCPAddr:
		ip = a.AddrPort().Addr()
	case *net.UDPAddr:
		ip = a.AddrPort().Addr()
	}
	ip = ip.Unmap()
	bits := 32
	if ip.Is6() {
		bits = 64
		if ip.IsLoopback() {
			bits = 128
		}
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
