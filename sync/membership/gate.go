package membership

import (
	"net/netip"
	"sync"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// gate holds the devices that the transport lets in beside the live ones.
type gate struct {
	mu sync.Mutex
	// sponsor is the host that admitted us, until our log shows that it is a member: the first pull goes to it.
	sponsor *identity.DeviceCert
	// departing are devices just removed, until they were told.
	departing map[[32]byte]*identity.DeviceCert
}

func (g *gate) device(peer [32]byte) (*identity.DeviceCert, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sponsor != nil && g.sponsor.Peer == peer {
		return g.sponsor, true
	}
	cert, ok := g.departing[peer]
	return cert, ok
}

func (g *gate) isSponsor(d identity.DeviceID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sponsor != nil && g.sponsor.ID == d
}

// awaiting reports whether the log does not show yet that we are a member.
func (g *gate) awaiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sponsor != nil
}

func (g *gate) setSponsor(cert *identity.DeviceCert) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sponsor = cert
}

func (g *gate) depart(cert *identity.DeviceCert) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.departing[cert.Peer] = cert
}

func (g *gate) departed(cert *identity.DeviceCert) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.departing, cert.Peer)
}

// deviceByPeer answers the transport.
func (p *Project) deviceByPeer(peer [32]byte) (*identity.DeviceCert, bool) {
	if d, ok := p.State().DeviceByPeer(peer); ok {
		return d.Cert, true
	}
	return p.gate.device(peer)
}

// allowed reports whether a device may ask for this project's events: it is live in it now.
func (p *Project) allowed(d identity.DeviceID) bool {
	if x, ok := p.State().Device(d); ok && x.Live {
		return true
	}
	return p.gate.isSponsor(d)
}

// gone returns the devices that were live before and are not after, but our own.
func (p *Project) gone(before, after *governance.State) []*governance.Device {
	var out []*governance.Device
	for _, d := range before.Devices() {
		if x, ok := after.Device(d.ID); (!ok || !x.Live) && d.ID != p.self.Device.ID {
			out = append(out, d)
		}
	}
	return out
}

// hostPart returns what stands for one household in a multiaddress: the IPv4 address, or the IPv6 network of 64 bits.
func hostPart(addr ma.Multiaddr) string {
	for _, code := range []int{ma.P_IP4, ma.P_IP6} {
		v, err := addr.ValueForProtocol(code)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(v); err == nil && ip.Is6() {
			return netip.PrefixFrom(ip, 64).Masked().String()
		}
		return v
	}
	return addr.String()
}
