package governance

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// drafting is a project with managers A, B, C and D, quorum 2, and a copy of its log for somebody.
func drafting(t *testing.T) (*team, func() *Log) {
	tm := newTeam(t, 2)
	tm.managers("B", "C", "D")
	return tm, func() *Log {
		l := NewLog(tm.root)
		for _, raw := range tm.raws {
			if _, err := l.Add(raw); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
}

func (tm *team) device(name string) identity.DeviceID { return tm.person(name).device.ID }

// Three logs that hold the same make one event together, and it counts.
func TestCosign(t *testing.T) {
	tm, log := drafting(t)
	a, b := log(), log()
	revoke := &Revoke{Member: tm.member("D"), Reason: "gone rogue"}
	d, err := a.Draft(tm.device("A"), []identity.DeviceID{tm.device("B")}, KindRevoke, revoke)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseDraft(d.Core)
	if err != nil || read.ID != d.ID || read.Author != tm.device("A") || read.Kind != KindRevoke {
		t.Fatalf("read back: %+v, %v", read, err)
	}
	sig, err := b.Cosign(tm.person("B").author(), read)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.Assemble(tm.person("A").author(), d, map[identity.DeviceID][]byte{tm.device("B"): sig})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{a, b} {
		if _, err := l.Add(raw); err != nil {
			t.Fatal(err)
		}
		if l.State().Role(tm.member("D")) != None {
			t.Error("the removal does not count")
		}
	}
	if a.State().Digest() != b.State().Digest() {
		t.Error("the logs disagree")
	}
}

// What a cosigner does not sign, and what an author does not put together.
func TestCosignRefuses(t *testing.T) {
	tm, log := drafting(t)
	with := func(names ...string) []identity.DeviceID {
		var out []identity.DeviceID
		for _, n := range names {
			out = append(out, tm.device(n))
		}
		return out
	}
	revoke := &Revoke{Member: tm.member("D")}
	draft := func(l *Log) *Draft {
		d, err := l.Draft(tm.device("A"), with("B"), KindRevoke, revoke)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	own := func(l *Log, who string) { // who acts alone meanwhile
		raw, _, err := l.Propose(tm.person(who).author(), KindChainOpen, &ChainOpen{ChainNo: 1})
		if err == nil {
			_, err = l.Add(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("too few, too many, or the subject", func(t *testing.T) {
		for _, with := range [][]identity.DeviceID{with(), with("B", "C"), with("D")} {
			var denied *DeniedError
			if _, err := log().Draft(tm.device("A"), with, KindRevoke, revoke); !errors.As(err, &denied) || denied.Need != 2 || denied.Have != 1+len(with) {
				t.Errorf("%d cosigners: %v", len(with), err)
			}
		}
	})
	t.Run("not asked", func(t *testing.T) {
		if _, err := log().Cosign(tm.person("C").author(), draft(log())); !errors.Is(err, ErrEvent) {
			t.Error(err)
		}
	})
	t.Run("parents that the cosigner lacks", func(t *testing.T) {
		l := log()
		own(l, "A")
		if _, err := log().Cosign(tm.person("B").author(), draft(l)); !errors.Is(err, ErrUnknownEvent) {
			t.Error(err)
		}
	})
	t.Run("an own event that the author lacks", func(t *testing.T) {
		l := log()
		own(l, "B")
		if _, err := l.Cosign(tm.person("B").author(), draft(log())); !errors.Is(err, ErrEvent) {
			t.Error(err)
		}
	})
	t.Run("another project", func(t *testing.T) {
		var core eventCore
		if err := wire.Unmarshal(draft(log()).Core, &core, MaxEventCore); err != nil {
			t.Fatal(err)
		}
		core.Project[0] ^= 1
		d, err := ParseDraft(wire.Marshal(core))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log().Cosign(tm.person("B").author(), d); !errors.Is(err, ErrForeign) {
			t.Error(err)
		}
	})
	t.Run("a number that is taken, a signature that is missing or wrong", func(t *testing.T) {
		l := log()
		d := draft(l)
		sig, err := log().Cosign(tm.person("B").author(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Assemble(tm.person("A").author(), d, nil); !errors.Is(err, ErrEvent) {
			t.Errorf("no signature: %v", err)
		}
		wrong := slices.Clone(sig)
		wrong[7] ^= 1
		if _, err := l.Assemble(tm.person("A").author(), d, map[identity.DeviceID][]byte{tm.device("B"): wrong}); !errors.Is(err, sign.ErrSignature) {
			t.Errorf("wrong signature: %v", err)
		}
		if _, err := l.Assemble(tm.person("B").author(), d, map[identity.DeviceID][]byte{tm.device("B"): sig}); !errors.Is(err, ErrEvent) {
			t.Errorf("another's draft: %v", err)
		}
		own(l, "A")
		if _, err := l.Assemble(tm.person("A").author(), d, map[identity.DeviceID][]byte{tm.device("B"): sig}); !errors.Is(err, ErrEvent) {
			t.Errorf("taken number: %v", err)
		}
	})
}

// How many must sign, and who may, for each act that may need several.
func TestSigners(t *testing.T) {
	tm, log := drafting(t)
	tm.add("e", admitStep("A", "E", Editor), slices.Collect(func(yield func(string) bool) {
		for _, h := range tm.log.Heads() {
			if !yield(tm.names[h]) {
				return
			}
		}
	})...)
	l := log()
	device := tm.device("D")
	for _, c := range []struct {
		name    string
		kind    Kind
		content any
		need    int
		who     string
	}{
		{"grant manager", KindRoleGrant, &RoleGrant{Member: tm.member("E"), Role: Manager}, 2, "ABCD"},
		{"grant editor", KindRoleGrant, &RoleGrant{Member: tm.member("E"), Role: Editor}, 1, "ABCD"},
		{"remove a manager", KindRevoke, &Revoke{Member: tm.member("D")}, 2, "ABC"},
		{"remove an editor", KindRevoke, &Revoke{Member: tm.member("E")}, 1, "ABCD"},
		{"demote a manager", KindRoleDrop, &RoleDrop{Member: tm.member("D"), Role: Editor}, 2, "ABC"},
		{"a manager's device", KindDeviceRemove, &DeviceRemove{Device: device}, 2, "ABC"},
		{"lift a manager's device", KindLiftQuarantine, &LiftQuarantine{Device: &device}, 2, "ABCD"},
		{"checkpoint", KindCheckpoint, &Checkpoint{Number: 1}, 2, "ABCD"},
	} {
		s, err := l.Signers(tm.device("A"), c.kind, c.content)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var want []identity.MemberID
		for _, r := range c.who {
			want = append(want, tm.member(string(r)))
		}
		if s.Need != c.need || !slices.Equal(s.Members, wire.SortIDs(want)) {
			t.Errorf("%s: %d of %d managers, want %d of %d", c.name, s.Need, len(s.Members), c.need, len(want))
		}
	}
}

// The terms of an act are its body without what its author adds; their form is fixed.
func TestTerms(t *testing.T) {
	member := identity.MemberID{0xaa}
	cuts := []Cut{{Device: identity.DeviceID{1}, Seq: 3}}
	for _, c := range []struct {
		kind    Kind
		content any
		want    string
	}{
		{KindRevoke, Revoke{Member: member, Cuts: cuts, Reason: "x", Notify: 1},
			"a4015820aa0000000000000000000000000000000000000000000000000000000000000002800361780401"},
		{KindRoleDrop, &RoleDrop{Member: member, Role: Editor, Cuts: cuts},
			"a3015820aa0000000000000000000000000000000000000000000000000000000000000002140380"},
		{KindRoleGrant, &RoleGrant{Member: member, Role: Manager},
			"a2015820aa0000000000000000000000000000000000000000000000000000000000000002181e"},
	} {
		terms, err := Terms(c.kind, c.content)
		if err != nil || hex.EncodeToString(terms) != c.want {
			t.Errorf("%v: %x, %v", c.kind, terms, err)
		}
		if _, err := DecodeTerms(c.kind, terms); err != nil {
			t.Errorf("%v: read back: %v", c.kind, err)
		}
	}
	if _, err := DecodeTerms(KindRoleDrop, wire.Marshal(&RoleDrop{Member: member, Role: Editor, Cuts: cuts})); !errors.Is(err, ErrEvent) {
		t.Errorf("terms with cuts: %v", err)
	}
	if _, err := Terms(Kind(999), RoleGrant{}); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("unknown kind: %v", err)
	}
}

// Whoever agreed to an act did so by what he knew: what has happened to its subject since then ends it.
func TestOvertaken(t *testing.T) {
	tm, _ := drafting(t)
	since := tm.log.Heads()
	grant := &RoleGrant{Member: tm.member("E"), Role: Manager}
	drop := &RoleDrop{Member: tm.member("D"), Role: Editor}
	check := func(when string, wantGrant, wantDrop bool) {
		t.Helper()
		for _, c := range []struct {
			content any
			want    bool
		}{{grant, wantGrant}, {drop, wantDrop}} {
			if got, err := tm.log.Overtaken(c.content, since); err != nil || got != c.want {
				t.Errorf("%s: %T overtaken: %v, %v", when, c.content, got, err)
			}
		}
	}
	check("at once", false, false)
	start := tm.names[since[0]]
	tm.add("e", admitStep("A", "E", Editor), start)
	check("the subject was admitted", true, false)
	tm.add("void", dropStep("A", "D", Editor), "e")
	check("a void act", true, false)
	tm.add("down", dropStep("A", "D", Editor).and("B"), "void")
	check("the same act", true, true)
	if _, err := tm.log.Overtaken(drop, []EventID{{1}}); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("unknown heads: %v", err)
	}
}

// Who is a member already and is let in on the same invite once more stands as before: else a host could end every proposal
// about somebody who came by him.
func TestReadmissionOvertakesNothing(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> i -> e`, map[string]step{"i": inviteStep("A", "i", Editor, 3, "A"), "e": useStep("A", "E", "i", Editor)})
	since := tm.log.Heads()
	again := tm.add("again", useStep("A", "E", "i", Editor), "e")
	if x, err := tm.log.Explain(again); err != nil || !x.Counts {
		t.Fatalf("the second admission: %+v, %v", x, err)
	}
	for _, content := range []any{&Revoke{Member: tm.member("E")}, &RoleGrant{Member: tm.member("E"), Role: Manager}} {
		if got, err := tm.log.Overtaken(content, since); err != nil || got {
			t.Errorf("%T overtaken: %v, %v", content, got, err)
		}
	}
}

// Who agreed to lift a quarantine has had it lifted when somebody has: a lift counts again and again, so that devices which
// went on making it would never end. Nobody's removal is overtaken by it.
func TestLiftOvertakesLift(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> e -> p`, map[string]step{"e": admitStep("A", "E", Editor), "p": proposeStep("B", "E", 1000)})
	e := tm.member("E")
	since, lift := tm.log.Heads(), &LiftQuarantine{Member: &e}
	tm.add("lift", liftStep("A", "E"), "p")
	if x, err := tm.log.Explain(tm.ids["lift"]); err != nil || !x.Counts {
		t.Fatalf("the lift: %+v, %v", x, err)
	}
	if got, err := tm.log.Overtaken(lift, since); err != nil || !got {
		t.Errorf("a lift after another: overtaken %v, %v", got, err)
	}
	if got, err := tm.log.Overtaken(&Revoke{Member: e}, since); err != nil || got {
		t.Errorf("a removal after a lift: overtaken %v, %v", got, err)
	}
}

// FuzzDraft: whatever parses names itself again, and no log signs it with a panic.
func FuzzDraft(f *testing.F) {
	for _, x := range readVectors(f).Events {
		e, err := ParseEvent(unbase64(f, x.Raw))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.core)
	}
	tm := newTeam(f, 2)
	anna := tm.person("A").author()
	f.Fuzz(func(t *testing.T, core []byte) {
		d, err := ParseDraft(core)
		if err != nil {
			return
		}
		if d.ID != d.event.ID || len(d.Cosigners) > MaxCosigners {
			t.Fatal("read wrongly")
		}
		if _, err := tm.log.Cosign(anna, d); err == nil && !slices.ContainsFunc(d.Cosigners, func(c Cosigner) bool { return c.Device == anna.Device }) {
			t.Fatal("signed without being asked")
		}
	})
}
