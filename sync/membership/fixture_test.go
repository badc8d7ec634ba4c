package membership

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/boxkeys"
)

const loopback = "/ip4/127.0.0.1/tcp/0"

// clock is a wall clock that tests move.
type clock struct {
	mu      sync.Mutex
	stopped time.Time // zero: it runs
	offset  time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped.Add(c.offset)
	}
	return time.Now().Add(c.offset)
}

// stop keeps the clock from going on by itself.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = time.Now()
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// node is one device with its store, registry and transport.
type node struct {
	t      testing.TB
	name   string
	self   Self
	clock  *clock
	st     *store.Store
	vault  keystore.Store
	keys   *boxkeys.Keys
	shape  func(*Config) // what is special about its projects; may be nil
	quorum uint8         // of the project that it founds; 0: the default
	reg    *Registry
	host   *p2p.Host
}

var people sync.Map // name -> Self, as making keys takes time

func seedOf(name string, n byte) identity.Seed {
	return identity.Seed(bytes.Repeat(append([]byte(name + "        ")[:15], n), 2))
}

func selfOf(t testing.TB, name string) Self {
	if s, ok := people.Load(name); ok {
		return s.(Self)
	}
	seed := func(n byte) identity.Seed { return seedOf(name, n) }
	ik := identity.NewIdentityKey(seed(1))
	id, err := identity.NewIdentityCert(ik, name, wire.ID{1}, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	keys := devicekeys.Of(seed(2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	s := Self{Identity: id, Device: device, Keys: keys}
	people.Store(name, s)
	return s
}

// couple starts two nodes in one project: Anna, who has founded it, and Berta, an editor.
func couple(t testing.TB) (anna, berta *node, pa, pb *Project) {
	t.Helper()
	anna, berta = newNode(t, "anna"), newNode(t, "berta")
	pa = anna.found()
	pb = berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	return anna, berta, pa, pb
}

// newNode starts a node; everything of it ends with the test.
func newNode(t testing.TB, name string) *node {
	t.Helper()
	st, err := store.Open("", store.Options{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, name: name, self: selfOf(t, name), clock: &clock{}, st: st, vault: memory.New()}
	t.Cleanup(func() {
		n.stop()
		if err := st.Close(); err != nil {
			t.Errorf("%s: close the store: %v", name, err)
		}
	})
	n.start()
	return n
}

// start brings up registry and transport.
func (n *node) start() {
	n.t.Helper()
	random := rand.Reader
	_, err := n.vault.Get(context.Background(), "kem-first")
	if errors.Is(err, keystore.ErrNotFound) { // a new vault draws what the certificate names
		first := devicekeys.First(seedOf(n.name, 2))
		random = io.MultiReader(bytes.NewReader(first[:]), rand.Reader)
	}
	n.keys, err = boxkeys.Open(context.Background(), boxkeys.Config{
		Vault: n.vault, Random: random, Now: n.clock.now,
		Projects: func() ([]genesis.ProjectID, error) { return Projects(n.st) },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.reg = NewRegistry(RegistryConfig{Self: n.self, BoxKeys: n.keys, Now: n.clock.now})
	n.host, err = p2p.New(context.Background(), p2p.Config{
		Device: n.self.Keys, Cert: n.self.Device, Roster: n.reg, Listen: []string{loopback},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.reg.Attach(n.host)
	if err := n.host.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// stop ends them in the order in which a program does.
func (n *node) stop() {
	n.t.Helper()
	if n.host == nil {
		return
	}
	if err := n.host.Close(); err != nil {
		n.t.Errorf("%s: close the host: %v", n.name, err)
	}
	if err := n.reg.Close(); err != nil {
		n.t.Errorf("%s: close the registry: %v", n.name, err)
	}
	n.keys.Close()
	n.host = nil
}

func (n *node) cfg() Config {
	c := Config{Store: n.st, Checkpoints: CheckpointPolicy{Off: true}}
	if n.shape != nil {
		n.shape(&c)
	}
	return c
}

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newRoot(t testing.TB, founder Self, policy genesis.Policy) *genesis.Root {
	t.Helper()
	root, err := genesis.Found(context.Background(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: policy, Identity: founder.Identity, Device: founder.Device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (n *node) found() *Project {
	n.t.Helper()
	p, err := n.reg.Found(timeout(n.t), n.cfg(), newRoot(n.t, n.self, genesis.DefaultPolicy()))
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func (n *node) reopen(id genesis.ProjectID) *Project {
	n.t.Helper()
	p, err := n.reg.Open(timeout(n.t), n.cfg(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func invited(t testing.TB, p *Project, o InviteOptions) string {
	t.Helper()
	code, err := p.CreateInvite(timeout(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// redeem holds the handshake only.
func (n *node) redeem(text string) (*invite.Code, *invite.Welcome, error) {
	n.t.Helper()
	code, err := invite.Parse(text)
	if err != nil {
		n.t.Fatal(err)
	}
	w, err := n.reg.Redeem(timeout(n.t), code, nil)
	return code, w, err
}

func (n *node) tryJoin(text string) (*Project, error) {
	n.t.Helper()
	code, w, err := n.redeem(text)
	if err != nil {
		return nil, err
	}
	return n.reg.Adopt(timeout(n.t), n.cfg(), code, w)
}

func (n *node) join(text string) *Project {
	n.t.Helper()
	p, err := n.tryJoin(text)
	if err != nil {
		n.t.Fatalf("%s joins: %v", n.name, err)
	}
	return p
}

// connect makes n dial another node as a member.
func (n *node) connect(other *node) {
	n.t.Helper()
	_, err := n.host.Dial(timeout(n.t), p2p.Target{
		Device: other.self.Device.ID, Peer: other.self.Device.Peer, Addrs: other.host.Addrs(),
	})
	if err != nil {
		n.t.Fatalf("%s dials %s: %v", n.name, other.name, err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
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

// converge waits until all hold the same events.
func converge(t testing.TB, projects ...*Project) {
	t.Helper()
	eventually(t, "all hold the same events", func() bool {
		for _, p := range projects[1:] {
			if p.State().Digest() != projects[0].State().Digest() || len(p.Heads()) != len(projects[0].Heads()) {
				return false
			}
		}
		return true
	})
}

// endorse brings events back that count for nothing.
func (p *Project) endorse(t testing.TB, events ...governance.EventID) (ActID, error) {
	return p.ProposeAct(timeout(t), governance.KindEndorse, governance.Endorse{Events: wire.SortIDs(events)}, "")
}

func role(p *Project, s Self) governance.Role { return p.State().Role(s.Identity.Member()) }

func checkLeaks(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}
