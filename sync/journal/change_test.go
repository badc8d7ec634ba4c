package journal

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// trio is a project of three editors who have all written; each holds everything.
func trio(t *testing.T) (w *team, ada, ben, cyd *node) {
	t.Helper()
	w = newTeam(t)
	w.begin()
	b, c := newPerson(t, "Ben"), newPerson(t, "Cyd")
	w.admit(governance.Editor, b, c)
	ada, ben, cyd = w.open(w.ada), w.open(b), w.open(c)
	ada.write("script", "A")
	syncNodes(t, ada, ben)
	ben.write("script", "B1")
	syncNodes(t, ada, ben)
	return w, ada, ben, cyd
}

// cutAt names the present end of a person's chain at a node.
func cutAt(n *node, p *person) governance.Cut {
	for _, h := range n.Frontier() {
		if h.Device == p.dev.ID {
			return governance.Cut{Device: h.Device, ChainNo: h.ChainNo, Seq: h.Seq, Envelope: h.ID}
		}
	}
	return governance.Cut{Device: p.dev.ID}
}

// TestLateEditsOfARemovedMember is scenario 88: some replicas have applied what lies beyond the cut, some have not.
func TestLateEditsOfARemovedMember(t *testing.T) {
	_, ada, ben, cyd := trio(t)
	cut := cutAt(ada, ben.person)
	late := ben.write("script", "B2") // Ada has not seen it when she removes him
	late = append(late, ben.edit(ben.doc("script"), func(tx *crdt.Txn) error {
		return ben.doc("script").CRDT().Map("meta").Set(tx, "title", "Ben's")
	})...)
	pull(t, cyd, ben)
	if got := cyd.text("script"); got != "AB1B2" {
		t.Fatalf("Cyd sees %q", got)
	}
	var before, after *crdt.Doc
	cyd.doc("script").OnReplaced(func(b, a *crdt.Doc) { before, after = b, a })
	shown := cyd.doc("script").CRDT()

	revoke := ada.gov.remove(ben.person, cut)
	cyd.gov.learn(revoke)
	ben.gov.learn(revoke)
	for _, n := range []*node{ada, cyd} {
		n.settle()
		if got := n.text("script"); got != "AB1" {
			t.Errorf("%s sees %q", n.person.name, got)
		}
		for _, e := range late { // 31: whoever forwards it
			if v, err := n.Accept(t.Context(), e, cyd.person.dev.ID); v == Accepted || v == Refused && !errors.Is(err, ErrCut) {
				t.Errorf("%s: %v %v", n.person.name, v, err)
			}
		}
		if got := cutAt(n, ben.person); got != cut {
			t.Errorf("%s: Ben's chain at %v", n.person.name, got)
		}
	}
	if before != shown || after != cyd.doc("script").CRDT() {
		t.Error("nobody was told that the document was replaced")
	}
	syncNodes(t, ada, cyd)
	agree(t, []*node{ada, cyd}, "script")

	// What follows is written under the new epoch, and the removed cannot go on.
	cyd.write("script", "C")
	syncNodes(t, ada, cyd)
	agree(t, []*node{ada, cyd}, "script")
	if got := ada.text("script"); got != "AB1C" {
		t.Errorf("Ada sees %q", got)
	}
	r := ben.doc("script")
	if err := r.Update(func(*crdt.Txn) error { return nil }); !errors.Is(err, ErrReadOnly) {
		t.Errorf("the removed edits: %v", err)
	}
}

// TestCutEnvelopesArriveLate is scenario 32: a newcomer gets what lies before the cut, from a peer that holds only a
// signature from beyond it.
func TestCutEnvelopesArriveLate(t *testing.T) {
	w, ada, ben, cyd := trio(t)
	cut := cutAt(ada, ben.person)
	ben.write("script", "B2")
	pull(t, cyd, ben) // in one run, signed at its end
	revoke := ada.gov.remove(ben.person, cut)
	cyd.gov.learn(revoke)
	dan := newPerson(t, "Dan")
	admit := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: dan.id.Raw, Device: dan.dev.Raw})
	cyd.gov.learn(admit)
	w.events = append(w.events, revoke, admit)
	n := w.open(dan)
	pull(t, n, cyd)
	if got := n.text("script"); got != "AB1" {
		t.Fatalf("Dan sees %q", got)
	}
	if got := cutAt(n, ben.person); got != cut {
		t.Fatalf("Dan holds Ben's chain to %v, want %v", got, cut)
	}
	again := restart(w, n)
	if got := again.text("script"); got != "AB1" {
		t.Fatalf("after a restart Dan sees %q", got)
	}
}

// TestFork is content equivocation: two envelopes of one place.
func TestFork(t *testing.T) {
	w, ada, cyd := pair(t)
	bob := newPerson(t, "Bob")
	admit := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: bob.id.Raw, Device: bob.dev.Raw})
	cyd.gov.learn(admit)
	g := w.gov(bob)
	g.learn(admit)
	ben := newForger(g, 0)
	common := []*envelope.Envelope{ben.introduce(), ben.update("common ")}
	head := common[1].Head()
	one := []*envelope.Envelope{ben.update("one "), ben.update("more ")}
	first, _ := envelope.ParseUpdate(mustOpen(t, w, common[1]))
	ben.chain, ben.crdt = envelope.NewChain(head), newForger(g, 0).crdt // as if what followed had been forgotten
	_, _ = ben.crdt.ApplyUpdate(first.Updates[0])
	two := []*envelope.Envelope{ben.update("two "), ben.update("else ")}

	ada.take(ada, append(common[:2:2], one...)...)
	cyd.take(ada, append(common[:2:2], two...)...)
	if ada.text("script") != "more one common " || cyd.text("script") != "else two common " {
		t.Fatalf("%q, %q", ada.text("script"), cyd.text("script"))
	}
	syncNodes(t, ada, cyd)
	pull(t, ada, cyd)
	for _, n := range []*node{ada, cyd} {
		n.settle()
		if got := n.text("script"); got != "common " {
			t.Errorf("%s sees %q", n.person.name, got)
		}
		if len(n.alerted(AlertFork)) != 1 {
			t.Errorf("%s: alerts %v", n.person.name, n.alerts)
		}
		if v, err := n.Accept(t.Context(), ben.update("on "), bob.dev.ID); v != Refused && v != Waiting {
			t.Errorf("%s takes more: %v %v", n.person.name, v, err)
		}
	}
	agree(t, []*node{ada, cyd}, "script")

	// The proof survives a restart and convinces a third, who holds one branch.
	ada = restart(w, ada)
	if got := ada.text("script"); got != "common " {
		t.Errorf("after a restart: %q", got)
	}
	dan := newPerson(t, "Dan")
	raw := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: dan.id.Raw, Device: dan.dev.Raw})
	w.events = append(w.events, admit, raw)
	third := w.open(dan)
	third.take(ada, append(common[:2:2], one...)...)
	pull(t, third, ada)
	third.settle()
	if got := third.text("script"); got != "common " || len(third.alerted(AlertFork)) != 1 {
		t.Errorf("the third sees %q", got)
	}
}

// TestForkOfSettledContent: a device that signs another envelope for a place that was settled long ago undoes nothing of
// what was settled.
func TestForkOfSettledContent(t *testing.T) {
	w, ada, cyd := pair(t)
	bob := newPerson(t, "Bob")
	admit := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: bob.id.Raw, Device: bob.dev.Raw})
	cyd.gov.learn(admit)
	g := w.gov(bob)
	g.learn(admit)
	ben := newForger(g, 0)
	chain := []*envelope.Envelope{ben.introduce(), ben.update("common ")}
	head := chain[1].Head()
	chain = append(chain, ben.update("one "), ben.update("settled "), ben.update("more "))
	ben.chain = envelope.NewChain(head)
	other := ben.update("rewritten ")
	for _, n := range []*node{ada, cyd} {
		n.take(ada, chain...)
	}
	var digest wire.ID
	ada.gov.View(func(l *governance.Log) { digest = l.State().Digest() })
	settle := ada.gov.propose(governance.KindCheckpoint, &governance.Checkpoint{
		Number: 1, State: digest, Time: uint64(testTime.Unix()),
		Content: []governance.Cut{{Device: bob.dev.ID, Seq: chain[3].Seq, Envelope: chain[3].ID}},
	})
	for _, n := range []*node{ada, cyd} {
		if v, err := n.Accept(t.Context(), other, bob.dev.ID); v != Refused || !errors.Is(err, ErrFork) {
			t.Fatalf("%v %v", v, err)
		}
		n.settle()
	}
	if got := ada.text("script"); got != "settled one common " {
		t.Errorf("Ada sees %q", got)
	}
	if got := cyd.text("script"); got != "common " { // who has not heard of the checkpoint yet
		t.Errorf("Cyd sees %q", got)
	}
	cyd.gov.learn(settle)
	cyd.settle()
	agree(t, []*node{ada, cyd}, "script")
	if again := restart(w, ada); again.text("script") != "settled one common " {
		t.Errorf("after a restart: %q", again.text("script"))
	}
}

// mustOpen returns the payload of an envelope.
func mustOpen(t *testing.T, w *team, e *envelope.Envelope) []byte {
	t.Helper()
	payload, err := e.Open(contentKey(w.keys[*e.Epoch], e))
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// TestHeldWithoutAnEpoch: a removal has not been followed by a new key yet.
func TestHeldWithoutAnEpoch(t *testing.T) {
	w := newTeam(t)
	w.begin()
	b, c := newPerson(t, "Ben"), newPerson(t, "Cyd")
	w.admit(governance.Editor, b, c)
	w.events = append(w.events, w.gov(w.ada).propose(governance.KindRevoke, &governance.Revoke{Member: c.id.Member()}))
	ada := w.open(w.ada)
	if envs := ada.write("script", "held "); len(envs) != 0 || ada.Held() == 0 {
		t.Fatalf("%d envelopes, %d held", len(envs), ada.Held())
	}
	if err := ada.WaitSaved(t.Context()); err != nil {
		t.Fatal(err)
	}
	ada = restart(w, ada)
	if got := ada.text("script"); got != "held " {
		t.Fatalf("after a restart: %q", got)
	}
	var told []int
	ada.OnHeld(func() { told = append(told, ada.Held()) })
	ada.write("script", "more")
	if len(told) != 1 || told[0] != ada.Held() || told[0] < 2 {
		t.Fatalf("told %v, %d are held", told, ada.Held())
	}
	epoch := ada.gov.propose(governance.KindKeyEpoch, ada.gov.mint(identity.MemberID{}))
	if ada.Held() != 0 || told[len(told)-1] != 0 {
		t.Fatalf("%d held with an epoch, told %v", ada.Held(), told)
	}
	w.events = append(w.events, epoch)
	ben := w.open(b)
	ben.take(ada, ada.published()...)
	if got := ben.text("script"); got != "held more" {
		t.Fatalf("Ben sees %q", got)
	}
	agree(t, []*node{ada, ben}, "script")
	if again := restart(w, ada); again.Held() != 0 || again.text("script") != "held more" {
		t.Fatalf("after a restart: %d held, %q", again.Held(), again.text("script"))
	}
}

// TestHeldWithoutTheKey: there is an epoch, but its key has not arrived.
func TestHeldWithoutTheKey(t *testing.T) {
	_, ada, ben := pair(t)
	var id = func() (id governance.EpochID) {
		ben.gov.View(func(l *governance.Log) { e, _ := l.State().SendingEpoch(); id = e.ID })
		return id
	}()
	ben.gov.mu.Lock()
	ben.gov.blind[id] = true
	ben.gov.mu.Unlock()
	fromAda := ada.write("script", "A")
	for _, e := range fromAda {
		v, err := ben.Accept(t.Context(), e, ada.person.dev.ID)
		if want := map[bool]Verdict{true: Accepted, false: Waiting}[e.Kind == envelope.KindIntroduction]; v != want {
			t.Fatalf("%v: %v %v", e.Kind, v, err)
		}
	}
	if envs := ben.write("notes", "B"); len(envs) != 0 {
		t.Fatalf("%d envelopes without a key", len(envs))
	}
	ben.gov.mu.Lock()
	ben.gov.blind[id] = false
	ben.gov.mu.Unlock()
	ben.Changed()
	if ben.text("script") != "A" || ben.Held() != 0 {
		t.Fatalf("with the key: %q, %d held", ben.text("script"), ben.Held())
	}
	ada.take(ben, ben.published()...)
	agree(t, []*node{ada, ben}, "script", "notes")
}

func TestBlockedEditsAreReported(t *testing.T) {
	_, ada, ben := pair(t)
	a := ada.write("script", "A")
	ben.take(ada, a...)
	b := ben.write("script", "B")
	third := openEditor(t, ada, ben)
	third.take(ben, b...) // builds on Ada's edit, which has not arrived
	if third.text("script") != "" || len(third.doc("script").Blocked()) == 0 {
		t.Fatalf("%q, blocked %v", third.text("script"), third.doc("script").Blocked())
	}
	third.take(ada, a...)
	if third.text("script") != "AB" || len(third.doc("script").Blocked()) != 0 {
		t.Fatalf("%q, blocked %v", third.text("script"), third.doc("script").Blocked())
	}
}

// openEditor admits one more person, whose journal everybody's governance knows.
func openEditor(t *testing.T, ada *node, others ...*node) *node {
	t.Helper()
	p := newPerson(t, "Zoe")
	raw := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: p.id.Raw, Device: p.dev.Raw})
	for _, o := range others {
		o.gov.learn(raw)
	}
	w := ada.gov.team
	w.events = append(w.events, raw)
	return w.open(p)
}

func TestNames(t *testing.T) {
	_, ada, ben := pair(t)
	for _, bad := range []string{"", "\x00index", "a\nb", strings.Repeat("x", MaxName+1)} {
		if _, err := ada.Doc(bad); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	ada.doc("never written to")
	ada.write("e\u0301", "x") // decomposed
	ben.take(ada, ada.published()...)
	if got := ben.Names(); len(got) != 1 || got[0] != "\u00e9" {
		t.Fatalf("names %q", got)
	}
	r, err := ben.DocByID(identity.DocumentID([32]byte(ben.project), "\u00e9"))
	if err != nil || r.Name != "\u00e9" {
		t.Fatalf("by id: %v", err)
	}
	if _, err := ben.DocByID(DocID{1}); !errors.Is(err, ErrUnknownDoc) {
		t.Fatal(err)
	}
	// The list of files travels like a document and is in no list of names.
	files, err := ada.AssetIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Update(func(tx *crdt.Txn) error { return files.CRDT().Map("files").Set(tx, "a", []byte{1}) }); err != nil {
		t.Fatal(err)
	}
	if _, err := ada.Append(t.Context(), files.ID, nil); err != nil {
		t.Fatal(err)
	}
	ben.take(ada, ada.published()...)
	theirs, err := ben.AssetIndex()
	if err != nil || theirs.Digest() != files.Digest() {
		t.Fatalf("list of files: %v", err)
	}
	if a, b := ada.Names(), ben.Names(); len(a) != 1 || len(b) != 1 {
		t.Fatalf("names %q and %q", a, b)
	}
	// A name that is not the document's is not listed, whoever writes it.
	index := ben.index.CRDT()
	_ = index.Update(func(tx *crdt.Txn) error {
		return index.Map(namesMap).Set(tx, strings.Repeat("ab", 16), "lie")
	})
	if got := ben.Names(); len(got) != 1 {
		t.Fatalf("names %q", got)
	}
}

// TestOwnEditsBlocked: what this device wrote beside a removed member's text waits for that for ever. Its numbers are
// used, so that the document goes on under another client ID.
func TestOwnEditsBlocked(t *testing.T) {
	w, ada, ben, cyd := trio(t)
	cyd.write("notes", "Cyd ")
	syncNodes(t, ada, cyd)
	ada.write("notes", "Ada ")
	r := ada.doc("notes")
	if err := r.Update(func(tx *crdt.Txn) error { b := r.CRDT().Text("body"); return b.Insert(tx, b.Len(tx), "unsent ") }); err != nil {
		t.Fatal(err)
	}
	revoke := ada.gov.remove(cyd.person)
	ben.gov.learn(revoke)
	ada.settle()
	if got := ada.text("notes"); got != "" || len(r.Blocked()) == 0 {
		t.Fatalf("%q, blocked %v", got, r.Blocked())
	}
	ada.write("notes", "again ")
	ada.write("script", " untouched")
	ada.quiet()
	if ada.Held() != 0 || ada.text("notes") != "again " {
		t.Fatalf("%d held, %q", ada.Held(), ada.text("notes"))
	}
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	ada = restart(w, ada)
	for _, n := range []*node{ada, ben} {
		if got := n.text("notes"); got != "again " {
			t.Errorf("%s sees %q", n.person.name, got)
		}
	}
	ada.write("notes", "and on")
	ada.quiet()
	ben.gov.learn(lastEvent(ada))
	syncNodes(t, ada, ben)
	if got := ben.text("notes"); got != "again and on" || got != ada.text("notes") {
		t.Errorf("Ben sees %q, Ada %q", got, ada.text("notes"))
	}
	if got := ben.text("script"); got != ada.text("script") || !strings.Contains(got, "untouched") {
		t.Errorf("the other document: %q, %q", got, ada.text("script"))
	}
	chains := map[uint32]bool{}
	for _, h := range ben.Frontier() {
		if h.Device == ada.person.dev.ID {
			chains[h.ChainNo] = true
		}
	}
	if len(chains) != 2 {
		t.Errorf("Ada has written on chains %v", chains)
	}
}
