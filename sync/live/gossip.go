// Package live is tier 1: edits, presence and messages while people are connected, on gossipsub.
//
// Make one [Gossip] for a node before its host listens and [Gossip.Join] it for each open project. What is edited here
// goes in with [Topic.Edited]; what others publish is checked, cheap before dear, and handed to the journal. A gossip
// message is a hint: what was lost is found by anti-entropy, never here.
//
// What is promised: nothing about a project is sent to a device outside its roster; nothing that fails a check is passed
// on; one author's messages arrive in order or not at all; a presence state that is set while both sides are connected
// and synchronised is seen within about a second. What is not: that a message arrives.
//
// SPEC.md beside this file gives the wire form and the rules.
package live

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/traffic"
)

// protocolMesh is gossipsub 1.2 under our own name, so that nobody else's router ever meshes with ours.
const protocolMesh protocol.ID = "/collab/meshsub/1.2.0"

// Gossip is a node's router. It is safe for concurrent use.
type Gossip struct {
	ps     *pubsub.PubSub
	self   peer.ID
	host   *routerHost
	filter *filter
	cancel context.CancelFunc
	logger *slog.Logger
	passed traffic.Counter

	mu     sync.RWMutex
	topics map[string]*Topic
	left   map[string]*governance.State // of topics that were open: who may hear that they are not any more
}

// NewGossip starts the router; node must not listen yet.
func NewGossip(node *p2p.Host, logger *slog.Logger) (*Gossip, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gossip{cancel: cancel, logger: logger, topics: map[string]*Topic{}, left: map[string]*governance.State{}}
	g.filter = newFilter(g.isOpen)
	g.host = newRouterHost(node.MemberHost())
	g.host.may, g.host.topics, g.host.gone = g.mayKnow, g.announced, g.filter.forget
	g.self = g.host.ID()
	ps, err := pubsub.NewGossipSub(ctx, g.host,
		pubsub.WithGossipSubProtocols([]protocol.ID{protocolMesh}, features),
		// What is carried is signed by its author; libp2p's own signature would be classical only.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		// Without an author the default id is the same for every message.
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:20])
		}),
		pubsub.WithGossipSubParams(params()),
		pubsub.WithFloodPublish(true),
		pubsub.WithLogger(logger),
		pubsub.WithRPCLogger(slog.New(slog.DiscardHandler)), // would log every message
		pubsub.WithMaxMessageSize(MaxMessage+4<<10),
		pubsub.WithPeerOutboundQueueSize(bufferMessages),
		pubsub.WithValidateQueueSize(bufferMessages),
		pubsub.WithValidateWorkers(1), // keeps the order of one author's messages
		pubsub.WithPeerFilter(g.mayKnow),
		pubsub.WithSubscriptionFilter(g.filter),
	)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("live: start gossip: %w", err), g.host.tasks.Close())
	}
	g.ps = ps
	return g, nil
}

// Traffic is what all topics have carried: envelopes, and bytes of messages, each received one once.
func (g *Gossip) Traffic() traffic.Totals { return g.passed.Totals() }

// Close ends the router; topics must be closed before.
func (g *Gossip) Close() error {
	g.cancel()
	return g.host.tasks.Close()
}

// features are those of gossipsub 1.2 but the exchange of peers: who is a peer is not the router's to say.
func features(f pubsub.GossipSubFeature, id protocol.ID) bool {
	return id == protocolMesh && (f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant)
}

// params are gossipsub's own but for the heartbeat: until one has come round, what others publish is not passed on to a
// new peer. What is counted in heartbeats lasts as long as it did.
func params() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	faster := int(p.HeartbeatInterval / heartbeat)
	p.HeartbeatInterval = heartbeat
	p.HistoryLength *= faster
	p.HistoryGossip *= faster
	p.IDontWantMessageTTL *= faster
	p.OpportunisticGraftTicks *= uint64(faster)
	p.DirectConnectTicks *= uint64(faster)
	return p
}

// topic returns an open topic, nil if there is none.
func (g *Gossip) topic(name string) *Topic {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.topics[name]
}

func (g *Gossip) isOpen(name string) bool { return g.topic(name) != nil }

// announced lists the topics that are subscribed to.
func (g *Gossip) announced() (names []string) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for name, t := range g.topics {
		if t.subscribed.Load() {
			names = append(names, name)
		}
	}
	return names
}

// mayKnow reports whether a peer is a live device of a topic's project: only such ones are grafted into the topic's
// mesh and told anything about it.
func (g *Gossip) mayKnow(id peer.ID, name string) bool {
	g.mu.RLock()
	t, state := g.topics[name], g.left[name]
	g.mu.RUnlock()
	if t != nil {
		state = t.cfg.Project.State()
	}
	_, ok := deviceIn(state, id)
	return ok
}

// enter makes t the open topic of its name.
func (g *Gossip) enter(t *Topic) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.topics[t.name] != nil {
		return false
	}
	g.topics[t.name] = t
	delete(g.left, t.name)
	return true
}

func (g *Gossip) leave(t *Topic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.topics, t.name)
	g.left[t.name] = t.cfg.Project.State()
}

// filter bounds what peers may subscribe to. It does not ask who they are: a peer announces its topics once, which may
// be before its admission is known here, or before the project is open here. What goes out is looked at instead.
type filter struct {
	open func(topic string) bool

	mu      sync.Mutex
	foreign map[peer.ID]map[string]bool // topics that are not open here
}

func newFilter(open func(string) bool) *filter {
	return &filter{open: open, foreign: map[peer.ID]map[string]bool{}}
}

// CanSubscribe says whether this node itself may.
func (f *filter) CanSubscribe(topic string) bool { return f.open(topic) }

// FilterIncomingSubscriptions returns what is kept of a peer's announcement.
func (f *filter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > maxSubscriptions {
		return nil, errors.New("live: too many subscriptions in one announcement")
	}
	kept := make([]*pb.RPC_SubOpts, 0, len(subs))
	for _, s := range subs {
		if f.keep(from, s.GetTopicid(), s.GetSubscribe()) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

func (f *filter) keep(from peer.ID, topic string, subscribe bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.foreign[from]
	switch {
	case !subscribe:
		delete(known, topic)
		return true
	case f.open(topic) || known[topic]:
		return true
	case len(known) >= maxForeignTopics || len(topic) > topicNameSize:
		return false
	case known == nil:
		known = map[string]bool{}
		f.foreign[from] = known
	}
	known[topic] = true
	return true
}

// forget is called when a peer has gone.
func (f *filter) forget(id peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.foreign, id)
}

// deviceIn returns the live device that owns a transport identity.
func deviceIn(state *governance.State, id peer.ID) (identity.DeviceID, bool) {
	key, ok := transportKey(id)
	if !ok || state == nil {
		return identity.DeviceID{}, false
	}
	d, ok := state.DeviceByPeer(key)
	if !ok {
		return identity.DeviceID{}, false
	}
	return d.ID, true
}

// transportKey extracts the Ed25519 key that a peer ID is made of.
func transportKey(id peer.ID) (key [32]byte, ok bool) {
	if len(id) < len(key) {
		return key, false
	}
	key = [32]byte([]byte(id[len(id)-len(key):]))
	return key, string(identity.PeerIDBytes(key)) == string(id)
}
