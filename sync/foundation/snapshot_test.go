package foundation

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/studio-whip/collab/identity"
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
