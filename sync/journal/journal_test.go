package journal

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a project of two editors.
func pair(t *testing.T) (w *team, ada, ben *node) {
	t.Helper()
	w = newTeam(t)
	w.begin()
	b := newPerson(t, "Ben")
	w.admit(governance.Editor, b)
	return w, w.open(w.ada), w.open(b)
}

func TestEditReachesTheOther(t *testing.T) {
	_, ada, ben := pair(t)
	envs := ada.write("script", "INT. HOUSE")
	if envs[0].Kind != envelope.KindIntroduction || envs[0].Seq != 1 {
		t.Fatalf("session begins with %v %d", envs[0].Kind, envs[0].Seq)
	}
	ben.take(ada, envs...)
	if got := ben.text("script"); got != "INT. HOUSE" {
		t.Fatalf("Ben sees %q", got)
	}
	if got := ben.Names(); len(got) != 1 || got[0] != "script" {
		t.Fatalf("Ben's names: %q", got)
	}
	if more := ada.write("script", " - DAY"); len(more) != 1 {
		t.Fatalf("second edit made %d envelopes", len(more))
	}
	syncNodes(t, ada, ben)
	if got := ben.text("script"); got != "INT. HOUSE - DAY" {
		t.Fatalf("Ben sees %q", got)
	}
	if ada.doc("script").Digest() != ben.doc("script").Digest() {
		t.Fatal("digests differ")
	}
	if got := ada.published(); len(got) != len(envs)+1 {
		t.Fatalf("%d envelopes were published", len(got))
	}
}

func TestViewerIsRefusedBeforeTheDocumentChanges(t *testing.T) {
	w := newTeam(t)
	w.begin()
	eve := newPerson(t, "Eve")
	w.admit(governance.Viewer, eve)
	ada, n := w.open(w.ada), w.open(eve)
	n.take(ada, ada.write("script", "text")...)
	r := n.doc("script")
	err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, "no") })
	if !errors.Is(err, ErrReadOnly) || n.text("script") != "text" {
		t.Fatalf("update: %v, text %q", err, n.text("script"))
	}
	// An edit that went round it is refused too, and undone.
	_ = r.CRDT().Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 0, "no") })
	if _, err := n.Append(t.Context(), r.ID, r.unsent()); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("append: %v", err)
	}
	n.settle()
	if got := n.text("script"); got != "text" {
		t.Fatalf("after the refusal: %q", got)
	}
	if len(n.published()) != 0 {
		t.Fatal("a viewer has published")
	}
}
