package assets

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/internal/traffic"
)

// bitswapHost is the host that bitswap sees. It connects to nobody, which is not bitswap's to do; it notes when
// something comes from a peer, as a block on a slow line is no sign of life for a long time; and it can end all streams.
type bitswapHost struct {
	host.Host
	passed traffic.Counter

	mu      sync.Mutex
	closed  bool
	streams map[*outStream]struct{}
	last    map[peer.ID]*atomic.Int64 // Unix nanoseconds
}

func newBitswapHost(h host.Host) *bitswapHost {
	return &bitswapHost{Host: h, streams: map[*outStream]struct{}{}, last: map[peer.ID]*atomic.Int64{}}
}

func (h *bitswapHost) Connect(_ context.Context, info peer.AddrInfo) error {
	if h.Network().Connectedness(info.ID) != network.Connected {
		return network.ErrNoConn
	}
	return nil
}

func (h *bitswapHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(network.WithNoDial(ctx, "assets use what connections there are"), p, ids...)
	if err != nil {
		return nil, err
	}
	out := &outStream{Stream: s, h: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = s.Reset()
		return nil, ErrClosed
	}
	h.streams[out] = struct{}{}
	return out, nil
}

func (h *bitswapHost) SetStreamHandler(id protocol.ID, fn network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) {
		fn(&inStream{s, h.clock(s.Conn().RemotePeer()), &h.passed})
	})
}

func (h *bitswapHost) clock(p peer.ID) *atomic.Int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last[p] == nil {
		h.last[p] = &atomic.Int64{}
	}
	return h.last[p]
}

func (h *bitswapHost) heard(p peer.ID) time.Time { return time.Unix(0, h.clock(p).Load()) }

func (h *bitswapHost) forget(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.last, p)
}

// resetStreams ends all streams to others and lets no new ones begin.
func (h *bitswapHost) resetStreams() {
	h.mu.Lock()
	streams := h.streams
	h.streams, h.closed = nil, true
	h.mu.Unlock()
	for s := range streams {
		_ = s.Stream.Reset()
	}
}

func (h *bitswapHost) drop(s *outStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
}

// inStream notes what was read, and when.
type inStream struct {
	network.Stream
	last   *atomic.Int64
	passed *traffic.Counter
}

func (s *inStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 {
		s.last.Store(time.Now().UnixNano())
		s.passed.In(0, n)
	}
	return n, err
}

// outStream is known to the host until it ends.
type outStream struct {
	network.Stream
	h *bitswapHost
}

func (s *outStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	s.h.passed.Out(0, n)
	return n, err
}

func (s *outStream) Close() error {
	s.h.drop(s)
	return s.Stream.Close()
}

func (s *outStream) Reset() error {
	s.h.drop(s)
	return s.Stream.Reset()
}
