package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/task"
)

// Config is what a [Host] is made of. Device, Cert and Roster are required.
type Config struct {
	Device *identity.DeviceKeys
	Cert   *identity.DeviceCert // of these keys
	Roster Roster

	// Listen holds multiaddresses, /ip4/…/udp/…/quic-v1 or /ip4/…/tcp/…, all of which must be free. Empty means
	// QUIC and TCP on every interface, IPv4 and IPv6, on ports that the system picks.
	Listen []string
	// Network replaces the system's UDP. TCP is then off, and Listen empty means QUIC on 0.0.0.0.
	Network Network
	// HalfOpenPerAddress is how many connections from one address may be unfinished at a time. 0 means
	// [HalfOpenPerAddress], and loopback addresses are then limited by [HalfOpen] alone.
	HalfOpenPerAddress int

	Logger    *slog.Logger  // nil: nothing is logged
	OnRefused func(Refusal) // nil: refusals are only logged; called like an [Observer]
	Tap       Tap           // tests: sees every byte; nil: none

	extra []libp2p.Option // tests: relays, stock peers' options
}

// Host is a device on the network. It is safe for concurrent use. Close it.
type Host struct {
	cfg    Config
	log    *slog.Logger
	prover *prover
	host   host.Host
	swarm  *swarm.Swarm
	quic   *quicreuse.ConnManager
	events *events
	tasks  *task.Group // handlers of streams, and the end of the event queue
	queue  *task.Group // runs events; ends after everything that may queue one
	close  func() error

	mu        sync.Mutex
	protocols map[protocol.ID]Class
	dialing   map[[32]byte]*turn
}

// New makes a host that does not listen yet: register protocols with [Host.Handle] and whatever uses
// [Host.MemberHost], then call [Host.Start]. The handlers' contexts carry ctx's values and end with ctx.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	h := &Host{
		cfg:       cfg,
		log:       cfg.Logger,
		events:    newEvents(cfg.OnRefused),
		protocols: map[protocol.ID]Class{},
		dialing:   map[[32]byte]*turn{},
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.prover = &prover{keys: cfg.Device, cert: cfg.Cert, roster: cfg.Roster, expect: h.expect}
	opts, closers, err := h.options()
	if err != nil {
		return nil, err
	}
	if h.host, err = libp2p.New(opts...); err != nil {
		for _, c := range closers {
			c.Close()
		}
		return nil, errors.Join(fmt.Errorf("p2p: start libp2p: %w", err), h.closeSockets())
	}
	h.close = sync.OnceValue(h.closeOnce)
	h.swarm = h.host.Network().(*swarm.Swarm)
	h.queue = task.New(context.WithoutCancel(ctx))
	h.queue.Go("events", h.events.run)
	h.tasks = task.New(ctx)
	h.gateStreams()
	h.serveAlive()
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: h.connected, DisconnectedF: h.disconnected})
	return h, nil
}

func (c *Config) check() error {
	switch {
	case c.Device == nil || c.Cert == nil || c.Roster == nil:
		return fmt.Errorf("%w: device keys, certificate and roster are required", ErrConfig)
	case len(c.Device.Peer.Key()) != ed25519.PrivateKeySize || c.Device.PeerPublic() != c.Cert.Peer || !c.Device.DK.Public().Equal(c.Cert.DK):
		return fmt.Errorf("%w: the certificate belongs to other device keys", ErrConfig)
	case c.HalfOpenPerAddress < 0:
		return fmt.Errorf("%w: negative number of half-open connections", ErrConfig)
	}
	return nil
}

// Start listens. Of the default addresses it is enough that one can be had; of those that Config names, all must.
// On an error the host is still open.
func (h *Host) Start() error {
	if len(h.cfg.Listen) == 0 {
		addrs := []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"}
		if h.cfg.Network != nil {
			addrs = addrs[:1]
		}
		list, err := multiaddrs(addrs)
		if err != nil {
			return err
		}
		if err := h.swarm.Listen(list...); err != nil {
			return fmt.Errorf("p2p: no interface to listen on: %w", err)
		}
		return nil
	}
	list, err := multiaddrs(h.cfg.Listen)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := h.swarm.AddListenAddr(a); err != nil {
			return fmt.Errorf("p2p: listen on %s (is the port taken? only QUIC and TCP are served): %w", a, err)
		}
	}
	return nil
}

func multiaddrs(addrs []string) ([]ma.Multiaddr, error) {
	list := make([]ma.Multiaddr, 0, len(addrs))
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%w: address %q: %w", ErrConfig, s, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// Addrs returns the multiaddresses at which the host can be dialed, as far as it knows.
func (h *Host) Addrs() []string {
	var addrs []string
	for _, a := range h.host.Addrs() {
		addrs = append(addrs, a.String())
	}
	return addrs
}

// PeerID returns the host's libp2p peer ID in its printed form.
func (h *Host) PeerID() string { return h.host.ID().String() }

// Observe adds an observer. It is told at once of the devices that are connected.
func (h *Host) Observe(o Observer) { h.events.observe(o) }

// Connected returns the devices that are connected, by device, members before guests.
func (h *Host) Connected() []Peer {
	h.events.mu.Lock()
	defer h.events.mu.Unlock()
	var peers []Peer
	for _, p := range h.events.present {
		peers = append(peers, p.peer())
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		if a.Class != b.Class {
			return int(b.Class) - int(a.Class)
		}
		return slices.Compare(a.Device[:], b.Device[:])
	})
	return peers
}

// Disconnect closes all connections of a device.
func (h *Host) Disconnect(device identity.DeviceID) {
	for _, c := range h.swarm.Conns() {
		if p, ok := provenOf(c); ok && p.cert.ID == device {
			c.Close()
		}
	}
}

// Recheck asks the roster about every member connection and closes those of devices that are no longer live. Call
// it when somebody was removed; new streams are checked in any case.
func (h *Host) Recheck() {
	for _, c := range h.swarm.Conns() {
		if p, ok := provenOf(c); !ok || !h.live(p) {
			c.Close()
		}
	}
}

// live reports whether a connection may still be used: a member's device is in the roster, an invite that a guest
// came with is still hosted.
func (h *Host) live(p *proven) bool {
	switch {
	case p.class == Member:
		cert, ok := h.cfg.Roster.DeviceByPeer(p.peer)
		return ok && cert.ID == p.cert.ID
	case p.inbound:
		_, ok := h.cfg.Roster.InviteKey(p.invite)
		return ok
	}
	return p.class == Guest // ours, at a host that we chose
}

func (h *Host) connected(_ network.Network, c network.Conn) {
	p, ok := provenOf(c)
	if !ok { // cannot happen: all transports prove
		c.Close()
		return
	}
	if p.class == Member {
		h.host.ConnManager().Protect(c.RemotePeer(), memberTag)
	}
	h.log.Debug("p2p: connected", "device", p.cert.ID.Short(), "class", p.class.String(), "addr", c.RemoteMultiaddr().String())
	h.events.connected(describe(c, p))
	h.probeOlder(c)
}

func (h *Host) disconnected(_ network.Network, c network.Conn) {
	p, ok := provenOf(c)
	if !ok {
		return
	}
	if p.class == Member && bestConn(h.swarm, c.RemotePeer(), Member) == nil {
		h.host.ConnManager().Unprotect(c.RemotePeer(), memberTag)
	}
	h.log.Debug("p2p: disconnected", "device", p.cert.ID.Short(), "class", p.class.String())
	h.events.disconnected(describe(c, p))
}

// memberTag marks in libp2p's connection manager what it must not trim.
const memberTag = "collab-member"

func describe(c network.Conn, p *proven) Peer {
	path := PathTCP
	if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT); err == nil {
		path = PathRelay
	} else if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_QUIC_V1); err == nil {
		path = PathQUIC
	}
	return Peer{
		Device: p.cert.ID, Member: p.cert.Member, Key: p.peer, Class: p.class, Invite: p.invite,
		Inbound: p.inbound, Path: path, Addr: c.RemoteMultiaddr().String(), Since: c.Stat().Opened,
	}
}

// refused reports what was turned away. Addresses and peer IDs are not secret; nothing else is in the reasons.
func (h *Host) refused(p peer.ID, addr net.Addr, why error) {
	h.log.Debug("p2p: refused", "peer", p.String(), "reason", why)
	if !errors.Is(why, errHungUp) {
		h.events.refused(p, addr, why)
	}
}

// Close ends all connections and streams, waits for the handlers to return, and frees the ports. It must not be
// called from a handler or an observer. Closing again gives the same answer.
func (h *Host) Close() error { return h.close() }

func (h *Host) closeOnce() error {
	h.tasks.Stop()
	err := errors.Join(h.host.Close(), h.closeSockets())
	if e := h.tasks.Wait(); e != nil {
		err = errors.Join(err, e)
	}
	err = errors.Join(err, h.queue.Close())
	if err != nil {
		return fmt.Errorf("p2p: close: %w", err)
	}
	return nil
}

func (h *Host) closeSockets() error {
	if h.quic == nil {
		return nil
	}
	return h.quic.Close()
}
