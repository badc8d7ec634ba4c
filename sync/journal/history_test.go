package journal

import (
	"errors"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/sync/envelope"
)

// history reads the whole history of a document.
func (n *node) history(name string) (out []Written) {
	n.t.Helper()
	for w, err := range n.History(n.doc(name).ID) {
		if err != nil {
			n.t.Fatal(err)
		}
		out = append(out, w)
	}
	return out
}

// The history of a document makes the document, and says who wrote what.
func TestHistory(t *testing.T) {
	_, ada, ben := pair(t)
	for range 3 {
		ada.write("script", "A")
		syncNodes(t, ada, ben)
		ben.write("script", "B")
		syncNodes(t, ada, ben)
	}
	ada.write("other", "not of this document")
	again := crdt.New()
	by := map[string]int{}
	for _, w := range ada.history("script") {
		if !w.Counts {
			t.Errorf("envelope %d does not count", w.Seq)
		}
		for _, u := range w.Updates {
			if _, err := again.ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
		by[w.Device.String()]++
	}
	if again.Digest() != ada.doc("script").CRDT().Digest() {
		t.Error("the history makes another document")
	}
	if by[ada.person.dev.ID.String()] != 3 || by[ben.person.dev.ID.String()] != 3 {
		t.Errorf("authors %v; want 3 of each", by)
	}
	for range ada.History(ada.doc("script").ID) {
		break // an early stop is no error
	}
}

// What was written after a removal does not open for the removed, though they hold everything from before; and an
// envelope that was changed, or is of another project, opens for nobody.
func TestReadRecorded(t *testing.T) {
	_, ada, ben := pair(t)
	ada.write("script", "before")
	syncNodes(t, ada, ben)
	before := ada.history("script")[0]
	got, err := ben.Read(before.Sealed)
	if err != nil || !got.Counts || !slices.EqualFunc(got.Updates, before.Updates, slices.Equal) {
		t.Fatalf("an envelope from before: %+v, %v", got, err)
	}
	ada.gov.remove(ben.person)
	ada.Changed()
	ada.write("script", "after")
	after := ada.history("script")[1]
	e, err := envelope.ParseStored(after.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	ben.gov.mu.Lock()
	ben.gov.blind[*e.Epoch] = true // all keys of this world lie on one ring: take away what ben was never given
	ben.gov.mu.Unlock()
	if _, err := ben.Read(after.Sealed); !errors.Is(err, ErrNoKey) {
		t.Errorf("an envelope from after the removal: %v; want ErrNoKey", err)
	}
	if _, err := ben.Read(before.Sealed); err != nil {
		t.Errorf("an envelope from before, again: %v", err)
	}
	for i := range before.Sealed {
		if i%17 != 0 {
			continue
		}
		changed := slices.Clone(before.Sealed)
		changed[i] ^= 1
		if got, err := ada.Read(changed); err == nil && got.Counts {
			t.Errorf("byte %d changed: read as one that counts", i)
		}
	}
	_, other, _ := pair(t)
	if _, err := other.Read(before.Sealed); !errors.Is(err, ErrProject) {
		t.Errorf("in another project: %v; want ErrProject", err)
	}
}
