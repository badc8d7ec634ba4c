package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/sign"
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
)

var testTime = time.Unix(1_800_000_000, 0)

// person is somebody with one device, made of fixed seeds.
type person struct {
	name string
	ik   *sign.PrivateKey
	id   *identity.IdentityCert
	keys *identity.DeviceKeys
	dev  *identity.DeviceCert
}

func newPerson(t testing.TB, name string) *person {
	t.Helper()
	return newPersonOf(t, name, wire.ID{9})
}

// newPersonWithKit makes somebody who has written the revocation kit of their identity.
func newPersonWithKit(t testing.TB, name string) (*person, kit) {
	t.Helper()
	key, err := identity.NewRevocationKey(personSeed(3, name))
	if err != nil {
		t.Fatal(err)
	}
	p := newPersonOf(t, name, identity.RevocationCommit(key.Public()))
	record, err := governance.NewSelfRevoke(key, p.id.Member(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, kit{p.id.Member(), record.Raw}
}

func personSeed(n byte, name string) identity.Seed {
	return identity.Seed(append(bytes.Repeat([]byte{n}, 31), name[0]))
}

func newPersonOf(t testing.TB, name string, revocation wire.ID) *person {
	t.Helper()
	seed := func(n byte) identity.Seed { return personSeed(n, name) }
	p := &person{name: name, ik: identity.NewIdentityKey(seed(1)), keys: devicekeys.Of(seed(2))}
	var err error
	if p.id, err = identity.NewIdentityCert(p.ik, name, revocation, testTime); err != nil {
		t.Fatal(err)
	}
	if p.dev, err = identity.NewDeviceCert(p.ik, p.id.Member(), p.keys, 30); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *person) author() governance.Author {
	return governance.Author{Keys: p.keys, Device: p.dev.ID}
}

// kit is the end of somebody's identity, signed already.
type kit struct {
	of     identity.MemberID
	record []byte
}

// team is a project with its people. Governance events are real; who holds which of them is up to the test.
type team struct {
	t      testing.TB
	root   *genesis.Root
	ada    *person // founder, manager
	events [][]byte
	ring   sync.Mutex
	keys   map[governance.EpochID][32]byte // what epoch boxes would have brought
}

// newTeam founds a project with its first key epoch.
func newTeam(t testing.TB) *team {
	t.Helper()
	w := &team{t: t, ada: newPerson(t, "Ada"), keys: map[governance.EpochID][32]byte{}}
	a, b := custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())
	var err error
	w.root, err = genesis.Found(t.Context(), rand.Reader, testTime, genesis.Founding{
		Title: "Film", Policy: genesis.DefaultPolicy(), Identity: w.ada.id, Device: w.ada.dev,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{a, b}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// gov is one device's view of governance.
type gov struct {
	team   *team
	person *person

	mu      sync.Mutex
	log     *governance.Log
	blind   map[governance.EpochID]bool // epochs whose key has not arrived
	changed []func()
	peers   []*gov // who gets own events at once
	acting  sync.Mutex
}

func (w *team) gov(p *person) *gov {
	g := &gov{team: w, person: p, log: governance.NewLog(w.root), blind: map[governance.EpochID]bool{}}
	for _, raw := range w.events {
		g.learn(raw)
	}
	return g
}

// govOf returns a view that has the same events as another.
func (w *team) govOf(old *gov) *gov {
	g := &gov{team: w, person: old.person, log: governance.NewLog(w.root), blind: old.blind}
	for e := range old.log.All() {
		g.learn(e.Raw)
	}
	return g
}

// learn takes an event in.
func (g *gov) learn(raw []byte) {
	g.team.t.Helper()
	g.mu.Lock()
	if _, err := g.log.Add(raw); err != nil {
		g.team.t.Fatal(err)
	}
	fns := slices.Clone(g.changed)
	g.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

// propose makes an event on this device's heads and takes it in.
func (g *gov) propose(kind governance.Kind, body any) []byte {
	g.team.t.Helper()
	g.mu.Lock()
	raw, _, err := g.log.Propose(g.person.author(), kind, body)
	g.mu.Unlock()
	if err != nil {
		g.team.t.Fatal(err)
	}
	g.learn(raw)
	for _, p := range g.peers {
		p.learn(raw)
	}
	return raw
}

// mint makes a key for the live devices without one member, as the next event of this device.
func (g *gov) mint(without identity.MemberID) *governance.KeyEpoch {
	g.team.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	var to []epoch.Recipient
	for _, d := range g.log.State().Devices() {
		if d.Member != without {
			to = append(to, epoch.Recipient{Device: d.ID, KEM: d.Cert.KEM})
		}
	}
	m, err := epoch.Mint(rand.Reader, g.ID(), g.person.dev.ID, g.log.NextAseq(g.person.dev.ID), to, nil)
	if err != nil {
		g.team.t.Fatal(err)
	}
	g.team.ring.Lock()
	defer g.team.ring.Unlock()
	g.team.keys[m.ID] = m.Key
	return &m.Object
}

func (g *gov) ID() genesis.ProjectID { return g.team.root.Project }

func (g *gov) View(fn func(*governance.Log)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn(g.log)
}

func (g *gov) EpochKey(id governance.EpochID) ([32]byte, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.team.ring.Lock()
	defer g.team.ring.Unlock()
	key, ok := g.team.keys[id]
	return key, ok && !g.blind[id]
}

// remove takes a member out, with a new key for the others.
func (g *gov) remove(p *person, cuts ...governance.Cut) []byte {
	g.team.t.Helper()
	g.acting.Lock() // the key names the number of the event that carries it
	defer g.acting.Unlock()
	return g.propose(governance.KindRevoke, &governance.Revoke{Member: p.id.Member(), Cuts: cuts, Epoch: g.mint(p.id.Member())})
}

func (g *gov) OpenChain(context.Context) (uint32, error) {
	g.acting.Lock()
	defer g.acting.Unlock()
	g.mu.Lock()
	no := uint32(0)
	for _, c := range g.log.State().Chains() {
		if c.Device == g.person.dev.ID {
			no = max(no, c.No+1)
		}
	}
	g.mu.Unlock()
	g.propose(governance.KindChainOpen, &governance.ChainOpen{ChainNo: no})
	return no, nil
}

// admit makes events that let people in with a role, known to everybody who is opened later.
func (w *team) admit(role governance.Role, people ...*person) {
	w.t.Helper()
	g := w.gov(w.ada)
	for _, p := range people {
		w.events = append(w.events, g.propose(governance.KindAdmit, &governance.Admit{Role: role, Identity: p.id.Raw, Device: p.dev.Raw}))
	}
}

// begin makes the project's first key epoch.
func (w *team) begin() {
	w.t.Helper()
	g := w.gov(w.ada)
	w.events = append(w.events, g.propose(governance.KindKeyEpoch, g.mint(identity.MemberID{})))
}

// node is a journal on somebody's device.
type node struct {
	*Journal
	t      testing.TB
	person *person
	gov    *gov
	path   string
	store  *store.Store

	mu     sync.Mutex
	own    []*envelope.Envelope
	alerts []Alert
	gaps   []Gap
	now    time.Time
	gone   bool
}

var storeKey = [32]byte{1, 2, 3}

// open opens a journal in a new store.
func (w *team) open(p *person) *node {
	w.t.Helper()
	return w.openAt(w.gov(p), filepath.Join(w.t.TempDir(), "project"))
}

func (w *team) openAt(g *gov, path string) *node {
	w.t.Helper()
	n := &node{t: w.t, person: g.person, gov: g, path: path, now: testTime}
	var err error
	if n.store, err = store.Open(path, store.Options{Key: storeKey}); err != nil {
		w.t.Fatal(err)
	}
	n.Journal, err = Open(w.t.Context(), Config{
		Store: n.store, Governance: g, Random: rand.Reader, Now: n.clock,
		Self: Self{Identity: g.person.id.ID, Device: g.person.dev.ID, Keys: g.person.keys},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.OnOwn(func(e *envelope.Envelope) { n.mu.Lock(); defer n.mu.Unlock(); n.own = append(n.own, e) })
	n.OnAlert(func(a Alert) { n.mu.Lock(); defer n.mu.Unlock(); n.alerts = append(n.alerts, a) })
	n.OnGap(func(g Gap) { n.mu.Lock(); defer n.mu.Unlock(); n.gaps = append(n.gaps, g) })
	g.mu.Lock()
	g.changed = []func(){n.Changed}
	g.mu.Unlock()
	w.t.Cleanup(n.shut)
	return n
}

func (n *node) clock() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func (n *node) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = n.now.Add(d)
}

func (n *node) shut() {
	n.t.Helper()
	if n.gone {
		return
	}
	n.gone = true
	if err := n.Journal.Close(); err != nil {
		n.t.Error(err)
	}
	if err := n.store.Close(); err != nil {
		n.t.Error(err)
	}
}

// doc opens a document.
func (n *node) doc(name string) *Replica {
	n.t.Helper()
	r, err := n.Doc(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// edit changes a document and appends what it emits, as the live tier does.
func (n *node) edit(r *Replica, fn func(*crdt.Txn) error) []*envelope.Envelope {
	n.t.Helper()
	if err := r.Update(fn); err != nil {
		n.t.Fatal(err)
	}
	envs, err := n.Append(n.t.Context(), r.ID, r.unsent())
	if err != nil {
		n.t.Fatal(err)
	}
	return envs
}

// write inserts text at the end of the document's body.
func (n *node) write(name, s string) []*envelope.Envelope {
	n.t.Helper()
	r := n.doc(name)
	return n.edit(r, func(tx *crdt.Txn) error {
		body := r.CRDT().Text("body")
		return body.Insert(tx, body.Len(tx), s)
	})
}

// text reads the document's body.
func (n *node) text(name string) (s string) {
	n.t.Helper()
	d := n.doc(name).CRDT()
	_ = d.View(func(tx *crdt.ReadTxn) error { s = d.Text("body").String(tx); return nil })
	return s
}

// take accepts envelopes and fails the test unless all are taken or held already.
func (n *node) take(from *node, envs ...*envelope.Envelope) {
	n.t.Helper()
	for _, e := range envs {
		if v, err := n.Accept(n.t.Context(), e, from.person.dev.ID); v == Refused {
			n.t.Fatalf("%s refuses %d of %s: %v", n.person.name, e.Seq, from.person.name, err)
		}
	}
}

// settle waits until the journal's goroutines have nothing left to do.
func (n *node) settle() {
	n.t.Helper()
	if err := n.Settled(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// published returns the own envelopes that were handed over so far.
func (n *node) published() []*envelope.Envelope {
	n.settle()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.own)
}

func (n *node) alerted(kind AlertKind) []Alert {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Alert
	for _, a := range n.alerts {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

// sync lets two journals exchange what either lacks, as anti-entropy does.
func syncNodes(t testing.TB, a, b *node) {
	t.Helper()
	pull(t, a, b)
	pull(t, b, a)
}

// pull sends to one journal what it lacks of another's.
func pull(t testing.TB, to, from *node) {
	t.Helper()
	theirs := map[chainKey]Head{}
	for _, h := range to.Frontier() {
		theirs[chainKey{h.Device, h.ChainNo}] = h
	}
	for _, h := range from.Contradictions() {
		evidence, err := from.EvidenceOf(h.Device, h.ChainNo)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range evidence {
			_ = to.AcceptRun(t.Context(), raw, from.person.dev.ID)
		}
	}
	for _, h := range from.Frontier() {
		after := from.After(theirs[chainKey{h.Device, h.ChainNo}])
		for {
			run, last, err := from.Run(h.Device, h.ChainNo, after)
			if err != nil {
				t.Fatal(err)
			}
			if run == nil {
				break
			}
			if err := to.AcceptRun(t.Context(), run, from.person.dev.ID); err != nil {
				t.Logf("%s refuses a run of %s: %v", to.person.name, from.person.name, err)
				break
			}
			after = last
		}
	}
}

func contentKey(key [32]byte, e *envelope.Envelope) [32]byte {
	return epoch.ContentKey(key, *e.Epoch, e.Device, e.ChainNo, e.Doc)
}
