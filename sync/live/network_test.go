package live

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// node is one device on the loopback network, with everything below this room as it is.
type node struct {
	t      testing.TB
	who    *person
	reg    *membership.Registry
	host   *p2p.Host
	gossip *Gossip

	mu   sync.Mutex
	open []*session
}

// newNode starts a node; everything of it ends with the test.
func newNode(t testing.TB, name string) *node {
	t.Helper()
	n := newBareNode(t, name)
	var err error
	if n.gossip, err = NewGossip(n.host, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.host.Start(); err != nil {
		t.Fatal(err)
	}
	n.host.Observe(p2p.Observer{Connected: func(p2p.Peer) { n.each((*session).gap) }})
	t.Cleanup(n.stop)
	return n
}

// newBareNode makes a node without a router, which does not listen yet.
func newBareNode(t testing.TB, name string) *node {
	t.Helper()
	n := &node{t: t, who: newPerson(t, name)}
	n.reg = membership.NewRegistry(membership.RegistryConfig{
		Self: membership.Self{Identity: n.who.id, Device: n.who.dev, Keys: n.who.keys},
	})
	var err error
	n.host, err = p2p.New(context.Background(), p2p.Config{
		Device: n.who.keys, Cert: n.who.dev, Roster: n.reg,
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.reg.Attach(n.host)
	return n
}

// stop ends a node in the order in which a program does.
func (n *node) stop() {
	if n.host == nil {
		return
	}
	n.each((*session).close)
	var err error
	if n.gossip != nil {
		err = n.gossip.Close()
	}
	if err := errors.Join(err, n.host.Close(), n.reg.Close()); err != nil {
		n.t.Errorf("%s: %v", n.who.name, err)
	}
	n.host = nil
}

func (n *node) each(fn func(*session)) {
	n.mu.Lock()
	open := slices.Clone(n.open)
	n.mu.Unlock()
	for _, s := range open {
		fn(s)
	}
}

// session is a project that is open on a node. Its rounds exchange content directly from journal to journal.
type session struct {
	*Topic
	n       *node
	world   *world
	store   *store.Store
	project *membership.Project
	journal *journal.Journal
	tasks   *task.Group
	wake    chan struct{}
	deaf    atomic.Bool // makes no rounds
	round   sync.Mutex  // held during one

	mu       sync.Mutex
	received []Message
	gaps     int
	failed   []error
}

// world finds the other sessions of a project.
type world struct {
	mu  sync.Mutex
	all map[identity.DeviceID]*session
}

func newWorld() *world { return &world{all: map[identity.DeviceID]*session{}} }

func (w *world) of(id identity.DeviceID) *session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[id]
}

type starter func(membership.Config) (*membership.Project, error)

func (n *node) start(w *world, begin starter) *session {
	n.t.Helper()
	s := n.startGovernance(w, begin)
	s.openContent()
	return s
}

// startGovernance opens a project without its content.
func (n *node) startGovernance(w *world, begin starter) *session {
	n.t.Helper()
	st, err := store.Open("", store.Options{Memory: true})
	if err != nil {
		n.t.Fatal(err)
	}
	s := &session{n: n, world: w, store: st, tasks: task.New(context.Background()), wake: make(chan struct{}, 1)}
	if s.project, err = begin(membership.Config{Store: st}); err != nil {
		n.t.Fatalf("%s: %v", n.who.name, err)
	}
	return s
}

func (s *session) openContent() {
	n := s.n
	n.t.Helper()
	var err error
	s.journal, err = journal.Open(context.Background(), journal.Config{
		Store: s.store, Governance: s.project, Random: rand.Reader,
		Self: journal.Self{Identity: n.who.id.ID, Device: n.who.dev.ID, Keys: n.who.keys},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s.Topic, err = n.gossip.Join(s.config())
	if err != nil {
		n.t.Fatal(err)
	}
	s.journal.OnOwn(s.Publish)
	s.journal.OnGap(func(journal.Gap) { s.gap() })
	s.project.OnChange(func(membership.Change) { s.journal.Changed(); s.RosterChanged() })
	s.tasks.Go("rounds", s.rounds)
	s.world.mu.Lock()
	s.world.all[n.who.dev.ID] = s
	s.world.mu.Unlock()
	n.mu.Lock()
	n.open = append(n.open, s)
	n.mu.Unlock()
	s.gap()
}

func (s *session) config() Config {
	n := s.n
	return Config{
		Project: s.project, Journal: s.journal, Keys: n.who.keys, Identity: n.who.id, Device: n.who.dev,
		Random: rand.Reader, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		OnGap:     func() { s.mu.Lock(); s.gaps++; s.mu.Unlock(); s.gap() },
		OnMessage: func(m Message) { s.mu.Lock(); defer s.mu.Unlock(); s.received = append(s.received, m) },
		OnError:   func(err error) { s.mu.Lock(); defer s.mu.Unlock(); s.failed = append(s.failed, err) },
	}
}

func (s *session) close() {
	s.n.mu.Lock()
	s.n.open = slices.DeleteFunc(s.n.open, func(x *session) bool { return x == s })
	s.n.mu.Unlock()
	s.world.mu.Lock()
	delete(s.world.all, s.n.who.dev.ID)
	s.world.mu.Unlock()
	var err error
	if s.Topic != nil {
		err = errors.Join(s.Topic.Close(), s.tasks.Close(), s.journal.Close())
	}
	if err := errors.Join(err, s.project.Close(), s.store.Close()); err != nil {
		s.n.t.Errorf("%s closes the project: %v", s.n.who.name, err)
	}
}

// gap asks for a round.
func (s *session) gap() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// rounds exchanges events and content with everybody connected whenever something is missing.
func (s *session) rounds(ctx context.Context) error {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
		s.makeRound(ctx)
	}
}

func (s *session) makeRound(ctx context.Context) {
	s.round.Lock()
	defer s.round.Unlock()
	if s.deaf.Load() {
		return
	}
	for _, p := range s.n.host.Connected() {
		other := s.world.of(p.Device)
		if p.Class != p2p.Member || other == nil || s.project.Pull(ctx, p.Device) != nil {
			continue
		}
		exchange(ctx, s.journal, other.journal, p.Device)
		exchange(ctx, other.journal, s.journal, s.n.who.dev.ID)
		s.journal.Pulled(p.Device)
		s.Renew()
	}
}

// exchange gives to one journal what it lacks of another's.
func exchange(ctx context.Context, to, from *journal.Journal, giver identity.DeviceID) {
	type chain struct {
		device identity.DeviceID
		no     uint32
	}
	theirs := map[chain]journal.Head{}
	for _, h := range to.Frontier() {
		theirs[chain{h.Device, h.ChainNo}] = h
	}
	for _, h := range from.Frontier() {
		runs, err := from.Runs(h.Device, h.ChainNo, from.After(theirs[chain{h.Device, h.ChainNo}]), envelope.MaxRunBytes)
		if err != nil {
			return
		}
		for _, run := range runs {
			_ = to.AcceptRun(ctx, run, giver) // what is refused is not this test's
		}
	}
}

func (n *node) found(w *world) *session {
	n.t.Helper()
	return n.start(w, func(c membership.Config) (*membership.Project, error) {
		return n.reg.Found(n.t.Context(), c, newRoot(n.t, n.who))
	})
}

// join has a node come to a project through an invite of somebody who is there.
func (n *node) join(host *session, role governance.Role) *session {
	n.t.Helper()
	return n.start(host.world, n.joiner(host, role))
}

// adoptOnly has it come without opening the content.
func (n *node) adoptOnly(host *session) *session {
	n.t.Helper()
	return n.startGovernance(host.world, n.joiner(host, governance.Editor))
}

func (n *node) joiner(host *session, role governance.Role) starter {
	n.t.Helper()
	text, err := host.project.CreateInvite(n.t.Context(), membership.InviteOptions{Role: role})
	if err != nil {
		n.t.Fatal(err)
	}
	return func(c membership.Config) (*membership.Project, error) {
		code, err := invite.Parse(text)
		if err != nil {
			return nil, err
		}
		w, err := n.reg.Redeem(n.t.Context(), code, nil)
		if err != nil {
			return nil, err
		}
		return n.reg.Adopt(n.t.Context(), c, code, w)
	}
}

func (n *node) connect(other *node) {
	n.t.Helper()
	_, err := n.host.Dial(n.t.Context(), p2p.Target{Device: other.who.dev.ID, Peer: other.who.dev.Peer, Addrs: other.host.Addrs()})
	if err != nil {
		n.t.Fatalf("%s dials %s: %v", n.who.name, other.who.name, err)
	}
}

// doc opens a document whose edits go to the outbox.
func (s *session) doc(name string) *journal.Replica {
	s.n.t.Helper()
	r, err := s.journal.Doc(name)
	if err != nil {
		s.n.t.Fatal(err)
	}
	return r
}

// insert edits the document's body at the front.
func (s *session) insert(name, text string) {
	s.n.t.Helper()
	r := s.doc(name)
	doc := r.CRDT()
	var own [][]byte
	stop := doc.OnUpdate(func(u []byte, o crdt.Origin) {
		if o.Local {
			own = append(own, u)
		}
	})
	err := r.Update(func(tx *crdt.Txn) error { return doc.Text("body").Insert(tx, 0, text) })
	stop()
	if err != nil {
		s.n.t.Fatal(err)
	}
	for _, u := range own {
		s.Edited(r.ID, u)
	}
}

func (s *session) text(name string) (text string) {
	s.n.t.Helper()
	doc := s.doc(name).CRDT()
	_ = doc.View(func(tx *crdt.ReadTxn) error { text = doc.Text("body").String(tx); return nil })
	return text
}

// await waits until all read the same non-empty text.
func await(t testing.TB, name, want string, all ...*session) {
	t.Helper()
	for _, s := range all {
		eventually(t, s.n.who.name+" reads "+want[:min(len(want), 40)], func() bool { return s.text(name) == want })
	}
}

// settle waits until all are connected, introduced to each other and of one state, and then ends their rounds: what
// comes from now on comes by gossip.
func settle(t testing.TB, all ...*session) {
	t.Helper()
	for _, s := range all {
		if _, err := s.journal.Introduce(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.gap()
	}
	for _, s := range all {
		for _, other := range all {
			eventually(t, s.n.who.name+" knows "+other.n.who.name, func() bool {
				s.gap() // until those in between know it too
				return s.live(other.n.who.dev.ID) && s.journal.HeldTo(other.n.who.dev.ID, 0) > 0
			})
		}
	}
	for _, s := range all {
		s.deaf.Store(true)
	}
	for _, s := range all { // one that had begun is to end
		s.round.Lock()
		_ = s.deaf.Load()
		s.round.Unlock()
	}
	for _, s := range all {
		for _, other := range all {
			if s.n.connected(other.n) {
				eventually(t, s.n.who.name+" knows that "+other.n.who.name+" is subscribed", func() bool {
					return s.n.subscribed(s.name, other.n)
				})
			}
		}
	}
}

func (n *node) connected(other *node) bool {
	return slices.ContainsFunc(n.host.Connected(), func(p p2p.Peer) bool {
		return p.Device == other.who.dev.ID && p.Class == p2p.Member
	})
}

// subscribed reports whether the router knows that another node is subscribed to a topic.
func (n *node) subscribed(topic string, other *node) bool {
	return slices.Contains(n.gossip.ps.ListPeers(topic), other.who.peer())
}

// present returns the JSON states that others show in a document.
func (s *session) present(doc docID) (out []string) {
	for _, st := range s.Presence(doc) {
		out = append(out, string(st.JSON))
	}
	slices.Sort(out)
	return out
}

// asked says how often the topic has asked for a round.
func (s *session) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}
