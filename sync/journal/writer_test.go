package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// crash opens a copy of a node's store as it is on disk at this moment, as after a power cut. The node itself is
// closed.
func crash(w *team, n *node) *node {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), "crashed")
	raw, err := os.ReadFile(n.path)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.shut()
	return w.openAt(w.govOf(n.gov), path)
}

// quiet waits until nothing more happens by itself, the opening of a chain included.
func (n *node) quiet() {
	n.t.Helper()
	for {
		n.settle()
		n.Journal.mu.Lock()
		waiting := n.Journal.own.opening || !n.Journal.own.doubt && len(n.outbox) > 0
		n.Journal.mu.Unlock()
		if !waiting {
			return
		}
		runtime.Gosched()
	}
}

func TestCrashKeepsWhatWasSaved(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			w, ada, ben := pair(t)
			for range 5 + rng.IntN(20) {
				scribble(ada, rng, "script")
				if rng.IntN(3) == 0 {
					pull(t, ada, ben)
					scribble(ben, rng, "script")
				}
			}
			if err := ada.WaitSaved(t.Context()); err != nil {
				t.Fatal(err)
			}
			text, digest, frontier := ada.text("script"), ada.doc("script").Digest(), fmt.Sprint(ada.Frontier())
			again := crash(w, ada)
			if again.text("script") != text || again.doc("script").Digest() != digest || fmt.Sprint(again.Frontier()) != frontier {
				t.Fatalf("%q became %q", text, again.text("script"))
			}
		})
	}
}

// TestUnsentEditsAreSaved: WaitSaved covers what no tier has collected yet, and so does Close.
func TestUnsentEditsAreSaved(t *testing.T) {
	w, ada, _ := pair(t)
	insert := func(n *node, s string) {
		r := n.doc("script")
		if err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, s) }); err != nil {
			t.Fatal(err)
		}
	}
	insert(ada, "saved")
	if err := ada.WaitSaved(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := crash(w, ada)
	if got := again.text("script"); got != "saved" {
		t.Fatalf("after a crash: %q", got)
	}
	insert(again, "closed ")
	again = restart(w, again)
	if got := again.text("script"); got != "closed saved" {
		t.Fatalf("after closing: %q", got)
	}
}

// TestInDoubt: after a crash a device writes on its next chain, and only once it has caught up with somebody.
func TestInDoubt(t *testing.T) {
	w, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "before ")...)
	ada.settle()
	ada = crash(w, ada)
	if envs := ada.write("script", "offline"); len(envs) != 0 || ada.Held() != 1 {
		t.Fatalf("in doubt: %d envelopes, %d held", len(envs), ada.Held())
	}
	if _, open := ada.Chain(); open {
		t.Fatal("the chain is open")
	}
	syncNodes(t, ada, ben)
	ada.Pulled(ben.person.dev.ID)
	ada.quiet()
	head, open := ada.Chain()
	if !open || head.ChainNo != 1 || ada.Held() != 0 {
		t.Fatalf("chain %d open %v, %d held", head.ChainNo, open, ada.Held())
	}
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	if got := ben.text("script"); got != "before offline" {
		t.Fatalf("Ben sees %q", got)
	}
	agree(t, []*node{ada, ben}, "script")
}

// lastEvent returns the newest event that a node holds.
func lastEvent(n *node) (raw []byte) {
	n.gov.View(func(l *governance.Log) {
		for e := range l.All() {
			raw = e.Raw
		}
	})
	return raw
}

// TestAloneThereIsNoDoubt: nobody else can hold newer parts of the chain.
func TestAloneThereIsNoDoubt(t *testing.T) {
	w := newTeam(t)
	w.begin()
	ada := w.open(w.ada)
	ada.write("script", "a")
	ada.settle()
	ada = crash(w, ada)
	if envs := ada.write("script", "b"); len(envs) != 2 || envs[0].Kind != envelope.KindIntroduction || envs[1].ChainNo != 0 {
		t.Fatalf("%v", envs)
	}
}

// TestRestoredStore: a device whose store is older than what it has sent learns of it from a peer, re-issues what it
// has not signed and goes on with a new chain. Nothing is lost, nothing forks.
func TestRestoredStore(t *testing.T) {
	w, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "old ")...)
	ada.settle()
	backup, err := os.ReadFile(ada.path)
	if err != nil {
		t.Fatal(err)
	}
	ben.take(ada, ada.write("script", "lost ")...)
	ada.shut()
	if err := os.WriteFile(ada.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	ada = w.openAt(w.govOf(ada.gov), ada.path)
	ada.write("script", "offline ")
	ada.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	ada.Pulled(ben.person.dev.ID)
	ada.quiet()
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	agree(t, []*node{ada, ben}, "script")
	if got := ben.text("script"); !strings.Contains(got, "lost") || !strings.Contains(got, "offline") || !strings.Contains(got, "old") {
		t.Fatalf("Ben sees %q", got)
	}
	if len(ben.alerted(AlertFork)) != 0 {
		t.Fatal("the chain was forked")
	}
}

// TestNumberTaken: the next chain, whose client ID provisional edits have, turns out to have been opened and written on
// before the store was restored.
func TestNumberTaken(t *testing.T) {
	w, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "old ")...)
	ada.settle()
	ada = crash(w, ada)
	ada.settle()
	backup, err := os.ReadFile(ada.path)
	if err != nil {
		t.Fatal(err)
	}
	oldGov := w.govOf(ada.gov)
	ada.write("script", "first ") // on chain 1
	ada.Pulled(ben.person.dev.ID)
	ada.quiet()
	opening := lastEvent(ada)
	ben.gov.learn(opening)
	syncNodes(t, ada, ben)
	ada.shut()
	if err := os.WriteFile(ada.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	ada = w.openAt(oldGov, ada.path)
	ada.write("script", "second ")
	ada.write("notes", "aside")
	ada.doc("notes")
	ada.gov.learn(opening)
	syncNodes(t, ada, ben)
	ada.settle()
	if got := ada.text("script"); !strings.Contains(got, "first") || !strings.Contains(got, "second") {
		t.Fatalf("Ada sees %q", got)
	}
	ada.Pulled(ben.person.dev.ID)
	ada.quiet()
	if head, open := ada.Chain(); head.ChainNo != 2 || !open {
		t.Fatalf("chain %d open %v", head.ChainNo, open)
	}
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	agree(t, []*node{ada, ben}, "script", "notes")
	if got := ben.text("script"); !strings.Contains(got, "first") || !strings.Contains(got, "second") {
		t.Fatalf("Ben sees %q", got)
	}
}

// TestOwnChainFromElsewhere: while the session runs, a peer shows envelopes of its own chain that it does not hold.
func TestOwnChainFromElsewhere(t *testing.T) {
	w, ada, ben := pair(t)
	f := newForger(w.gov(w.ada), 0)
	elsewhere := []*envelope.Envelope{f.introduce(), f.update("elsewhere ")}
	r := ada.doc("script")
	if err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, "here ") }); err != nil {
		t.Fatal(err)
	}
	ada.take(ben, elsewhere...)
	if len(ada.alerted(AlertDoubt)) != 1 {
		t.Fatalf("alerts %v", ada.alerts)
	}
	ada.settle()
	if _, err := ada.Append(t.Context(), r.ID, nil); err != nil {
		t.Fatal(err)
	}
	if ada.Held() == 0 || !strings.Contains(ada.text("script"), "here") || !strings.Contains(ada.text("script"), "elsewhere") {
		t.Fatalf("%d held, %q", ada.Held(), ada.text("script"))
	}
	ada.Pulled(ben.person.dev.ID)
	ada.quiet()
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	agree(t, []*node{ada, ben}, "script")
}

func TestChainThatCannotBeOpened(t *testing.T) {
	_, n, _ := pair(t)
	failing := &failingGov{}
	failing.gov = n.gov
	n.Journal.mu.Lock()
	n.Journal.gov = failing
	clear(n.Journal.own.ours)
	n.renumber()
	n.Journal.mu.Unlock()
	n.settle()
	n.write("script", "x")
	for len(n.alerted(AlertChain)) == 0 {
		runtime.Gosched()
	}
	if a := n.alerted(AlertChain)[0]; !errors.Is(a.Err, errNoEvent) || n.Held() == 0 {
		t.Fatalf("%v, %d held", a, n.Held())
	}
}

var errNoEvent = errors.New("no event")

type failingGov struct{ *gov }

func (failingGov) OpenChain(context.Context) (uint32, error) { return 0, errNoEvent }

// TestLostClientID: the chain has lost its client ID to another, so that nothing of it counts; its edits are made again
// on the next chain.
func TestLostClientID(t *testing.T) {
	_, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "Ada ")...)
	ben.write("script", "Ben ")
	pull(t, ada, ben)
	r := ada.doc("script")
	if err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, "unsent ") }); err != nil {
		t.Fatal(err)
	}
	ada.Journal.mu.Lock()
	ada.chains[chainKey{ada.person.dev.ID, 0}].limit = 0 // as the state would say
	ada.Journal.own.doubt = true                         // stay in this moment
	if err := ada.recall(chainKey{ada.person.dev.ID, 0}); err != nil {
		t.Fatal(err)
	}
	ada.move(map[uint32]uint32{0: 1}, []uint32{0})
	ada.markStale()
	ada.Journal.mu.Unlock()
	ada.settle()
	// Ben's edit stood behind Ada's, which is another's now: it is kept but not shown.
	if got := ada.text("script"); got != "unsent Ada " || len(r.Blocked()) == 0 {
		t.Fatalf("%q, blocked %v", got, r.Blocked())
	}
	if _, err := ada.Append(t.Context(), r.ID, nil); err != nil {
		t.Fatal(err)
	}
	for _, h := range ada.outbox {
		for _, u := range h.Updates {
			if err := createsOnly(u, ada.clientOf(1)); err != nil {
				t.Error(err)
			}
		}
	}
	if ada.Held() < 2 || ada.text("script") != "unsent Ada " {
		t.Fatalf("%d held, %q", ada.Held(), ada.text("script"))
	}
}
