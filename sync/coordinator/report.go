package coordinator

import (
	"bytes"
	"slices"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// Peer is what the coordinator knows of another device of the roster.
type Peer struct {
	Device identity.DeviceID
	Online bool // connected, as OnPeer was told

	// While it is online:
	Path   p2p.Path
	Addr   string // multiaddress of the other end
	Since  time.Time
	Synced bool // a round has completed since then

	Rounds, FailedRounds uint64 // that ended since the coordinator was made; failed ones count in both
	Dials, FailedDials   uint64
	LastErr              error // of the last round or dial; nil if it succeeded
}

// counts are a peer's totals.
type counts struct{ Rounds, FailedRounds, Dials, FailedDials uint64 }

// counted notes how a round or a dial ended; the lock is held.
func (p *peer) counted(all, failed *uint64, err error) {
	*all++
	if err != nil {
		*failed++
	}
	p.lastErr = err
}

// Peers describes the roster's other devices, by identifier.
func (c *Coordinator) Peers() []Peer {
	connected := map[identity.DeviceID]p2p.Peer{}
	for _, p := range c.cfg.Host.Connected() {
		if p.Class == p2p.Member {
			connected[p.Device] = p
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.cfg.State()
	var out []Peer
	for device, p := range c.peers {
		if !c.member(state, device) {
			continue
		}
		now := Peer{
			Device: device, Online: p.present, Synced: p.present && p.synced, LastErr: p.lastErr,
			Rounds: p.count.Rounds, FailedRounds: p.count.FailedRounds,
			Dials: p.count.Dials, FailedDials: p.count.FailedDials,
		}
		if conn, ok := connected[device]; ok && p.present {
			now.Path, now.Addr, now.Since = conn.Path, conn.Addr, conn.Since
		}
		out = append(out, now)
	}
	slices.SortFunc(out, func(a, b Peer) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return out
}
