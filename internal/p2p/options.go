package p2p

import (
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// options builds the libp2p host: our two transports, our one security protocol, no discovery, no metrics.
// closers hold what libp2p takes over only if it starts.
func (h *Host) options() (opts []libp2p.Option, closers []io.Closer, err error) {
	key, err := ic.UnmarshalEd25519PrivateKey(h.cfg.Device.Peer.Key())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: transport key: %w", ErrConfig, err)
	}
	cm, err := connmgr.NewConnManager(connsLow, connsHigh)
	if err != nil {
		return nil, nil, fmt.Errorf("p2p: connection manager: %w", err)
	}
	rm, err := newResourceManager()
	if err != nil {
		cm.Close()
		return nil, nil, err
	}
	g := newGate(h.cfg.HalfOpenPerAddress)
	opts = []libp2p.Option{
		libp2p.Identity(key),
		libp2p.Security(securityID, h.newSecurity(g)),
		libp2p.Muxer(yamux.ID, provingMuxer{yamux.DefaultTransport}),
		libp2p.QUICReuse(func(srk quic.StatelessResetKey, tokens quic.TokenGeneratorKey, rm network.ResourceManager) (*quicreuse.ConnManager, error) {
			var err error
			h.quic, err = newConnManager(g, h.cfg.Network, h.cfg.Tap, h.refused, srk, tokens, rm)
			return h.quic, err
		}),
		libp2p.Transport(newQUIC(h.prover, h.refused)),
		libp2p.ConnectionGater(dialGate{h}),
		libp2p.ConnectionManager(cm),
		libp2p.ResourceManager(rm),
		libp2p.UserAgent("collab"),
		libp2p.ProtocolVersion("collab/1"),
		libp2p.Ping(false),
		libp2p.DisableMetrics(),
		// With metrics off libp2p's own bus still counts, in the process's default registry.
		libp2p.WithFxOption(fx.Decorate(func() event.Bus { return eventbus.NewBus() })),
		// A peer that is switched off for a week is no reason to stop dialing UDP or IPv6.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
	}
	if h.cfg.Network == nil {
		opts = append(opts, libp2p.Transport(func(u transport.Upgrader, rm network.ResourceManager, shared *tcpreuse.ConnMgr) (*tcp.TcpTransport, error) {
			u = &gatedUpgrader{Upgrader: u, gate: g, refused: h.refused}
			if h.cfg.Tap != nil { // below the gate, which must find its own connections again
				u = &tappedUpgrader{u, h.cfg.Tap}
			}
			return tcp.NewTCPTransport(u, rm, shared)
		}))
	} else {
		// Address discovery asks the operating system about interfaces that a simulated network does not have.
		opts = append(opts, libp2p.DisableRelay(), libp2p.DisableIdentifyAddressDiscovery())
	}
	return append(opts, h.cfg.extra...), []io.Closer{cm, rm}, nil
}

func (h *Host) newSecurity(g *gate) any {
	return func(_ protocol.ID, key ic.PrivKey, muxers []upgrader.StreamMuxer) (*security, error) {
		id, err := libp2ptls.NewIdentity(key)
		if err != nil {
			return nil, err
		}
		local, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return nil, err
		}
		s := &security{identity: id, local: local, prover: h.prover, gate: g, refused: h.refused}
		for _, m := range muxers {
			s.muxers = append(s.muxers, string(m.ID))
		}
		return s, nil
	}
}

// newResourceManager takes libp2p's limits, but lets many members come from one address: who is there is proven,
// and who is not is the gate's business.
func newResourceManager() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: connsPerAddress}}))
	if err != nil {
		return nil, fmt.Errorf("p2p: resource manager: %w", err)
	}
	return rm, nil
}

// dialGate lets libp2p dial only peers of whom the device is known beforehand, and lets no connection in that does
// not carry a proof.
type dialGate struct{ h *Host }

func (g dialGate) InterceptPeerDial(p peer.ID) bool {
	key, ok := keyOfPeer(p)
	if !ok {
		return false
	}
	_, ok = g.h.expect(key)
	return ok
}

func (dialGate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (dialGate) InterceptAccept(network.ConnMultiaddrs) bool  { return true }
func (dialGate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return true
}
func (dialGate) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	_, ok := provenOf(c)
	return ok, 0
}
