package foundation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/traffic"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// A newcomer sees the documents at once, unverified; when the envelopes have come they are verified.
func TestNewcomer(t *testing.T) {
	anna := newNode(t, "anna").found()
	docs := []string{"script", "notes", "cast", "shots", "music", "ideas"}
	for i := range 30 {
		anna.write(docs[i%len(docs)], fmt.Sprint(i, " "))
	}
	berta := anna.join(newNode(t, "berta"))
	must(t, berta.f.FetchSnapshots(t.Context(), anna.device()))
	if got := berta.j.Names(); !slices.Equal(got, anna.j.Names()) || len(got) != len(docs) {
		t.Fatalf("berta knows the documents %q", got)
	}
	for _, name := range docs {
		if got, want := berta.text(name), anna.text(name); got != want {
			t.Errorf("%s: berta sees %q, anna %q", name, got, want)
		}
		if !berta.unverified(name) {
			t.Errorf("%s is said to be verified without one envelope", name)
		}
	}
	must(t, berta.f.Sync(t.Context(), anna.device()))
	for _, name := range docs {
		eventually(t, name+" is verified", func() bool { return !berta.unverified(name) })
	}
	equal(t, docs, anna, berta)
}

// A snapshot that rests on governance events which the newcomer has not heard of makes it pull them first.
func TestSnapshotAheadOfGovernance(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	berta.host.Disconnect(anna.device())
	eventually(t, "anna is alone", func() bool { return len(anna.host.Connected()) == 0 })
	_, err := anna.p.CreateInvite(t.Context(), membership.InviteOptions{})
	must(t, err)
	anna.write("script", "text")
	berta.connect(anna.node)

	pulls := 0
	berta.pull = func(ctx context.Context, d identity.DeviceID) error {
		pulls++
		return berta.p.Pull(ctx, d)
	}
	must(t, berta.f.FetchSnapshots(t.Context(), anna.device()))
	if got := berta.text("script"); got != "text" || !berta.unverified("script") || pulls != 1 {
		t.Errorf("berta sees %q, unverified %v, after %d pulls", got, berta.unverified("script"), pulls)
	}
}

// Without documents the answer is an empty offer, not a refusal.
func TestNothingToFetch(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	must(t, berta.f.FetchSnapshots(t.Context(), anna.device()))
	must(t, berta.f.Sync(t.Context(), anna.device()))
	if len(berta.j.Names()) != 0 || len(berta.j.Frontier()) != 0 {
		t.Error("something came of nothing")
	}
}

// misled has dora join and take the snapshot of "notes" from a server that lies. named tells whether she was alerted to it.
func misled(t *testing.T, host, server *room) (dora *room, doc *journal.Replica, named func() bool) {
	t.Helper()
	dora = host.join(newNode(t, "dora"))
	var alerts []journal.Alert
	var mu sync.Mutex
	dora.j.OnAlert(func(a journal.Alert) { mu.Lock(); defer mu.Unlock(); alerts = append(alerts, a) })
	must(t, dora.p.Pull(t.Context(), host.device()))
	must(t, server.p.Pull(t.Context(), host.device()))
	dora.meet(server)
	must(t, dora.f.FetchSnapshots(t.Context(), server.device()))
	doc, err := dora.j.Doc("notes")
	must(t, err)
	must(t, dora.j.Settled(t.Context()))
	return dora, doc, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(alerts, func(a journal.Alert) bool {
			return a.Kind == journal.AlertSnapshot && a.Device == server.device() && a.Doc == doc.ID
		})
	}
}

// Berta runs a program that shows, and serves, a paragraph more than its envelopes make, under Carl's name.
func TestScenario44LyingServer(t *testing.T) {
	scenario.Run(t, 44, "a member serves a snapshot with a paragraph forged under another's name: unverified until rebuilt, the alert names the server, the rebuild wins at every newcomer", func(t *testing.T) {
		anna, berta, carl := trio(t)
		berta.meet(anna)
		berta.meet(carl)
		carl.write("notes", "Carl stays. ")
		must(t, anna.f.Sync(t.Context(), carl.device()))
		must(t, berta.f.Sync(t.Context(), carl.device()))
		doc, err := berta.j.Doc("notes")
		must(t, err)
		must(t, berta.j.Settled(t.Context()))
		client := identity.ClientID(berta.p.ID(), carl.device(), chainOf(t, berta, carl).ChainNo)
		forged := crdt.New(crdt.WithClientID(uint64(client)))
		state, err := doc.CRDT().EncodeUpdate(nil)
		must(t, err)
		_, err = forged.ApplyUpdate(state)
		must(t, err)
		must(t, forged.Update(func(tx *crdt.Txn) error { return forged.Text("body").Insert(tx, 0, "Carl resigns. ") }))
		state, err = forged.EncodeUpdate(nil)
		must(t, err)
		_, err = doc.CRDT().ApplyUpdate(state)
		must(t, err)

		dora, theirs, named := misled(t, anna, berta)
		if got := dora.text("notes"); !strings.Contains(got, "Carl resigns. ") || !theirs.Unverified() {
			t.Fatalf("dora sees %q, unverified %v: the lie was not told", got, theirs.Unverified())
		}
		must(t, dora.f.Sync(t.Context(), anna.device()))
		eventually(t, "the rebuild wins", func() bool { return !theirs.Unverified() && dora.text("notes") == "Carl stays. " })
		equal(t, []string{"notes"}, anna, dora)
		eventually(t, "the server is named", named)
	})
}

// snapshotCore is the signed part of a snapshot, by the numbers of the journal's SPEC.md.
type snapshotCore struct {
	wire.Head
	Project    genesis.ProjectID    `cbor:"3,keyasint"`
	Doc        journal.DocID        `cbor:"4,keyasint"`
	Frontier   []place              `cbor:"5,keyasint"`
	Checkpoint *governance.EventID  `cbor:"6,keyasint,omitempty"`
	Heads      []governance.EventID `cbor:"7,keyasint"`
	State      []byte               `cbor:"8,keyasint"`
	Epoch      governance.EpochID   `cbor:"9,keyasint"`
	Nonce      [24]byte             `cbor:"10,keyasint"`
}

// trimmer is a host that serves its snapshots with one envelope less of an author in the frontier than is in them: whoever
// believed that would take the author's last edit for one that came later.
type trimmer struct {
	*room
	author identity.DeviceID
	before wire.ID // the envelope before the author's last
}

func (r *trimmer) serve(h *p2p.Host) {
	h.Handle(protocolSnapshot, p2p.Member, func(ctx context.Context, st *p2p.Stream) {
		x := &exchange{stream: st, passed: &traffic.Counter{}}
		defer func() { _ = st.Close() }()
		if _, err := x.receive(maxOpening, answerTime); err != nil {
			return
		}
		docs := r.j.DocIDs()
		if x.send(wire.Marshal(offer{Docs: docs})) != nil {
			return
		}
		for {
			raw, err := x.receive(maxWish, wishTime)
			if err != nil {
				return
			}
			w, err := decodeWish(raw)
			if err != nil || len(w.Docs) == 0 {
				return
			}
			for _, doc := range w.Docs {
				if x.send(r.trimmed(doc)) != nil {
					return
				}
			}
		}
	})
}

// trimmed signs a snapshot whose frontier lacks the author's last envelope.
func (r *trimmer) trimmed(doc journal.DocID) []byte {
	raw, err := r.j.Snapshot(doc)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	var signed wire.Signed
	var c snapshotCore
	if err := errors.Join(wire.Unmarshal(raw, &signed, MaxSnapshot), wire.Unmarshal(signed.Core, &c, MaxSnapshot)); err != nil {
		r.t.Error(err)
		return nil
	}
	for i := range c.Frontier {
		if c.Frontier[i].Device == r.author {
			c.Frontier[i].Seq, c.Frontier[i].ID = c.Frontier[i].Seq-1, r.before
		}
	}
	signed.Core = wire.Marshal(c)
	signed.Sigs = [][]byte{r.self.Keys.DK.Sign(sign.Snapshot, signed.Core)}
	return wire.Marshal(signed)
}

// A host serves a snapshot whose frontier leaves out an author's last edit, which is in it.
func TestScenario44TrimmedFrontierFromAHost(t *testing.T) {
	scenario.Run(t, 44, "a host serves a snapshot whose frontier is trimmed by an author's last envelope: unverified until rebuilt, the alert names the host, the rebuild wins", func(t *testing.T) {
		liar := &trimmer{}
		anna := newNode(t, "anna").found()
		berta := anna.join(newNode(t, "berta", liar.serve))
		carl := anna.join(newNode(t, "carl"))
		carl.write("notes", "Carl stays. ")
		chain := chainOf(t, carl, carl)
		liar.room, liar.author, liar.before = berta, carl.device(), headOf(carl, chain)
		carl.write("notes", "For now. ")
		for _, r := range []*room{anna, berta} {
			r.meet(carl)
			must(t, r.f.Sync(t.Context(), carl.device()))
		}
		_, err := berta.j.Doc("notes")
		must(t, err)
		must(t, berta.j.Settled(t.Context()))

		dora, theirs, named := misled(t, anna, berta)
		if got := dora.text("notes"); got != "Carl stays. For now. " || !theirs.Unverified() {
			t.Fatalf("dora sees %q, unverified %v: no snapshot was taken", got, theirs.Unverified())
		}
		must(t, dora.f.Sync(t.Context(), anna.device()))
		eventually(t, "the server is named", named)
		if theirs.Unverified() {
			t.Error("it still rests on the snapshot")
		}
		equal(t, []string{"notes"}, anna, dora)
	})
}
