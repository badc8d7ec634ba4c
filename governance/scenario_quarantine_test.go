package governance

import (
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// five makes a team of five whom the founder admitted: A and B are managers, C, D and E editors.
func five(t *testing.T) *team {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> c -> d -> e -> five`, map[string]step{
		"c": admitStep("A", "C", Editor), "d": admitStep("A", "D", Editor), "e": admitStep("A", "E", Editor), "five": chainStep("A", 1),
	})
	return tm
}

// quarantined says whether a member is held in the state of some events.
func (tm *team) quarantined(who string, heads ...string) bool {
	tm.t.Helper()
	s, err := tm.log.StateAt(tm.heads(heads...))
	if err != nil {
		tm.t.Fatal(err)
	}
	_, held := s.Quarantined(tm.member(who))
	return held
}

// Scenario 56: the votes are counted against the roster. Of five, without the target four may vote and three must.
//
//	five -+-- p: C proposes -- v: D votes -+-- w: A votes
//	      +-- beside: E goes on            |
func TestScenario56Threshold(t *testing.T) {
	scenario.Run(t, 56, "3 of 4 who may vote hold a member, 2 do not, whoever is connected; the hold points are theirs", func(t *testing.T) {
		tm := five(t)
		e := tm.person("E").device.ID
		head := func(seq uint64) Cut { return Cut{Device: e, Seq: seq, Envelope: [32]byte{byte(seq)}} }
		tm.draw(`
			five -> p -> v -> w
			five -> beside
			w, beside -> end`, map[string]step{
			"p": proposeStep("C", "E", 1000, head(3)), "v": voteStep("D", "p", head(5)), "w": voteStep("A", "p", head(4)),
			"beside": leaveStep("E"), "end": chainStep("B", 1),
		})
		if tm.quarantined("E", "v") || !tm.quarantined("E", "w") {
			t.Error("two votes of four hold, or three do not")
		}
		s, _ := tm.log.StateAt(tm.heads("w"))
		if q, _ := s.Quarantined(tm.member("E")); q.Needed != 3 || len(q.Voters) != 3 || len(q.Holds) != 1 || q.Holds[0] != head(5) {
			t.Errorf("%+v", q)
		}
		tm.expect(nil, map[string]Role{"E": None}) // leaving is never held
	})
}

// Scenario 58: nobody votes twice, the target does not vote, nor does who was removed.
func TestScenario58VotesThatDoNotCount(t *testing.T) {
	scenario.Run(t, 58, "a vote cast twice counts once, the target's and a removed member's count nothing, a withdrawal cancels", func(t *testing.T) {
		tm := five(t)
		tm.draw(`
			five -> p -> again -> target -> back
			p -> out
			p -> gone
			back, out, gone -> end`, map[string]step{
			"p": proposeStep("C", "E", 1000), "again": voteStep("C", "p"), "target": voteStep("E", "p"), "back": withdrawStep("C", "p"),
			"out": revokeStep("A", "D"), "gone": voteStep("D", "p"), "end": voteStep("A", "p"),
		})
		tm.expect(map[string]Reason{"target": ReasonVoter, "gone": ReasonStripped}, map[string]Role{"D": None})
		if tm.quarantined("E", "end") {
			t.Error("one vote of three holds")
		}
		tm.draw(`end -> anew -> second`, map[string]step{"anew": voteStep("C", "p"), "second": voteStep("B", "p")})
		if !tm.quarantined("E", "second") {
			t.Error("three votes do not hold")
		}
	})
}

// Scenario 59: a quarantine ends by a manager's hand or by the project's time, and one that comes later holds nothing.
func TestScenario59Ends(t *testing.T) {
	scenario.Run(t, 59, "a quarantine ends when a manager lifts it or a checkpoint passes its end; a vote after its end is void", func(t *testing.T) {
		tm := five(t)
		tm.draw(`
			five -> p -> v -> w -> own -> act -> lift -> free
			w -> C1 -> after -> late`, map[string]step{
			"p": proposeStep("C", "E", 1000), "v": voteStep("D", "p"), "w": voteStep("A", "p"), "own": liftStep("E", "E"),
			"act": chainStep("E", 1), "lift": liftStep("B", "E"), "free": chainStep("E", 2),
			"C1": checkStep("A", 1, 1000).and("B"), "after": chainStep("E", 1), "late": voteStep("B", "p"),
		})
		for at, want := range map[string]bool{"w": true, "own": true, "act": true, "lift": false, "C1": false} {
			if tm.quarantined("E", at) != want {
				t.Errorf("at %s: held %v", at, !want)
			}
		}
		for name, want := range map[string]Reason{"own": ReasonVoter, "late": ReasonEnded} {
			if x, _ := tm.log.Explain(tm.ids[name]); x.Reason != want {
				t.Errorf("%s: %v", name, x.Because)
			}
		}
	})
}

// Scenario 60: two halves hold each other across a partition.
//
//	six -+-- p: C proposes against D -- pa, pe: A and E vote
//	     +-- q: D proposes against C -- qb, qf: B and F vote
func TestScenario60Mutual(t *testing.T) {
	scenario.Run(t, 60, "quarantines across a partition hold both; a manager lifts; equal digests", func(t *testing.T) {
		tm := five(t)
		tm.draw(`
			five -> six -> p -> pa -> pe
			six -> q -> qb -> qf
			pe, qf -> both -> lift -> done`, map[string]step{
			"six": admitStep("A", "F", Editor),
			"p":   proposeStep("C", "D", 1000), "pa": voteStep("A", "p"), "pe": voteStep("E", "p"),
			"q": proposeStep("D", "C", 1000), "qb": voteStep("B", "q"), "qf": voteStep("F", "q"),
			"both": chainStep("E", 1), "lift": liftStep("A", "C"), "done": liftStep("B", "D"),
		})
		if !tm.quarantined("C", "both") || !tm.quarantined("D", "both") {
			t.Error("not both are held")
		}
		if tm.quarantined("C", "done") || tm.quarantined("D", "done") {
			t.Error("the managers did not lift")
		}
		for k := range 5 {
			l := NewLog(tm.root)
			tm.deliver(l, mathrand.New(mathrand.NewPCG(uint64(k), 1)))
			if l.State().Digest() != tm.log.State().Digest() {
				t.Fatal("another state")
			}
		}
	})
}

// Scenario 86: editors hold the only manager.
//
//	e -- p, v, w: C, D and E hold A -+-- out: A removes E      counts
//	                                 +-- in: A admits F        does not
func TestScenario86OnlyManagerHeld(t *testing.T) {
	scenario.Run(t, 86, "editors hold the only manager: his removals count, his admissions and his lifting of himself do not; it ends by time", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.add("key", epochStep("A"), "G")
		tm.draw(`key -> b -> c -> d -> C1 -> p -> v -> out -> in -> own -> C2 -> again`, map[string]step{
			"b": admitStep("A", "B", Editor), "c": admitStep("A", "C", Editor), "d": admitStep("A", "D", Editor),
			"C1": checkStep("A", 1, 10), "p": proposeStep("B", "A", 500), "v": voteStep("C", "p"),
			"out": revokeStep("A", "D"), "in": admitStep("A", "F", Editor), "own": liftStep("A", "A"),
			"C2": checkStep("A", 2, 600), "again": admitStep("A", "F", Editor),
		})
		tm.expect(map[string]Reason{"in": ReasonQuarantine, "own": ReasonVoter},
			map[string]Role{"A": Manager, "D": None, "F": Editor})
		if !tm.quarantined("A", "own") || tm.quarantined("A", "C2") {
			t.Error("it does not hold, or does not end")
		}
	})
}

// Guests of one host count for at most half of what is needed, however many they are.
func TestGuestsOfOneHost(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	guests := []string{"C", "D", "E", "F"}
	last := "start"
	for _, g := range guests {
		tm.add("admit "+g, admitStep("B", g, Editor), last)
		last = "admit " + g
	}
	tm.add("p", proposeStep("C", "A", 1000), last)
	last = "p"
	for _, g := range guests[1:] {
		tm.add("vote "+g, voteStep(g, "p"), last)
		last = "vote " + g
	}
	if tm.quarantined("A", last) {
		t.Error("the guests of one manager alone hold another")
	}
}

// Scenario 23, continued: a proof travels where one of the branches does not, and managers lift the suspension.
//
//	start -+-- d: B admits D
//	       +-- e: B admits E          the same number twice
func TestScenario23ProofAndLift(t *testing.T) {
	scenario.Run(t, 23, "a proof of two events of one number suspends the device; two managers lift it and it goes on", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`
			start -> d
			start -> e
			d, e -> proof -> alone -> lift -> f`, map[string]step{
			"d": admitStep("B", "D", Editor), "e": admitStep("B", "E", Editor), "proof": proofStep("A", "d", "e"),
			"alone": liftDeviceStep("A", "B"), "lift": liftDeviceStep("A", "B").and("C"), "f": admitStep("B", "F", Editor),
		})
		tm.expect(map[string]Reason{"d": ReasonEquivocation, "e": ReasonEquivocation, "alone": ReasonQuorum},
			map[string]Role{"B": Manager, "D": None, "E": None, "F": Editor})
		if s, err := tm.log.StateAt(tm.heads("alone")); err != nil || s.May(tm.person("B").device.ID, ActManage) {
			t.Errorf("the suspended device governs: %v", err)
		}
	})
}

// Scenario 25: many histories, many orders.
func TestScenario25Orders(t *testing.T) {
	orders := 100 // which takes five seconds
	if n, err := strconv.Atoi(os.Getenv("COLLAB_ORDERS")); err == nil {
		orders = n
	}
	tries := fmt.Sprintf("a random history of 200 events with devices, quorums and checkpoints, received in %d orders: one digest", orders)
	scenario.Run(t, 25, tries, func(t *testing.T) {
		w := newWorld(25, 2, true)
		w.run(200)
		checkOrders(t, w, 25, orders)
		checkIncrement(t, w.h, w.acts, 25)
	})
}

// Scenario 93: two chains are opened beside each other with one client ID.
func TestScenario93OneClientID(t *testing.T) {
	scenario.Run(t, 93, "two chains opened in a partition with one client ID: none owns it; one that is settled keeps it", func(t *testing.T) {
		h := newAbstract(2)
		last := start(h, "B1", "C1")
		add := func(a *act) int { h.add(h.entryOf(a)); return h.byID[eventID(a.id)] }
		x := add(&act{id: "x", kind: KindChainOpen, device: "B1", aseq: 1, chain: 1, parents: []string{last}})
		y := add(&act{id: "y", kind: KindChainOpen, device: "C1", aseq: 1, chain: 1, parents: []string{last}})
		b, c := chainKey{deviceID("B1"), 1}, chainKey{deviceID("C1"), 1}
		opened := map[chainKey]*Chain{b: {Openings: []EventID{h.entries[x].id}}, c: {Openings: []EventID{h.entries[y].id}}}
		owners := func() string {
			o := h.verdict(h.headsNow())
			v := view{h, h.closure(h.headsNow()), o.void, o.base}
			return fmt.Sprint(v.owns(b, []chainKey{b, c}, opened), v.owns(c, []chainKey{b, c}, opened))
		}
		if owners() != "false false" {
			t.Errorf("owned: %s", owners())
		}
		add(&act{id: "z", kind: KindCheckpoint, device: founder, aseq: 4, number: 1, time: 1, ok: true, parents: []string{"x"}})
		if owners() != "true false" {
			t.Errorf("after a checkpoint settled one, owned: %s", owners())
		}
	})
}

// Whether a quarantine holds is known once what would end it is decided, not as soon as its votes are.
//
//	five -- f: A admits F -+-- p, v, w: C, D and E hold B -- end: something ends it -- in: B admits G
//	                       +-- beside: F goes on
func TestHeldOnlyIfNothingEndsIt(t *testing.T) {
	for _, tc := range []struct {
		name  string
		graph string
		steps map[string]step
		voids map[string]Reason
		role  Role // of G
	}{
		{"a manager lifts", `w -> end -> in`, map[string]step{"end": liftStep("A", "B")}, nil, Editor},
		{
			"voters lift", `w -> l1 -> l2 -> end -> in`,
			map[string]step{"l1": liftStep("C", "B"), "l2": liftStep("D", "B"), "end": liftStep("E", "B")}, nil, Editor,
		},
		{"a voter withdraws", `w -> end -> in`, map[string]step{"end": withdrawStep("D", "p")}, nil, Editor},
		{
			"a voter withdraws after a later act on him", `w -> grant -> end -> in`,
			map[string]step{"grant": grantStep("A", "D", Manager).and("B"), "end": withdrawStep("D", "p")}, nil, Editor,
		},
		{
			"a removal strips the lift", `w -> end -> in
			w -> out`,
			map[string]step{"end": liftStep("A", "B"), "out": revokeStep("C", "A").byRoot()},
			map[string]Reason{"end": ReasonStripped, "in": ReasonQuarantine}, None,
		},
		{
			"a removal strips a voter's lift", `w -> l1 -> l2 -> end -> in
			w -> out`,
			map[string]step{
				"l1": liftStep("C", "B"), "l2": liftStep("D", "B"), "end": liftStep("E", "B"), "out": revokeStep("A", "E"),
			},
			map[string]Reason{"end": ReasonStripped, "in": ReasonQuarantine}, None,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tm := five(t)
			steps := map[string]step{
				"f": admitStep("A", "F", Editor), "p": proposeStep("C", "B", 1000), "v": voteStep("D", "p"), "w": voteStep("E", "p"),
				"in": admitStep("B", "G", Editor), "beside": chainStep("F", 1),
			}
			maps.Copy(steps, tc.steps)
			tm.draw("five -> f -> p -> v -> w\nf -> beside\n"+tc.graph, steps)
			tm.expect(tc.voids, map[string]Role{"G": tc.role})
		})
	}
}

// What rests on a removal falls in the same round as the removal that a quarantine holds, before anything else is
// decided on it.
//
//	f -+-- p, v, w: C, E and A hold B
//	   +-- out: B removes D -- again: the root admits D once more -- use: D goes on
func TestAdmittedAgainAfterAHeldRemoval(t *testing.T) {
	tm := five(t)
	tm.draw(`
		five -> f -> p -> v -> w
		f -> out -> again -> use`, map[string]step{
		"f": admitStep("A", "F", Editor), "p": proposeStep("C", "B", 1000), "v": voteStep("E", "p"), "w": voteStep("A", "p"),
		"out": revokeStep("B", "D"), "again": admitStep("F", "D", Viewer).byRoot(), "use": chainStep("D", 1),
	})
	tm.expect(map[string]Reason{"out": ReasonQuarantine, "again": ReasonPresent}, map[string]Role{"D": Editor})
}
