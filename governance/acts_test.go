package governance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
)

// actsFile is the table of acts: what comes of every act in small projects, for people and for this test.
const actsFile = "ACTS.md"

// project is a small project in the table.
type project struct {
	title   string
	people  string // member and role, as "Am Be Cv"
	columns []string
}

// The columns are who acts: a member, two who sign together, or the root, whose act A's device carries.
var projects = []project{
	{"One person", "Am", []string{"A", "root"}},
	{"Two people, one manager", "Am Be", []string{"A", "B", "root"}},
	{"Three people, one manager", "Am Be Cv", []string{"A", "B", "C", "A+B", "root"}},
	{"Two managers", "Am Bm", []string{"A", "B", "A+B", "root"}},
	{"Three managers", "Am Bm Cm", []string{"A", "C", "A+C", "A+B+C", "root"}},
	{"Two managers and an editor", "Am Bm Ce", []string{"A", "C", "A+B", "A+C", "root"}},
}

// tableActs returns the acts of a table's rows in order, each for whoever makes it. D is nobody there, i is an open invite by
// A that A and B serve, and p a proposal, not in force, to hold somebody.
func tableActs(people []string) (names []string, acts map[string]func(by string) step) {
	acts = map[string]func(string) step{}
	put := func(name string, s func(by string) step) {
		names = append(names, name)
		acts[name] = s
	}
	put("KeyEpoch, none owed", epochStep)
	put("InviteCreate, for editors", func(by string) step { return inviteStep(by, "j", Editor, 1, by) })
	put("InviteCreate, for managers", func(by string) step { return inviteStep(by, "j", Manager, 1, by) })
	put("InviteRevoke of i", func(by string) step { return cancelStep(by, "i") })
	put("InviteRevoke of no invite", func(by string) step { return cancelStep(by, "none") })
	put("Admit D on i as editor", func(by string) step { return useStep(by, "D", "i", Editor) })
	put("Admit D on i as manager", func(by string) step { return useStep(by, "D", "i", Manager) })
	put("Admit D as editor", func(by string) step { return admitStep(by, "D", Editor) })
	put("Admit D as manager", func(by string) step { return admitStep(by, "D", Manager) })
	put("Admit A again", func(by string) step { return admitStep(by, "A", Editor) })
	for _, m := range append(slices.Clone(people), "D") {
		put("RoleGrant "+m+" to editor", func(by string) step { return grantStep(by, m, Editor) })
		put("RoleGrant "+m+" to manager", func(by string) step { return grantStep(by, m, Manager) })
		put("RoleDrop "+m+" to viewer", func(by string) step { return dropStep(by, m, Viewer) })
		put("Revoke "+m, func(by string) step { return revokeStep(by, m) })
		put("DeviceRemove of "+m+"'s", func(by string) step { return removeStep(by, m, 0) })
	}
	put("Leave", func(by string) step { return leaveStep(by) })
	put("ChainOpen, the next", func(by string) step { return chainStep(by, 1) })
	put("ChainOpen, not the next", func(by string) step { return chainStep(by, 3) })
	put("KeyUpdate", func(by string) step { return updateStep(by, "D") })
	put("Carry of A's end", func(by string) step { return carryStep(by, "A", nil) })
	put("Carry of D's end", func(by string) step { return carryStep(by, "D", nil) })
	put("FrontierExtend", func(by string) step { return extendStep(by) })
	put("Endorse what counts", func(by string) step { return endorseStep(by, "i") })
	put("EquivocationProof", func(by string) step { return proofStep(by, "one", "two") })
	put("Checkpoint, the next", func(by string) step { return checkStep(by, 1, 1) })
	put("Checkpoint, not the next", func(by string) step { return checkStep(by, 3, 1) })
	for _, m := range people {
		put("QuarantinePropose "+m, func(by string) step { return proposeStep(by, m, 9) })
	}
	put("QuarantineVote for p", func(by string) step { return voteStep(by, "p") })
	put("QuarantineVote for nothing", func(by string) step { return voteStep(by, "i") })
	for _, m := range people {
		put("LiftQuarantine of "+m, func(by string) step { return liftStep(by, m) })
	}
	put("LiftQuarantine of Z's suspended device", func(by string) step { return liftDeviceStep(by, "Z") })
	put("LiftQuarantine of A's device, not suspended", func(by string) step { return liftDeviceStep(by, "A") })
	return names, acts
}

// found makes the project: its people, an invite i, Z who signed two events of one number,
// and a proposal p of the last member against the one before.
func (p project) found(t *testing.T) (*team, []string) {
	tm := newTeam(t, 2)
	tm.add("key", epochStep("A"), "G")
	at := tm.ids["key"]
	on := func(name string, s step) {
		tm.name("at", at)
		at = tm.add(name, s, "at")
	}
	roles := map[byte]Role{'m': Manager, 'e': Editor, 'v': Viewer}
	var people []string
	for k, m := range strings.Fields(p.people) {
		people = append(people, m[:1])
		if k > 0 {
			s := admitStep("A", m[:1], roles[m[1]])
			if k > 1 && roles[m[1]] == Manager {
				s = s.and("B")
			}
			on("admit "+m[:1], s)
		}
	}
	return tm, people
}

// settle adds to the project what the acts of the table are about.
func (p project) settle(t *testing.T) (*team, []string) {
	tm, people := p.found(t)
	tm.name("at", tm.log.Heads()[0])
	hosts := people[:min(2, len(people))]
	tm.add("i", inviteStep("A", "i", Editor, 1, hosts...), "at")
	tm.add("once", inviteStep("A", "once", Viewer, 1, "A"), "i")
	tm.add("z", admitStep("A", "Z", Viewer), "once")
	tm.add("one", chainStep("Z", 1), "z")
	tm.add("two", updateStep("Z", "D"), "z")
	tm.name("p", tm.ids["i"])
	if len(people) > 2 {
		tm.add("p", proposeStep(people[2], people[1], 9), "one", "two")
	}
	return tm, people
}

// outcome says what would come of an act, in the words of the table.
func (tm *team) outcome(s step) (cell string, why error) {
	tm.t.Helper()
	var opts []ProposeOption
	for _, c := range s.with {
		opts = append(opts, WithCosigners(tm.person(c).author()))
	}
	state := tm.log.State()
	try := func(opts ...ProposeOption) error {
		_, _, err := tm.log.Propose(tm.person(s.by).author(), s.kind, s.body(tm, state), opts...)
		return err
	}
	var err error
	if s.root {
		failed := genesis.Authorize(tm.t.Context(), tm.root, tm.f.shelves, func(a *genesis.Authority) error {
			err = try(WithHolders(a))
			return nil
		})
		if failed != nil {
			tm.t.Fatal(failed)
		}
	} else {
		err = try(opts...)
	}
	var denied *DeniedError
	switch {
	case err == nil:
		return "yes", nil
	case errors.As(err, &denied):
		return cellWords[denied.Reason] + map[bool]string{true: fmt.Sprint(" ", denied.Need)}[denied.Reason == ReasonQuorum], err
	}
	return fmt.Sprint(err), err
}

// cellWords are the table's words for reasons.
var cellWords = map[Reason]string{
	ReasonRole: "role", ReasonQuorum: "signers", ReasonCosigner: "cosigner", ReasonAbsent: "absent", ReasonPresent: "present",
	ReasonNoRaise: "no raise", ReasonNoDrop: "no drop", ReasonSubject: "self", ReasonInvite: "invite", ReasonHost: "host",
	ReasonInviteRole: "invite's role", ReasonChain: "number", ReasonNotOwed: "not owed", ReasonEndorse: "endorse",
	ReasonCheckpoint: "place", ReasonVoter: "voter", ReasonRootAct: "root", ReasonRevocation: "record", ReasonDevice: "device",
	ReasonEpoch: "epoch", ReasonDigest: "digest",
}

func (p project) table(t *testing.T, seen map[Reason]bool) string {
	tm, people := p.settle(t)
	names, acts := tableActs(people)
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: %s\n\n| act | %s |\n|---|%s\n", p.title, p.people, strings.Join(p.columns, " | "),
		strings.Repeat("---|", len(p.columns)))
	for _, name := range names {
		fmt.Fprintf(&b, "| %s |", name)
		for _, who := range p.columns {
			signers := strings.Split(who, "+")
			s := acts[name](strings.Replace(signers[0], "root", "A", 1)).and(signers[1:]...)
			s.root = who == "root"
			cell, err := tm.outcome(s)
			checkDenied(t, p.title+", "+name+" by "+who, err, seen)
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// checkDenied verifies that a refusal says which rule and what would be needed.
func checkDenied(t *testing.T, what string, err error, seen map[Reason]bool) {
	t.Helper()
	if err == nil {
		return
	}
	var denied *DeniedError
	if !errors.As(err, &denied) {
		t.Fatalf("%s: %v", what, err)
	}
	seen[denied.Reason] = true
	if cellWords[denied.Reason] == "" {
		t.Errorf("%s: the table has no word for %v", what, denied.Reason)
	}
	text := denied.Error()
	need := "; needed: "
	if denied.Reason == ReasonQuorum {
		need = fmt.Sprintf("(needs %d managers, has ", denied.Need)
	}
	for _, part := range []string{denied.Kind.String(), denied.Reason.String(), need} {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q does not say %q", what, text, part)
		}
	}
}

const actsHead = `# What comes of every act in small projects

Each table is a project; each row an act; the columns are who makes it: one member, members who sign together, or the root
(carried by A's device). ` + "`Am`" + ` is A, a manager, ` + "`Be`" + ` an editor, ` + "`Cv`" + ` a viewer; D is no member; Z is one more viewer, who
signed two events of one number. The manager quorum is 2. i is an invite for one editor that A and B serve; p is the third
member's proposal to hold the second, not yet in force (there is none among fewer than three). ` + "`yes`" + ` is that the act counts;
any other word is the rule that refuses it, explained at the end, and "signers 2" how many managers must sign. The test
` + "`TestActs`" + ` verifies every cell; SPEC.md is the rule.
`

// Every act in projects of one, two and three people with one manager, and of two and three managers.
func TestActs(t *testing.T) {
	seen := map[Reason]bool{}
	got := actsHead
	for _, p := range projects {
		got += p.table(t, seen)
	}
	got += "\n## The words\n\n| word | rule | what would be needed |\n|---|---|---|\n"
	for _, r := range slices.Sorted(maps.Keys(seen)) {
		need := r.Remedy()
		switch r {
		case ReasonQuorum:
			need = "as many managers who sign as the number says, or the root where it may act"
		case ReasonRole:
			need = "a device of the role that the error names, or the root where it may act; given can be " + need
		}
		if need == "" {
			t.Errorf("nothing says what is needed where %v", r)
		}
		got += fmt.Sprintf("| %s | %s | %s |\n", cellWords[r], r, need)
	}
	if *update {
		if err := os.WriteFile(actsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(actsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(file), "\n")
	for k, line := range strings.Split(got, "\n") {
		if k >= len(want) || want[k] != line {
			t.Fatalf("%s, line %d: it is\n%s\nnot\n%s", actsFile, k+1, line, want[min(k, len(want)-1)])
		}
	}
}
