package live

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// ErrClosed means that the topic was closed.
var ErrClosed = errors.New("live: closed")

// Project is what a topic asks of membership.
type Project interface {
	ID() genesis.ProjectID
	State() *governance.State
	Heads() []governance.EventID
	SendingEpoch() (id governance.EpochID, key [32]byte, ok bool)
	EpochKey(id governance.EpochID) ([32]byte, bool)
}

// Config is what one project's topic works with. All fields are required.
type Config struct {
	Project  Project
	Journal  *journal.Journal
	Keys     *identity.DeviceKeys
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Random   io.Reader
	Now      func() time.Time
	Logger   *slog.Logger

	OnGap     func()        // something is known to be missing: synchronise
	OnMessage func(Message) // an application message, in order for each sender
	OnError   func(error)   // an edit could not be kept; it is tried again
}

// Topic is tier 1 of one project. It is safe for concurrent use.
type Topic struct {
	cfg      Config
	gossip   *Gossip
	name     string
	topic    *pubsub.Topic
	sub      *pubsub.Subscription
	outbox   *outbox
	limiter  *limiter
	presence *presences
	tasks    *task.Group

	sendMu sync.Mutex // orders own ephemeral records
	count  counter
}

// Join subscribes to a project's topic and serves it until Close.
func (g *Gossip) Join(cfg Config) (_ *Topic, err error) {
	project := cfg.Project.ID()
	id := derive.ID("topic", project[:])
	t := &Topic{
		cfg: cfg, gossip: g, name: hex.EncodeToString(id[:]),
		limiter: newLimiter(), presence: newPresences(), tasks: task.New(context.Background()),
	}
	t.outbox = newOutbox(cfg.Now, t.append)
	g.mu.Lock()
	if g.topics[t.name] != nil {
		g.mu.Unlock()
		return nil, fmt.Errorf("live: project %s is joined already", project.Short())
	}
	g.topics[t.name] = t
	g.mu.Unlock()
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := g.ps.RegisterTopicValidator(t.name, t.validate, pubsub.WithValidatorInline(true)); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	if t.topic, err = g.ps.Join(t.name); err != nil {
		return nil, fmt.Errorf("live: join topic: %w", err)
	}
	if t.sub, err = t.topic.Subscribe(pubsub.WithBufferSize(subscriberBuffer)); err != nil {
		return nil, fmt.Errorf("live: subscribe: %w", err)
	}
	t.outbox.start(t.tasks, cfg.OnError)
	t.tasks.Go("receive", t.receive)
	t.tasks.Go("presence", t.servePresence)
	t.tasks.Go("arrivals", t.greet)
	return t, nil
}

// Close hands over what waits in the outbox, says goodbye and leaves the topic.
func (t *Topic) Close() error {
	flush, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := t.outbox.flush(flush)
	if t.topic != nil {
		t.goodbye(flush)
	}
	t.tasks.Stop()
	if t.sub != nil {
		t.sub.Cancel()
	}
	err = errors.Join(err, t.tasks.Close())
	_ = t.gossip.ps.UnregisterTopicValidator(t.name) // says only that Join did not get as far
	if t.topic != nil {
		err = errors.Join(err, t.topic.Close())
	}
	t.gossip.mu.Lock()
	delete(t.gossip.topics, t.name)
	t.gossip.mu.Unlock()
	return err
}

// Edited queues a local update of a document: an isolated one leaves at once, then one batch in 50 ms.
func (t *Topic) Edited(doc [16]byte, update []byte) { t.outbox.add(doc, update) }

// Flush hands everything queued to the journal.
func (t *Topic) Flush(ctx context.Context) error { return t.outbox.flush(ctx) }

// append makes an envelope of a batch; the journal publishes it through Publish once it is durable.
func (t *Topic) append(ctx context.Context, doc docID, updates [][]byte) error {
	_, err := t.cfg.Journal.Append(ctx, doc, updates)
	return err
}

// Publish sends an own envelope, which must be durable. One that is too large for gossip is announced.
func (t *Topic) Publish(e *envelope.Envelope) {
	m := message{Kind: kindEnvelope, Record: e.Raw}
	if e.Kind == envelope.KindIntroduction {
		m = message{Kind: kindIntroduction, Record: e.Raw, Identity: t.cfg.Identity.Raw, Device: t.cfg.Device.Raw}
	}
	data := wire.Marshal(m)
	if len(data) > MaxMessage {
		data = wire.Marshal(message{Kind: kindHead, Head: &head{
			Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, ID: e.ID,
		}})
	}
	t.publish(t.tasks.Context(), data)
}

// publish hands bytes to the router. That nobody is subscribed is no error.
func (t *Topic) publish(ctx context.Context, data []byte) {
	if err := t.topic.Publish(ctx, data); err != nil && ctx.Err() == nil {
		t.cfg.Logger.Debug("publish failed", "err", err)
	}
}

// receive takes in what the validator has passed.
func (t *Topic) receive(ctx context.Context) error {
	for {
		msg, err := t.sub.Next(ctx)
		if err != nil {
			return nil // the subscription or the group has ended
		}
		checked, ok := msg.ValidatorData.(*checked)
		if !ok || msg.Local {
			continue
		}
		t.take(ctx, checked)
	}
}

// greet shows own presence to whoever subscribes.
func (t *Topic) greet(ctx context.Context) error {
	peers, err := t.topic.EventHandler()
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	defer peers.Cancel()
	for {
		event, err := peers.NextPeerEvent(ctx)
		if err != nil {
			return nil // the group has ended
		}
		if event.Type == pubsub.PeerJoin {
			t.Renew()
		}
	}
}

// take hands one checked message to who it is for.
func (t *Topic) take(ctx context.Context, c *checked) {
	switch {
	case c.envelope != nil:
		verdict, err := t.cfg.Journal.Accept(ctx, c.envelope, c.from)
		if err != nil {
			t.cfg.Logger.Debug("envelope refused", "author", c.envelope.Device.Short(), "err", err)
		}
		if verdict == journal.Waiting {
			t.cfg.OnGap()
		}
	case c.ephemeral != nil:
		t.takeEphemeral(c.ephemeral)
	case c.head != nil:
		t.cfg.OnGap()
	}
}
