package governance

import (
	"errors"
	"fmt"
	"testing"
)

// Projects of one, two and three people with one manager, and of two and three managers: every act, tried by the
// founder and by the other, with what must come of it. 0 is that it counts.
func TestSmallProjects(t *testing.T) {
	const (
		alone   = iota // A is the only member
		pair           // and B, an editor
		trio           // and C, a viewer
		peers          // A and B are managers
		council        // A, B and C are managers
	)
	names := []string{"alone", "pair", "trio", "peers", "council"}
	teams := make([]*team, len(names))
	for k := range names {
		tm := newTeam(t, 2)
		tm.add("key", epochStep("A"), "G")
		tm.name("end", tm.ids["key"])
		admit := func(who string, role Role, with ...string) {
			tm.name("end", tm.add("admit "+who, admitStep("A", who, role).and(with...), "end"))
		}
		switch k {
		case pair, trio:
			admit("B", Editor)
		case peers, council:
			admit("B", Manager)
		}
		switch k {
		case trio:
			admit("C", Viewer)
		case council:
			admit("C", Manager, "B")
		}
		teams[k] = tm
	}
	const q, no, role, absent, subject = ReasonQuorum, ReasonDevice, ReasonRole, ReasonAbsent, ReasonSubject
	for _, tc := range []struct {
		name string
		step step
		want [5]Reason // alone, pair, trio, peers, council; no: the author is no member there
	}{
		{"A mints a needless key", epochStep("A"), [5]Reason{ReasonNotOwed, ReasonNotOwed, ReasonNotOwed, ReasonNotOwed, ReasonNotOwed}},
		{"A admits an editor", admitStep("A", "D", Editor), [5]Reason{}},
		{"A admits a manager", admitStep("A", "D", Manager), [5]Reason{0, 0, 0, q, q}},
		{"A and B admit a manager", admitStep("A", "D", Manager).and("B"), [5]Reason{no, ReasonCosigner, ReasonCosigner, 0, 0}},
		{"B admits an editor", admitStep("B", "D", Editor), [5]Reason{no, role, role, 0, 0}},
		{"A invites", inviteStep("A", "i", Editor, 1, "A"), [5]Reason{}},
		{"B invites", inviteStep("B", "i", Editor, 1, "B"), [5]Reason{no, role, role, 0, 0}},
		{"A cancels no invite", cancelStep("A", "i"), [5]Reason{ReasonInvite, ReasonInvite, ReasonInvite, ReasonInvite, ReasonInvite}},
		{"A makes B manager", grantStep("A", "B", Manager), [5]Reason{absent, 0, 0, q, q}},
		{"B makes himself manager", grantStep("B", "B", Manager), [5]Reason{no, role, role, q, q}},
		{"A and B make C manager", grantStep("A", "C", Manager).and("B"), [5]Reason{no, ReasonCosigner, ReasonCosigner, absent, ReasonNoRaise}},
		{"A lowers B to viewer", dropStep("A", "B", Viewer), [5]Reason{absent, 0, 0, q, q}},
		{"A lowers himself", dropStep("A", "A", Editor), [5]Reason{subject, subject, subject, subject, subject}},
		{"A and C lower B", dropStep("A", "B", Viewer).and("C"), [5]Reason{no, no, ReasonCosigner, no, 0}},
		{"A removes B", revokeStep("A", "B"), [5]Reason{absent, 0, 0, q, q}},
		{"B removes A", revokeStep("B", "A"), [5]Reason{no, role, role, q, q}},
		{"B and C remove A", revokeStep("B", "A").and("C"), [5]Reason{no, no, role, no, 0}},
		{"A removes himself", revokeStep("A", "A"), [5]Reason{subject, subject, subject, subject, subject}},
		{"A leaves", leaveStep("A"), [5]Reason{}},
		{"B leaves", leaveStep("B"), [5]Reason{no, 0, 0, 0, 0}},
		{"A removes his device", removeStep("A", "A", 0), [5]Reason{}},
		{"A removes B's device", removeStep("A", "B", 0), [5]Reason{absent, 0, 0, q, q}},
		{"B removes A's device", removeStep("B", "A", 0), [5]Reason{no, role, role, q, q}},
		{"A settles", checkStep("A", 1, 1), [5]Reason{0, 0, 0, q, q}},
		{"A and B settle", checkStep("A", 1, 1).and("B"), [5]Reason{no, ReasonCosigner, ReasonCosigner, 0, 0}},
		{"B settles", checkStep("B", 1, 1), [5]Reason{no, role, role, q, q}},
		{"A opens a chain", chainStep("A", 1), [5]Reason{}},
		{"B opens a chain", chainStep("B", 1), [5]Reason{no, 0, 0, 0, 0}},
		{"B changes his key", updateStep("B", "D"), [5]Reason{no, 0, 0, 0, 0}},
		{"A extends a frontier", extendStep("A"), [5]Reason{}},
		{"B extends a frontier", extendStep("B"), [5]Reason{no, role, role, 0, 0}},
		{"B proposes against A", proposeStep("B", "A", 9), [5]Reason{no, ReasonVoter, ReasonVoter, ReasonVoter, ReasonVoter}},
		{"A proposes against B", proposeStep("A", "B", 9), [5]Reason{absent, 0, 0, 0, 0}},
		{"A votes on nothing", voteStep("A", "key"), [5]Reason{absent, absent, absent, absent, absent}},
		{"A lifts nothing", liftStep("A", "A"), [5]Reason{absent, absent, absent, absent, absent}},
		{"A lifts a device that is not suspended", liftDeviceStep("A", "A"), [5]Reason{absent, absent, absent, absent, q}},
		{"A endorses what counts", endorseStep("A", "key"), [5]Reason{ReasonEndorse, ReasonEndorse, ReasonEndorse, ReasonEndorse, ReasonEndorse}},
	} {
		for k, tm := range teams {
			want := tc.want[k]
			got := tm.tried(tc.step)
			if want == no && got == ErrUnknownDevice.Error() { // it signs with a device that nobody there knows
				continue
			}
			if got != want.String() {
				t.Errorf("%s, %s: %s, want %s", names[k], tc.name, got, want)
			}
		}
	}
}

// tried says what would come of a step on all that a team has.
func (tm *team) tried(s step) string {
	tm.t.Helper()
	state := tm.log.State()
	var with []Author
	for _, c := range s.with {
		with = append(with, tm.person(c).author())
	}
	_, _, err := tm.log.Propose(tm.person(s.by).author(), s.kind, s.body(tm, state), WithCosigners(with...))
	var denied *DeniedError
	switch {
	case err == nil:
		return ReasonNone.String()
	case errors.As(err, &denied):
		return denied.Reason.String()
	case errors.Is(err, ErrUnknownDevice):
		return ErrUnknownDevice.Error()
	}
	return fmt.Sprint(err)
}
