package assets

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"math"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
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
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is one device with its registry, transport and exchange of blocks.
type node struct {
	t      testing.TB
	name   string
	self   membership.Self
	reg    *membership.Registry
	host   *p2p.Host
	server *Server
	close  func()
}

// room is a project on a device.
type room struct {
	*node
	st *store.Store
	p  *membership.Project
	j  *journal.Journal
	a  *Assets
}

// setup changes how a node is made.
type setup struct {
	Options
	as func(*Server) library // nil: the server itself
}

var people sync.Map // name -> membership.Self, as making keys takes time

func selfOf(t testing.TB, name string) membership.Self {
	t.Helper()
	if s, ok := people.Load(name); ok {
		return s.(membership.Self)
	}
	seed := func(n byte) identity.Seed {
		return identity.Seed(bytes.Repeat(append([]byte(name + "        ")[:15], n), 2))
	}
	ik := identity.NewIdentityKey(seed(1))
	id, err := identity.NewIdentityCert(ik, name, wire.ID{1}, time.Unix(1_800_000_000, 0))
	must(t, err)
	keys := devicekeys.Of(seed(2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, 30)
	must(t, err)
	s := membership.Self{Identity: id, Device: device, Keys: keys}
	people.Store(name, s)
	return s
}

// newNode starts a node on the loopback.
func newNode(t testing.TB, name string, with ...setup) *node {
	t.Helper()
	n := &node{t: t, name: name, self: selfOf(t, name)}
	n.reg = membership.NewRegistry(membership.RegistryConfig{Self: n.self})
	var err error
	n.host, err = p2p.New(context.Background(), p2p.Config{
		Device: n.self.Keys, Cert: n.self.Device, Roster: n.reg, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	must(t, err)
	n.reg.Attach(n.host)
	var s setup
	if len(with) > 0 {
		s = with[0]
	}
	if s.as == nil {
		s.as = func(s *Server) library { return s }
	}
	n.server = newServer(n.host, s.Options, s.as)
	must(t, n.host.Start())
	n.close = sync.OnceFunc(func() {
		for _, fn := range []func() error{n.server.Close, n.host.Close, n.reg.Close} {
			if err := fn(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
		}
	})
	t.Cleanup(n.close)
	return n
}

func (n *node) device() identity.DeviceID { return n.self.Device.ID }

// furnish opens content and files of a project.
func (n *node) furnish(st *store.Store, p *membership.Project) *room {
	n.t.Helper()
	r := &room{node: n, st: st, p: p}
	var err error
	r.j, err = journal.Open(context.Background(), journal.Config{
		Store: st, Governance: p, Random: rand.Reader,
		Self: journal.Self{Identity: n.self.Identity.ID, Device: n.device(), Keys: n.self.Keys},
	})
	must(n.t, err)
	p.OnChange(func(membership.Change) { r.j.Changed() })
	n.t.Cleanup(func() {
		for _, fn := range []func() error{r.j.Close, p.Close} {
			if err := fn(); err != nil {
				n.t.Errorf("%s: close: %v", n.name, err)
			}
		}
	})
	r.open()
	return r
}

// open joins the project's files, again if they were closed.
func (r *room) open() {
	r.t.Helper()
	var err error
	r.a, err = r.server.Join(context.Background(), Config{
		Project: r.p.ID(), State: r.p.State, Journal: r.j, Store: r.st, Device: r.device(),
	})
	must(r.t, err)
	a := r.a
	r.t.Cleanup(func() {
		if err := a.Close(); err != nil {
			r.t.Errorf("%s: close: %v", r.name, err)
		}
	})
}

func (n *node) newStore() *store.Store {
	n.t.Helper()
	st, err := store.Open("", store.Options{Memory: true})
	must(n.t, err)
	n.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			n.t.Errorf("%s: close the store: %v", n.name, err)
		}
	})
	return st
}

// found makes a project.
func (n *node) found() *room {
	n.t.Helper()
	st := n.newStore()
	p, err := n.reg.Found(n.t.Context(), membership.Config{Store: st}, newRoot(n.t, n.self))
	must(n.t, err)
	return n.furnish(st, p)
}

// join lets a node into the room's project as an editor, and connects the two.
func (r *room) join(n *node) *room {
	n.t.Helper()
	return r.joinAs(n, governance.Editor)
}

func (r *room) joinAs(n *node, role governance.Role) *room {
	n.t.Helper()
	text, err := r.p.CreateInvite(n.t.Context(), membership.InviteOptions{Role: role})
	must(n.t, err)
	code, err := invite.Parse(text)
	must(n.t, err)
	w, err := n.reg.Redeem(n.t.Context(), code, nil)
	must(n.t, err)
	st := n.newStore()
	p, err := n.reg.Adopt(n.t.Context(), membership.Config{Store: st}, code, w)
	must(n.t, err)
	n.linked(r.node)
	return n.furnish(st, p)
}

func newRoot(t testing.TB, founder membership.Self) *genesis.Root {
	t.Helper()
	root, err := genesis.Found(context.Background(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: founder.Identity, Device: founder.Device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	must(t, err)
	return root
}

// connect makes n dial another node as a member.
func (n *node) connect(other *node) {
	n.t.Helper()
	_, err := n.host.Dial(n.t.Context(), p2p.Target{
		Device: other.device(), Peer: other.self.Device.Peer, Addrs: other.host.Addrs(),
	})
	must(n.t, err)
	n.linked(other)
}

// linked waits until both ends see their connection.
func (n *node) linked(other *node) {
	n.t.Helper()
	sees := func(a, b *node) bool {
		return slices.ContainsFunc(a.host.Connected(), func(p p2p.Peer) bool { return p.Device == b.device() && p.Class == p2p.Member })
	}
	eventually(n.t, n.name+" and "+other.name+" are connected", func() bool { return sees(n, other) && sees(other, n) })
}

// meet connects two and brings governance on both sides up to date.
func (r *room) meet(other *room) {
	r.t.Helper()
	r.connect(other.node)
	must(r.t, r.p.Pull(r.t.Context(), other.device()))
}

// learn takes the envelopes that another holds, as anti-entropy does.
func (r *room) learn(from *room) {
	r.t.Helper()
	must(r.t, from.j.WaitSaved(r.t.Context()))
	for _, h := range from.j.Frontier() {
		runs, err := from.j.Runs(h.Device, h.ChainNo, r.j.HeldTo(h.Device, h.ChainNo), math.MaxInt)
		must(r.t, err)
		for _, run := range runs {
			must(r.t, r.j.AcceptRun(r.t.Context(), run, from.device()))
		}
	}
	must(r.t, r.j.Settled(r.t.Context()))
	r.a.refresh()
}

// trio is one project on three devices that are all connected; the first is the founder's.
func trio(t testing.TB, with [3]setup) (x, y, z *room) {
	t.Helper()
	anna, berta, carl := newNode(t, "anna", with[0]), newNode(t, "berta", with[1]), newNode(t, "carl", with[2])
	x = anna.found()
	y = x.join(berta)
	z = x.join(carl)
	must(t, y.p.Pull(t.Context(), anna.device()))
	z.meet(y)
	return x, y, z
}

// pair is one project on two devices.
func pair(t testing.TB, first, second setup) (x, y *room) {
	t.Helper()
	x = newNode(t, "anna", first).found()
	return x, x.join(newNode(t, "berta", second))
}

// noise returns bytes that do not repeat, the same for one seed.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	out := make([]byte, size)
	_, _ = mrand.NewChaCha8(key).Read(out)
	return out
}

// add adds a file.
func (r *room) add(path string, content []byte) Info {
	r.t.Helper()
	i, err := r.a.Add(r.t.Context(), path, bytes.NewReader(content))
	must(r.t, err)
	return i
}

// reads opens a file and compares all of it.
func (r *room) reads(path string, want []byte) {
	r.t.Helper()
	f, err := r.a.Open(r.t.Context(), path)
	must(r.t, err)
	defer f.Close()
	got, err := io.ReadAll(f)
	must(r.t, err)
	if !bytes.Equal(got, want) {
		r.t.Errorf("%s: %s differs", r.name, path)
	}
}

// local waits until all of a file is here.
func (r *room) local(path string) {
	r.t.Helper()
	eventually(r.t, path+" is on the device of "+r.name, func() bool {
		i, err := r.a.Stat(path)
		return err == nil && i.Local
	})
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(60 * time.Second)
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spy is a node's library with hooks before it; nil ones are left out.
type spy struct {
	library
	onRead    func(ctx context.Context, h hash, raw []byte) ([]byte, error) // before a block is served
	onAsked   func(p peer.ID, h hash)                                       // a peer wants a block, or is about to get it
	onArrived func(p peer.ID, b block)
	onLacks   func(p peer.ID, h hash)
}

// spied sets a node up with a spy, whose hooks are set before the node connects.
func spied(s *spy) setup {
	return setup{as: func(server *Server) library { s.library = server; return s }}
}

func (s *spy) read(ctx context.Context, h hash) ([]byte, error) {
	raw, err := s.library.read(ctx, h)
	if err != nil || s.onRead == nil {
		return raw, err
	}
	return s.onRead(ctx, h, raw)
}

func (s *spy) mayServe(p peer.ID, h hash) bool {
	if s.onAsked != nil {
		s.onAsked(p, h)
	}
	return s.library.mayServe(p, h)
}

func (s *spy) arrived(p peer.ID, b block) {
	if s.onArrived != nil {
		s.onArrived(p, b)
	}
	s.library.arrived(p, b)
}

func (s *spy) lacks(p peer.ID, h hash) {
	if s.onLacks != nil {
		s.onLacks(p, h)
	}
	s.library.lacks(p, h)
}

// hashes is a list that several goroutines write to.
type hashes struct {
	mu   sync.Mutex
	list []hash
}

func (l *hashes) add(h hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, h)
}

func (l *hashes) all() []hash {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// distinct returns how many different ones there are.
func (l *hashes) distinct() int {
	seen := map[hash]bool{}
	for _, h := range l.all() {
		seen[h] = true
	}
	return len(seen)
}

func (l *hashes) has(h hash) bool { return slices.Contains(l.all(), h) }

// peer is a node's transport identity.
func (n *node) peer() peer.ID { return peer.ID(identity.PeerIDBytes(n.self.Device.Peer)) }

// content returns what is known of a file.
func (r *room) content(path string) *asset {
	r.t.Helper()
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	f := r.a.files[path]
	if f == nil {
		r.t.Fatalf("%s: no %s", r.name, path)
	}
	return f.asset
}
