package journal

import (
	"bytes"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// snapshot returns a node's snapshot of a document and its core.
func snapshot(t *testing.T, n *node, name string) ([]byte, *snapshotCore) {
	t.Helper()
	raw, err := n.Snapshot(n.doc(name).ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseSnapshot(raw, n.person.keys.DK.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.open(n.epochKey(c.Epoch), n.person.dev.ID); err != nil {
		t.Fatal(err)
	}
	return raw, c
}

// epochKey returns the key of an epoch that the node holds.
func (n *node) epochKey(id governance.EpochID) [32]byte {
	n.t.Helper()
	key, ok := n.gov.EpochKey(id)
	if !ok {
		n.t.Fatal("no key")
	}
	return key
}

// forge signs a snapshot as the node would, whatever it says.
func (n *node) forge(c snapshotCore) []byte {
	n.t.Helper()
	c.seal(n.epochKey(c.Epoch), n.person.dev.ID)
	return signSnapshot(n.person.keys.DK, c)
}

func TestSnapshotIsShownThenVerified(t *testing.T) {
	w, ada, ben := pair(t)
	rng := mrand.New(mrand.NewPCG(1, 1))
	for range 10 {
		scribble(ada, rng, "script")
		syncNodes(t, ada, ben)
		scribble(ben, rng, "script")
	}
	syncNodes(t, ada, ben)
	raw, _ := snapshot(t, ada, "script")
	zoe := openEditor(t, ada, ben)
	if err := zoe.AdoptSnapshot(t.Context(), raw, ada.person.dev.ID); err != nil {
		t.Fatal(err)
	}
	r := zoe.doc("script")
	if zoe.text("script") != ada.text("script") || !r.Unverified() {
		t.Fatalf("%q, unverified %v", zoe.text("script"), r.Unverified())
	}
	unread := func(n *node) uint64 {
		ofBen := func(d identity.DeviceID) bool { return d == ben.person.dev.ID }
		w, err := n.Wrote(t.Context(), n.doc("script").ID, func(e Written) bool { return ofBen(e.Device) })
		if err != nil {
			t.Fatal(err)
		}
		return n.Unread(n.doc("script").ID, w.Source, ofBen)
	}
	if here, there := unread(zoe), unread(ada); here == 0 || there != 0 {
		t.Errorf("%d units of Ben's have not arrived, with Ada %d", here, there)
	}
	zoe.write("script", "Zoe") // may write at once
	again := restart(w, zoe)
	if r = again.doc("script"); !r.Unverified() || !strings.Contains(again.text("script"), "Zoe") {
		t.Fatalf("after a restart: %q, unverified %v", again.text("script"), r.Unverified())
	}
	pull(t, again, ben)
	again.settle()
	if r.Unverified() || len(again.alerts) > 0 || unread(again) != 0 {
		t.Fatalf("unverified %v, %v, unread %d", r.Unverified(), again.alerts, unread(again))
	}
	syncNodes(t, again, ada)
	syncNodes(t, again, ben)
	agree(t, []*node{ada, ben, again}, "script")
}

// misleading returns an update of a document that shows the same and takes later edits elsewhere: a struct in it names
// other neighbours than its author has named.
func misleading(t *testing.T, update []byte) []byte {
	t.Helper()
	honest := docOf(t, update)
	want, err := structure(honest)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := parseChanges(update)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole.structs {
		for j := range whole.structs {
			lie, err := parseChanges(update)
			if err != nil {
				t.Fatal(err)
			}
			p, other := &lie.structs[i], lie.structs[j].ident
			if p.origin == nil || i == j {
				continue
			}
			p.origin = &other
			forged := lie.encode()
			doc := crdt.New()
			if _, err := doc.ApplyUpdate(forged); err != nil || len(doc.Missing()) > 0 || doc.Digest() != honest.Digest() {
				continue
			}
			if got, err := structure(doc); err == nil && got != want {
				return forged
			}
		}
	}
	t.Fatal("no other neighbours give the same text")
	return nil
}

// TestLyingSnapshot is scenarios 44 and 96: the rebuild wins, and names the liar.
func TestScenario44LyingSnapshot(t *testing.T) {
	scenario.Run(t, 44, "a lying snapshot, one paragraph changed, one author's frontier trimmed, later edits misled: unverified until rebuilt, the alert names the server, the rebuild wins", lyingSnapshot)
}

func lyingSnapshot(t *testing.T) {
	for name, lie := range map[string]func(*testing.T, *node, *node, *snapshotCore){
		"changed paragraph": func(t *testing.T, _, ben *node, c *snapshotCore) {
			forged := crdt.New(crdt.WithClientID(uint64(identity.ClientID([32]byte(ben.project), ben.person.dev.ID, 0))))
			_ = forged.Update(func(tx *crdt.Txn) error { return forged.Text("body").Insert(tx, 0, "I resign. ") })
			c.state, _ = forged.EncodeUpdate(nil)
		},
		"trimmed frontier": func(t *testing.T, ada, _ *node, c *snapshotCore) {
			for i := range c.Frontier {
				if c.Frontier[i].Device == ada.person.dev.ID {
					c.Frontier[i].Seq--
					c.Frontier[i].ID, _ = ada.idAt(ada.chain(c.Frontier[i].chain()), c.Frontier[i].Seq)
				}
			}
		},
		"order of later edits": func(t *testing.T, _, _ *node, c *snapshotCore) { c.state = misleading(t, c.state) },
	} {
		t.Run(name, func(t *testing.T) {
			_, ada, ben := pair(t)
			for range 3 {
				ada.write("script", "A")
				syncNodes(t, ada, ben)
				ben.write("script", "B")
				syncNodes(t, ada, ben)
			}
			_, c := snapshot(t, ada, "script")
			before := bytes.Clone(c.state)
			lie(t, ada, ben, c)
			zoe := openEditor(t, ada, ben)
			if err := zoe.AdoptSnapshot(t.Context(), ada.forge(*c), ada.person.dev.ID); err != nil {
				t.Fatal(err)
			}
			zoe.settle()
			if name != "trimmed frontier" && bytes.Equal(before, c.state) {
				t.Fatal("no lie was told")
			}
			if !zoe.doc("script").Unverified() {
				t.Fatal("verified without envelopes")
			}
			pull(t, zoe, ben)
			zoe.settle()
			alerts := zoe.alerted(AlertSnapshot)
			if len(alerts) != 1 || alerts[0].Device != ada.person.dev.ID || zoe.doc("script").Unverified() {
				t.Fatalf("alerts %v, unverified %v", zoe.alerts, zoe.doc("script").Unverified())
			}
			agree(t, []*node{ben, zoe}, "script")
		})
	}
}

func TestSnapshotRefused(t *testing.T) {
	_, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "A")...)
	raw, c := snapshot(t, ada, "script")
	zoe := openEditor(t, ada, ben)
	eve := newPerson(t, "Eve")
	resign := func(change func(*snapshotCore)) []byte {
		other := *c
		change(&other)
		return ada.forge(other)
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	var own []byte
	{
		d := crdt.New(crdt.WithClientID(zoe.clientOf(zoe.Journal.own.no)))
		_ = d.Update(func(tx *crdt.Txn) error { return d.Text("body").Insert(tx, 0, "x") })
		own, _ = d.EncodeUpdate(nil)
	}
	c2, c3 := *c, *c
	c2.seal([32]byte{1}, ada.person.dev.ID)
	c3.Epoch[0] ^= 1
	for _, k := range []struct {
		name  string
		raw   []byte
		giver *person
		want  error
	}{
		{"altered", flipped, ada.person, sign.ErrSignature},
		{"signed by another", raw, ben.person, sign.ErrSignature},
		{"by a stranger", raw, eve, ErrSnapshot},
		{"of another project", resign(func(c *snapshotCore) { c.Project[0] ^= 1 }), ada.person, ErrProject},
		{"no update", resign(func(c *snapshotCore) { c.state = []byte{7} }), ada.person, ErrSnapshot},
		{"unknown heads", resign(func(c *snapshotCore) { c.Heads = []governance.EventID{{1}} }), ada.person, ErrUnverifiable},
		{"unsorted heads", resign(func(c *snapshotCore) { c.Heads = []governance.EventID{{2}, {1}} }), ada.person, ErrSnapshot},
		{"empty place", resign(func(c *snapshotCore) { c.Frontier = []place{{}} }), ada.person, ErrSnapshot},
		{"own edits", resign(func(c *snapshotCore) { c.state = own }), ada.person, ErrSnapshot},
		{"truncated", raw[:len(raw)/2], ada.person, wire.ErrMalformed},
		{"empty", nil, ada.person, ErrSnapshot},
		{"sealed under another key", signSnapshot(ada.person.keys.DK, c2), ada.person, ErrEpoch},
		{"of an unknown epoch", signSnapshot(ada.person.keys.DK, c3), ada.person, ErrUnverifiable},
	} {
		if err := zoe.AdoptSnapshot(t.Context(), k.raw, k.giver.dev.ID); !errors.Is(err, k.want) {
			t.Errorf("%s: %v, want %v", k.name, err, k.want)
		}
		if zoe.doc("script").Unverified() || zoe.text("script") != "" {
			t.Errorf("%s: it was adopted", k.name)
		}
	}
	// What is held already needs no snapshot.
	if err := ben.AdoptSnapshot(t.Context(), raw, ada.person.dev.ID); err != nil || ben.doc("script").Unverified() {
		t.Errorf("nothing new: %v", err)
	}
}

// TestSnapshotOfACutChain: what a removed member wrote beyond the cut comes in by no snapshot either.
func TestSnapshotOfACutChain(t *testing.T) {
	_, ada, ben, cyd := trio(t)
	cut := cutAt(ada, ben.person)
	ben.write("script", "B2")
	pull(t, cyd, ben)
	raw, _ := snapshot(t, cyd, "script")
	revoke := ada.gov.remove(ben.person, cut)
	cyd.gov.learn(revoke)
	ada.gov.team.events = append(ada.gov.team.events, revoke)
	zoe := openEditor(t, ada, cyd)
	if err := zoe.AdoptSnapshot(t.Context(), raw, cyd.person.dev.ID); !errors.Is(err, ErrCut) {
		t.Fatalf("%v", err)
	}
}

// TestUnsentEditsAreInNoSnapshot: a newcomer must be able to rebuild what a snapshot shows.
func TestUnsentEditsAreInNoSnapshot(t *testing.T) {
	_, ada, ben := pair(t)
	ben.take(ada, ada.write("script", "sent")...)
	r := ada.doc("script")
	_ = r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, "unsent ") })
	_, c := snapshot(t, ada, "script")
	shown := crdt.New()
	if _, err := shown.ApplyUpdate(c.state); err != nil {
		t.Fatal(err)
	}
	want, _ := structure(ben.doc("script").CRDT())
	if got, _ := structure(shown); got != want {
		t.Fatal("the snapshot holds more than its envelopes")
	}
}

// TestLocalSnapshot: a long document is opened from its snapshot and the tail, and from envelopes when the snapshot is
// damaged or does not hold any more.
func TestLocalSnapshot(t *testing.T) {
	w, ada, ben := pair(t)
	rng := mrand.New(mrand.NewPCG(3, 3))
	for range tailEnvelopes + 20 {
		scribble(ada, rng, "script")
	}
	pull(t, ben, ada)
	ben.write("script", "Ben")
	pull(t, ada, ben)
	ada.settle()
	local := func(n *node) (l localRecord) {
		_ = n.store.View(func(tx *store.Tx) error {
			id := n.doc("script").ID
			raw, ok, err := tx.Map(snapshotsMap).Get(id[:])
			if ok {
				err = unmarshal(raw, &l)
			}
			return err
		})
		return l
	}
	if l := local(ada); l.Entries <= tailEnvelopes {
		t.Fatalf("local snapshot of %d envelopes", l.Entries)
	}
	again := restart(w, ada)
	if tail := again.doc("script").tail; tail > tailEnvelopes {
		t.Fatalf("%d envelopes were replayed", tail)
	}
	agree(t, []*node{again, ben}, "script")

	id := again.doc("script").ID
	l := local(again)
	again.shut()
	st, err := store.Open(again.path, store.Options{Key: storeKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Update(func(tx *store.Tx) error { return tx.Log(stateLog(id, l.Number)).Truncate(0) }); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again = w.openAt(w.govOf(again.gov), again.path)
	agree(t, []*node{again, ben}, "script")
}

// TestLocalSnapshotFromBeforeARemoval: it shows what does not count any more.
func TestLocalSnapshotFromBeforeARemoval(t *testing.T) {
	w, ada, ben, cyd := trio(t)
	for range tailEnvelopes + 20 {
		cyd.write("script", ".")
	}
	pull(t, ada, cyd)
	ada.settle()
	ada.shut()
	g := w.govOf(ada.gov)
	ben.gov.learn(g.remove(cyd.person))
	ada = w.openAt(g, ada.path)
	ben.settle()
	if got := ada.text("script"); got != ben.text("script") || strings.Contains(got, ".") {
		t.Fatalf("%q, %q", got, ben.text("script"))
	}
	agree(t, []*node{ada, ben}, "script")
}

// TestRunsFromAnywhere: a chain of which few signatures are kept can be served from every place.
func TestRunsFromAnywhere(t *testing.T) {
	w, ada, ben := pair(t)
	f := newForger(w.gov(ben.person), 0)
	n := 600
	ada.take(ben, f.introduce())
	for range n - 1 {
		ada.take(ben, f.update("x"))
	}
	kept := 0
	_ = ada.store.View(func(tx *store.Tx) error {
		for range tx.Map(sigsMap(chainKey{ben.person.dev.ID, 0}, 0)).All() {
			kept++
		}
		return nil
	})
	if kept > 4 {
		t.Errorf("%d signatures are kept for %d envelopes", kept, n)
	}
	for after := uint64(0); after < uint64(n); after += 37 {
		for at := after; at < uint64(n); {
			run, last, err := ada.Run(ben.person.dev.ID, 0, at)
			if err != nil || run == nil || last <= at {
				t.Fatalf("after %d: %d, %v", at, last, err)
			}
			at = last
		}
	}
	runs, err := ada.Runs(ben.person.dev.ID, 0, 0, 1<<30)
	if err != nil || len(runs) < 3 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	dan := openEditor(t, ada)
	for _, run := range runs {
		if err := dan.AcceptRun(t.Context(), run, ada.person.dev.ID); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(dan.Frontier()) != fmt.Sprint(ada.Frontier()) {
		t.Fatalf("%v, %v", dan.Frontier(), ada.Frontier())
	}
	agree(t, []*node{ada, dan}, "script")
}

// TestAlteredRun is scenario 95.
func TestAlteredRun(t *testing.T) {
	w, ada, ben := pair(t)
	f := newForger(w.gov(ben.person), 0)
	ada.take(ben, f.introduce())
	for range 20 {
		ada.take(ben, f.update("x"))
	}
	run, _, err := ada.Run(ben.person.dev.ID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	dan := openEditor(t, ada)
	for at := 10; at < len(run); at += len(run)/40 + 1 {
		bad := bytes.Clone(run)
		bad[at] ^= 1
		if err := dan.AcceptRun(t.Context(), bad, ada.person.dev.ID); err == nil || len(dan.Frontier()) != 0 {
			t.Fatalf("bit %d: %v, %v", at, err, dan.Frontier())
		}
	}
	if err := dan.AcceptRun(t.Context(), run, ada.person.dev.ID); err != nil {
		t.Fatal(err)
	}
}
