package journal

import (
	"slices"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
)

// What a checkpoint may settle is what is held and counts: of a chain that was cut the part before the cut, elsewhere all
// that has arrived, and no envelope by another name.
func TestContent(t *testing.T) {
	_, ada, ben, cyd := trio(t)
	cut := cutAt(ada, ben.person)
	ben.write("script", "B2")
	pull(t, cyd, ben)
	syncNodes(t, ada, cyd)
	ends := cutAt(cyd, ben.person)
	if ends.Seq <= cut.Seq {
		t.Fatalf("Ben's chain ends at %d, before at %d", ends.Seq, cut.Seq)
	}
	got, err := cyd.Content(t.Context())
	if err != nil || !slices.Contains(got, ends) || slices.ContainsFunc(got, func(c governance.Cut) bool { return !cyd.Counts(c) }) {
		t.Errorf("content: %+v, %v", got, err)
	}
	wrong, beyond := cut, ends
	wrong.Envelope = wire.ID{1}
	beyond.Seq++
	for name, c := range map[string]struct {
		cut  governance.Cut
		want bool
	}{"an earlier one": {cut, true}, "another's name": {wrong, false}, "one to come": {beyond, false}, "none": {governance.Cut{Device: cut.Device}, false}} {
		if cyd.Counts(c.cut) != c.want {
			t.Errorf("%s: counts %v", name, !c.want)
		}
	}
	cyd.gov.learn(ada.gov.remove(ben.person, cut))
	cyd.settle()
	if got, err = cyd.Content(t.Context()); err != nil || !slices.Contains(got, cut) || slices.Contains(got, ends) || cyd.Counts(ends) {
		t.Errorf("after the cut: %+v, %v", got, err)
	}
}
