package membership

import (
	"errors"
	"maps"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Scenario 40: a newcomer reads from the start, through all keys that were ever used, with one box.
func TestScenario40NewcomerHasAllKeys(t *testing.T) {
	scenario.Run(t, 40, "a newcomer, history=full: holds every key from the start", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		pa := anna.found()
		for _, n := range []*node{berta, carl} {
			n.join(invited(t, pa, InviteOptions{}))
			if _, err := pa.Remove(timeout(t), Removal{Member: n.self.Identity.Member()}); err != nil {
				t.Fatal(err)
			}
		}
		epochs := pa.State().Epochs()
		if len(epochs) != 3 {
			t.Fatalf("%d epochs", len(epochs))
		}
		dora := newNode(t, "dora")
		code, w, err := dora.redeem(invited(t, pa, InviteOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		if len(w.Boxes) != 1 {
			t.Errorf("%d boxes, one reaches all", len(w.Boxes))
		}
		pd, err := dora.reg.Adopt(timeout(t), dora.cfg(), code, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range epochs {
			want, _ := pa.EpochKey(e.ID)
			if got, ok := pd.EpochKey(e.ID); !ok || got != want {
				t.Errorf("epoch %s is missing", e.ID.Short())
			}
		}
	})
}

// A device that has lost its keys is given them by another member at the next exchange.
func TestKeysAreGivenAgain(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	id := pb.ID()
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	if err := berta.st.Update(func(tx *store.Tx) error { return tx.Drop(namesOf(id).epochs) }); err != nil {
		t.Fatal(err)
	}
	pb = berta.reopen(id)
	if _, _, ok := pb.SendingEpoch(); ok {
		t.Fatal("the key is still there")
	}
	told := make(chan struct{}, 16)
	defer pb.OnChange(func(Change) { told <- struct{}{} })()
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := pb.SendingEpoch(); !ok {
		t.Fatal("the key was not given")
	}
	<-told // whoever waits for the key learns of it
	ea, ka, _ := pa.SendingEpoch()
	if eb, kb, _ := pb.SendingEpoch(); eb != ea || kb != ka {
		t.Error("another key")
	}
}

// Scenario 37: two removals at once, each with its key: neither is used for sending, and one further key is minted.
func TestScenario37TwoRemovalsAtOnce(t *testing.T) {
	scenario.Run(t, 37, "two removals at once on real hosts: neither key is used for sending, one further mint, nobody removed can read", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		pc := carl.join(invited(t, pa, InviteOptions{}))
		pd := dora.join(invited(t, pa, InviteOptions{}))
		grant := governance.RoleGrant{Member: berta.self.Identity.Member(), Role: governance.Manager}
		if _, err := pa.Propose(timeout(t), governance.KindRoleGrant, grant); err != nil {
			t.Fatal(err)
		}
		converge(t, pa, pb, pc, pd)
		heal := anna.partition(berta)
		berta.host.Disconnect(carl.self.Device.ID)
		if _, err := pa.Remove(timeout(t), Removal{Member: carl.self.Identity.Member()}); err != nil {
			t.Fatal(err)
		}
		if _, err := pb.Remove(timeout(t), Removal{Member: dora.self.Identity.Member()}); err != nil {
			t.Fatal(err)
		}
		ea, _, _ := pa.SendingEpoch()
		eb, _, _ := pb.SendingEpoch()
		heal()
		converge(t, pa, pb)
		var ka, kb [32]byte
		eventually(t, "one more key is minted and known to both", func() bool {
			a, x, oka := pa.SendingEpoch()
			b, y, okb := pb.SendingEpoch()
			ka, kb = x, y
			return oka && okb && a == b && a != ea && a != eb
		})
		if ka != kb {
			t.Error("two keys of one epoch")
		}
		now, _, _ := pa.SendingEpoch()
		for name, p := range map[string]*Project{"carl": pc, "dora": pd} {
			if _, ok := p.EpochKey(now); ok {
				t.Errorf("%s, removed, has the new key", name)
			}
		}
		for name, p := range map[string]*Project{"anna": pa, "berta": pb} {
			for _, id := range []governance.EpochID{ea, eb} {
				if _, ok := p.EpochKey(id); !ok {
					t.Errorf("%s cannot read what was sealed under %s", name, id.Short())
				}
			}
		}
		if n := len(pa.State().Epochs()); n != 4 {
			t.Errorf("%d epochs, want founding, two removals and one more", n)
		}
	})
}

// crash ends a node as the death of its process would: nothing is marked clean.
func (n *node) crash() {
	n.t.Helper()
	if err := n.host.Close(); err != nil {
		n.t.Error(err)
	}
	for _, p := range n.reg.all() {
		_ = p.tasks.Close()
		n.reg.remove(p)
	}
	n.host = nil
	n.start()
}

// After a crash a device signs nothing until it has met another one that could know more of it than itself.
func TestCrashPutsInDoubt(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	id := pa.ID()
	anna.crash()
	pa = anna.reopen(id)
	if _, err := pa.OpenChain(timeout(t)); err != nil { // nobody else could know more
		t.Fatal(err)
	}
	pb := berta.join(invited(t, pa, InviteOptions{}))
	// The newest event of berta is lost with the crash, as in a store that was restored.
	if _, err := pb.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb)
	berta.crash()
	if err := berta.st.Update(func(tx *store.Tx) error {
		log := tx.Log(namesOf(id).events)
		return log.Truncate(log.Len() - 1)
	}); err != nil {
		t.Fatal(err)
	}
	pb = berta.reopen(id)
	if _, err := pb.OpenChain(timeout(t)); !errors.Is(err, ErrInDoubt) {
		t.Fatalf("in doubt: %v", err)
	}
	berta.connect(anna)
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	if no, err := pb.OpenChain(timeout(t)); err != nil || no != 2 {
		t.Fatalf("chain %d: %v", no, err)
	}
	converge(t, pa, pb)
	if d, _ := pa.State().Device(berta.self.Device.ID); d.Suspended {
		t.Error("the device equivocated")
	}
}

// A store that fails stops the project: nothing is acted upon that is not durable.
func TestStoreFailureStops(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	p := anna.found()
	before := p.State()
	if err := anna.st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.OpenChain(timeout(t)); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("%v", err)
	}
	if p.State() != before {
		t.Error("what is not durable is visible")
	}
	if _, err := p.CreateInvite(timeout(t), InviteOptions{}); !errors.Is(err, store.ErrClosed) || len(*p.hosted.Load()) != 0 {
		t.Errorf("%v", err)
	}
	if !errors.Is(p.Err(), store.ErrClosed) {
		t.Errorf("%v", p.Err())
	}
}

// A damaged store is a typed error, not a project with holes.
func TestDamagedStore(t *testing.T) {
	checkLeaks(t)
	for name, damage := range map[string]func(tx *store.Tx, n names) error{
		"no root":             func(tx *store.Tx, n names) error { return tx.Drop(n.roots) },
		"an event is gone":    func(tx *store.Tx, n names) error { return dropFirst(tx, n.events) },
		"a key is cut":        func(tx *store.Tx, n names) error { return tx.Map(n.epochs).Put(make([]byte, 32), []byte{1}) },
		"an invite is cut":    func(tx *store.Tx, n names) error { return tx.Map(n.invites).Put([]byte{1}, []byte{1}) },
		"an address is cut":   func(tx *store.Tx, n names) error { return tx.Map(n.addresses).Put([]byte{1}, []byte{1}) },
		"an event is foreign": func(tx *store.Tx, n names) error { _, err := tx.Log(n.events).Append([]byte{1}); return err },
	} {
		anna := newNode(t, "anna")
		p := anna.found()
		if _, err := p.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := anna.st.Update(func(tx *store.Tx) error { return damage(tx, namesOf(p.ID())) }); err != nil {
			t.Fatal(err)
		}
		if _, err := anna.reg.Open(timeout(t), anna.cfg(), p.ID()); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dropFirst removes the first record of a log.
func dropFirst(tx *store.Tx, name string) error {
	var rest [][]byte
	for _, rec := range tx.Log(name).From(2) {
		rest = append(rest, rec)
	}
	if err := tx.Log(name).Truncate(0); err != nil {
		return err
	}
	for _, rec := range rest {
		if _, err := tx.Log(name).Append(rec); err != nil {
			return err
		}
	}
	return nil
}

func TestFoundTwice(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	root := newRoot(t, anna.self, genesis.DefaultPolicy())
	p, err := anna.reg.Found(timeout(t), anna.cfg(), root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := anna.reg.Found(timeout(t), anna.cfg(), root); !errors.Is(err, ErrExists) {
		t.Errorf("%v", err)
	}
	other := newRoot(t, selfOf(t, "berta"), genesis.DefaultPolicy())
	if _, err := anna.reg.Found(timeout(t), anna.cfg(), other); !errors.Is(err, ErrNotMember) {
		t.Errorf("%v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got := anna.reopen(root.Project); got.State().Digest() != p.State().Digest() {
		t.Error("the second founding changed the first")
	}
}

// Observers are told in order, and of everything.
func TestOnChange(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	p := anna.found()
	type seen struct {
		before, after *governance.State
		added         []governance.EventID
	}
	var got []seen
	done := make(chan struct{})
	want := map[governance.EventID]bool{}
	stop := p.OnChange(func(c Change) {
		got = append(got, seen{c.Before, c.After, c.Added})
		if len(c.After.Chains()) == 21 {
			close(done)
		}
	})
	first := p.State()
	for range 20 {
		if _, err := p.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		want[p.Heads()[0]] = true
	}
	<-done
	stop()
	if got[0].before != first || got[len(got)-1].after != p.State() {
		t.Error("the ends do not fit")
	}
	have := map[governance.EventID]bool{}
	for i, s := range got {
		if i > 0 && s.before != got[i-1].after {
			t.Error("a gap between two changes")
		}
		for _, id := range s.added {
			have[id] = true
		}
	}
	if !maps.Equal(have, want) {
		t.Errorf("%d of %d events told", len(have), len(want))
	}
}
