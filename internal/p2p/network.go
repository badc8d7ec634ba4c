package p2p

import (
	"net"

	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
)

// Network replaces the operating system's UDP, so that many hosts can live in one process on a simulated network.
// Real post-quantum QUIC then runs over it. The methods are called from several goroutines at once.
type Network interface {
	// ListenPacket opens a datagram socket. network is "udp4" or "udp6"; the port may be 0 and the address
	// unspecified. The connection's LocalAddr must be a *net.UDPAddr.
	ListenPacket(network string, addr *net.UDPAddr) (net.PacketConn, error)
	// SourceAddress returns the local address from which packets to remote leave.
	SourceAddress(remote *net.UDPAddr) (net.IP, error)
}

func seamOptions(n Network) []quicreuse.Option {
	return []quicreuse.Option{
		quicreuse.OverrideListenUDP(n.ListenPacket),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sources{n}, nil }),
	}
}

type sources struct{ network Network }

func (s sources) PreferredSourceIPForDestination(remote *net.UDPAddr) (net.IP, error) {
	return s.network.SourceAddress(remote)
}
