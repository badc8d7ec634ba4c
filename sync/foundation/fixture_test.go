package foundation

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
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

// node is one device with its registry, transport and tier 2.
type node struct {
	t      testing.TB
	name   string
	self   membership.Self
	reg    *membership.Registry
	host   *p2p.Host
	server *Server
}

// room is a project on a device.
type room struct {
	*node
	p    *membership.Project
	j    *journal.Journal
	f    *Foundation
	pull func(context.Context, identity.DeviceID) error
	st   *store.Store
}

var people sync.Map // name -> membership.Self, as making keys takes time

func seedOf(name string, n byte) identity.Seed {
	return identity.Seed(bytes.Repeat(append([]byte(name + "        ")[:15], n), 2))
}

func selfOf(t testing.TB, name string) membership.Self {
	t.Helper()
	if s, ok := people.Load(name); ok {
		return s.(membership.Self)
	}
	ik := identity.NewIdentityKey(seedOf(name, 1))
	id, err := identity.NewIdentityCert(ik, name, wire.ID{1}, time.Unix(1_800_000_000, 0))
	must(t, err)
	keys := devicekeys.Of(seedOf(name, 2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, 30)
	must(t, err)
	s := membership.Self{Identity: id, Device: device, Keys: keys}
	people.Store(name, s)
	return s
}

// newNode starts a node on the loopback; without a server of tier 2 if serve registers other handlers instead.
func newNode(t testing.TB, name string, serve ...func(*p2p.Host)) *node {
	t.Helper()
	n := &node{t: t, name: name, self: selfOf(t, name)}
	n.reg = membership.NewRegistry(membership.RegistryConfig{Self: n.self})
	var err error
	n.host, err = p2p.New(context.Background(), p2p.Config{
		Device: n.self.Keys, Cert: n.self.Device, Roster: n.reg, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	must(t, err)
	n.reg.Attach(n.host)
	if n.server = newServer(n.host, nil); len(serve) == 0 {
		n.server = NewServer(n.host, nil)
	}
	for _, fn := range serve {
		fn(n.host)
	}
	must(t, n.host.Start())
	t.Cleanup(func() {
		if err := n.host.Close(); err != nil {
			t.Errorf("%s: close the host: %v", name, err)
		}
		if err := n.reg.Close(); err != nil {
			t.Errorf("%s: close the registry: %v", name, err)
		}
	})
	return n
}

func (n *node) device() identity.DeviceID { return n.self.Device.ID }

// furnish opens content and tier 2 of a project.
func (n *node) furnish(st *store.Store, p *membership.Project) *room {
	n.t.Helper()
	r := &room{node: n, p: p, pull: p.Pull, st: st}
	r.open()
	p.OnChange(func(membership.Change) { r.j.Changed() })
	r.f = n.server.Join(Config{Project: p.ID(), State: p.State, Journal: r.j, Pull: func(ctx context.Context, d identity.DeviceID) error {
		return r.pull(ctx, d)
	}})
	n.t.Cleanup(func() {
		r.f.Close()
		if err := r.j.Close(); err != nil {
			n.t.Errorf("%s: close the journal: %v", n.name, err)
		}
		if err := p.Close(); err != nil {
			n.t.Errorf("%s: close the project: %v", n.name, err)
		}
	})
	return r
}

func (r *room) open() {
	r.t.Helper()
	var err error
	r.j, err = journal.Open(context.Background(), journal.Config{
		Store: r.st, Governance: r.p, Random: rand.Reader,
		Self: journal.Self{Identity: r.self.Identity.ID, Device: r.device(), Keys: r.self.Keys},
	})
	must(r.t, err)
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

// join lets a node into the room's project as an editor. It holds governance afterwards, and no content.
func (r *room) join(n *node) *room {
	n.t.Helper()
	text, err := r.p.CreateInvite(n.t.Context(), membership.InviteOptions{})
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
	eventually(n.t, n.name+" and "+other.name+" are connected", func() bool { return n.sees(other) && other.sees(n) })
}

// sees reports whether n has a connection to another node's device as a member.
func (n *node) sees(other *node) bool {
	return slices.ContainsFunc(n.host.Connected(), func(p p2p.Peer) bool { return p.Device == other.device() && p.Class == p2p.Member })
}

// apart ends the connection to another node.
func (n *node) apart(other *room) {
	n.t.Helper()
	n.host.Disconnect(other.device())
	eventually(n.t, n.name+" and "+other.name+" are apart", func() bool { return !n.sees(other.node) && !other.sees(n) })
}

// meet brings governance on both sides up to date.
func (r *room) meet(other *room) {
	r.t.Helper()
	r.connect(other.node)
	must(r.t, r.p.Pull(r.t.Context(), other.device()))
}

// write adds text to a document, as one envelope after the session's first, and waits until it is signed and durable.
func (r *room) write(name, text string) {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	must(r.t, doc.Update(func(tx *crdt.Txn) error {
		body := doc.CRDT().Text("body")
		return body.Insert(tx, body.Len(tx), text)
	}))
	_, err = r.j.Append(r.t.Context(), doc.ID, nil)
	must(r.t, err)
	eventually(r.t, "the edit is signed", func() bool { return r.j.Held() == 0 })
	must(r.t, r.j.WaitSaved(r.t.Context()))
}

// text reads a document once everything that was accepted is applied.
func (r *room) text(name string) (s string) {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	must(r.t, r.j.Settled(r.t.Context()))
	d := doc.CRDT()
	must(r.t, d.View(func(tx *crdt.ReadTxn) error { s = d.Text("body").String(tx); return nil }))
	return s
}

func (r *room) unverified(name string) bool {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	return doc.Unverified()
}

// equal fails the test unless all hold and show the same.
func equal(t testing.TB, docs []string, rooms ...*room) {
	t.Helper()
	for _, r := range rooms[1:] {
		if !slices.Equal(r.j.Frontier(), rooms[0].j.Frontier()) {
			t.Errorf("%s holds %v, %s %v", r.name, r.j.Frontier(), rooms[0].name, rooms[0].j.Frontier())
		}
		for _, name := range docs {
			if got, want := r.text(name), rooms[0].text(name); got != want {
				t.Errorf("%s shows %q, %s %q", r.name, got, rooms[0].name, want)
			}
		}
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
