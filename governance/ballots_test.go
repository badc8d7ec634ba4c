package governance

import (
	"slices"
	"testing"

	"github.com/studio-whip/collab/identity"
)

// What a person is shown of a vote is what decides it.
func TestBallots(t *testing.T) {
	tm := five(t)
	ids := func(names ...string) []identity.MemberID {
		set := map[identity.MemberID]bool{}
		for _, name := range names {
			set[tm.member(name)] = true
		}
		return sortedMembers(set)
	}
	if voters, needed := tm.log.Electorate(tm.member("E")); !slices.Equal(voters, ids("A", "B", "C", "D")) || needed != 3 {
		t.Errorf("%d voters, %d needed", len(voters), needed)
	}
	if got := tm.log.Ballots(); got != nil {
		t.Errorf("nobody has proposed anything: %+v", got)
	}
	tm.draw(`five -> p -> v -> back`, map[string]step{
		"p": proposeStep("C", "E", 1000), "v": voteStep("D", "p"), "back": withdrawStep("C", "p"),
	})
	b := tm.log.Ballots()
	if len(b) != 1 || b[0].Member != tm.member("E") || b[0].By != tm.member("C") || b[0].Needed != 3 || b[0].InForce ||
		!slices.Equal(b[0].Hold.Counted, ids("D")) || !slices.Equal(b[0].Voters, ids("A", "B", "C", "D")) || b[0].Expires != 1000 {
		t.Fatalf("%+v", b)
	}
	tm.draw(`back -> again -> last -> relief`, map[string]step{
		"again": voteStep("C", "p"), "last": voteStep("B", "p"), "relief": liftStep("D", "E"),
	})
	b = tm.log.Ballots()
	if len(b) != 1 || !b[0].InForce || !slices.Equal(b[0].Hold.Cast, ids("B", "C", "D")) || !slices.Equal(b[0].Lift.Counted, ids("D")) {
		t.Fatalf("%+v", b)
	}
	tm.draw(`relief -> end`, map[string]step{"end": liftStep("A", "E")})
	if b = tm.log.Ballots(); b != nil {
		t.Errorf("it was ended: %+v", b)
	}
}
