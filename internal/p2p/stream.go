package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multistream"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Conn is a proven connection to one device.
type Conn struct {
	host   *Host
	conn   network.Conn
	proven *proven
}

func (h *Host) conn(c network.Conn) (*Conn, bool) {
	p, ok := provenOf(c)
	return &Conn{host: h, conn: c, proven: p}, ok
}

// Peer describes the other side.
func (c *Conn) Peer() Peer { return describe(c.conn, c.proven) }

// Device returns the other side's device.
func (c *Conn) Device() identity.DeviceID { return c.proven.cert.ID }

// Cert returns the certificate that the other side proved.
func (c *Conn) Cert() *identity.DeviceCert { return c.proven.cert }

// Class returns the connection's class.
func (c *Conn) Class() Class { return c.proven.class }

// Exporter returns the keying material that binds a protocol to this connection (RFC 8446, section 7.5).
func (c *Conn) Exporter() [32]byte { return c.proven.exporter }

// Open opens a stream. It fails with [ErrProtocol], [ErrNotMember] or [ErrNotConnected].
func (c *Conn) Open(ctx context.Context, id string) (*Stream, error) {
	s, err := c.host.openOn(ctx, c.conn, protocol.ID(id))
	if err != nil {
		return nil, err
	}
	return &Stream{Stream: s, proven: c.proven}, nil
}

// Close closes the connection and its streams.
func (c *Conn) Close() error { return c.conn.Close() }

// Stream is one exchange on a connection. Like a network connection it is read and written by one goroutine each.
type Stream struct {
	network.Stream
	proven *proven
}

// Device returns the other side's device.
func (s *Stream) Device() identity.DeviceID { return s.proven.cert.ID }

// Cert returns the certificate that the other side proved.
func (s *Stream) Cert() *identity.DeviceCert { return s.proven.cert }

// Class returns the class of the stream's connection.
func (s *Stream) Class() Class { return s.proven.class }

// Invite returns the hash of the invite that a guest's connection was proven with; zero for members.
func (s *Stream) Invite() wire.ID { return s.proven.invite }

// Inbound reports whether the other side dialed the connection, which says nothing about who opened the stream.
func (s *Stream) Inbound() bool { return s.proven.inbound }

// Exporter returns the keying material that binds a protocol to the stream's connection.
func (s *Stream) Exporter() [32]byte { return s.proven.exporter }

// Handle serves a protocol. A protocol registered for [Guest] is open to members too, one registered for [Member] to
// members only. Each stream has its own goroutine; fn's context ends with the host; the stream is closed when fn
// returns. The protocol's name is told to every peer that proved itself, guests too: it must name no project.
func (h *Host) Handle(id string, class Class, fn func(ctx context.Context, s *Stream)) {
	h.mu.Lock()
	h.protocols[protocol.ID(id)] = class
	h.mu.Unlock()
	h.host.SetStreamHandler(protocol.ID(id), func(s network.Stream) {
		p, ok := provenOf(s.Conn())
		if !ok {
			_ = s.Reset()
			return
		}
		if !h.tasks.Go("stream", func(ctx context.Context) error {
			defer s.Close()
			fn(ctx, &Stream{Stream: s, proven: p})
			return nil
		}) {
			_ = s.Reset()
		}
	})
}

// Open opens a stream to a device that is connected as a member; see [Conn.Open].
func (h *Host) Open(ctx context.Context, device identity.DeviceID, id string) (*Stream, error) {
	for _, p := range h.Connected() {
		if p.Device != device || p.Class != Member {
			continue
		}
		pid, err := peerIDOf(p.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
		}
		if c := bestConn(h.swarm, pid, Member); c != nil {
			conn, _ := h.conn(c)
			return conn.Open(ctx, id)
		}
	}
	return nil, fmt.Errorf("%w: %s; dial it first", ErrNotConnected, device.Short())
}

// openOn opens a stream on this very connection and agrees on the first protocol that the peer serves.
func (h *Host) openOn(ctx context.Context, c network.Conn, ids ...protocol.ID) (network.Stream, error) {
	p, ok := provenOf(c)
	if !ok {
		return nil, errNoProof
	}
	if p.class == Member && !h.live(p) {
		c.Close()
		return nil, fmt.Errorf("%w: device %s was removed", ErrNotMember, p.cert.ID.Short())
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, openTimeout)
		defer cancel()
	}
	s, err := c.NewStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: open stream to %s: %w", ErrNotConnected, p.cert.ID.Short(), err)
	}
	s = h.tapped(s)
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	id, err := multistream.SelectOneOf(ids, s)
	if err == nil {
		err = s.SetProtocol(id)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err == nil {
		return s, nil
	}
	_ = s.Reset()
	if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
		return nil, fmt.Errorf("%w: %s: %w", ErrProtocol, p.cert.ID.Short(), err)
	}
	return nil, fmt.Errorf("%w: open stream to %s: %w", ErrNotConnected, p.cert.ID.Short(), err)
}

// infrastructure lists the protocols of libp2p itself that guests use as well.
var infrastructure = map[protocol.ID]bool{identify.ID: true, identify.IDPush: true}

// gateStreams checks every stream that a peer opens, whichever part of libp2p will serve it, once its protocol is
// known and before its handler runs.
func (h *Host) gateStreams() {
	serve := h.swarm.StreamHandler()
	h.swarm.SetStreamHandler(func(s network.Stream) { serve(&gatedStream{Stream: h.tapped(s), host: h}) })
}

type gatedStream struct {
	network.Stream
	host *Host
}

// SetProtocol is what libp2p calls when it has agreed on a protocol; an error resets the stream.
func (s *gatedStream) SetProtocol(id protocol.ID) error {
	if err := s.host.admit(s.Conn(), id); err != nil {
		return err
	}
	return s.Stream.SetProtocol(id)
}

// admit decides whether a peer may open a stream. A connection whose authorisation has ended is closed.
func (h *Host) admit(c network.Conn, id protocol.ID) error {
	p, ok := provenOf(c)
	if !ok {
		return errNoProof
	}
	if !h.live(p) {
		err := fmt.Errorf("%w: connected earlier, since removed", ErrNotMember)
		h.refused(c.RemotePeer(), nil, err)
		c.Close()
		return err
	}
	if p.class == Member || infrastructure[id] {
		return nil
	}
	h.mu.Lock()
	class := h.protocols[id]
	h.mu.Unlock()
	if class != Guest {
		err := fmt.Errorf("%w: a guest asked for %q", ErrNotMember, string(id))
		h.refused(c.RemotePeer(), nil, err)
		return err
	}
	return nil
}
