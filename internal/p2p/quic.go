package p2p

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/transport"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// quicTransport is libp2p's QUIC whose connections nobody sees before both proofs, which travel on the connection's
// first stream.
type quicTransport struct {
	transport.Transport
	prover  *prover
	refused func(p peer.ID, addr net.Addr, why error)
}

func newQUIC(p *prover, refused func(peer.ID, net.Addr, error)) any {
	return func(key ic.PrivKey, cm *quicreuse.ConnManager, psk pnet.PSK, g connmgr.ConnectionGater, rm network.ResourceManager) (transport.Transport, error) {
		inner, err := libp2pquic.NewTransport(key, cm, psk, g, rm)
		if err != nil {
			return nil, err
		}
		return &quicTransport{Transport: inner, prover: p, refused: refused}, nil
	}
}

// ListenOrder keeps libp2p's order of listeners.
func (*quicTransport) ListenOrder() int { return libp2pquic.ListenOrder }

// Dial also serves hole punching: of two peers that dial each other at once, the one that is told so is the
// listener, of TLS and of the proofs alike.
func (t *quicTransport) Dial(ctx context.Context, addr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	c, err := t.Transport.Dial(ctx, addr, p)
	if err != nil {
		return nil, handshakeError(err)
	}
	punched, client, _ := network.GetSimultaneousConnect(ctx)
	pc, err := t.prove(ctx, c, !punched || client)
	if err != nil {
		c.Close()
		return nil, err
	}
	return pc, nil
}

// prove runs the proofs on the first stream. The caller closes c after an error.
func (t *quicTransport) prove(ctx context.Context, c transport.CapableConn, dialer bool) (*quicConn, error) {
	var qc *quic.Conn
	if !c.As(&qc) {
		return nil, errNoProof
	}
	exporter, err := exporterOf(qc.ConnectionState().TLS)
	if err != nil {
		return nil, err
	}
	key, err := peerKey(c.RemotePublicKey())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithDeadline(ctx, placeOf(qc.Context()).deadline())
	defer cancel()
	var res *proven
	if dialer {
		res, err = t.proveDialer(ctx, qc, exporter, key)
	} else {
		res, err = t.proveListener(ctx, qc, exporter, key)
	}
	if err != nil {
		return nil, err
	}
	placeOf(qc.Context()).leave()
	return &quicConn{CapableConn: c, transport: t, proven: res}, nil
}

func (t *quicTransport) proveDialer(ctx context.Context, qc *quic.Conn, exporter, key [32]byte) (*proven, error) {
	s, err := qc.OpenStreamSync(ctx)
	if err != nil {
		return nil, answerError(err)
	}
	defer bound(ctx, s)()
	res, err := t.prover.dial(s, exporter, key)
	if err != nil {
		return nil, err
	}
	return res, s.Close()
}

func (t *quicTransport) proveListener(ctx context.Context, qc *quic.Conn, exporter, key [32]byte) (*proven, error) {
	s, err := qc.AcceptStream(ctx)
	if err != nil {
		if isTimeout(err) {
			err = fmt.Errorf("%w: %w", ErrSilent, err)
		}
		return nil, hungUp(err)
	}
	defer bound(ctx, s)()
	res, err := t.prover.listen(s, exporter, key)
	if err != nil {
		return nil, err
	}
	return res, s.Close()
}

// bound ends a stream's reads and writes with ctx, until the returned function is called.
func bound(ctx context.Context, s *quic.Stream) func() bool {
	if d, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(d)
	}
	return context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
}

func (t *quicTransport) Listen(addr ma.Multiaddr) (transport.Listener, error) {
	l, err := t.Transport.Listen(addr)
	if err != nil {
		return nil, err
	}
	q := &quicListener{Listener: l, transport: t, proven: make(chan transport.CapableConn), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	go q.accept()
	return q, nil
}

// quicListener proves each connection in a goroutine of its own, so that none waits for another's peer.
type quicListener struct {
	transport.Listener
	transport *quicTransport
	proven    chan transport.CapableConn

	ctx    context.Context // ends unfinished proofs
	cancel context.CancelFunc
	done   chan struct{} // closed when accept has returned, all proofs have ended, and err is set
	err    error
}

func (l *quicListener) accept() {
	defer close(l.done)
	var proofs sync.WaitGroup
	defer proofs.Wait()
	defer l.cancel()
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			return
		}
		proofs.Go(func() { l.admit(c) })
	}
}

func (l *quicListener) admit(c transport.CapableConn) {
	pc, err := l.transport.prove(l.ctx, c, false)
	if err != nil {
		c.Close()
		if l.ctx.Err() == nil {
			l.transport.refused(c.RemotePeer(), remoteAddr(c), err)
		}
		return
	}
	select {
	case l.proven <- pc:
	case <-l.ctx.Done():
		c.Close()
	}
}

func (l *quicListener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-l.proven:
		return c, nil
	case <-l.done:
		return nil, l.err
	}
}

func (l *quicListener) Close() error {
	err := l.Listener.Close()
	l.cancel()
	<-l.done
	return err
}

// quicConn is a proven QUIC connection.
type quicConn struct {
	transport.CapableConn
	transport *quicTransport
	proven    *proven
}

func (c *quicConn) Transport() transport.Transport { return c.transport }

// As also finds the proof.
func (c *quicConn) As(target any) bool {
	if p, ok := target.(**proven); ok {
		*p = c.proven
		return true
	}
	return c.CapableConn.As(target)
}

func remoteAddr(c transport.CapableConn) net.Addr {
	var qc *quic.Conn
	if c.As(&qc) {
		return qc.RemoteAddr()
	}
	return nil
}

// placeKey finds an inbound connection's place at the gate in its context.
type placeKey struct{}

func placeOf(ctx context.Context) *slot {
	s, _ := ctx.Value(placeKey{}).(*slot)
	return s
}

// newConnManager opens the sockets of the QUIC transport, through seam if there is one. It puts the gate before
// each inbound connection at its first packet.
func newConnManager(g *gate, seam Network, tap Tap, refused func(peer.ID, net.Addr, error), srk quic.StatelessResetKey, tokens quic.TokenGeneratorKey, rm network.ResourceManager) (*quicreuse.ConnManager, error) {
	opts := []quicreuse.Option{
		quicreuse.ConnContext(func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			place, ok := g.enter(info.RemoteAddr)
			if !ok {
				refused("", info.RemoteAddr, ErrHalfOpen)
				return nil, ErrHalfOpen
			}
			context.AfterFunc(ctx, place.leave)
			addr, err := quicreuse.ToQuicMultiaddr(info.RemoteAddr, quic.Version1)
			if err != nil {
				place.leave()
				return nil, err
			}
			scope, err := rm.OpenConnection(network.DirInbound, false, addr)
			if err != nil {
				place.leave()
				return nil, err
			}
			context.AfterFunc(ctx, scope.Done)
			return context.WithValue(network.WithConnManagementScope(ctx, scope), placeKey{}, place), nil
		}),
		quicreuse.VerifySourceAddress(func(addr net.Addr) bool { return g.crowded() || rm.VerifySourceAddress(addr) }),
	}
	listen := systemUDP
	if seam != nil {
		opts = append(opts, seamOptions(seam)...)
		listen = seam.ListenPacket
	}
	if tap != nil {
		opts = append(opts, quicreuse.OverrideListenUDP(tap.listenTapped(listen)))
	}
	return quicreuse.NewConnManager(srk, tokens, opts...)
}
