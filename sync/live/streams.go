package live

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/internal/task"
)

// routerHost is the host that the router sees. It makes up for two things that the router does not do.
//
//   - Nothing about a project goes to a device outside its roster. What the router writes is looked through at the last
//     moment, so it does not matter who subscribed or was grafted when, nor that a removed member is still connected
//     because of another project.
//   - The router announces its subscriptions once on each stream, and it forgets those of a peer whenever its own stream
//     to that peer ends, though the peer's stream to it may live on. A new stream from a peer is therefore answered
//     with all announcements, and so is a change of the roster.
type routerHost struct {
	host.Host
	may    func(id peer.ID, topic string) bool // whether a peer may hear of a topic
	topics func() []string                     // that are subscribed to here
	gone   func(id peer.ID)                    // a peer has disconnected
	tasks  *task.Group

	mu      sync.Mutex
	streams map[peer.ID]*outStream // the newest to each peer
}

func newRouterHost(h host.Host) *routerHost {
	return &routerHost{Host: h, tasks: task.New(context.Background()), streams: map[peer.ID]*outStream{}}
}

// SetStreamHandler serves the router's protocol.
func (h *routerHost) SetStreamHandler(id protocol.ID, fn network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) {
		p := s.Conn().RemotePeer()
		h.tasks.Go("announce", func(ctx context.Context) error { h.announce(ctx, p); return nil })
		fn(s)
		if h.Network().Connectedness(p) != network.Connected {
			h.gone(p)
		}
	})
}

// NewStream opens the router's stream to a peer. The router does not try again by itself if that fails, and a connection
// just lost may stand in the way of the one that replaces it. Connecting is not the router's to do.
func (h *routerHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	ctx = network.WithNoDial(ctx, "gossip uses what connections there are")
	for try := 1; ; try++ {
		s, err := h.newStream(ctx, p, ids...)
		if err == nil {
			return s, nil
		}
		if try == streamTries || h.Network().Connectedness(p) != network.Connected {
			return nil, err
		}
		select {
		case <-time.After(streamRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (h *routerHost) newStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	s, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	out := &outStream{Stream: s, h: h, peer: p, turn: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams[p] = out
	return out, nil
}

// announce tells a peer what is subscribed to here, as far as it may know.
func (h *routerHost) announce(ctx context.Context, p peer.ID) {
	h.mu.Lock()
	s := h.streams[p]
	h.mu.Unlock()
	if s == nil {
		return // the stream to it will begin with that
	}
	var rpc []byte
	for _, topic := range h.topics() {
		rpc = appendSubscription(rpc, topic)
	}
	defer context.AfterFunc(ctx, func() { _ = s.SetWriteDeadline(time.Now()) })()
	_ = s.announce(ctx, rpc) // fails if the stream has ended; the next one begins with that
}

// announceAll tells every peer.
func (h *routerHost) announceAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.streams {
		h.tasks.Go("announce", func(ctx context.Context) error { h.announce(ctx, p); return nil })
	}
}

func (h *routerHost) forget(s *outStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[s.peer] == s {
		delete(h.streams, s.peer)
	}
}

// outStream is the router's stream to a peer: frames of a length as varint and an RPC.
type outStream struct {
	network.Stream
	h    *routerHost
	peer peer.ID

	turn chan struct{} // filled by who writes: one frame at a time, for as long as the peer takes to read
	part []byte        // a frame that is not complete
}

// Write passes on what the peer may have.
func (s *outStream) Write(b []byte) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.part = append(s.part, b...)
	rest := s.part
	for {
		rpc, after, err := cutFrame(rest)
		if err != nil {
			return 0, err
		}
		if rpc == nil {
			s.part = append(s.part[:0], rest...)
			if cap(s.part) > maxFrame/8 && len(s.part) == 0 {
				s.part = nil
			}
			return len(b), nil
		}
		if err := s.send(rpc); err != nil {
			return 0, err
		}
		rest = after
	}
}

// send writes an RPC, less what the peer may not have; it is the caller's turn.
func (s *outStream) send(rpc []byte) error {
	kept, err := permitted(rpc, func(topic string) bool { return s.h.may(s.peer, topic) })
	if err != nil || len(kept) == 0 {
		return err
	}
	_, err = s.Stream.Write(append(binary.AppendUvarint(make([]byte, 0, len(kept)+binary.MaxVarintLen32), uint64(len(kept))), kept...))
	return err
}

func (s *outStream) announce(ctx context.Context, rpc []byte) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if len(s.part) > 0 {
		return nil // within a frame, which the router never does
	}
	if err := s.SetWriteDeadline(time.Now().Add(streamTimeout)); err != nil {
		return err
	}
	return s.send(rpc)
}

// Close ends the stream.
func (s *outStream) Close() error {
	s.h.forget(s)
	return s.Stream.Close()
}

// Reset ends the stream at once.
func (s *outStream) Reset() error {
	s.h.forget(s)
	return s.Stream.Reset()
}
