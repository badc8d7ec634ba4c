package membership

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// remove removes a node's owner.
func remove(t testing.TB, p *Project, who *node) governance.EventID {
	t.Helper()
	id, err := p.Remove(timeout(t), Removal{Member: who.self.Identity.Member(), Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// tries dials another node anew, once the end of an earlier connection is known here too.
func (n *node) tries(other *node) error {
	n.t.Helper()
	eventually(n.t, "the earlier connection has ended", apart(n, other))
	_, err := n.host.Dial(timeout(n.t), p2p.Target{
		Device: other.self.Device.ID, Peer: other.self.Device.Peer, Addrs: other.host.Addrs(),
	})
	return err
}

// What is asked of the events protocol: the log, and sealed keys ("box blob": further boxes travel in batches only).
func TestScenario43Removed(t *testing.T) {
	scenario.Run(t, 43, "a revoked peer asks for the governance log and for sealed keys, also on a connection that another project keeps: refused", func(t *testing.T) {
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		film, comic := anna.found(), anna.found()
		pb := berta.join(invited(t, film, InviteOptions{}))
		berta.join(invited(t, comic, InviteOptions{}))
		pc := carl.join(invited(t, film, InviteOptions{}))
		converge(t, film, pb, pc)
		before, _, _ := film.SendingEpoch()
		remove(t, film, berta)
		eventually(t, "the removed learns of it", pb.Removed)
		converge(t, film, pc)
		after, key, ok := film.SendingEpoch()
		if !ok || after == before {
			t.Fatal("the key did not rotate")
		}
		eventually(t, "the others have the new key", func() bool { got, ok := pc.EpochKey(after); return ok && got == key })
		if _, ok := pb.EpochKey(after); ok {
			t.Error("the removed has the new key")
		}
		if _, ok := pb.EpochKey(before); !ok {
			t.Error("the removed lost the old key")
		}
		eventually(t, "nothing is kept open for the removed", func() bool {
			_, waiting := film.gate.device(berta.self.Device.Peer)
			return !waiting
		})

		// The second project keeps the connection, which serves the second project only.
		if apart(anna, berta)() {
			t.Fatal("the connection of the other project was closed")
		}
		for name, h := range map[string]*hello{
			"the log":        {Project: film.ID()},
			"its own events": {Project: film.ID(), Have: pb.Heads()},
			"the new key":    {Project: film.ID(), Have: film.Heads(), Needs: []governance.EpochID{after}},
			"the old key":    {Project: film.ID(), Have: film.Heads(), Needs: []governance.EpochID{before}},
		} {
			s := berta.talk(anna)
			if err := send(s, h); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(s); len(got) != 0 || err == nil {
				t.Errorf("%s: %d bytes of answer, %v", name, len(got), err)
			}
		}
		if err := film.Pull(timeout(t), berta.self.Device.ID); !errors.Is(err, ErrNotMember) {
			t.Errorf("a member leads an exchange with the removed: %v", err)
		}
		if film.give([]governance.EpochID{before}, berta.self.Device.ID) != nil {
			t.Error("a box is made for the removed")
		}
		// carl shares nothing else with berta.
		eventually(t, "carl has no connection to the removed", apart(carl, berta))
		if err := berta.tries(carl); err == nil {
			t.Error("the removed connects again")
		}
		if _, err := pb.OpenChain(timeout(t)); !errors.As(err, new(*governance.DeniedError)) {
			t.Errorf("the removed acts: %v", err)
		}
		converge(t, film, pc)
	})
}

// A device that lacks events before its removal is given those, and nothing else.
func TestRemovedThatIsBehind(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	anna.partition(berta)
	pc := carl.join(invited(t, pa, InviteOptions{}))
	if _, err := pb.OpenChain(timeout(t)); err != nil { // of which the others never hear
		t.Fatal(err)
	}
	removal := remove(t, pa, berta)
	at := pa.State().Digest()
	if _, err := pa.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pc)
	held := len(pa.eventsRaw())

	near, far := net.Pipe()
	told := make(chan error, 1)
	go func() {
		defer near.Close()
		told <- pa.part(near, []governance.EventID{removal})
	}()
	var h hello
	if err := receive(far, &h); err != nil {
		t.Fatal(err)
	}
	if len(h.Events) != 1 || len(h.Needs) > 0 || len(h.Book) > 0 {
		t.Errorf("the hello brings %d events, asks for %d keys, tells of %d addresses", len(h.Events), len(h.Needs), len(h.Book))
	}
	before := pb.State().Digest()
	if err := pb.follow(far, anna.self.Device.ID, &h); err != nil {
		t.Errorf("the removed: %v", err)
	}
	far.Close()
	if err := <-told; err != nil {
		t.Errorf("the teller: %v", err)
	}
	if !pb.Removed() {
		t.Fatal("the removed does not know")
	}
	if pb.State().Digest() == before || len(pa.eventsRaw()) != held {
		t.Error("the removed was heard")
	}
	if !pb.Knows([]governance.EventID{removal}) || pb.Knows(pa.Heads()) {
		t.Error("the removed was told something else than what its removal rests on")
	}
	if then, err := pb.stateAt(removal); err != nil || then.Digest() != at {
		t.Errorf("the removed comes to another outcome: %v", err)
	}
}

// stateAt returns what the past of an event amounts to.
func (p *Project) stateAt(id governance.EventID) (s *governance.State, err error) {
	p.View(func(log *governance.Log) { s, err = log.StateAt([]governance.EventID{id}) })
	return s, err
}

// A removed device that does not listen is cut off all the same.
func TestRemovedThatStalls(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	pb.mu.Lock() // it takes no event, and answers nothing
	remove(t, pa, berta)
	eventually(t, "anna has closed the connection", apart(anna, berta))
	pb.mu.Unlock()
	if err := berta.tries(anna); err == nil {
		t.Error("the removed connects again")
	}
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err == nil {
		t.Error("the removed is answered")
	}
}

// Who was away at the removal is refused by those who know of it, at once and for good. Through somebody who does not
// know of it yet, it hears as soon as that one does.
func TestRemovedWhileAway(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	pc := carl.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb, pc)
	anna.partition(berta)
	anna.partition(carl)
	remove(t, pa, berta)
	if err := berta.tries(anna); !errors.Is(err, p2p.ErrRefused) {
		t.Errorf("by who knows: %v", err)
	}
	if pb.Removed() {
		t.Error("a refusal alone ends nothing")
	}
	berta.connect(carl)
	if err := pb.Pull(timeout(t), carl.self.Device.ID); err != nil {
		t.Errorf("by who does not know: %v", err)
	}
	carl.connect(anna)
	if err := pc.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removed hears of it", pb.Removed)
	eventually(t, "carl has closed the connection", apart(carl, berta))
	converge(t, pa, pc)
	if got := pb.State().Digest(); got != pa.State().Digest() {
		t.Error("another state at the removed")
	}
}

// A project from which the device was removed opens for reading, asks nobody, and closes.
func TestRemovedReopens(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	key, _, _ := pb.SendingEpoch()
	remove(t, pa, berta)
	eventually(t, "the removed learns of it", pb.Removed)
	eventually(t, "they are apart", apart(berta, anna))
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	pb = berta.reopen(pb.ID())
	if !pb.Removed() {
		t.Error("it is open as before")
	}
	if _, ok := pb.EpochKey(key); !ok {
		t.Error("what was readable is not")
	}
	if err := pb.Pull(timeout(t), anna.self.Device.ID); !errors.Is(err, ErrNotMember) {
		t.Errorf("it asks: %v", err)
	}
	if _, err := pb.Remove(timeout(t), Removal{Member: anna.self.Identity.Member()}); !errors.As(err, new(*governance.DeniedError)) {
		t.Errorf("it removes: %v", err)
	}
}

// A removal falls because the remover was removed concurrently. Who was removed hears of that from those who know: they
// come, as for them nothing has changed.
//
//	start -+-> anna removes dora      known to anna and dora
//	       +-> berta and carl remove anna
func TestRemovalOverturned(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	pc := carl.join(invited(t, pa, InviteOptions{}))
	pd := dora.join(invited(t, pa, InviteOptions{}))
	for _, n := range []*node{berta, carl} {
		var with []governance.ProposeOption
		if n == carl {
			with = append(with, governance.WithCosigners(governance.Author{Keys: berta.self.Keys, Device: berta.self.Device.ID}))
		}
		grant := governance.RoleGrant{Member: n.self.Identity.Member(), Role: governance.Manager}
		if _, err := pa.Propose(timeout(t), governance.KindRoleGrant, grant, with...); err != nil {
			t.Fatal(err)
		}
	}
	converge(t, pa, pb, pc, pd)
	anna.partition(berta)
	anna.partition(carl)
	remove(t, pa, dora)
	eventually(t, "dora knows", pd.Removed)
	cosigner := governance.Author{Keys: carl.self.Keys, Device: carl.self.Device.ID}
	if _, err := pb.Remove(timeout(t), Removal{Member: anna.self.Identity.Member()}, governance.WithCosigners(cosigner)); err != nil {
		t.Fatal(err)
	}
	berta.connect(dora)
	if err := pb.Pull(timeout(t), dora.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dora is back", func() bool { return !pd.Removed() })
	converge(t, pb, pd)
	if role(pb, dora.self) != governance.Editor || role(pb, anna.self) != governance.None {
		t.Errorf("dora is %v, anna %v", role(pb, dora.self), role(pb, anna.self))
	}
	if err := pd.Pull(timeout(t), berta.self.Device.ID); err != nil {
		t.Errorf("dora asks again: %v", err)
	}
}

// A new invite lets a removed device go on with what it has; one that does not admit it leaves it as it was.
func TestReturn(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	remove(t, pa, berta)
	eventually(t, "the removed learns of it", pb.Removed)
	eventually(t, "they are apart", apart(anna, berta))
	if _, err := pa.OpenChain(timeout(t)); err != nil { // meanwhile
		t.Fatal(err)
	}
	digest := pb.State().Digest()
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	code, w, err := berta.redeem(invited(t, pa, InviteOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := berta.reg.Return(ended, berta.cfg(), code, w); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	pb = berta.reopen(pa.ID())
	if !pb.Removed() || pb.State().Digest() != digest {
		t.Error("a failed return has changed something")
	}
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	if pb, err = berta.reg.Return(timeout(t), berta.cfg(), code, w); err != nil {
		t.Fatal(err)
	}
	if pb.Removed() || role(pb, berta.self) != governance.Editor {
		t.Error("the return has no effect")
	}
	converge(t, pa, pb)
	id, key, ok := pa.SendingEpoch()
	if got, held := pb.EpochKey(id); !ok || !held || got != key {
		t.Error("who is back lacks the key")
	}
	if no, err := pb.OpenChain(timeout(t)); err != nil || no != 1 {
		t.Errorf("chain %d: %v", no, err)
	}
	if cut, ok := pb.State().Cut(berta.self.Device.ID, 0); !ok || cut.Seq != 0 {
		t.Error("the old chain goes on")
	}
	converge(t, pa, pb)
	if _, err := berta.reg.Return(timeout(t), berta.cfg(), code, w); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
}

// A removal that carries no key leaves none to send under until one editor mints, and one does.
func TestRotationOwed(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	pc := carl.join(invited(t, pa, InviteOptions{}))
	pd := dora.join(invited(t, pa, InviteOptions{Role: governance.Viewer}))
	converge(t, pa, pb, pc, pd)
	before, _, _ := pa.SendingEpoch()
	unsent := make(chan bool, 1)
	defer pa.OnChange(func(c Change) {
		if _, ok := c.After.SendingEpoch(); !ok {
			select {
			case unsent <- true:
			default:
			}
		}
	})()
	pa.mu.Lock() // no mint before the test has looked
	_, err := pa.propose(governance.KindRevoke, governance.Revoke{Member: carl.self.Identity.Member()}, nil)
	state := pa.State()
	pa.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, usable := state.SendingEpoch(); usable || state.Usable(before) {
		t.Error("the old key is still sent under")
	}
	<-unsent
	mintable := 0
	for _, d := range []identity.DeviceID{anna.self.Device.ID, berta.self.Device.ID, dora.self.Device.ID} {
		if place, owed := state.Owed(d); !owed {
			t.Error("nothing is owed")
		} else if place >= 0 {
			mintable++
		}
	}
	if mintable != 2 {
		t.Errorf("%d devices may mint, want the manager's and the editor's", mintable)
	}
	eventually(t, "somebody mints", func() bool {
		a, _, oka := pa.SendingEpoch()
		b, _, okb := pb.SendingEpoch()
		d, _, okd := pd.SendingEpoch()
		return oka && okb && okd && a == b && a == d && a != before
	})
	converge(t, pa, pb, pd)
	mints := 0
	pa.View(func(log *governance.Log) {
		for e := range log.Audit(governance.EventID{}) {
			if e.Kind == governance.KindKeyEpoch && e.Counts {
				mints++
			}
		}
	})
	if mints != 2 {
		t.Errorf("%d mints, want the founder's and one more", mints)
	}
	after, _, _ := pa.SendingEpoch()
	if _, ok := pc.EpochKey(after); ok {
		t.Error("the removed has the new key")
	}
}

// failing is a source of randomness that gives out.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// A removal whose key cannot be minted goes through; the key is owed.
func TestRemovalWithoutAKey(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	pc := carl.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb, pc)
	random := anna.reg.cfg.Random
	pa.mu.Lock()
	anna.reg.cfg.Random = failing{}
	pa.mu.Unlock()
	remove(t, pa, carl)
	if _, ok := pa.State().SendingEpoch(); ok {
		t.Error("the old key is still sent under")
	}
	pa.mu.Lock()
	anna.reg.cfg.Random = random
	pa.mu.Unlock()
	eventually(t, "somebody mints", func() bool {
		_, _, oka := pa.SendingEpoch()
		_, _, okb := pb.SendingEpoch()
		return oka && okb
	})
	converge(t, pa, pb)
}
