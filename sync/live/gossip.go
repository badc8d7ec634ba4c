// Package live is tier 1: edits, presence and messages while people are connected, on gossipsub.
//
// Make one [Gossip] for a node before its host listens and [Gossip.Join] it for each open project. What is edited here
// goes in with [Topic.Edited]; what others publish is checked, cheap before dear, and handed to the journal. A gossip
// message is a hint: what was lost is found by anti-entropy, never here.
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

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// protocolMesh is gossipsub 1.2 under our own name, so that nobody else's router ever meshes with ours.
const protocolMesh protocol.ID = "/collab/meshsub/1.2.0"

// Gossip is a node's router. It is safe for concurrent use.
type Gossip struct {
	ps     *pubsub.PubSub
	self   peer.ID
	cancel context.CancelFunc
	logger *slog.Logger

	mu     sync.RWMutex
	topics map[string]*Topic
}

// NewGossip starts the router; the host must not listen yet.
func NewGossip(host *p2p.Host, logger *slog.Logger) (*Gossip, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gossip{cancel: cancel, logger: logger, self: host.MemberHost().ID(), topics: map[string]*Topic{}}
	ps, err := pubsub.NewGossipSub(ctx, host.MemberHost(),
		pubsub.WithGossipSubProtocols([]protocol.ID{protocolMesh}, features),
		// What is carried is signed by its author; libp2p's own signature would be classical only.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		// Without an author the default id is the same for every message.
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:20])
		}),
		pubsub.WithFloodPublish(true),
		pubsub.WithLogger(logger),
		pubsub.WithRPCLogger(slog.New(slog.DiscardHandler)), // would log every message
		pubsub.WithMaxMessageSize(MaxMessage+4<<10),
		pubsub.WithPeerOutboundQueueSize(subscriberBuffer),
		pubsub.WithValidateQueueSize(subscriberBuffer),
		pubsub.WithValidateWorkers(1), // keeps the order of one author's messages
		pubsub.WithPeerFilter(g.mayMesh),
		pubsub.WithSubscriptionFilter(filter{g}),
	)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("live: start gossip: %w", err)
	}
	g.ps = ps
	return g, nil
}

// Close ends the router; topics must be closed before.
func (g *Gossip) Close() error {
	g.cancel()
	return nil
}

// features are those of gossipsub 1.2.
func features(f pubsub.GossipSubFeature, id protocol.ID) bool {
	return id == protocolMesh && (f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeaturePX || f == pubsub.GossipSubFeatureIdontwant)
}

// mayMesh reports whether a peer may be grafted into a topic's mesh or be gossiped to about it: only the project's own
// members.
func (g *Gossip) mayMesh(id peer.ID, topic string) bool {
	g.mu.RLock()
	t := g.topics[topic]
	g.mu.RUnlock()
	if t == nil {
		return false
	}
	_, ok := t.deviceOf(id)
	return ok
}

// filter drops subscriptions to topics that are not open here, or by peers that are not of the topic's project, so
// that nothing of the topic is ever sent to them.
type filter struct{ g *Gossip }

func (f filter) CanSubscribe(topic string) bool {
	f.g.mu.RLock()
	defer f.g.mu.RUnlock()
	return f.g.topics[topic] != nil
}

// maxSubscriptions is how many topics one peer may subscribe to in one message.
const maxSubscriptions = 1024

func (f filter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > maxSubscriptions {
		return nil, errors.New("live: too many subscriptions in one message")
	}
	kept := make([]*pb.RPC_SubOpts, 0, len(subs))
	for _, s := range subs {
		if !s.GetSubscribe() || f.g.mayMesh(from, s.GetTopicid()) {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// deviceOf returns the live device of the topic's project that owns a transport identity.
func (t *Topic) deviceOf(id peer.ID) (identity.DeviceID, bool) {
	key, ok := transportKey(id)
	if !ok {
		return identity.DeviceID{}, false
	}
	d, ok := t.cfg.Project.State().DeviceByPeer(key)
	if !ok {
		return identity.DeviceID{}, false
	}
	return d.ID, true
}

// transportKey extracts the Ed25519 key that a peer ID is made of.
func transportKey(id peer.ID) (key [32]byte, ok bool) {
	pub, err := id.ExtractPublicKey()
	if err != nil {
		return key, false
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(key) {
		return key, false
	}
	return [32]byte(raw), true
}
