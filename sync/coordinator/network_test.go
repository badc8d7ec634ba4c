package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/foundation"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// node is a device with one project, all of it real.
type node struct {
	t       *testing.T
	self    membership.Self
	st      *store.Store
	reg     *membership.Registry
	host    *p2p.Host
	server  *foundation.Server
	p       *membership.Project
	j       *journal.Journal
	f       *foundation.Foundation
	c       *Coordinator
	tasks   *task.Group
	rounds  atomic.Int64
	changes atomic.Int64 // that OnPeer was told
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	seed := func(n byte) identity.Seed { return identity.Seed(bytes.Repeat([]byte{name[0], n}, 16)) }
	ik := identity.NewIdentityKey(seed(1))
	id, err := identity.NewIdentityCert(ik, name, wire.ID{1}, time.Unix(1_800_000_000, 0))
	must(t, err)
	keys := devicekeys.Of(seed(2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, 30)
	must(t, err)
	n := &node{t: t, self: membership.Self{Identity: id, Device: device, Keys: keys}}
	n.st, err = store.Open("", store.Options{Memory: true})
	must(t, err)
	n.reg = membership.NewRegistry(membership.RegistryConfig{Self: n.self})
	n.host, err = p2p.New(context.Background(), p2p.Config{
		Device: keys, Cert: device, Roster: n.reg, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	})
	must(t, err)
	n.reg.Attach(n.host)
	n.server = foundation.NewServer(n.host, nil)
	must(t, n.host.Start())
	return n
}

// open brings up content and the coordinator of a project.
func (n *node) open(p *membership.Project) {
	n.t.Helper()
	n.p = p
	var err error
	n.j, err = journal.Open(context.Background(), journal.Config{
		Store: n.st, Governance: p, Random: rand.Reader,
		Self: journal.Self{Identity: n.self.Identity.ID, Device: n.self.Device.ID, Keys: n.self.Keys},
	})
	must(n.t, err)
	n.f = n.server.Join(foundation.Config{Project: p.ID(), State: p.State, Journal: n.j, Pull: p.Pull})
	n.c = New(Config{
		Host: n.host, Self: n.self.Device.ID, State: p.State, Addresses: p.Addresses,
		Rounds: []Round{{"events", p.Pull}, {"content", func(ctx context.Context, d identity.DeviceID) error {
			n.rounds.Add(1)
			return n.f.Sync(ctx, d)
		}}},
		Brought: n.f.Brought,
		OnPeer:  func(identity.DeviceID, bool) { n.changes.Add(1) },
	})
	n.j.OnGap(func(journal.Gap) { n.c.Gap() })
	p.OnChange(func(c membership.Change) { n.j.Changed(); n.c.RosterChanged(c.Before) })
	n.host.Observe(p2p.Observer{
		Connected:    func(p p2p.Peer) { n.change(p, n.c.Connected) },
		Disconnected: func(p p2p.Peer) { n.change(p, n.c.Disconnected) },
	})
	n.c.Refresh()
	n.tasks = task.New(context.Background())
	n.tasks.Go("coordinator", n.c.Serve)
}

func (n *node) change(p p2p.Peer, fn func(identity.DeviceID)) {
	if p.Class == p2p.Member {
		fn(p.Device)
	}
}

// close ends everything in the order in which a session does.
func (n *node) close() {
	n.t.Helper()
	must(n.t, n.tasks.Close())
	n.f.Close()
	must(n.t, n.j.Close())
	must(n.t, n.p.Close())
	must(n.t, n.st.Close())
	must(n.t, n.host.Close())
	must(n.t, n.reg.Close())
}

func (n *node) write(text string) {
	n.t.Helper()
	doc, err := n.j.Doc("script")
	must(n.t, err)
	must(n.t, doc.Update(func(tx *crdt.Txn) error { return doc.CRDT().Text("body").Insert(tx, 0, text) }))
	_, err = n.j.Append(n.t.Context(), doc.ID, nil)
	must(n.t, err)
}

func (n *node) text() (s string) {
	n.t.Helper()
	doc, err := n.j.Doc("script")
	must(n.t, err)
	must(n.t, doc.CRDT().View(func(tx *crdt.ReadTxn) error { s = doc.CRDT().Text("body").String(tx); return nil }))
	return s
}

func (n *node) sees(other *node) bool {
	return slices.Contains(n.c.Online(), other.self.Device.ID)
}

func eventually(t *testing.T, what string, ok func() bool) {
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

// Two real devices find each other by the address book, exchange, lose each other, meet again and catch up.
func TestOverTheNetwork(t *testing.T) {
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	root, err := genesis.Found(t.Context(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: anna.self.Identity, Device: anna.self.Device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	must(t, err)
	p, err := anna.reg.Found(t.Context(), membership.Config{Store: anna.st}, root)
	must(t, err)
	anna.open(p)
	anna.write("one ")
	text, err := p.CreateInvite(t.Context(), membership.InviteOptions{})
	must(t, err)
	code, err := invite.Parse(text)
	must(t, err)
	welcome, err := berta.reg.Redeem(t.Context(), code, nil)
	must(t, err)
	p, err = berta.reg.Adopt(t.Context(), membership.Config{Store: berta.st}, code, welcome)
	must(t, err)
	berta.open(p)

	eventually(t, "both see each other", func() bool { return anna.sees(berta) && berta.sees(anna) })
	must(t, berta.c.WaitSynced(t.Context()))
	eventually(t, "berta has the text", func() bool { return berta.text() == "one " })
	berta.write("two ")
	eventually(t, "berta's edit is signed", func() bool { return berta.j.Held() == 0 })
	must(t, berta.c.WaitSynced(t.Context()))
	eventually(t, "anna has berta's edit", func() bool { return anna.text() == "two one " })

	anna.host.Disconnect(berta.self.Device.ID)
	eventually(t, "both have noticed", func() bool { return anna.changes.Load() >= 2 && berta.changes.Load() >= 2 })
	anna.write("three ")
	eventually(t, "both see each other again", func() bool { return anna.sees(berta) && berta.sees(anna) })
	must(t, berta.c.WaitSynced(t.Context()))
	eventually(t, "berta has caught up", func() bool { return berta.text() == "three two one " })
	if a, b := anna.changes.Load(), berta.changes.Load(); a != 3 || b != 3 {
		t.Errorf("told %d and %d changes, want 3 each", a, b)
	}
	if n := anna.rounds.Load() + berta.rounds.Load(); n > 20 {
		t.Errorf("%d rounds", n)
	}
	berta.close()
	eventually(t, "anna has noticed", func() bool { return !anna.sees(berta) })
	anna.close()
}
