package live

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
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

// Errors of what the user sends.
var (
	// ErrClosed means that the topic was closed.
	ErrClosed = errors.New("live: closed")
	// ErrTooLarge means that a message or a state exceeds its cap; put large things into a document.
	ErrTooLarge = errors.New("live: too large")
	// ErrNotJSON means that a presence state is no JSON value, or null, which means gone.
	ErrNotJSON = errors.New("live: presence state is not a JSON value")
	// ErrNotReady means that no key is usable for sending yet; try again when the session has synchronised.
	ErrNotReady = errors.New("live: no project key is usable for sending yet")
	// ErrTooFast means that others would not take so many messages; send fewer, or put them into a document.
	ErrTooFast = errors.New("live: more messages than others take")
)

// Project is what a topic asks of membership.
type Project interface {
	ID() genesis.ProjectID
	State() *governance.State
	Heads() []governance.EventID
	Knows(heads []governance.EventID) bool
	SendingEpoch() (id governance.EpochID, key [32]byte, ok bool)
	EpochKey(id governance.EpochID) ([32]byte, bool)
}

// Config is what one project's topic works with. All fields are required. The functions must not block, nor call
// [Topic.Close].
type Config struct {
	Project  Project
	Journal  *journal.Journal // call its OnOwn with [Topic.Publish]
	Keys     *identity.DeviceKeys
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Random   io.Reader
	Now      func() time.Time
	Logger   *slog.Logger

	OnGap     func()        // something is known to be missing: synchronise
	OnMessage func(Message) // an application message, in order for each sender
	OnError   func(error)   // an edit was not kept: by the store, and it is tried again, or for good, and it was undone
}

// topicNameSize is the length of a topic's name, a hash in hex.
const topicNameSize = 64

// Topic is tier 1 of one project. It is safe for concurrent use.
type Topic struct {
	cfg    Config
	gossip *Gossip
	name   string
	topic  *pubsub.Topic
	sub    *pubsub.Subscription
	tasks  *task.Group

	// Of others.
	rates  *limiter // by author
	hints  *limiter // by forwarder
	faults *limiter // by forwarder
	order  *order
	early  *early
	passed *introductions
	later  chan *checked
	owed   atomic.Bool // a round of anti-entropy is to be asked for
	taking sync.Mutex  // what was received is taken in one by one

	// Of this device.
	outbox   *outbox
	budget   *budget
	progress *progress
	messages chan outgoing
	presence *presences
	notices  *notices
	renewals *task.Group // sends presence
	sendMu   sync.Mutex  // orders own ephemeral records
	count    counter
	counted  uint32 // the chain that count is of

	subscribed atomic.Bool
	closed     atomic.Bool
	closeOnce  sync.Once
	closeErr   error
}

// Join subscribes to a project's topic and serves it until Close.
func (g *Gossip) Join(cfg Config) (_ *Topic, err error) {
	t := newTopic(g, cfg)
	if !g.enter(t) {
		return nil, errors.Join(fmt.Errorf("live: project %s is joined already", cfg.Project.ID().Short()), t.tasks.Close(), t.renewals.Close())
	}
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
	arrivals, err := t.topic.EventHandler()
	if err != nil {
		return nil, fmt.Errorf("live: join topic: %w", err)
	}
	t.tasks.Go("arrivals", func(ctx context.Context) error { return t.greet(ctx, arrivals) })
	if t.sub, err = t.topic.Subscribe(pubsub.WithBufferSize(bufferMessages)); err != nil {
		return nil, fmt.Errorf("live: subscribe: %w", err)
	}
	t.subscribed.Store(true)
	t.outbox.start(t.tasks, cfg.OnError)
	t.tasks.Go("receive", t.receive)
	t.tasks.Go("judge later", t.judgeLater)
	t.tasks.Go("messages", t.serveMessages)
	t.tasks.Go("observers", t.notices.run)
	t.renewals.Go("presence", t.servePresence)
	return t, nil
}

func newTopic(g *Gossip, cfg Config) *Topic {
	project := cfg.Project.ID()
	id := derive.ID("topic", project[:])
	t := &Topic{
		cfg: cfg, gossip: g, name: hex.EncodeToString(id[:]), tasks: task.New(context.Background()),
		rates: newLimiter(liveRate, liveBurst), hints: newLimiter(hintRate, hintBurst), faults: newLimiter(faultRate, faultBurst),
		order: newOrder(), early: newEarly(), passed: newIntroductions(), later: make(chan *checked, maxLater),
		budget: newBudget(cfg.Now()), progress: newProgress(), messages: make(chan outgoing, maxMessages),
		presence: newPresences(), notices: newNotices(), renewals: task.New(context.Background()),
	}
	t.outbox = newOutbox(cfg.Now, t.budget, t.append)
	return t
}

// Close hands over what waits in the outbox, publishes it, says goodbye and leaves the topic. It must not be called
// from a function that the topic calls. Closing again gives the same answer.
func (t *Topic) Close() error {
	t.closeOnce.Do(func() { t.closeErr = t.close() })
	return t.closeErr
}

func (t *Topic) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	t.closed.Store(true)
	err := t.outbox.flush(ctx)
	if t.sub != nil {
		t.drainMessages(ctx)
		published, cancel := context.WithTimeout(ctx, publishWait)
		t.progress.wait(published)
		cancel()
	}
	err = errors.Join(err, t.renewals.Close())
	if t.sub != nil {
		t.goodbye(ctx)
		t.subscribed.Store(false)
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
	t.gossip.leave(t)
	return err
}

// Edited queues a local update of a document: an isolated one leaves at once, then one batch in 50 ms. It never waits.
func (t *Topic) Edited(doc [16]byte, update []byte) {
	if !t.closed.Load() { // the journal keeps what its documents emit
		t.outbox.add(doc, update)
	}
}

// Flush hands everything queued to the journal. It fails as [journal.Journal.Append] does.
func (t *Topic) Flush(ctx context.Context) error { return t.outbox.flush(ctx) }

// append makes an envelope of a batch; the journal publishes it through Publish once it is durable.
func (t *Topic) append(ctx context.Context, doc docID, updates [][]byte) error {
	made, err := t.cfg.Journal.Append(ctx, doc, updates)
	for _, e := range made {
		t.progress.noteMade(e)
	}
	return err
}

// Publish sends an own envelope, which must be durable. One that is too large for gossip is announced. It does not wait
// for the network.
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
	t.publish(data)
	t.gossip.passed.Out(1, 0)
	t.progress.noteGone(e)
	if e.Kind == envelope.KindIntroduction {
		t.presence.signal()
	}
}

// publish hands bytes to the router. That nobody is subscribed is no error, nor that the topic was closed.
func (t *Topic) publish(data []byte) {
	t.gossip.passed.Out(0, len(data))
	if err := t.topic.Publish(t.tasks.Context(), data); err != nil && !t.closed.Load() {
		t.cfg.Logger.Debug("live: publish failed", "err", err)
	}
}

// Waiting says how many own edits and messages wait to be sent.
func (t *Topic) Waiting() (edits, messages int) { return t.outbox.len(), len(t.messages) }

// Renew says that something was exchanged with a device: it can judge now what it could not, and so can this one. Own
// presence is sent again soon, and what waited is looked at.
func (t *Topic) Renew() {
	t.presence.renew()
	t.early.signal()
}

// RosterChanged says that the roster has changed: who has come is told what it may know now, and who has gone is shown
// no more.
func (t *Topic) RosterChanged() {
	t.gossip.host.announceAll()
	t.presence.stale.Store(true)
	t.Renew()
}

// HoldsChanged says that the journal holds back what other members write than before: their presence is shown no more.
func (t *Topic) HoldsChanged() {
	t.presence.stale.Store(true)
	t.Renew()
}

// greet shows own presence to whoever subscribes, and has them find out a moment later whether they hold everything: what
// was published between their round of anti-entropy and their subscription has passed them by.
func (t *Topic) greet(ctx context.Context, arrivals *pubsub.TopicEventHandler) error {
	defer arrivals.Cancel()
	for {
		event, err := arrivals.NextPeerEvent(ctx)
		if err != nil {
			return nil // the group has ended
		}
		if event.Type == pubsub.PeerJoin && t.gossip.mayKnow(event.Peer, t.name) {
			t.presence.hail.Store(true)
			t.presence.renew()
		}
	}
}

// live reports whether a device is one of the project's.
func (t *Topic) live(id identity.DeviceID) bool {
	d, ok := t.cfg.Project.State().Device(id)
	return ok && d.Live
}

// shows reports whether the presence of a device is shown: it has a place in the project, and nobody holds back what its owner
// sends.
func (t *Topic) shows(id identity.DeviceID) bool { return t.live(id) && !t.cfg.Journal.Withheld(id) }
