package governance

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// Scenario 15: an editor makes himself a manager.
func TestScenario15EditorGrantsHimself(t *testing.T) {
	scenario.Run(t, 15, "an editor grants himself the manager's role: void, the reason names his role", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.draw(`G -> key -> b -> grant`, map[string]step{
			"key": epochStep("A"), "b": admitStep("A", "B", Editor), "grant": grantStep("B", "B", Manager),
		})
		tm.expect(map[string]Reason{"grant": ReasonRole}, map[string]Role{"A": Manager, "B": Editor})
	})
}

// Scenario 16: of four managers two remove each other, each with one more signature.
//
//	start -+-> x: A and C remove B
//	       +-> y: B and D remove A
func TestScenario16MutualRemovalAtQuorum(t *testing.T) {
	scenario.Run(t, 16, "four managers, quorum 2, two removals across: both targets out, the others stay, the root re-adds; any delivery order", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C", "D")
		tm.draw(`
		start -> x
		start -> y
		x, y -> back`, map[string]step{
			"x": revokeStep("A", "B").and("C"), "y": revokeStep("B", "A").and("D"),
			"back": admitStep("C", "A", Editor).byRoot(),
		})
		tm.expect(nil, map[string]Role{"A": Editor, "B": None, "C": Manager, "D": Manager})
		if a, err := tm.log.StateAt(tm.heads("x", "y")); err != nil || a.Role(tm.member("A")) != None {
			t.Fatalf("before the root brings A back: %v, %v", a.Role(tm.member("A")), err)
		}
	})
}

// Scenario 16, continued: one manager alone never removes another, whatever the policy says.
func TestScenario16OneManagerAlone(t *testing.T) {
	scenario.Run(t, 16, "one manager alone removes another, whatever the policy: void", func(t *testing.T) {
		for _, quorum := range []uint8{1, 2, 3} {
			tm := newTeam(t, quorum)
			tm.managers("B", "C")
			tm.draw(`start -> alone`, map[string]step{"alone": revokeStep("A", "B")})
			tm.expect(map[string]Reason{"alone": ReasonQuorum}, map[string]Role{"A": Manager, "B": Manager})
		}
	})
}

// Scenario 18: a cycle of removals with a grant in it, each co-signed by somebody outside.
//
//	start -+-> ab: A removes B        ab strips bc, bc strips cd, cd carries da, da strips ab
//	       +-> bc: B removes C
//	       +-> cd: C makes D manager -> da: D removes A
func TestScenario18RemovalCycle(t *testing.T) {
	scenario.Run(t, 18, "a cycle of removals with a grant in it, each co-signed from outside: all three out, the grant void", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C", "E", "F")
		tm.draw(`
		start -> d -> ab
		d -> bc
		d -> cd -> da`, map[string]step{
			"d":  admitStep("A", "D", Editor),
			"ab": revokeStep("A", "B").and("E"), "bc": revokeStep("B", "C").and("E"),
			"cd": grantStep("C", "D", Manager).and("F"), "da": revokeStep("D", "A").and("F"),
		})
		tm.expect(map[string]Reason{"cd": ReasonStripped},
			map[string]Role{"A": None, "B": None, "C": None, "D": Editor, "E": Manager, "F": Manager})
	})
}

// Scenario 20: B removes and re-admits C while A removes C.
//
//	start -> c -+-> a: A removes C
//	            +-> out: B removes C -> in: B admits C again
func TestScenario20ConcurrentReadmission(t *testing.T) {
	scenario.Run(t, 20, "A removes C while B removes and re-adds C: C is out", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`
		start -> c -> a
		c -> out -> in`, map[string]step{
			"c": admitStep("A", "C", Editor), "a": revokeStep("A", "C"),
			"out": revokeStep("B", "C"), "in": admitStep("B", "C", Editor),
		})
		tm.expect(nil, map[string]Role{"C": None})
		tm.draw(`a, in -> again`, map[string]step{"again": admitStep("B", "C", Viewer)})
		tm.expect(nil, map[string]Role{"C": Viewer})
	})
}

// Scenario 21: a removed manager admits friends on a view from before the removal.
func TestScenario21RemovedAdmitsFriends(t *testing.T) {
	scenario.Run(t, 21, "a removed member adds friends citing parents from before the removal: void", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`
		start -> out
		start -> friend -> friends
		out, friends -> late`, map[string]step{
			"out": revokeStep("A", "B").and("C"), "friend": admitStep("B", "D", Editor),
			"friends": chainStep("D", 1), "late": admitStep("B", "E", Editor),
		})
		tm.expect(map[string]Reason{"friend": ReasonStripped, "friends": ReasonDevice, "late": ReasonDevice},
			map[string]Role{"B": None, "D": None, "E": None})
	})
}

// Scenario 23: a device signs two events of one number. What others had built on before they could know stays, what
// takes standing away stays, the rest of what the device authors falls. Its content is untouched.
//
//	start -+-> d: B admits D                                   the same number twice
//	       +-> e: B admits E -> built: E opens a chain
//	d, built -> f: B admits F -> out: B removes E
func TestScenario23Equivocation(t *testing.T) {
	scenario.Run(t, 23, "a device signs two events of one number: authority suspended, what nobody had built on void, removals and content stay", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`
		start -> d
		start -> e -> built
		d, built -> f -> out`, map[string]step{
			"d": admitStep("B", "D", Editor), "e": admitStep("B", "E", Editor), "built": chainStep("E", 1),
			"f": admitStep("B", "F", Editor), "out": revokeStep("B", "E"),
		})
		tm.expect(map[string]Reason{"d": ReasonEquivocation, "f": ReasonEquivocation},
			map[string]Role{"B": Manager, "D": None, "E": None, "F": None})
		if x, err := tm.log.Explain(tm.ids["e"]); err != nil || !x.Contested {
			t.Errorf("what was built on is not marked: %+v, %v", x, err)
		}
		if x, err := tm.log.Explain(tm.ids["d"]); err != nil || x.Culprit != tm.ids["e"] {
			t.Errorf("the other branch is not named: %+v, %v", x, err)
		}
		s, b := tm.log.State(), tm.person("B").device.ID
		if !s.May(b, ActWrite) || s.May(b, ActManage) || s.May(b, ActHost) {
			t.Error("a suspended device writes, but governs no more")
		}
		// What others do after they could see both branches revives nothing.
		tm.draw(`out -> late`, map[string]step{"late": chainStep("A", 1)})
		tm.expect(map[string]Reason{"d": ReasonEquivocation, "f": ReasonEquivocation},
			map[string]Role{"D": None, "F": None})
	})
}

// Scenarios 26 and 80: a viewer's event of an unknown kind, on which others build.
func TestScenario26And80UnknownKind(t *testing.T) {
	for number, tries := range map[int]string{
		26: "an event of a kind that is not switched on: void, its descendants unaffected",
		80: "a viewer signs an event of an unknown kind and honest members build on it: governance goes on",
	} {
		scenario.Run(t, number, tries, func(t *testing.T) {
			tm := newTeam(t, 2)
			tm.draw(`G -> key -> v -> odd -> b -> c`, map[string]step{
				"key": epochStep("A"), "v": admitStep("A", "B", Viewer),
				"odd": {by: "B", kind: 4711, body: func(*team, *State) any { return map[int]any{1: "anything"} }},
				"b":   admitStep("A", "C", Editor), "c": chainStep("C", 1),
			})
			tm.expect(map[string]Reason{"odd": ReasonKind}, map[string]Role{"B": Viewer, "C": Editor})
		})
	}
}

// Scenario 29, as far as it is about managers: one alone cannot, two and the root can, and a manager without a
// usable device is in nobody's way.
func TestScenario29RevokingAManager(t *testing.T) {
	scenario.Run(t, 29, "a manager is revoked: by two managers or the root only, a surplus signer voids the act", func(t *testing.T) {
		tm := newTeam(t, 3)
		tm.managers("B", "C")
		tm.draw(`
		start -> two -> root
		start -> surplus`, map[string]step{
			"two": revokeStep("A", "B").and("C"), "root": revokeStep("C", "A").byRoot(),
			"surplus": admitStep("A", "D", Editor).and("C"),
		})
		tm.expect(map[string]Reason{"surplus": ReasonCosigner}, map[string]Role{"A": None, "B": None, "C": Manager})
	})
}

// Scenario 48: one invite used by two people, after each other and at two hosts at once.
func TestScenario48OverUse(t *testing.T) {
	scenario.Run(t, 48, "one invite used twice: the second is void; at two hosts at once the first listed host's stands, the other is pending", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`start -> i -> first -> second`, map[string]step{
			"i": inviteStep("A", "i", Editor, 1, "A"), "first": useStep("A", "C", "i", Editor),
			"second": useStep("A", "D", "i", Editor),
		})
		tm.expect(map[string]Reason{"second": ReasonInviteUsed}, map[string]Role{"C": Editor, "D": None})
		if x, _ := tm.log.Explain(tm.ids["second"]); x.Culprit != tm.ids["first"] {
			t.Error("the explanation does not name who used the invite")
		}
		tm.draw(`
		second -> j -> atA -> e
		j -> atB
		atB, e -> end`, map[string]step{
			"j":   inviteStep("B", "j", Editor, 1, "B", "A"),
			"atA": useStep("A", "E", "j", Editor), "atB": useStep("B", "F", "j", Editor),
			"e": chainStep("E", 1), "end": chainStep("C", 1),
		})
		tm.expect(map[string]Reason{"second": ReasonInviteUsed, "atA": ReasonPending, "e": ReasonDevice},
			map[string]Role{"E": None, "F": Editor})
		s := tm.log.State()
		if _, open := s.Chain(tm.person("E").device.ID, 0); open {
			t.Error("a pending admission opens a chain")
		}
		if x, ok := s.Invite(inviteID("j")); !ok || x.Uses != 1 || !x.Closed {
			t.Errorf("invite j: %+v", x)
		}
		// Who knew of one admission only might have let E in: only an epoch made with both in view is usable.
		if _, owed := s.Owed(tm.person("A").device.ID); !owed {
			t.Error("an admission that fell owes a rotation")
		}
	})
}

// Scenarios 52 and 98: a host swaps the joiner's certificate, or admits somebody with a secret it does not have; a
// device that is no host uses the invite; an invite does not give more than it says.
func TestScenario52And98ForeignAdmissions(t *testing.T) {
	for number, tries := range map[int]string{
		52: "a host that is not the invite's creator swaps the joiner's certificate: the proof fails at all others",
		98: "a host with s_mac only admits its own joiner, and a device that is no host uses the invite: void",
	} {
		scenario.Run(t, number, tries, func(t *testing.T) {
			swapped := useStep("B", "D", "i", Editor)
			swapped.body = func(tm *team, _ *State) any {
				b, e := tm.admission("B", "D", "i", Editor), tm.person("E")
				b.Identity, b.Device = e.cert.Raw, e.device.Raw
				return b
			}
			otherKey := useStep("B", "D", "i", Editor)
			otherKey.body = func(tm *team, _ *State) any { // B's own proof key in place of the invite's
				b, own := tm.admission("B", "D", "other", Editor), inviteID("i")
				d := tm.person("D")
				b.Invite = &own
				b.Proof = proofKeyOf("other").Sign("invite-proof",
					InviteProof(tm.root.Project, own, d.cert.ID, d.device.ID, tm.person("B").device.ID, *b.Th))
				return b
			}
			tm := newTeam(t, 2)
			tm.draw(`G -> key -> b -> c -> i -> swapped -> otherKey -> notListed -> role -> replayed -> lawful`, map[string]step{
				"key": epochStep("A"), "b": admitStep("A", "B", Editor), "c": admitStep("A", "C", Editor),
				"i": inviteStep("A", "i", Editor, 3, "A", "B"), "swapped": swapped, "otherKey": otherKey,
				"notListed": useStep("C", "D", "i", Editor), "role": useStep("A", "D", "i", Manager),
				"replayed": {by: "A", kind: KindAdmit, body: func(tm *team, _ *State) any { return tm.admission("B", "D", "i", Editor) }},
				"lawful":   useStep("B", "F", "i", Viewer),
			})
			tm.expect(map[string]Reason{
				"swapped": ReasonProof, "otherKey": ReasonProof, "notListed": ReasonHost, "role": ReasonInviteRole,
				"replayed": ReasonProof,
			}, map[string]Role{"D": None, "E": None, "F": Viewer})
		})
	}
}

// Scenario 97: the same admission again after a lost answer, at the same host and at another.
func TestScenario97AdmitRepeated(t *testing.T) {
	scenario.Run(t, 97, "the same joiner is admitted again, at the same host and at another: one admission, one use", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`
		start -> i -> first -> up -> again
		up -> elsewhere
		again, elsewhere -> end`, map[string]step{
			"i": inviteStep("A", "i", Viewer, 1, "A", "B"), "first": useStep("A", "C", "i", Viewer),
			"up": grantStep("A", "C", Editor), "again": useStep("A", "C", "i", Viewer),
			"elsewhere": useStep("B", "C", "i", Viewer), "end": chainStep("C", 1),
		})
		tm.expect(nil, map[string]Role{"C": Editor})
		if x, ok := tm.log.State().Invite(inviteID("i")); !ok || x.Uses != 1 {
			t.Errorf("the repetition took a use: %+v", x)
		}
		if m, _ := tm.log.State().Member(tm.member("C")); m.AdmittedBy != tm.ids["first"] {
			t.Error("the repetition replaced the admission")
		}
		// Another invite does not admit who is there, nor does a manager.
		tm.draw(`end -> j -> other -> direct`, map[string]step{
			"j": inviteStep("A", "j", Editor, 1, "A"), "other": useStep("A", "C", "j", Editor),
			"direct": admitStep("A", "C", Editor),
		})
		tm.expect(map[string]Reason{"other": ReasonPresent, "direct": ReasonPresent}, map[string]Role{"C": Editor})
	})
}

// An invite used at two hosts at once by one joiner is one admission, whichever host is removed meanwhile.
func TestSameAdmissionAtTwoHosts(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C", "E")
	tm.draw(`
		start -> i -> atA
		i -> atB
		i -> out`, map[string]step{
		"i": inviteStep("C", "i", Editor, 1, "A", "B"), "atA": useStep("A", "D", "i", Editor),
		"atB": useStep("B", "D", "i", Editor), "out": revokeStep("C", "A").and("E"),
	})
	tm.expect(map[string]Reason{"atA": ReasonStripped}, map[string]Role{"A": None, "D": Editor})
	if c, ok := tm.log.State().Chain(tm.person("D").device.ID, 0); !ok || !c.Owned || c.Opening != tm.ids["atB"] {
		t.Errorf("chain of the admitted device: %+v", c)
	}
}

// Scenario 69, below quorum: a removed manager backdates a removal of his remover.
func TestScenario69Retaliation(t *testing.T) {
	scenario.Run(t, 69, "a removed manager backdates a removal of his remover, below quorum: void", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		tm.draw(`
		start -> out
		start -> back`, map[string]step{"out": revokeStep("A", "B").and("C"), "back": revokeStep("B", "A")})
		tm.expect(map[string]Reason{"back": ReasonQuorum}, map[string]Role{"A": Manager, "B": None, "C": Manager})
	})
}

// A removal of which every quorum signer stands falls with one of them.
func TestStrippingACosignerVoidsTheAct(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C", "D", "E")
	tm.draw(`
		start -> ab
		start -> de`, map[string]step{"ab": revokeStep("A", "E").and("B"), "de": revokeStep("C", "B").and("D")})
	tm.expect(map[string]Reason{"ab": ReasonStripped}, map[string]Role{"B": None, "E": Manager})
}

// The founder alone names a second manager; then neither removes the other, and the root removes either.
func TestScenario81SoleManager(t *testing.T) {
	scenario.Run(t, 81, "a sole manager names a second alone; then neither removes the other, the root can", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.draw(`
		G -> key -> b -> up -> out -> root`, map[string]step{
			"key": epochStep("A"), "b": admitStep("A", "B", Editor), "up": grantStep("A", "B", Manager),
			"out": revokeStep("B", "A"), "root": revokeStep("B", "A").byRoot(),
		})
		tm.expect(map[string]Reason{"out": ReasonQuorum}, map[string]Role{"A": None, "B": Manager})
	})
}

// Whom the root or the managers removed comes back by a manager's or the root's hand only, and with the removal in
// the past.
func TestReadmission(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> e -> c -> out -> i -> host -> signed`, map[string]step{
		"e": admitStep("A", "E", Editor), "c": admitStep("A", "C", Editor), "out": revokeStep("A", "C"),
		"i":    inviteStep("A", "i", Editor, 2, "E"),
		"host": useStep("E", "C", "i", Editor), "signed": useStep("E", "C", "i", Editor).and("B"),
	})
	tm.expect(map[string]Reason{"host": ReasonReadmission}, map[string]Role{"C": Editor})
	s, c := tm.log.State(), tm.person("C").device.ID
	if cut, ok := s.Cut(c, 0); !ok || cut.Seq != 0 {
		t.Errorf("the chain from before the removal is not cut: %+v, %v", cut, ok)
	}
	tm.draw(`signed -> chain`, map[string]step{"chain": chainStep("C", 1)})
	if _, ok := tm.log.State().Cut(c, 1); ok {
		t.Error("the chain opened after the re-admission is cut")
	}
}

// Who keeps his place because the removal of him fell goes on acting, whatever replay sees first.
//
//	start -+-> ab: A and C remove B                strips bx, so X stays
//	       +-> bx: B removes X
//	ab, bx -> by: X opens a chain -> more: X another
func TestSavedMemberGoesOn(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.draw(`
		start -> x -> ab
		x -> bx
		ab, bx -> by -> more
		ab -> other
		more, other -> end`, map[string]step{
		"x": admitStep("A", "X", Editor), "ab": revokeStep("A", "B").and("C"), "bx": revokeStep("B", "X"),
		"by": chainStep("X", 1), "more": chainStep("X", 2), "other": admitStep("A", "D", Editor), "end": chainStep("X", 3),
	})
	tm.expect(map[string]Reason{"bx": ReasonStripped}, map[string]Role{"B": None, "X": Editor})
}

// Somebody whose admission fell with his host is admitted anew, by a host who knows that it fell.
func TestAdmittedAnewAfterTheHostFell(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.draw(`
		start -> out
		start -> in
		out, in -> anew -> use
		out -> other
		use, other -> end`, map[string]step{
		"out": revokeStep("A", "B").and("C"), "in": admitStep("B", "D", Editor), "anew": admitStep("A", "D", Viewer),
		"use": chainStep("D", 1), "other": admitStep("C", "E", Editor), "end": chainStep("D", 2),
	})
	tm.expect(map[string]Reason{"in": ReasonStripped}, map[string]Role{"D": Viewer})
}

// Scenario 37: two removals at once, each with its epoch: neither epoch is used, one more mint is owed. Both of two
// concurrent rotations without a removal may be used, and all agree on one.
func TestScenario37Epochs(t *testing.T) {
	scenario.Run(t, 37, "two removals at once, each with its epoch: neither is used for sending, one further mint counts", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B", "C")
		start := tm.log.State()
		if _, ok := start.SendingEpoch(); !ok {
			t.Fatal("the founder's epoch is not usable")
		}
		tm.draw(`
		start -> d -> e -> outD
		e -> outE
		outD, outE -> mint`, map[string]step{
			"d": admitStep("A", "D", Editor), "e": admitStep("A", "E", Editor),
			"outD": revokeStep("A", "D"), "outE": revokeStep("B", "E"), "mint": epochStep("C"),
		})
		tm.expect(nil, map[string]Role{"D": None, "E": None})
		both, err := tm.log.StateAt(tm.heads("outD", "outE"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := both.SendingEpoch(); ok {
			t.Error("an epoch is used whose author did not know of both removals")
		}
		places := map[int]bool{}
		for _, who := range []string{"A", "B", "C"} {
			place, owed := both.Owed(tm.person(who).device.ID)
			if !owed {
				t.Errorf("%s sees no rotation owed", who)
			}
			places[place] = true
		}
		if len(places) != 3 || !places[0] {
			t.Errorf("the minters' places are %v, want 0, 1 and 2", places)
		}
		if place, _ := both.Owed(tm.person("D").device.ID); place != -1 {
			t.Errorf("a removed device has place %d among the minters", place)
		}
		s := tm.log.State()
		x, ok := s.SendingEpoch()
		if !ok || x.Event != tm.ids["mint"] || len(s.Epochs()) != 4 {
			t.Fatalf("sending epoch %+v of %d", x, len(s.Epochs()))
		}
		tm.draw(`mint -> needless`, map[string]step{"needless": epochStep("C")})
		tm.expect(map[string]Reason{"needless": ReasonNotOwed}, nil)
	})
}

// Chains are numbered without gaps, and a removal ends them where it says.
func TestChainsAndCuts(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	d := tm.person("D").device.ID
	cut := func(no uint32, seq uint64, envelope byte) Cut {
		return Cut{Device: d, ChainNo: no, Seq: seq, Envelope: [32]byte{envelope}}
	}
	tm.draw(`
		start -> d -> one -> skip -> two -> outA
		two -> outB
		two -> three
		outA, outB, three -> end`, map[string]step{
		"d": admitStep("A", "D", Editor), "one": chainStep("D", 1), "skip": chainStep("D", 3), "two": chainStep("D", 2),
		"outA": revokeStep("A", "D", cut(0, 5, 1), cut(1, 7, 9)), "outB": revokeStep("B", "D", cut(0, 4, 2), cut(1, 7, 8)),
		"three": chainStep("D", 3), "end": admitStep("A", "E", Viewer),
	})
	tm.expect(map[string]Reason{"skip": ReasonChain, "three": ReasonStripped}, map[string]Role{"D": None})
	s := tm.log.State()
	for no, want := range map[uint32]Cut{0: cut(0, 5, 1), 1: cut(1, 7, 8), 2: {Device: d, ChainNo: 2}} {
		if got, ok := s.Cut(d, no); !ok || got != want {
			t.Errorf("chain %d is cut at %+v, want %+v", no, got, want)
		}
		if c, ok := s.Chain(d, no); !ok || !c.Owned || c.ClientID == 0 {
			t.Errorf("chain %d: %+v", no, c)
		}
	}
	if _, open := s.Chain(d, 3); open {
		t.Error("a chain whose opening fell is open")
	}
	if _, ok := s.Cut(tm.person("A").device.ID, 0); ok {
		t.Error("the chain of a member who stays is cut")
	}
}

// Scenario 55: a cancelled invite admits nobody; an admission that the cancelling voids makes the epoch rotate.
func TestScenario55CancelledInvite(t *testing.T) {
	scenario.Run(t, 55, "a cancelled invite admits nobody; an admission that the cancelling voids owes a rotation", func(t *testing.T) {
		tm := newTeam(t, 2)
		tm.managers("B")
		tm.draw(`
		start -> i -> before -> cancel -> after
		before -> during
		after, during -> end`, map[string]step{
			"i": inviteStep("A", "i", Editor, 3, "A", "B"), "before": useStep("B", "C", "i", Editor),
			"cancel": cancelStep("A", "i"), "after": useStep("A", "D", "i", Editor), "during": useStep("B", "E", "i", Editor),
			"end": chainStep("C", 1),
		})
		tm.expect(map[string]Reason{"after": ReasonCancelled, "during": ReasonStripped},
			map[string]Role{"C": Editor, "D": None, "E": None})
		if _, owed := tm.log.State().Owed(tm.person("A").device.ID); !owed {
			t.Error("the voided admission owes no rotation")
		}
		quiet, err := tm.log.StateAt(tm.heads("after"))
		if err != nil {
			t.Fatal(err)
		}
		if _, owed := quiet.Owed(tm.person("A").device.ID); owed {
			t.Error("a cancelling that voids nothing owes a rotation")
		}
		tm.draw(`end -> no -> unknown`, map[string]step{"no": cancelStep("C", "i"), "unknown": cancelStep("A", "j")})
		tm.expect(map[string]Reason{
			"after": ReasonCancelled, "during": ReasonStripped, "no": ReasonRole, "unknown": ReasonInvite,
		}, nil)
	})
}

// A root act needs the holders, and the root does not do what is not its own.
func TestRootActs(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> epoch -> both -> v -> up -> out`, map[string]step{
		"epoch": epochStep("A").byRoot(), "both": admitStep("A", "C", Editor).byRoot().and("B"),
		"v": admitStep("A", "V", Viewer), "up": grantStep("V", "V", Manager).byRoot(), "out": revokeStep("V", "A").byRoot(),
	})
	tm.expect(map[string]Reason{"epoch": ReasonRootAct, "both": ReasonCosigner}, map[string]Role{"V": Manager, "A": None})
}
