package governance

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Scenario 87, as far as the log says it: who was lowered cites heads from before. By these he may write still; that they do
// not hold what he had cited already is what gives him away.
//
//	start -> b: B is an editor -> lowered: A makes B a viewer
//	         cited later        cited first
func TestScenario87HeadsThatGoBack(t *testing.T) {
	scenario.Run(t, 87, "a demoted editor cites heads older than those he cited before: they do not include these", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.draw(`G -> key -> b -> lowered`, map[string]step{
			"key": epochStep("A"), "b": admitStep("A", "B", Editor), "lowered": dropStep("A", "B", Viewer),
		})
		first, later := tm.heads("lowered"), tm.heads("b")
		s, err := tm.log.StateAt(later)
		if err != nil || !s.May(tm.person("B").device.ID, ActWrite) {
			t.Fatalf("by the older heads B may write, or the scenario is none: %v", err)
		}
		if grows, err := tm.log.Includes(later, first); err != nil || grows {
			t.Fatalf("heads that go back pass: %v", err)
		}
		if grows, err := tm.log.Includes(first, later); err != nil || !grows {
			t.Fatalf("heads that grow do not pass: %v", err)
		}
		if s := tm.log.State(); s.May(tm.person("B").device.ID, ActWrite) {
			t.Error("a viewer writes")
		}
	})
}

// Scenario 92, as far as the log says it: an epoch from before a removal is not usable for who cites the removal, and is for
// who did not know of it.
//
//	start -> c: C is an editor, with the key of start -> out: A removes C and mints
func TestScenario92EpochFromBeforeARemoval(t *testing.T) {
	scenario.Run(t, 92, "a sender cites a removal and seals under the epoch before it: not usable there, usable where it was not known", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.draw(`G -> key -> c -> out`, map[string]step{
			"key": epochStep("A"), "c": admitStep("A", "C", Editor), "out": revokeStep("A", "C"),
		})
		old, fresh := tm.log.h.entries[tm.log.h.byID[tm.ids["key"]]].epoch.id, tm.log.h.entries[tm.log.h.byID[tm.ids["out"]]].epoch.id
		for head, want := range map[string][2]bool{"c": {true, false}, "out": {false, true}} {
			s, err := tm.log.StateAt(tm.heads(head))
			if err != nil || s.Usable(old) != want[0] || s.Usable(fresh) != want[1] {
				t.Errorf("at %s: the old epoch %v, the new one %v, %v", head, s.Usable(old), s.Usable(fresh), err)
			}
		}
		if _, ok := tm.log.State().Epoch(old); !ok {
			t.Error("the old epoch is not there for reading")
		}
	})
}
