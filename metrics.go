package collab

import (
	"errors"
	"fmt"

	"github.com/studio-whip/collab/internal/traffic"
	"github.com/studio-whip/collab/sync/coordinator"
)

// report registers the node's metrics, if they are wanted.
func (n *Node) report() (err error) {
	if n.cfg.metrics == nil {
		return nil
	}
	n.metrics, err = coordinator.NewMetrics(n.cfg.metrics, coordinator.Sources{
		Sessions: n.openSessions, Peers: n.host.Connected, Queues: n.queues, Tiers: n.tiers,
		Traffic: n.traffic(),
	})
	if errors.Is(err, coordinator.ErrMetricsTaken) {
		return fmt.Errorf("collab: metrics: %w; give each node its own, or one from prometheus.WrapRegistererWith", err)
	}
	return wrap("metrics", err)
}

// traffic says how to ask what each tier has carried.
func (n *Node) traffic() map[string]func() traffic.Totals {
	return map[string]func() traffic.Totals{
		"live": n.gossip.Traffic, "foundation": n.tier2.Traffic, "assets": n.files.Traffic,
	}
}

func (n *Node) openSessions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sessions)
}

// queues says what waits in all sessions together.
func (n *Node) queues() map[string]int {
	edits, messages, held := 0, 0, 0
	n.each(func(s *Session) {
		held += s.journal.Held()
		if s.live != nil { // else it was opened to be read only
			e, m := s.live.Waiting()
			edits, messages = edits+e, messages+m
		}
	})
	return map[string]int{"edits": edits, "messages": messages, "held": held}
}
