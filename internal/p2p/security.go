package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// securityID names the security protocol of TCP and relayed connections: hybrid TLS, then both proofs.
const securityID = "/collab/pqtls/1.0.0"

// security is the libp2p security transport of that name.
type security struct {
	identity *libp2ptls.Identity
	local    peer.ID
	prover   *prover
	gate     *gate
	muxers   []string // offered through ALPN, which saves a round trip
	refused  func(p peer.ID, addr net.Addr, why error)
}

var _ sec.SecureTransport = (*security)(nil)

func (*security) ID() protocol.ID { return securityID }

// SecureInbound is the listener's side. p is empty, or whom a hole punch in which we are the listener expects.
func (s *security) SecureInbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	half, counted := c.(interface{ place() *slot })
	var place *slot
	switch {
	case counted: // since it was accepted, with the deadline set then
		place = half.place()
	case p == "": // a relayed connection
		var ok bool
		if place, ok = s.gate.enter(c.RemoteAddr()); !ok {
			c.Close()
			s.refused(p, c.RemoteAddr(), ErrHalfOpen)
			return nil, ErrHalfOpen
		}
		fallthrough
	default:
		_ = c.SetDeadline(time.Now().Add(ProofDeadline))
	}
	defer place.leave()
	sc, who, err := s.secure(ctx, c, p, false)
	if err != nil {
		c.Close() // below TLS: not even an alert
		s.refused(who, c.RemoteAddr(), err)
		return nil, err
	}
	return sc, nil
}

// SecureOutbound is the dialer's side.
func (s *security) SecureOutbound(ctx context.Context, c net.Conn, p peer.ID) (sec.SecureConn, error) {
	_ = c.SetDeadline(time.Now().Add(ProofDeadline))
	sc, _, err := s.secure(ctx, c, p, true)
	if err != nil {
		c.Close()
		return nil, err
	}
	return sc, nil
}

// secure runs TLS and the proofs. Besides the connection it returns who TLS says is there, as far as it got.
func (s *security) secure(ctx context.Context, c net.Conn, p peer.ID, dialer bool) (*secureConn, peer.ID, error) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	cfg, keys := s.identity.ConfigForPeer(p)
	cfg.CurvePreferences = hybridOnly
	cfg.NextProtos = s.muxers
	var tc *tls.Conn
	if dialer {
		tc = tls.Client(c, cfg)
	} else {
		tc = tls.Server(c, cfg)
	}
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, p, handshakeError(hungUp(err))
	}
	var pub ic.PubKey
	select {
	case pub = <-keys:
	default:
	}
	if pub == nil {
		return nil, p, errors.New("p2p: TLS gave no peer key")
	}
	remote, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return nil, p, fmt.Errorf("p2p: peer ID: %w", err)
	}
	res, err := s.prove(tc, pub, dialer)
	if err != nil {
		return nil, remote, err
	}
	if !stop() {
		return nil, remote, ctx.Err()
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, remote, fmt.Errorf("p2p: connection: %w", err)
	}
	return &secureConn{Conn: tc, local: s.local, remote: remote, pub: pub, proven: res}, remote, nil
}

func (s *security) prove(tc *tls.Conn, pub ic.PubKey, dialer bool) (*proven, error) {
	exporter, err := exporterOf(tc.ConnectionState())
	if err != nil {
		return nil, err
	}
	key, err := peerKey(pub)
	if err != nil {
		return nil, err
	}
	if dialer {
		return s.prover.dial(tc, exporter, key)
	}
	return s.prover.listen(tc, exporter, key)
}

// secureConn is a proven TCP or relayed connection before it is multiplexed.
type secureConn struct {
	*tls.Conn
	local, remote peer.ID
	pub           ic.PubKey
	proven        *proven
}

func (c *secureConn) LocalPeer() peer.ID         { return c.local }
func (c *secureConn) RemotePeer() peer.ID        { return c.remote }
func (c *secureConn) RemotePublicKey() ic.PubKey { return c.pub }
func (c *secureConn) ConnState() network.ConnectionState {
	muxer := c.ConnectionState().NegotiatedProtocol
	return network.ConnectionState{StreamMultiplexer: protocol.ID(muxer), UsedEarlyMuxerNegotiation: muxer != ""}
}

// provingMuxer hands a connection's proof on to the multiplexed connection, where [provenOf] finds it.
type provingMuxer struct{ network.Multiplexer }

func (m provingMuxer) NewConn(c net.Conn, server bool, scope network.PeerScope) (network.MuxedConn, error) {
	sc, ok := c.(*secureConn)
	if !ok {
		return nil, errNoProof
	}
	mc, err := m.Multiplexer.NewConn(c, server, scope)
	if err != nil {
		return nil, err
	}
	return &provenMuxed{MuxedConn: mc, proven: sc.proven}, nil
}

type provenMuxed struct {
	network.MuxedConn
	proven *proven
}

// As also finds the proof.
func (c *provenMuxed) As(target any) bool {
	if p, ok := target.(**proven); ok {
		*p = c.proven
		return true
	}
	return c.MuxedConn.As(target)
}

// provenOf returns what a connection's proofs established. Every connection of the host has one.
func provenOf(c interface{ As(any) bool }) (*proven, bool) {
	var p *proven
	return p, c.As(&p) && p != nil
}
