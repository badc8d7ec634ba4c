package governance

import (
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// small is a project with a few events: A's epoch, B an editor, C a viewer.
func small(t testing.TB) *team {
	tm := newTeam(t, 2)
	tm.draw(`G -> key -> b -> c`, map[string]step{
		"key": epochStep("A"), "b": admitStep("A", "B", Editor), "c": admitStep("A", "C", Viewer),
	})
	return tm
}

// Scenario 27: what has the wrong structure is refused before it is stored.
func TestScenario27StructureIsRefused(t *testing.T) {
	scenario.Run(t, 27, "17 parents, a lie about depth, unsorted parents, missing own previous event: refused before storage", func(t *testing.T) {
		tm := small(t)
		edited := func(edit func(*eventCore)) step {
			s := chainStep("B", 1)
			s.edit = edit
			return s
		}
		id := func(k byte) EventID { return EventID{k} }
		for _, tc := range []struct {
			name string
			step step
			on   string
			want error
		}{
			{"17 parents", edited(func(c *eventCore) {
				for k := range byte(17) {
					c.Parents = append(c.Parents, id(k))
				}
				c.Parents = wire.SortIDs(c.Parents)
			}), "c", ErrEvent},
			{"no parents", edited(func(c *eventCore) { c.Parents = nil }), "c", ErrEvent},
			{"depth too great", edited(func(c *eventCore) { c.Depth++ }), "c", ErrEvent},
			{"depth too small", edited(func(c *eventCore) { c.Depth-- }), "c", ErrEvent},
			{"depth 0", edited(func(c *eventCore) { c.Depth = 0 }), "c", ErrEvent},
			{"parents not sorted", edited(func(c *eventCore) { c.Parents = []EventID{id(2), id(1)} }), "c", ErrEvent},
			{"parent twice", edited(func(c *eventCore) { c.Parents = []EventID{id(1), id(1)} }), "c", ErrEvent},
			{"number 0", edited(func(c *eventCore) { c.Aseq = 0 }), "c", ErrEvent},
			{"previous one missing", edited(func(c *eventCore) { c.Aseq = 2 }), "c", ErrEvent},
			{"previous one of another", edited(func(c *eventCore) { p := tm.ids["c"]; c.Aseq, c.Aprev = 4, &p }), "c", ErrEvent},
			{"previous one not in the past", edited(func(c *eventCore) { p := id(9); c.Aseq, c.Aprev = 2, &p }), "c", ErrEvent},
			{"previous one of the first", edited(func(c *eventCore) { p := tm.ids["c"]; c.Aprev = &p }), "c", ErrEvent},
			{"cosigner's number wrong", edited(func(c *eventCore) { c.Cosigners[0].Aseq = 2 }).and("A"), "c", ErrEvent},
			{"author as cosigner", edited(func(c *eventCore) { c.Cosigners[0].Device = c.Device }).and("A"), "c", ErrEvent},
			{"cosigner nobody knows", chainStep("B", 1).and("D"), "c", ErrUnknownDevice},
			{"author nobody knows", chainStep("D", 1), "c", ErrUnknownDevice},
			{"author introduced later", chainStep("C", 1), "b", ErrUnknownDevice},
			{"another project", edited(func(c *eventCore) { c.Project[0]++ }), "c", ErrForeign},
			{"unknown root record", edited(func(c *eventCore) { c.Root[0]++ }), "c", ErrUnknownRoot},
			{"newer version", edited(func(c *eventCore) { c.V = 2 }), "c", wire.ErrVersion},
			{"rests on the root record", chainStep("A", 1), "G", ErrEvent},
			{"body of another kind", edited(func(c *eventCore) { c.Kind = KindRoleGrant }), "c", wire.ErrMalformed},
			{"chain 0", chainStep("B", 0), "c", ErrEvent},
			{"no holder of the root", edited(func(c *eventCore) { c.Holders[0] = tm.member("B") }).byRoot(), "c", ErrEvent},
		} {
			t.Run(tc.name, func(t *testing.T) {
				before := tm.log.Len()
				_, err := tm.log.Add(tm.make(tc.step, tc.on))
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if tm.log.Len() != before || len(tm.log.Missing()) > 0 {
					t.Error("something was stored")
				}
			})
		}
	})
}

func TestSignaturesAreVerified(t *testing.T) {
	tm := small(t)
	raw := tm.make(grantStep("A", "C", Editor).byRoot(), "c")
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxEvent); err != nil {
		t.Fatal(err)
	}
	for k := range signed.Sigs {
		bad := wire.Signed{Core: signed.Core, Sigs: slices.Clone(signed.Sigs)}
		bad.Sigs[k] = slices.Clone(bad.Sigs[k])
		bad.Sigs[k][5] ^= 1
		if _, err := tm.log.Add(wire.Marshal(bad)); !errors.Is(err, sign.ErrSignature) {
			t.Errorf("signature %d altered: %v", k, err)
		}
		bad.Sigs = slices.Delete(slices.Clone(signed.Sigs), k, k+1)
		if _, err := tm.log.Add(wire.Marshal(bad)); !errors.Is(err, ErrEvent) {
			t.Errorf("signature %d missing: %v", k, err)
		}
	}
	forged := tm.person("B").author() // B signs as A
	forged.Device = tm.person("A").device.ID
	core := tm.core(tm.person("A").author(), chainStep("A", 1), &ChainOpen{ChainNo: 1}, tm.heads("c"), &proposal{})
	if _, err := tm.log.Add(tm.sign(forged, core, &proposal{})); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("signed by another: %v", err)
	}
	if _, err := tm.log.Add(raw); err != nil {
		t.Errorf("the right signatures: %v", err)
	}
}

// Scenario 28: a peer sends events whose parents never come. The buffer stays within its bounds and the other
// peers' events still arrive.
func TestScenario28OrphansAreBounded(t *testing.T) {
	scenario.Run(t, 28, "10 000 orphan events from one peer: its share of the buffer is full, the honest peer's events still arrive", func(t *testing.T) {
		const flood = 10_000
		tm := small(t)
		late := newTeam(t, 2)
		late.root, late.f, late.log = tm.root, tm.f, NewLog(tm.root)
		var signed wire.Signed // its signatures fit none of the others, which nobody can know before the parents are here
		if err := wire.Unmarshal(tm.make(chainStep("B", 1), "c"), &signed, MaxEvent); err != nil {
			t.Fatal(err)
		}
		var core eventCore
		if err := wire.Unmarshal(signed.Core, &core, MaxEventCore); err != nil {
			t.Fatal(err)
		}
		full, at := 0, 0
		for n := range uint64(flood) {
			core.THint, core.Parents = &n, []EventID{{1, byte(n), byte(n >> 8)}}
			signed.Core = wire.Marshal(core)
			if _, err := late.log.AddFrom("flooder", wire.Marshal(signed)); errors.Is(err, ErrOrphansFull) {
				full++
			} else if err != nil {
				t.Fatal(err)
			} else {
				at++
			}
		}
		if full != flood-MaxPeerOrphans || at != MaxPeerOrphans {
			t.Errorf("%d taken and %d refused, want %d taken", at, full, MaxPeerOrphans)
		}
		if u := late.log.orphans.byPeer["flooder"]; u.bytes > MaxPeerOrphanBytes {
			t.Errorf("the peer takes %d bytes", u.bytes)
		}
		for k := len(tm.raws) - 1; k >= 0; k-- { // the honest peer's, last first
			if _, err := late.log.AddFrom("honest", tm.raws[k]); err != nil {
				t.Fatal(err)
			}
		}
		if late.log.State().Digest() != tm.log.State().Digest() {
			t.Error("the honest peer's events did not arrive")
		}
	})
}

// With many peers flooding at once the buffer as a whole stays bounded, and the one who fills most of it pays.
func TestOrphansOfManyPeers(t *testing.T) {
	o := newOrphans()
	put := func(from string, n, size int) error {
		id := EventID{byte(n), byte(n >> 8), from[0]}
		return o.put(from, &Event{ID: id, Raw: make([]byte, size)}, []EventID{{0xff, byte(n)}})
	}
	if err := put("honest", 0, 4000); err != nil {
		t.Fatal(err)
	}
	for n := range 3000 {
		if err := put(string(rune('a'+n%20)), n, 9000); err != nil && !errors.Is(err, ErrOrphansFull) {
			t.Fatal(err)
		}
		if o.total.events > MaxOrphans || o.total.bytes > MaxOrphanBytes {
			t.Fatalf("%d events, %d bytes", o.total.events, o.total.bytes)
		}
	}
	if o.byPeer["honest"] == nil {
		t.Error("the peer who sent one event lost it to the flood")
	}
	sum := usage{}
	for _, u := range o.byPeer {
		sum.events, sum.bytes = sum.events+u.events, sum.bytes+u.bytes
	}
	if sum != o.total || o.total.events != len(o.byKey) {
		t.Errorf("the books do not balance: %+v, %+v, %d", sum, o.total, len(o.byKey))
	}
	for _, x := range o.byKey {
		o.remove(x)
	}
	if len(o.onto)+len(o.byID)+len(o.byPeer) > 0 || o.total != (usage{}) {
		t.Error("an empty buffer still refers to events")
	}
}

// A copy with a bad signature that came first does not keep the good one out.
func TestBadCopyDoesNotShadowTheGoodOne(t *testing.T) {
	tm := small(t)
	l := NewLog(tm.root)
	var signed wire.Signed
	if err := wire.Unmarshal(tm.raws[1], &signed, MaxEvent); err != nil {
		t.Fatal(err)
	}
	signed.Sigs[0] = slices.Clone(signed.Sigs[0])
	signed.Sigs[0][0] ^= 1
	for from, raw := range map[string][]byte{"liar": wire.Marshal(signed), "honest": tm.raws[1]} {
		if res, err := l.AddFrom(from, raw); err != nil || !slices.Equal(res.Missing, tm.heads("key")) {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	res, err := l.Add(tm.raws[0])
	if err != nil || !slices.Equal(res.Added, tm.heads("key", "b")) {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, d := range res.Dropped {
		if d.From != "liar" || !errors.Is(d.Err, sign.ErrSignature) {
			t.Errorf("dropped %+v", d)
		}
	}
}

func TestMissingNamesWhatToFetch(t *testing.T) {
	tm := small(t)
	l := NewLog(tm.root)
	res, err := l.Add(tm.raws[2])
	if err != nil || !slices.Equal(res.Missing, tm.heads("b")) {
		t.Fatalf("%+v, %v", res, err)
	}
	if res, err = l.Add(tm.raws[1]); err != nil || !slices.Equal(res.Missing, tm.heads("key")) {
		t.Fatalf("%+v, %v", res, err)
	}
	if !slices.Equal(l.Missing(), tm.heads("key")) || l.Len() != 0 {
		t.Errorf("missing %v of %d", l.Missing(), l.Len())
	}
	if res, err = l.Add(tm.raws[0]); err != nil || !slices.Equal(res.Added, tm.heads("key", "b", "c")) {
		t.Fatalf("%+v, %v", res, err)
	}
	if res, err = l.Add(tm.raws[0]); err != nil || len(res.Added) > 0 {
		t.Errorf("a repetition: %+v, %v", res, err)
	}
}

func TestQueries(t *testing.T) {
	tm := newTeam(t, 2)
	if !slices.Equal(tm.log.Heads(), tm.heads("G")) {
		t.Errorf("heads of the empty log %v", tm.log.Heads())
	}
	if s := tm.log.State(); s.Role(tm.member("A")) != Manager || len(s.Devices()) != 1 {
		t.Error("the founder is not manager from the start")
	}
	tm.draw(`
		G -> key -> b -> x
		b -> y`, map[string]step{
		"key": epochStep("A"), "b": admitStep("A", "B", Editor), "x": chainStep("A", 1), "y": chainStep("B", 1),
	})
	if want := wire.SortIDs(tm.heads("x", "y")); !slices.Equal(tm.log.Heads(), want) {
		t.Errorf("heads %v, want %v", tm.log.Heads(), want)
	}
	for _, tc := range []struct {
		outer, inner []string
		want         bool
	}{
		{[]string{"x"}, []string{"b"}, true},
		{[]string{"x"}, []string{"y"}, false},
		{[]string{"x", "y"}, []string{"y", "x", "G"}, true},
		{[]string{"b"}, []string{"b"}, true},
		{[]string{"b"}, []string{"x"}, false},
		{[]string{"G"}, nil, true},
		{nil, []string{"G"}, true},
		{nil, []string{"key"}, false},
	} {
		if got, err := tm.log.Includes(tm.heads(tc.outer...), tm.heads(tc.inner...)); err != nil || got != tc.want {
			t.Errorf("closure of %v contains that of %v: %v, %v", tc.outer, tc.inner, got, err)
		}
	}
	if _, err := tm.log.StateAt([]EventID{{1}}); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("state at an unknown event: %v", err)
	}
	if s, err := tm.log.StateAt(tm.heads("key")); err != nil || s.Role(tm.member("B")) != None {
		t.Errorf("state before the admission: %v", err)
	}
	checkDevices(t, tm)
	checkAudit(t, tm)
}

func checkDevices(t *testing.T, tm *team) {
	t.Helper()
	s, b := tm.log.State(), tm.person("B")
	d, ok := s.DeviceByPeer(b.device.Peer)
	if !ok || d.ID != b.device.ID || d.Member != tm.member("B") || !d.Live {
		t.Errorf("device by peer: %+v", d)
	}
	for act, want := range map[Act]bool{
		ActRead: true, ActPresence: true, ActWrite: true, ActMint: true, ActHost: true, ActManage: false,
	} {
		if s.May(d.ID, act) != want {
			t.Errorf("an editor may %d: %v", act, !want)
		}
	}
	if s.May(tm.person("D").device.ID, ActRead) {
		t.Error("a stranger may read")
	}
}

func checkAudit(t *testing.T, tm *team) {
	t.Helper()
	var names []string
	for e := range tm.log.Audit(EventID{}) {
		if !e.Counts || e.Kind != e.Event.Kind {
			t.Errorf("%s: %+v", tm.names[e.ID], e)
		}
		names = append(names, tm.names[e.ID])
	}
	if !slices.Equal(names, []string{"key", "b", "x", "y"}) {
		t.Errorf("audit lists %v", names)
	}
	rest := 0
	for range tm.log.Audit(tm.ids["b"]) {
		rest++
	}
	if rest != 2 {
		t.Errorf("%d events after b", rest)
	}
}

func TestPropose(t *testing.T) {
	tm := newTeam(t, 2)
	a, b := tm.person("A").author(), tm.person("B").author()
	put := func(raw []byte, id EventID, err error) EventID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if res, err := tm.log.Add(raw); err != nil || !slices.Equal(res.Added, []EventID{id}) {
			t.Fatalf("%+v, %v", res, err)
		}
		if x, _ := tm.log.Explain(id); !x.Counts {
			t.Fatalf("a proposed event does not count: %s", x.Because)
		}
		return id
	}
	put(tm.log.Propose(a, KindKeyEpoch, epochStep("A").body(tm, tm.log.State()), WithTime(1_800_000_000)))
	put(tm.log.Propose(a, KindAdmit, admitStep("A", "B", Editor).body(tm, nil)))
	put(tm.log.Propose(b, KindChainOpen, ChainOpen{ChainNo: 1}))
	if got := tm.log.NextAseq(a.Device); got != 3 {
		t.Errorf("the next number of A is %d", got)
	}
	denied := func(want Reason, need int, _ []byte, _ EventID, err error) {
		t.Helper()
		var d *DeniedError
		if !errors.As(err, &d) || d.Reason != want || !errors.Is(err, ErrDenied) || need > 0 && d.Need != need {
			t.Errorf("got %v, want it denied as %v", err, want)
		}
	}
	propose := func(who Author, kind Kind, body any, opts ...ProposeOption) (Reason, int, []byte, EventID, error) {
		raw, id, err := tm.log.Propose(who, kind, body, opts...)
		return 0, 0, raw, id, err
	}
	_, _, raw, id, err := propose(b, KindRoleGrant, RoleGrant{tm.member("B"), Manager})
	denied(ReasonRole, 0, raw, id, err)
	_, _, raw, id, err = propose(b, KindChainOpen, ChainOpen{ChainNo: 1})
	denied(ReasonChain, 0, raw, id, err)
	put(tm.log.Propose(a, KindRoleGrant, RoleGrant{tm.member("B"), Manager}))
	_, _, raw, id, err = propose(a, KindRevoke, Revoke{Member: tm.member("B")})
	denied(ReasonQuorum, 2, raw, id, err)
	if _, _, err := tm.log.Propose(a, 4711, RoleGrant{}); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("unknown kind: %v", err)
	}
	if _, _, err := tm.log.Propose(tm.person("D").author(), KindChainOpen, ChainOpen{1}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	if _, _, err := tm.log.Propose(a, KindRevoke, Revoke{Cuts: make([]Cut, MaxCuts+1)}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too many cuts: %v", err)
	}
}

// With more heads than an event may name, the next one still rests on its author's last.
func TestProposeOnManyHeads(t *testing.T) {
	tm := newTeam(t, 2)
	var names []string
	for n := range 9 {
		names = append(names, string(rune('A'+n))+"1", string(rune('A'+n))+"3")
	}
	tm.add("key", epochStep("A"), "G")
	last := "key"
	for _, n := range names[1:] {
		if n[1] == '1' {
			tm.add("in "+n, admitStep("A", n, Editor), last)
			last = "in " + n
		}
	}
	for k := range 20 { // forks of one device stand for many independent authors
		hint := uint64(k)
		s := chainStep("B", 1)
		s.edit = func(c *eventCore) { c.THint = &hint }
		tm.add("head "+string(rune('a'+k)), s, last)
	}
	tm.add("own", chainStep("C", 1), last)
	raw, _, err := tm.log.Propose(tm.person("C").author(), KindChainOpen, ChainOpen{ChainNo: 2})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := ParseEvent(raw)
	if err != nil || len(ev.Parents) != MaxParents || !slices.Contains(ev.Parents, tm.ids["own"]) {
		t.Fatalf("%d parents: %v", len(ev.Parents), err)
	}
	if _, err := tm.log.Add(raw); err != nil {
		t.Fatal(err)
	}
	l := NewLog(tm.root)
	tm.raws = append(tm.raws, raw)
	tm.deliver(l, mathrand.New(mathrand.NewPCG(3, 3)))
	if l.State().Digest() != tm.log.State().Digest() {
		t.Error("another state in another order")
	}
}
