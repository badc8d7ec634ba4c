package foundation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
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

		dora := anna.join(newNode(t, "dora"))
		var alerts []journal.Alert
		var mu sync.Mutex
		dora.j.OnAlert(func(a journal.Alert) { mu.Lock(); defer mu.Unlock(); alerts = append(alerts, a) })
		must(t, dora.p.Pull(t.Context(), anna.device()))
		must(t, berta.p.Pull(t.Context(), anna.device()))
		dora.meet(berta)
		must(t, dora.f.FetchSnapshots(t.Context(), berta.device()))
		theirs, err := dora.j.Doc("notes")
		must(t, err)
		must(t, dora.j.Settled(t.Context()))
		if got := dora.text("notes"); !strings.Contains(got, "Carl resigns. ") || !theirs.Unverified() {
			t.Fatalf("dora sees %q, unverified %v: the lie was not told", got, theirs.Unverified())
		}
		must(t, dora.f.Sync(t.Context(), anna.device()))
		eventually(t, "the rebuild wins", func() bool { return !theirs.Unverified() && dora.text("notes") == "Carl stays. " })
		equal(t, []string{"notes"}, anna, dora)
		eventually(t, "the server is named", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.ContainsFunc(alerts, func(a journal.Alert) bool {
				return a.Kind == journal.AlertSnapshot && a.Device == berta.device() && a.Doc == doc.ID
			})
		})
	})
}
