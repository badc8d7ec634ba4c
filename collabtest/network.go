package collabtest

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marcopolo/simnet"

	"github.com/studio-whip/collab"
)

// Network is a simulated network with its nodes. Methods are safe for concurrent use; those that fail the test, as
// t.Fatal does, must be called from the test's own goroutine.
type Network struct {
	// Patience is how long [Network.Wait] waits before it fails the test; change it before the first use.
	Patience time.Duration

	t    testing.TB
	dir  string // holds the nodes' folders
	wire *simnet.Simnet

	mu       sync.RWMutex
	latency  time.Duration
	links    map[[2]*machine]Link
	up, down int
	machines map[netip.Addr]*machine
	nodes    []*Node
}

// What a network is like until it is told otherwise: an ordinary one between homes.
const (
	defaultLatency   = 20 * time.Millisecond
	defaultBandwidth = 50_000_000 // bits per second
	defaultPatience  = 2 * time.Minute
)

// New makes a network without nodes. When t ends, all nodes are closed and the network with them; a node that cannot
// be closed fails the test. In a bubble of testing/synctest its time is the bubble's; [Run] makes one.
func New(t testing.TB) *Network {
	t.Helper()
	n := &Network{
		Patience: defaultPatience, t: t, dir: t.TempDir(),
		latency: defaultLatency, up: defaultBandwidth, down: defaultBandwidth,
		links: map[[2]*machine]Link{}, machines: map[netip.Addr]*machine{},
	}
	n.wire = &simnet.Simnet{LatencyFunc: n.travel, Logger: slog.New(slog.DiscardHandler)}
	n.wire.Start()
	t.Cleanup(n.close)
	return n
}

// close ends one node after another: each hands its last edits to those who are still there.
func (n *Network) close() {
	n.mu.RLock()
	nodes := n.nodes
	n.mu.RUnlock()
	for _, node := range nodes {
		node.end()
	}
	n.wire.Close()
}

// Latency sets how long a datagram travels in one direction, at first 20 ms. It holds wherever [Network.Link] has not
// set another.
func (n *Network) Latency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = d
}

// Bandwidth sets what nodes that are added from now on can send and receive, in bits per second, at first 50 million.
// What exceeds it waits, and is dropped when it has waited too long, as a router with CoDel does (RFC 8289).
func (n *Network) Bandwidth(up, down int) {
	n.t.Helper()
	if up <= 0 || down <= 0 {
		n.t.Fatalf("collabtest: bandwidth of %d and %d bit/s; both must be positive", up, down)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up, n.down = up, down
}

// Link is what the way between two nodes is like, in both directions.
type Link struct {
	Latency time.Duration // in one direction
	Loss    float64       // how much is lost, from 0 for nothing to 1 for everything
}

// Link sets what the way between two nodes is like, instead of the network's latency and no loss.
func (n *Network) Link(a, b *Node, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[[2]*machine{a.machine, b.machine}] = l
	n.links[[2]*machine{b.machine, a.machine}] = l
}

// Partition cuts the network: from now on nodes reach only those of their own group. The nodes that are in no group
// are a group too. It replaces an earlier partition. Nothing tells the nodes: their connections time out.
func (n *Network) Partition(groups ...[]*Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.machines {
		m.group = 0
	}
	for i, group := range groups {
		for _, node := range group {
			node.machine.group = i + 1
		}
	}
}

// Heal ends a partition. The nodes find one another again as they do after any failure, within a minute.
func (n *Network) Heal() { n.Partition() }

// Wait waits until cond holds, and fails the test if it does not within the network's patience; what says what is
// waited for.
func (n *Network) Wait(what string, cond func() bool) {
	n.t.Helper()
	if !n.wait(cond) {
		n.t.Fatalf("collabtest: waited %s in vain until %s", n.Patience, what)
	}
}

func (n *Network) wait(cond func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(n.Patience)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			return cond()
		}
	}
	return true
}

// Equal waits until a document has the same digest in all sessions, and fails the test if that does not come about.
func (n *Network) Equal(doc string, sessions ...*collab.Session) {
	n.t.Helper()
	docs := make([]*collab.Doc, len(sessions))
	for i, s := range sessions {
		var err error
		if docs[i], err = s.Doc(n.t.Context(), doc); err != nil {
			n.t.Fatal(err)
		}
	}
	same := func() bool {
		for _, d := range docs[1:] {
			if d.Digest() != docs[0].Digest() {
				return false
			}
		}
		return true
	}
	if len(docs) == 0 || n.wait(same) {
		return
	}
	var each strings.Builder
	for i, d := range docs {
		digest := d.Digest()
		fmt.Fprintf(&each, "\n%s: %x, connected to %d", sessions[i].Me().Name, digest[:6], sessions[i].Status().Peers)
	}
	n.t.Fatalf("collabtest: waited %s in vain until %q is equal everywhere:%s", n.Patience, doc, each.String())
}
