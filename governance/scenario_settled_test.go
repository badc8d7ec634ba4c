package governance

import (
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Scenario 30: a member is demoted while he acts.
//
//	start -- e -- m -+-- down: A and B drop E to viewer
//	                 +-- grant: E makes F editor           (a manager's act)
//	                 +-- plain: E opens a chain            (a viewer's act)
func TestScenario30DemotionBesideAGrant(t *testing.T) {
	scenario.Run(t, 30, "a demotion beside that member's grant: the grant is void, what a viewer may do stays, edits stay up to the cut", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		e := tm.person("E").device.ID
		tm.draw(`
			start -> e -> f -> m -> down
			m -> grant -> plain
			down, plain -> end`, map[string]step{
			"e": admitStep("A", "E", Editor), "f": admitStep("A", "F", Viewer), "m": grantStep("A", "E", Manager).and("B"),
			"down":  dropStep("A", "E", Viewer, Cut{Device: e, Seq: 7, Envelope: [32]byte{7}}).and("B"),
			"grant": grantStep("E", "F", Editor), "plain": chainStep("E", 1), "end": admitStep("A", "D", Viewer),
		})
		tm.expect(map[string]Reason{"grant": ReasonStripped}, map[string]Role{"E": Viewer, "F": Viewer})
		if cut, ok := tm.log.State().Cut(e, 0); !ok || cut.Seq != 7 {
			t.Errorf("the chain ends at %+v, %v", cut, ok)
		}
	})
}

// Scenario 69, after a checkpoint: the removed manager finds a second signer, and it is too late.
//
//	start -+-- out: A and C remove B -- C1
//	       +-- back: B and D remove A               (knows nothing of C1)
func TestScenario69RetaliationAfterACheckpoint(t *testing.T) {
	scenario.Run(t, 69, "a backdated removal of the remover with a full quorum, after a checkpoint: void", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C", "D")
		tm.draw(`
			start -> out -> C1
			start -> back
			C1, back -> end`, map[string]step{
			"out": revokeStep("A", "B").and("C"), "C1": checkStep("A", 1, 10).and("D"),
			"back": revokeStep("B", "A").and("D"), "end": admitStep("C", "E", Viewer),
		})
		tm.expect(map[string]Reason{"back": ReasonOvertaken}, map[string]Role{"A": Manager, "B": None, "D": Manager})
	})
}

// Scenario 70: a rogue wants to save whom a settled removal removed, by removing the remover earlier.
//
//	start -- c -+-- out: A removes C -- C1
//	            +-- rescue: B and D remove A        (would strip out)
func TestScenario70RescueAfterACheckpoint(t *testing.T) {
	scenario.Run(t, 70, "a backdated removal of the remover takes nothing back from what is settled, and counts forward only", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "D")
		tm.draw(`
			start -> c -> out -> C1
			c -> rescue
			C1, rescue -> end`, map[string]step{
			"c": admitStep("A", "C", Editor), "out": revokeStep("A", "C"), "C1": checkStep("A", 1, 10).and("D"),
			"rescue": revokeStep("B", "A").and("D"), "end": admitStep("B", "E", Viewer),
		})
		tm.expect(nil, map[string]Role{"A": None, "C": None, "E": Viewer})
	})
}

// Scenario 82: a checkpoint a year ahead would end every invite and quarantine.
func TestScenario82CheckpointFromTheFuture(t *testing.T) {
	scenario.Run(t, 82, "a checkpoint a year ahead of the clock is not taken and no invite dies; five minutes ahead it is taken", func(t *testing.T) {
		tm := newTeam(t, 2)
		now := time.Unix(1_800_000_000, 0)
		at := func(d time.Duration) uint64 { return uint64(now.Add(d).Unix()) }
		invite := inviteStep("A", "i", Editor, 1, "A")
		inner := invite.body
		invite.body = func(tm *team, s *State) any {
			b := inner(tm, s).(*InviteCreate)
			b.Expires = at(time.Hour)
			return b
		}
		tm.draw(`G -> key -> i`, map[string]step{"key": epochStep("A"), "i": invite})
		tm.log.SetClock(func() time.Time { return now })
		if _, err := tm.log.Add(tm.make(checkStep("A", 1, at(365*24*time.Hour)), "i")); !errors.Is(err, ErrAhead) {
			t.Errorf("a year ahead: %v", err)
		}
		tm.draw(`i -> C1 -> use`, map[string]step{"C1": checkStep("A", 1, at(5*time.Minute)), "use": useStep("A", "B", "i", Editor)})
		tm.expect(nil, map[string]Role{"B": Editor})
		now = now.Add(2 * time.Hour) // and when its time has come, an invite ends by a checkpoint
		tm.draw(`use -> C2 -> tooLate`, map[string]step{"C2": checkStep("A", 2, at(0)), "tooLate": useStep("A", "D", "i", Editor)})
		tm.expect(map[string]Reason{"tooLate": ReasonExpired}, map[string]Role{"D": None})
	})
}

// Scenario 83: two checkpoints of one number stand beside each other.
//
//	start -+-- e -- C1a -+- C2
//	       +-- f -- C1b -+
func TestScenario83RivalCheckpoints(t *testing.T) {
	scenario.Run(t, 83, "two concurrent checkpoints of one number settle nothing until a later one has both in its past", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`
			start -> e -> C1a
			start -> f -> C1b`, map[string]step{
			"e": admitStep("A", "E", Editor), "C1a": checkStep("A", 1, 10).and("B"),
			"f": admitStep("B", "F", Editor), "C1b": checkStep("B", 1, 11).and("A"),
		})
		if s := tm.log.State().Settled(); s.Number != 0 {
			t.Errorf("checkpoint %d is settled", s.Number)
		}
		tm.draw(`C1a, C1b -> C2`, map[string]step{"C2": checkStep("A", 2, 12, "C1a", "C1b").and("B")})
		tm.expect(nil, map[string]Role{"E": Editor, "F": Editor})
		if s := tm.log.State().Settled(); s.Number != 2 || s.Event != tm.ids["C2"] || s.Time != 12 {
			t.Errorf("settled: %+v", s)
		}
	})
}

// Scenario 84: a quorum settles without a grant that it knows of.
//
//	start -- d -+-- C1: A and B settle
//	            +-- grant: C makes D editor -- end -- again: C endorses it
func TestScenario84LeftOutAndEndorsed(t *testing.T) {
	scenario.Run(t, 84, "a checkpoint leaves a grant out on purpose: late, void, shown by Explain; one manager's Endorse brings it into force", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`
			start -> d -> C1
			d -> grant
			C1, grant -> end -> again -> wrong`, map[string]step{
			"d": admitStep("A", "D", Viewer), "C1": checkStep("A", 1, 10).and("B"), "grant": grantStep("C", "D", Editor),
			"end": admitStep("A", "E", Viewer), "again": endorseStep("C", "grant"), "wrong": endorseStep("C", "end"),
		})
		tm.expect(map[string]Reason{"grant": ReasonLate, "wrong": ReasonEndorse}, map[string]Role{"D": Editor})
		if x, _ := tm.log.Explain(tm.ids["grant"]); x.Culprit != tm.ids["C1"] {
			t.Error("the explanation does not name the checkpoint")
		}
	})
}

// Scenarios 45 and 46: an owner ends his identity by the key on paper.
//
//	start -- e -- good: E opens a chain -- bad: E opens another      (his device was stolen in between)
//	                                        bad -- carry: B brings the end of E, good up to E's first event
func TestScenario45And46SelfRevocation(t *testing.T) {
	scenario.Run(t, 45, "a self-revocation is carried by a member: applied once, forged or of another identity void, and never taken back", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		forged := carryStep("B", "E", nil)
		forged.body = func(tm *team, _ *State) any { // by a key that the identity never committed to
			r, err := NewSelfRevoke(revocationKeyOf(tm.t, "B"), tm.member("E"), nil, nil)
			if err != nil {
				tm.t.Fatal(err)
			}
			return &Carry{SelfRevoke: r.Raw}
		}
		tm.draw(`start -> e -> forged -> carry -> twice -> back`, map[string]step{
			"e": admitStep("A", "E", Editor), "forged": forged, "carry": carryStep("B", "E", nil),
			"twice": carryStep("A", "E", nil), "back": admitStep("A", "E", Viewer).byRoot(),
		})
		tm.expect(map[string]Reason{"forged": ReasonRevocation, "back": ReasonEnds}, map[string]Role{"E": None})
	})
	scenario.Run(t, 46, "compromised_since voids that device's later unsettled acts; what its owner vouches for stands", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`
			start -> e -> f -> m -> good -> bad -> carry
			bad -> beside
			carry, beside -> end`, map[string]step{
			"e": admitStep("A", "E", Editor), "f": admitStep("A", "F", Viewer), "m": grantStep("A", "E", Manager).and("B"),
			"good": grantStep("E", "F", Editor), "bad": admitStep("E", "D", Editor), "beside": admitStep("E", "G", Editor),
			"carry": carryStep("B", "E", map[string]uint64{"E": 1}), "end": admitStep("A", "H", Viewer),
		})
		tm.expect(map[string]Reason{"bad": ReasonStripped, "beside": ReasonStripped},
			map[string]Role{"E": None, "F": Editor, "D": None, "G": None})
	})
}

// Scenario 85: the founder goes by his own will; what he settled stays.
func TestScenario85FounderRetires(t *testing.T) {
	scenario.Run(t, 85, "the founder ends his identity: what he settled stands, the roster is not dissolved, nobody inherits a role", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`start -> e -> C1 -> late -> carry`, map[string]step{
			"e": admitStep("A", "E", Editor), "C1": checkStep("A", 1, 10).and("B"), "late": admitStep("A", "F", Editor),
			"carry": carryStep("C", "A", map[string]uint64{"A": 1}),
		})
		tm.expect(map[string]Reason{"late": ReasonStripped},
			map[string]Role{"A": None, "B": Manager, "C": Manager, "E": Editor, "F": None})
	})
}

// Scenario 36: somebody leaves; a key is owed, and those who may mint it stand in a line.
func TestScenario36Leave(t *testing.T) {
	scenario.Run(t, 36, "somebody leaves: his edits end where he says, a rotation is owed, editors are ranked and the leaver is not among them", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		e := tm.person("E").device.ID
		tm.draw(`start -> e -> bye`, map[string]step{
			"e": admitStep("A", "E", Editor), "bye": leaveStep("E", Cut{Device: e, Seq: 4, Envelope: [32]byte{4}}),
		})
		tm.expect(nil, map[string]Role{"E": None})
		s := tm.log.State()
		if cut, ok := s.Cut(e, 0); !ok || cut.Seq != 4 {
			t.Errorf("cut %+v, %v", cut, ok)
		}
		places := map[int]bool{}
		for _, who := range []string{"A", "B"} {
			place, owed := s.Owed(tm.person(who).device.ID)
			places[place] = owed
		}
		if place, owed := s.Owed(e); !owed || place != -1 || !places[0] || !places[1] {
			t.Errorf("places %v, the leaver has %d", places, place)
		}
		tm.draw(`bye -> mint`, map[string]step{"mint": epochStep("B")})
		if x, ok := tm.log.State().SendingEpoch(); !ok || x.Event != tm.ids["mint"] {
			t.Error("the new key is not used")
		}
	})
}

// Scenario 90: a manager removes a long-standing author with cuts of nothing.
func TestScenario90CutsOfZero(t *testing.T) {
	scenario.Run(t, 90, "a removal with cuts of zero: what was settled stays, another manager's FrontierExtend brings back the rest", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		e := tm.person("E").device.ID
		at := func(seq uint64) Cut { return Cut{Device: e, Seq: seq, Envelope: [32]byte{byte(seq)}} }
		tm.draw(`start -> e -> C1 -> out`, map[string]step{
			"e": admitStep("A", "E", Editor), "C1": checkStep("A", 1, 10).and("B").settling(at(100)), "out": revokeStep("A", "E", at(0)),
		})
		if cut, ok := tm.log.State().Cut(e, 0); !ok || cut != at(100) {
			t.Errorf("after the removal the chain ends at %+v", cut)
		}
		tm.draw(`out -> more -> beyond`, map[string]step{"more": extendStep("B", at(130)), "beyond": checkStep("A", 2, 11).and("B").settling(at(131))})
		tm.expect(map[string]Reason{"beyond": ReasonContent}, map[string]Role{"E": None})
		if cut, _ := tm.log.State().Cut(e, 0); cut != at(130) {
			t.Errorf("after the extension the chain ends at %+v", cut)
		}
	})
}

// What does not know of a checkpoint 24 numbers back counts for nothing at all.
func TestStale(t *testing.T) {
	tm := newTeam(t, 2)
	tm.add("key", epochStep("A"), "G")
	tm.add("e", admitStep("A", "E", Viewer), "key")
	last := "e"
	for n := range uint64(25) {
		name := "C" + string(rune('a'+n))
		tm.add(name, checkStep("A", n+1, n+1), last)
		last = name
	}
	tm.draw(`e -> old`, map[string]step{"old": chainStep("E", 1)})
	tm.expect(map[string]Reason{"old": ReasonStale}, nil)
}

// A stolen device: what it did beside its removal falls, unless somebody had built on it in good faith.
func TestStolenDevice(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`
		start -> i -> e1
		i -> e3
		e1, e3 -> both -> report
		both -> built -> on
		both -> thief
		report, on, thief -> end`, map[string]step{
		"i": inviteStep("A", "i", Editor, 1, "A", "B"), "e1": useStep("A", "E1", "i", Editor), "e3": useStep("B", "E3", "i", Editor),
		"both": chainStep("A", 1), "report": removeStep("E1", "E3", 1), "built": chainStep("E3", 1), "on": chainStep("B", 1),
		"thief": updateStep("E3", "F"), "end": chainStep("A", 2),
	})
	x, err := tm.log.Explain(tm.ids["thief"])
	if err != nil || x.Counts {
		t.Errorf("the thief's act: %+v, %v", x, err)
	}
	s := tm.log.State()
	if d, _ := s.Device(tm.person("E3").device.ID); d.Live || s.Role(tm.member("E")) != Editor {
		t.Error("the device is live, or its owner is out")
	}
}

// An Endorse rests on every invite of the id that it brings back, also on one that counted for nothing where it stands.
//
//	start -+-> x: B invites, too late for cp
//	       +-> cp -+-> y: C invites with the same id
//	               +-> r: D and B remove C, which voids y
//	               +-> q: F and A remove D, which voids r
//	x, y, r -> e: A brings x back -> g: A admits G on it
func TestEndorsedInviteBesideAnotherOfItsID(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C", "D", "F")
	tm.draw(`
	start -> x
	start -> cp -> y
	cp -> r
	cp -> q
	x, y, r -> e -> g`, map[string]step{
		"x": inviteStep("B", "i", Editor, 1, "A"), "cp": checkStep("A", 1, 1).and("B"), "y": inviteStep("C", "i", Editor, 1, "A"),
		"r": revokeStep("D", "C").and("B"), "q": revokeStep("F", "D").and("A"),
		"e": endorseStep("A", "x"), "g": useStep("A", "G", "i", Editor),
	})
	before, err := tm.log.StateAt(tm.heads("g"))
	if err != nil || before.Role(tm.member("G")) != Editor {
		t.Fatalf("before D's removal is known: %v, %v", before.Role(tm.member("G")), err)
	}
	tm.expect(map[string]Reason{"x": ReasonLate, "r": ReasonStripped, "e": ReasonInvite, "g": ReasonInvite},
		map[string]Role{"C": Manager, "D": None, "G": None})
}
