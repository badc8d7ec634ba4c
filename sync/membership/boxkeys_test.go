package membership

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/sync/boxkeys"
)

const month = 31 * 24 * time.Hour

// care has a project's device look after its keys, now and in order.
func care(t testing.TB, projects ...*Project) {
	t.Helper()
	for _, p := range projects {
		if err := p.careForBoxKeys(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// kemOf is the key that a replica seals to for a device.
func kemOf(p *Project, n *node) wire.ID {
	d, _ := p.State().Device(n.self.Device.ID)
	return d.KemID
}

// updates counts the KeyUpdates of a device that a replica holds.
func updates(p *Project, n *node) (count int) {
	p.View(func(l *governance.Log) {
		for e := range l.All() {
			if e.Kind == governance.KindKeyUpdate && e.Device == n.self.Device.ID {
				count++
			}
		}
	})
	return count
}

func (p *Project) holdsBoxKey(id wire.ID) bool { _, ok := p.boxKeys.Get(id); return ok }

// same checks that all send under one key, which each holds.
func same(t testing.TB, projects ...*Project) {
	t.Helper()
	converge(t, projects...)
	eventually(t, "all hold the key to send under", func() bool {
		id, key, ok := projects[0].SendingEpoch()
		for _, p := range projects {
			if i, k, o := p.SendingEpoch(); !ok || !o || i != id || k != key {
				return false
			}
		}
		return true
	})
}

func pull(t testing.TB, p *Project, from *node) {
	t.Helper()
	if err := p.Pull(timeout(t), from.self.Device.ID); err != nil {
		t.Fatal(err)
	}
}

// A month later each device has one new key, whatever the role of its owner; once that is settled the old one is gone, on the disk
// too, newcomers are given what they need, and all goes on after a restart.
func TestKeyUpdate(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	nodes := []*node{anna, berta, carl}
	pa := anna.found()
	projects := []*Project{pa, berta.join(invited(t, pa, InviteOptions{})), carl.join(invited(t, pa, InviteOptions{Role: governance.Viewer}))}
	converge(t, projects...)
	care(t, projects...)
	for i, n := range nodes {
		if updates(pa, n) != 0 {
			t.Errorf("%s has a new key on the first day", n.name)
		}
		n.clock.advance(month)
		care(t, projects[i], projects[i])
	}
	eventually(t, "all have heard of all new keys", func() bool {
		for _, p := range projects {
			for _, n := range nodes {
				if kemOf(p, n) == n.keys.FirstID() {
					return false
				}
			}
		}
		return true
	})
	anna.wantKeys(boxkeys.Retired, boxkeys.Current)
	anna.settle(pa, 1)
	converge(t, projects...)
	for i, n := range nodes {
		care(t, projects[i])
		if n.keys.First() != nil || projects[i].holdsBoxKey(n.keys.FirstID()) {
			t.Errorf("%s: the update is settled, and the old key is there", n.name)
		}
		n.wantKeys(boxkeys.Erased, boxkeys.Current)
		if got := updates(pa, n); got != 1 {
			t.Errorf("%s has made %d updates", n.name, got)
		}
	}
	dora := newNode(t, "dora")
	dora.clock.advance(month)
	projects = append(projects, dora.join(invited(t, pa, InviteOptions{})))
	if err := pa.Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	same(t, projects...)
	anna.wantNoOldKey(pa)
	for i, n := range append(nodes, dora) {
		n.stop()
		n.start()
		projects[i] = n.reopen(pa.ID())
	}
	for i, n := range append(nodes, dora)[1:] {
		n.connect(anna)
		pull(t, projects[i+1], anna)
	}
	if err := projects[1].Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	same(t, projects...)
	for i, n := range nodes {
		care(t, projects[i])
		if got := updates(projects[0], n); got != 1 {
			t.Errorf("after a restart %s has made %d updates", n.name, got)
		}
	}
}

// wantKeys checks what has become of the keys of a device in its only project.
func (n *node) wantKeys(want ...boxkeys.State) {
	n.t.Helper()
	ids, err := Projects(n.st)
	if err != nil || len(ids) != 1 {
		n.t.Fatal(ids, err)
	}
	ring, err := n.keys.Project(timeout(n.t), ids[0])
	if err != nil {
		n.t.Fatal(err)
	}
	var got []boxkeys.State
	for _, k := range ring.All() {
		got = append(got, k.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Errorf("%s: keys are %v; want %v", n.name, got, want)
	}
}

// wantNoOldKey reads the vault as somebody would who has taken the device, and opens with it what was sealed to the device's first
// key: nothing opens.
func (n *node) wantNoOldKey(p *Project) {
	n.t.Helper()
	stolen, err := boxkeys.Open(timeout(n.t), boxkeys.Config{
		Vault: n.vault, Random: rand.Reader, Now: time.Now, Projects: func() ([]genesis.ProjectID, error) { return Projects(n.st) },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	defer stolen.Close()
	ring, err := stolen.Project(timeout(n.t), p.ID())
	if err != nil {
		n.t.Fatal(err)
	}
	old, opened := 0, 0
	for _, e := range p.State().Epochs() {
		for _, b := range e.Object.Boxes {
			if b.Device != n.self.Device.ID {
				continue
			}
			if b.KemID == stolen.FirstID() {
				old++
			}
			for _, k := range ring.All() {
				if key, ok := ring.Get(k.ID); ok {
					if _, err := epoch.Open(e.Object, b.Device, key); err == nil {
						opened++
						if b.KemID == stolen.FirstID() {
							n.t.Error("a box to an erased key opens")
						}
					}
				}
			}
		}
	}
	if old == 0 || opened == 0 {
		n.t.Errorf("%d old boxes, %d boxes open: the test shows nothing", old, opened)
	}
}

// Scenario 99: a code outlives the key that it names by an update.
func TestScenario99KeyUpdateBetweenCodeAndJoin(t *testing.T) {
	scenario.Run(t, 99, "a host updates its KEM key between code and join, settled: both forms of the code still work; "+
		"once the invites ended the old key is gone, and who comes then gets no answer", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
		anna.shape = func(c *Config) { c.KeyLife = 24 * time.Hour }
		emil := newNode(t, "emil")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		full, compact := invited(t, pa, InviteOptions{Uses: 2}), invited(t, pa, InviteOptions{Compact: true})
		first := anna.keys.FirstID()
		for _, n := range []*node{anna, berta, carl, dora, emil} {
			n.clock.advance(25 * time.Hour)
		}
		care(t, pa)
		anna.settle(pa, 1)
		care(t, pa)
		if kemOf(pa, anna) == first || !pa.holdsBoxKey(first) {
			t.Fatal("there is no new key, or the old one is gone while codes name it")
		}
		pc, pd := carl.join(full), dora.join(compact)
		same(t, pa, pb, pc, pd)
		if fresh, err := invite.Parse(invited(t, pa, InviteOptions{})); err != nil || fresh.Hosts[0].KemID != kemOf(pa, anna) {
			t.Errorf("a new code names another key: %v", err)
		}
		anna.clock.advance(22 * time.Hour) // before the first code's third day is over
		anna.settle(pa, 1)
		care(t, pa)
		if !pa.holdsBoxKey(first) {
			t.Error("the key that a code names is gone before its invite ended")
		}
		if err := pa.CancelInvite(timeout(t), full); err != nil {
			t.Fatal(err)
		}
		care(t, pa)
		if pa.holdsBoxKey(first) || anna.keys.First() != nil {
			t.Error("the invites have ended, and the key is there")
		}
		if _, err := emil.tryJoin(full); !errors.Is(err, invite.ErrNoAnswer) {
			t.Errorf("with a code whose key is gone: %v", err)
		}
		if err := pa.Rotate(timeout(t)); err != nil {
			t.Fatal(err)
		}
		anna.wantNoOldKey(pa)
	})
}

// An update that meets a new epoch, or a removal with its key: each epoch names the keys that its author knew, and counts; who has
// erased a key meanwhile asks again. An epoch that names an old key beside better knowledge is void, and another is minted.
func TestUpdatesCrossRotations(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
	pa := anna.found()
	pb, pc := berta.join(invited(t, pa, InviteOptions{})), carl.join(invited(t, pa, InviteOptions{}))
	dora.join(invited(t, pa, InviteOptions{}))
	same(t, pa, pb, pc)
	heal := []func(){anna.partition(berta), anna.partition(carl), func() { berta.connect(carl) }}
	berta.host.Disconnect(carl.self.Device.ID)
	eventually(t, "they are apart", apart(carl, berta))
	for n, p := range map[*node]*Project{anna: pa, berta: pb} {
		n.clock.advance(month)
		care(t, p)
	}
	if err := pc.Rotate(timeout(t)); err != nil { // names the old keys of both
		t.Fatal(err)
	}
	carl.clock.advance(month) // he will not wait for a checkpoint's time to come
	minted, _, _ := pc.SendingEpoch()
	if _, err := pa.Remove(timeout(t), Removal{Member: dora.self.Identity.Member()}); err != nil { // names berta's old key
		t.Fatal(err)
	}
	anna.settle(pa, 1)
	care(t, pa)
	anna.wantKeys(boxkeys.Erased, boxkeys.Current) // and carl's box to it is on its way
	for _, f := range heal {
		f()
	}
	same(t, pa, pb, pc)
	if _, ok := pa.State().Epoch(minted); !ok {
		t.Error("an epoch beside an update does not count")
	}
	pull(t, pa, berta)
	if want, _ := pc.EpochKey(minted); want == [32]byte{} {
		t.Error("carl has no key")
	} else if got, ok := pa.EpochKey(minted); !ok || got != want {
		t.Error("the box came to a key that is erased, and no other was asked for")
	}
	for _, p := range []*Project{pa, pb} {
		care(t, p)
	}
	converge(t, pa, pb, pc)

	// Anna's program removes carl with a key sealed to the key that berta had, of whose update it knows.
	var recipients []epoch.Recipient
	for _, d := range pa.State().Devices() {
		if d.ID == carl.self.Device.ID {
			continue
		}
		to := epoch.Recipient{Device: d.ID, KEM: d.KEM}
		if d.ID == berta.self.Device.ID {
			to.KEM = berta.self.Device.KEM
		}
		recipients = append(recipients, to)
	}
	var aseq uint64
	pa.View(func(l *governance.Log) { aseq = l.NextAseq(anna.self.Device.ID) })
	stale, err := epoch.Mint(rand.Reader, pa.ID(), anna.self.Device.ID, aseq, recipients, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, id := anna.forged(pa, governance.KindRevoke, governance.Revoke{Member: carl.self.Identity.Member(), Epoch: &stale.Object}, nil)
	pa.smuggle(t, raw)
	if !pa.explain(t, id).Counts || role(pa, carl.self) != governance.None {
		t.Fatal("the removal does not count")
	}
	same(t, pa, pb)
	if now, _, _ := pa.SendingEpoch(); now == stale.ID || now == minted {
		t.Error("it is sent under a key that is not for those who are here")
	} else if _, counts := pa.State().Epoch(stale.ID); counts {
		t.Error("an epoch counts that names a key beside better knowledge")
	}
}

// So many devices update at once, apart, that no event can name all of theirs: the key that comes with a removal is for the devices as
// the removal knows them, and counts.
func TestManyUpdatesAtOnce(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	pa := anna.found()
	code := invited(t, pa, InviteOptions{Uses: 20})
	var nodes []*node
	var projects []*Project
	for i := range governance.MaxParents + 2 {
		n := newNode(t, fmt.Sprintf("member %d", i))
		anna.clock.advance(2 * time.Second) // a host takes on one newcomer of an address each second
		nodes, projects = append(nodes, n), append(projects, n.join(code))
	}
	converge(t, append([]*Project{pa}, projects...)...)
	for _, n := range nodes {
		anna.sever(n)
	}
	for i, n := range nodes {
		n.clock.advance(month)
		care(t, projects[i])
	}
	for i, n := range nodes {
		n.connect(anna)
		pull(t, projects[i], anna)
	}
	eventually(t, "anna has heard of all", func() bool { return len(pa.Heads()) == len(nodes) })
	before, _, _ := pa.SendingEpoch()
	remove(t, pa, nodes[0])
	now, _, ok := pa.SendingEpoch()
	if !ok || now == before {
		t.Fatal("the key that came with the removal does not count")
	}
	rest := projects[1:]
	for i, p := range rest {
		pull(t, p, anna)
		pull(t, p, anna) // whose box the removal could not seal to a key that it did not know, is given one
		if id, _, ok := p.SendingEpoch(); !ok || id != now {
			t.Errorf("%s does not send under it", nodes[i+1].name)
		}
	}
}

// A member who was away while another's key was replaced, settled and erased, and writes keys for the old one, is understood.
func TestAwayThroughKeyUpdate(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	heal := berta.partition(anna)
	if err := pb.Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	anna.clock.advance(month)
	care(t, pa)
	anna.settle(pa, 1)
	care(t, pa)
	if err := pa.Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	anna.wantKeys(boxkeys.Erased, boxkeys.Current)
	berta.clock.advance(month)
	heal()
	pull(t, pa, berta)
	care(t, pb)
	same(t, pa, pb)
	for _, e := range pa.State().Epochs() {
		ka, oka := pa.EpochKey(e.ID)
		if kb, okb := pb.EpochKey(e.ID); !oka || !okb || ka != kb {
			t.Errorf("epoch %s is missing at one", e.ID.Short())
		}
	}
	if kemOf(pa, berta) == berta.keys.FirstID() {
		t.Error("who was away has made no update")
	}
}

// A key is erased once its epochs' keys are here, and not while one is missing that it may open.
func TestMissingKeyKeepsTheOldKey(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	berta.clock.advance(month)
	anna.clock.advance(month)
	care(t, pb)
	eventually(t, "anna has heard of it", func() bool { return kemOf(pa, berta) != berta.keys.FirstID() })
	id, key, _ := pb.SendingEpoch()
	for _, p := range []*Project{pa, pb} { // nobody has it to give
		p.mu.Lock()
		delete(p.keys.held, id)
		p.mu.Unlock()
	}
	anna.settle(pa, 1)
	eventually(t, "berta has heard of it", func() bool { return pb.State().Settled().Number == 1 })
	care(t, pb)
	berta.wantKeys(boxkeys.Retired, boxkeys.Current)
	pa.mu.Lock()
	pa.keys.held[id] = key
	pa.mu.Unlock()
	pull(t, pb, anna)
	if got, ok := pb.EpochKey(id); !ok || got != key {
		t.Fatal("the key was not given again")
	}
	care(t, pb)
	berta.wantKeys(boxkeys.Erased, boxkeys.Current)
}

// dying is a vault that stops working, as the machine does in a crash.
type dying struct {
	keystore.Store
	left atomic.Int64 // writes that succeed
}

var errOff = errors.New("the machine is off")

func (f *dying) Put(ctx context.Context, name string, secret []byte) error {
	if f.left.Add(-1) < 0 {
		return errOff
	}
	return f.Store.Put(ctx, name, secret)
}

// Whatever was written last before a crash, the next start ends with one update, the new key, and no other.
func TestCrashInKeyUpdate(t *testing.T) {
	for left := range 7 {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			checkLeaks(t)
			anna, berta := newNode(t, "anna"), newNode(t, "berta")
			whole := anna.vault
			vault := &dying{Store: whole}
			anna.stop()
			anna.vault = vault
			anna.start()
			pa := anna.found()
			pb := berta.join(invited(t, pa, InviteOptions{}))
			converge(t, pa, pb)
			anna.clock.advance(month)
			berta.clock.advance(month)
			vault.left.Store(int64(left))
			for range 2 {
				if err := pa.careForBoxKeys(timeout(t)); err != nil && !errors.Is(err, errOff) {
					t.Fatal(err)
				}
				anna.settle(pa, 1)
			}
			_ = pa.careForBoxKeys(timeout(t))
			if (left < 6) != (vault.left.Load() < 0) {
				t.Errorf("%d of %d writes are left", vault.left.Load(), left)
			}
			anna.vault = whole
			anna.crash()
			pa = anna.reopen(pa.ID())
			anna.connect(berta)
			pull(t, pa, berta)
			care(t, pa)
			anna.settle(pa, 1)
			care(t, pa)
			anna.wantKeys(boxkeys.Erased, boxkeys.Current)
			if updates(pa, anna) != 1 || kemOf(pa, anna) == anna.keys.FirstID() || anna.keys.First() != nil {
				t.Errorf("%d updates; the first key is there: %t", updates(pa, anna), anna.keys.First() != nil)
			}
			if err := pb.Rotate(timeout(t)); err != nil {
				t.Fatal(err)
			}
			same(t, pa, pb)
		})
	}
}

// Between the key and the event that names it nothing is lost: the key that was prepared is the one that is announced.
func TestCrashBeforeKeyUpdate(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	pa := anna.found()
	key, err := pa.boxKeys.Prepare(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	prepared := identity.KemID(key.Public())
	anna.clock.advance(month)
	anna.crash()
	pa = anna.reopen(pa.ID())
	care(t, pa)
	if kemOf(pa, anna) != prepared || updates(pa, anna) != 1 {
		t.Errorf("%d updates, to another key: %t", updates(pa, anna), kemOf(pa, anna) != prepared)
	}
}

// A device has one certificate and so one first key, in all its projects: what one project has done with stays for the other.
func TestFirstKeyInTwoProjects(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	pb := berta.found()
	other := anna.join(invited(t, pb, InviteOptions{}))
	first := anna.keys.FirstID()
	anna.clock.advance(month)
	care(t, pa, other)
	eventually(t, "berta has heard of it", func() bool { return kemOf(pb, anna) != first })
	if kemOf(pa, anna) == kemOf(pb, anna) {
		t.Error("two projects have one new key")
	}
	anna.settle(pa, 1)
	care(t, pa)
	if pa.holdsBoxKey(first) || !other.holdsBoxKey(first) || anna.keys.First() == nil {
		t.Fatal("a key that one project needs is gone, or stays in the one that does not")
	}
	anna.stop()
	anna.start()
	anna.reopen(pa.ID())
	other = anna.reopen(pb.ID())
	if !other.holdsBoxKey(first) {
		t.Fatal("a restart has ended it")
	}
	anna.connect(berta)
	pull(t, other, berta)
	berta.clock.advance(time.Hour)
	berta.settle(pb, 1)
	converge(t, pb, other)
	care(t, other)
	if other.holdsBoxKey(first) || anna.keys.First() != nil {
		t.Fatal("both projects have done with it, and it is there")
	}

	// A project that comes later admits her with the old certificate, and gives her what she needs all the same.
	pc := carl.found()
	third := anna.join(invited(t, pc, InviteOptions{}))
	same(t, pc, third)
	if kemOf(pc, anna) == first || updates(pc, anna) != 1 {
		t.Errorf("%d updates in a new project", updates(pc, anna))
	}
	if err := third.Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	same(t, pc, third)

	// And one that she founds herself.
	own := anna.found()
	care(t, own)
	if _, _, ok := own.SendingEpoch(); !ok || kemOf(own, anna) == first {
		t.Error("who founds with an erased key lacks the key that she minted, or has made no new one")
	}
	same(t, own, berta.join(invited(t, own, InviteOptions{})))
}

// A suspended device signs nothing that would not count, however often it looks, and goes on once that is lifted.
func TestKeyUpdateOfSuspended(t *testing.T) {
	checkLeaks(t)
	_, berta, pa, pb := couple(t)
	one, first := berta.forged(pb, governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, nil)
	two, _ := berta.forged(pb, governance.KindChainOpen, governance.ChainOpen{ChainNo: 2}, nil)
	pb.smuggle(t, one)
	pb.smuggle(t, two)
	converge(t, pa, pb)
	if d, _ := pb.State().Device(berta.self.Device.ID); !d.Suspended {
		t.Fatal("berta is not suspended")
	}
	berta.clock.advance(month)
	care(t, pb, pb, pb)
	berta.wantKeys(boxkeys.Current)
	if updates(pb, berta) != 0 {
		t.Errorf("%d updates", updates(pb, berta))
	}
	lift := berta.self.Device.ID
	propose(t, pa, governance.KindLiftQuarantine, governance.LiftQuarantine{Device: &lift, Aprev: &first})
	converge(t, pa, pb)
	care(t, pb, pb)
	eventually(t, "it goes on once the suspension is lifted", func() bool { return updates(pa, berta) == 1 })
	if kemOf(pa, berta) == berta.keys.FirstID() {
		t.Error("the update has no effect")
	}
}

// Somebody whom the others hold back makes one update, however often the device looks, and keeps the old key as long as it is given
// no epoch's key.
func TestKeyUpdateInQuarantine(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	carl.shape = func(c *Config) { c.KeyLife = time.Hour }
	pa := anna.found()
	pb, pc := berta.join(invited(t, pa, InviteOptions{})), carl.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb, pc)
	member := carl.self.Identity.Member()
	id := propose(t, pa, governance.KindQuarantinePropose, governance.QuarantinePropose{
		Member: member, Reason: "test", Expires: uint64(anna.clock.now().Add(12 * time.Hour).Unix()),
	})
	eventually(t, "berta has heard of it", func() bool { return pb.Knows([]governance.EventID{id}) })
	propose(t, pb, governance.KindQuarantineVote, governance.QuarantineVote{Proposal: id})
	for _, p := range []*Project{pa, pb, pc} {
		eventually(t, "carl is in quarantine", func() bool { _, held := p.State().Quarantined(member); return held })
	}
	if err := pb.Rotate(timeout(t)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{anna, berta, carl} {
		n.clock.advance(90 * time.Minute)
	}
	care(t, pc, pc, pc)
	converge(t, pa, pb, pc)
	anna.settle(pa, 1)
	converge(t, pa, pb, pc)
	care(t, pc)
	carl.wantKeys(boxkeys.Retired, boxkeys.Current)
	if updates(pa, carl) != 1 || kemOf(pa, carl) == carl.keys.FirstID() {
		t.Errorf("%d updates", updates(pa, carl))
	}
	propose(t, pa, governance.KindLiftQuarantine, governance.LiftQuarantine{Member: &member})
	same(t, pa, pb)
	eventually(t, "carl is given what he lacks", func() bool {
		pull(t, pc, anna)
		_, _, ok := pc.SendingEpoch()
		return ok
	})
	care(t, pc)
	carl.wantKeys(boxkeys.Erased, boxkeys.Current)
}

func propose(t testing.TB, p *Project, kind governance.Kind, body any) governance.EventID {
	t.Helper()
	id, err := p.Propose(timeout(t), kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Somebody who was removed keeps no key in that project, and is given what is needed when a new invite lets them back.
func TestRemovedKeepsNoBoxKey(t *testing.T) {
	checkLeaks(t)
	_, berta, pa, pb := couple(t)
	remove(t, pa, berta)
	eventually(t, "the removed learns of it", pb.Removed)
	care(t, pb)
	berta.wantKeys(boxkeys.Erased)
	if berta.keys.First() != nil {
		t.Error("the first key is there, and no project of hers needs it")
	}
}

// A key that the others seal to is not erased, though another had taken its place by an event that has ceased to count.
func TestVoidUpdateTakesNoKey(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	pa := anna.found()
	first := anna.keys.FirstID()
	key, err := pa.boxKeys.Prepare(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := pa.boxKeys.Follow(timeout(t), identity.KemID(key.Public()), pa.Heads()[0]); err != nil {
		t.Fatal(err)
	}
	anna.settle(pa, 1)
	care(t, pa, pa)
	if kemOf(pa, anna) != first || !pa.holdsBoxKey(first) {
		t.Error("the key that the others seal to is gone")
	}
	anna.clock.advance(month)
	care(t, pa)
	if !pa.holdsBoxKey(first) {
		t.Error("it is gone before what replaces it is settled")
	}
	anna.settle(pa, 1)
	care(t, pa)
	if pa.holdsBoxKey(first) || kemOf(pa, anna) == first {
		t.Error("it is kept once that is settled")
	}
}

// Who announces an invite for ever that names somebody's key, or a key that nobody can open, does not have that key kept for ever.
func TestNobodyKeepsAnOldKey(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	first := anna.keys.FirstID()
	var body governance.InviteCreate
	pb.View(func(l *governance.Log) {
		for e := range l.All() {
			if e.Kind == governance.KindInviteCreate {
				b, err := governance.DecodeBody(e)
				if err != nil {
					t.Fatal(err)
				}
				body = *b.(*governance.InviteCreate)
			}
		}
	})
	body.Invite, body.Expires = governance.InviteID{1}, 0
	endless, _ := berta.forged(pb, governance.KindInviteCreate, body, nil)
	pb.smuggle(t, endless)
	converge(t, pa, pb)
	for _, n := range []*node{anna, berta} {
		n.clock.advance(month)
	}
	care(t, pa)
	anna.settle(pa, 1)
	care(t, pa)
	if !pa.holdsBoxKey(first) {
		t.Fatal("an invite that names it has no effect: the test shows nothing")
	}
	anna.clock.advance(boxKeyHold + time.Hour)
	care(t, pa, pa)
	anna.settle(pa, 1)
	care(t, pa, pa)
	if pa.holdsBoxKey(first) {
		t.Error("a key is kept for an invite without end")
	}
}

// A key that was made while the clock ran years ahead is replaced once the clock is right, and not for a clock that has lost its day.
func TestKeyFromAheadIsReplaced(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	pa := anna.found()
	anna.settle(pa, 1)
	const years = 10 * 365 * 24 * time.Hour
	anna.clock.advance(years)
	care(t, pa)
	made := kemOf(pa, anna)
	if made == anna.keys.FirstID() {
		t.Fatal("no update")
	}
	anna.clock.advance(-2 * years)
	care(t, pa)
	if kemOf(pa, anna) != made {
		t.Error("a clock that is behind the last checkpoint has it replaced")
	}
	anna.clock.advance(years + time.Hour)
	care(t, pa)
	if kemOf(pa, anna) == made {
		t.Error("the key of years ahead is kept until then")
	}
}

// The device's own log was put back to an older one, cleanly closed, and its vault was not: it does not sign a second update under
// the number of the first, but hears the others first.
func TestLogBehindVault(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	berta.clock.advance(month)
	care(t, pb)
	converge(t, pa, pb)
	made := kemOf(pa, berta)
	berta.stop()
	if err := berta.st.Update(func(tx *store.Tx) error {
		log := tx.Log(namesOf(pa.ID()).events)
		return log.Truncate(log.Len() - 1)
	}); err != nil {
		t.Fatal(err)
	}
	berta.start()
	pb = berta.reopen(pa.ID())
	if kemOf(pb, berta) != berta.keys.FirstID() {
		t.Fatal("the log was not put back: the test shows nothing")
	}
	care(t, pb)
	if updates(pb, berta) != 0 {
		t.Error("it signs before it has heard of what it signed")
	}
	berta.connect(anna)
	pull(t, pb, anna)
	care(t, pb)
	converge(t, pa, pb)
	if d, _ := pa.State().Device(berta.self.Device.ID); d.Suspended || d.KemID != made {
		t.Errorf("suspended: %t; another key: %t", d.Suspended, d.KemID != made)
	}
}
