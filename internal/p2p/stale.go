package p2p

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// A process that was killed leaves its connections behind: the other side notices only when they have been idle for
// half a minute, and what it sends there meanwhile is lost. When the device connects again, the older connections are
// therefore asked for a sign of life and closed if none comes.

// protocolAlive answers by being agreed upon; no byte follows.
const protocolAlive = "/collab/alive/1"

// aliveTimeout is how long an older connection has to answer.
const aliveTimeout = 1500 * time.Millisecond

// serveAlive answers those who ask.
func (h *Host) serveAlive() {
	h.Handle(protocolAlive, Guest, func(context.Context, *Stream) {})
}

// probeOlder asks the connections that a device had before the one given.
func (h *Host) probeOlder(fresh network.Conn) {
	for _, c := range h.swarm.ConnsToPeer(fresh.RemotePeer()) {
		if c == fresh || !c.Stat().Opened.Before(fresh.Stat().Opened) {
			continue
		}
		h.tasks.Go("probe", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
			defer cancel()
			s, err := h.openOn(ctx, c, protocolAlive)
			switch {
			case err == nil:
				_ = s.Reset()
			case !errors.Is(err, ErrProtocol): // who does not know the protocol is alive too
				h.log.Debug("p2p: closing a connection that gives no sign of life", "peer", c.RemotePeer().String())
				c.Close()
			}
			return nil
		})
	}
}
