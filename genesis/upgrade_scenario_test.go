package genesis

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Scenarios 26 and 40: root records that ask for what this build does not have, lawfully signed. The version before stays
// readable, and nothing after it is judged.
func TestScenario26And40RecordsOfLaterBuilds(t *testing.T) {
	for _, tc := range []struct {
		number int
		tries  string
		change func(*rootCore)
	}{
		{26, "a root record lists a feature that this build lacks: ErrUpgradeRequired, the version before stays readable",
			func(c *rootCore) { c.Policy.Features = []uint32{9} }},
		{40, "a root record asks for history=from_join: refused by version 1, as a founding record and as a later one",
			func(c *rootCore) { c.Policy.History = HistoryFull + 1 }},
	} {
		scenario.Run(t, tc.number, tc.tries, func(t *testing.T) {
			first, p := firstRoot(t, 1), people(1)
			c := NewChain(first)
			if _, err := c.Add(record(first, p, p, tc.change)); err != nil {
				t.Fatal(err)
			}
			v := c.View()
			if !errors.Is(v.Upgrade, ErrUpgradeRequired) || len(v.Versions) != 1 || v.Versions[0].ID != first.ID {
				t.Fatalf("%+v", v)
			}
			at(t, c, first)
			if _, err := ParseRoot(recordBy(t, newFounder(t, 1), 1, tc.change)); !errors.Is(err, ErrUpgradeRequired) {
				t.Fatalf("as a founding record: %v", err)
			}
			// Whoever may not sign for the root stops nobody so.
			c = NewChain(first)
			if _, err := c.Add(record(first, people(9), p, tc.change)); !errors.Is(err, ErrRoot) || c.View().Upgrade != nil {
				t.Fatalf("by a stranger: %v", err)
			}
		})
	}
}
