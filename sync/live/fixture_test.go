package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

var testTime = time.Unix(1_800_000_000, 0)

// person is somebody with one device, made of fixed seeds.
type person struct {
	name string
	id   *identity.IdentityCert
	keys *identity.DeviceKeys
	dev  *identity.DeviceCert
}

var people sync.Map // name -> *person, as making keys takes time

func newPerson(t testing.TB, name string) *person {
	t.Helper()
	if p, ok := people.Load(name); ok {
		return p.(*person)
	}
	seed := func(n byte) identity.Seed {
		return identity.Seed(bytes.Repeat(append([]byte(name + "               ")[:15], n), 2))
	}
	ik := identity.NewIdentityKey(seed(1))
	p := &person{name: name, keys: devicekeys.Of(seed(2))}
	var err error
	if p.id, err = identity.NewIdentityCert(ik, name, wire.ID{9}, testTime); err != nil {
		t.Fatal(err)
	}
	if p.dev, err = identity.NewDeviceCert(ik, p.id.Member(), p.keys, 30); err != nil {
		t.Fatal(err)
	}
	people.Store(name, p)
	return p
}

func (p *person) peer() peer.ID { return peer.ID(identity.PeerIDBytes(p.dev.Peer)) }

func newRoot(t testing.TB, founder *person) *genesis.Root {
	t.Helper()
	root, err := genesis.Found(t.Context(), rand.Reader, testTime, genesis.Founding{
		Title: "Film", Policy: genesis.DefaultPolicy(), Identity: founder.id, Device: founder.dev,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// team is a project whose governance events are real and known to everybody from the start, unless a test says
// otherwise; there is no network.
type team struct {
	t      testing.TB
	root   *genesis.Root
	ada    *person // founder, manager
	events [][]byte
	keys   map[governance.EpochID][32]byte
}

// newTeam founds a project, makes its first key and lets others in as editors.
func newTeam(t testing.TB, others ...*person) *team {
	t.Helper()
	w := &team{t: t, ada: newPerson(t, "Ada"), keys: map[governance.EpochID][32]byte{}}
	w.root = newRoot(t, w.ada)
	g := w.view(w.ada)
	var to []epoch.Recipient
	for _, d := range g.State().Devices() {
		to = append(to, epoch.Recipient{Device: d.ID, KEM: d.Cert.KEM})
	}
	m, err := epoch.Mint(rand.Reader, g.ID(), w.ada.dev.ID, g.log.NextAseq(w.ada.dev.ID), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.keys[m.ID] = m.Key
	w.add(governance.KindKeyEpoch, &m.Object)
	w.admit(governance.Editor, others...)
	return w
}

func (w *team) admit(role governance.Role, people ...*person) {
	w.t.Helper()
	for _, p := range people {
		w.add(governance.KindAdmit, &governance.Admit{Role: role, Identity: p.id.Raw, Device: p.dev.Raw})
	}
}

// add makes an event of Ada's that everybody knows who is seated later.
func (w *team) add(kind governance.Kind, body any) []byte {
	w.t.Helper()
	return w.addBy(w.ada, kind, body)
}

func (w *team) addBy(p *person, kind governance.Kind, body any) []byte {
	w.t.Helper()
	g := w.view(w.ada)
	raw, _, err := g.log.Propose(governance.Author{Keys: p.keys, Device: p.dev.ID}, kind, body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.events = append(w.events, raw)
	return raw
}

// gov is one device's view of governance: what a topic and a journal ask of membership.
type gov struct {
	team   *team
	person *person

	mu    sync.Mutex
	log   *governance.Log
	blind bool // no key has arrived
}

func (w *team) view(p *person) *gov {
	w.t.Helper()
	g := &gov{team: w, person: p, log: governance.NewLog(w.root)}
	for _, raw := range w.events {
		g.learn(raw)
	}
	return g
}

func (g *gov) learn(raw []byte) {
	g.team.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.log.Add(raw); err != nil {
		g.team.t.Fatal(err)
	}
}

func (g *gov) ID() genesis.ProjectID { return g.team.root.Project }

func (g *gov) View(fn func(*governance.Log)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn(g.log)
}

func (g *gov) State() (s *governance.State) {
	g.View(func(l *governance.Log) { s = l.State() })
	return s
}

func (g *gov) Heads() []governance.EventID { return g.State().Heads() }

func (g *gov) Knows(heads []governance.EventID) (known bool) {
	g.View(func(l *governance.Log) {
		known = !slices.ContainsFunc(heads, func(h governance.EventID) bool { return !l.Has(h) })
	})
	return known
}

func (g *gov) EpochKey(id governance.EpochID) ([32]byte, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key, ok := g.team.keys[id]
	return key, ok && !g.blind
}

func (g *gov) SendingEpoch() (governance.EpochID, [32]byte, bool) {
	e, ok := g.State().SendingEpoch()
	if !ok {
		return governance.EpochID{}, [32]byte{}, false
	}
	key, ok := g.EpochKey(e.ID)
	return e.ID, key, ok
}

func (g *gov) setBlind(blind bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blind = blind
}

func (g *gov) OpenChain(context.Context) (uint32, error) { panic("no test here needs a second chain") }

// seat is somebody's topic without a router: what it would receive is handed to it.
type seat struct {
	*Topic
	t   testing.TB
	gov *gov

	mu       sync.Mutex
	at       time.Time
	gaps     int
	own      []*envelope.Envelope
	received []Message
}

func (w *team) seat(p *person) *seat { return w.seatAt(w.view(p)) }

func (w *team) seatAt(g *gov) *seat {
	w.t.Helper()
	s := &seat{t: w.t, gov: g, at: testTime}
	st, err := store.Open("", store.Options{Memory: true})
	if err != nil {
		w.t.Fatal(err)
	}
	j, err := journal.Open(w.t.Context(), journal.Config{
		Store: st, Governance: g, Random: rand.Reader, Now: s.now,
		Self: journal.Self{Identity: g.person.id.ID, Device: g.person.dev.ID, Keys: g.person.keys},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := j.Close(); err != nil {
			w.t.Error(err)
		}
		if err := st.Close(); err != nil {
			w.t.Error(err)
		}
	})
	s.Topic = newTopic(&Gossip{self: g.person.peer()}, Config{
		Project: g, Journal: j, Keys: g.person.keys, Identity: g.person.id, Device: g.person.dev,
		Random: rand.Reader, Now: s.now, Logger: slog.New(slog.DiscardHandler),
		OnGap:     func() { s.mu.Lock(); defer s.mu.Unlock(); s.gaps++ },
		OnMessage: func(m Message) { s.mu.Lock(); defer s.mu.Unlock(); s.received = append(s.received, m) },
		OnError:   func(err error) { w.t.Error(err) },
	})
	j.OnOwn(func(e *envelope.Envelope) { s.mu.Lock(); defer s.mu.Unlock(); s.own = append(s.own, e) })
	return s
}

func (s *seat) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *seat) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

func (s *seat) gapsAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.gaps = 0 }()
	return s.gaps
}

// write makes envelopes of edits: the session's introduction before the first.
func (s *seat) write(texts ...string) []*envelope.Envelope {
	s.t.Helper()
	r, err := s.cfg.Journal.Doc("script")
	if err != nil {
		s.t.Fatal(err)
	}
	var out []*envelope.Envelope
	for _, text := range texts {
		if err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, text) }); err != nil {
			s.t.Fatal(err)
		}
		made, err := s.cfg.Journal.Append(s.t.Context(), r.ID, [][]byte{{0}})
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, made...)
	}
	return out
}

func (s *seat) text() (text string) {
	s.t.Helper()
	r, err := s.cfg.Journal.Doc("script")
	if err != nil {
		s.t.Fatal(err)
	}
	doc := r.CRDT()
	_ = doc.View(func(tx *crdt.ReadTxn) error { text = doc.Text("body").String(tx); return nil })
	return text
}

// carried is the gossip message that carries an own envelope.
func (s *seat) carried(e *envelope.Envelope) []byte {
	m := message{Kind: kindEnvelope, Record: e.Raw}
	if e.Kind == envelope.KindIntroduction {
		m = message{Kind: kindIntroduction, Record: e.Raw, Identity: s.cfg.Identity.Raw, Device: s.cfg.Device.Raw}
	}
	return wire.Marshal(m)
}

// ephemeral makes a record after the chain's newest envelope.
func (s *seat) ephemeral(kind envelope.EphemeralKind, n uint64, payload []byte) *envelope.Ephemeral {
	s.t.Helper()
	chain, _ := s.cfg.Journal.Chain()
	id, key, ok := s.gov.SendingEpoch()
	if !ok {
		s.t.Fatal("no key")
	}
	e, err := envelope.SealEphemeral(rand.Reader, s.cfg.Keys.DK, envelope.EphemeralDraft{
		Kind: kind, Chain: chain, N: n, GovHeads: s.heads(), Epoch: id, Payload: payload,
		Key: epoch.ContentKey(key, id, chain.Device, chain.ChainNo, docID{}),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *seat) presenceRecord(n uint64, doc docID, state string) *envelope.Ephemeral {
	s.t.Helper()
	return s.ephemeral(envelope.Presence, n, wire.Marshal(presencePayload{Doc: doc, State: []byte(state)}))
}

func carriedEphemeral(e *envelope.Ephemeral) []byte {
	return wire.Marshal(message{Kind: kindEphemeral, Record: e.Raw})
}

// hand gives a message to the topic as its router would, and returns the validator's answer.
func (s *seat) hand(from *seat, data []byte) string {
	s.t.Helper()
	c, result := s.check(from.gov.person.peer(), data)
	if result == accepted {
		s.take(s.t.Context(), c)
	}
	return verdicts[result]
}

var verdicts = map[any]string{accepted: "accepted", ignored: "ignored", rejected: "rejected"}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func checkLeaks(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// governanceRevoke is the removal of somebody, with a new key for those who stay.
func governanceRevoke(t testing.TB, g *gov, who *person) (governance.Kind, any) {
	t.Helper()
	var to []epoch.Recipient
	for _, d := range g.State().Devices() {
		if d.Member != who.id.Member() {
			to = append(to, epoch.Recipient{Device: d.ID, KEM: d.Cert.KEM})
		}
	}
	w := g.team
	m, err := epoch.Mint(rand.Reader, g.ID(), w.ada.dev.ID, w.view(w.ada).log.NextAseq(w.ada.dev.ID), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.keys[m.ID] = m.Key
	return governance.KindRevoke, &governance.Revoke{Member: who.id.Member(), Reason: "test", Epoch: &m.Object}
}
