package journal

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// quartet is a project of four: Ada manages it, Ben is the one whom the others doubt. Each holds everything.
type quartet struct {
	*team
	ada, ben, cyd, dan *node
}

func newQuartet(t *testing.T) *quartet {
	t.Helper()
	w := newTeam(t)
	w.begin()
	b, c, d := newPerson(t, "Ben"), newPerson(t, "Cyd"), newPerson(t, "Dan")
	w.admit(governance.Editor, b, c, d)
	q := &quartet{w, w.open(w.ada), w.open(b), w.open(c), w.open(d)}
	q.ada.write("script", "A")
	q.spread()
	q.ben.write("script", "B1")
	q.spread()
	return q
}

func (q *quartet) nodes() []*node { return []*node{q.ada, q.ben, q.cyd, q.dan} }

// spread lets everybody have everything.
func (q *quartet) spread() {
	q.t.Helper()
	for range 2 {
		for _, a := range q.nodes() {
			for _, b := range q.nodes() {
				if a != b {
					pull(q.t, a, b)
				}
			}
		}
	}
	for _, n := range q.nodes() {
		n.settle()
	}
}

// act makes an event that all learn but some.
func (q *quartet) act(by *node, kind governance.Kind, body any, but ...*node) governance.EventID {
	q.t.Helper()
	raw := by.gov.propose(kind, body)
	for _, n := range q.nodes() {
		if n != by && !slices.Contains(but, n) {
			n.gov.learn(raw)
		}
	}
	e, err := governance.ParseEvent(raw)
	if err != nil {
		q.t.Fatal(err)
	}
	return e.ID
}

// quarantine puts somebody in quarantine by two votes, for an hour.
func (q *quartet) quarantine(who *node, by, second *node, unknownTo ...*node) governance.EventID {
	q.t.Helper()
	id := q.propose(who, by, time.Hour, unknownTo...)
	vote := &governance.QuarantineVote{Proposal: id, Heads: cutsOf(q.t, second, who)}
	q.act(second, governance.KindQuarantineVote, vote, unknownTo...)
	for _, n := range q.nodes() {
		n.settle()
	}
	return id
}

func (q *quartet) propose(who, by *node, life time.Duration, unknownTo ...*node) governance.EventID {
	q.t.Helper()
	return q.act(by, governance.KindQuarantinePropose, &governance.QuarantinePropose{
		Member: who.person.id.Member(), Reason: "odd edits", Expires: uint64(testTime.Add(life).Unix()), Heads: cutsOf(q.t, by, who),
	}, unknownTo...)
}

func (q *quartet) lift(by, who *node) {
	q.t.Helper()
	m := who.person.id.Member()
	q.act(by, governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &m})
	for _, n := range q.nodes() {
		n.settle()
	}
}

func cutsOf(t testing.TB, n, who *node) []governance.Cut {
	t.Helper()
	cuts, err := n.Cuts(who.person.id.Member())
	if err != nil {
		t.Fatal(err)
	}
	return cuts
}

// sees fails the test unless all nodes show a text.
func sees(t *testing.T, name, want string, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		n.settle()
		if got := n.text(name); got != want {
			t.Errorf("%s sees %q in %s, want %q", n.person.name, got, name, want)
		}
	}
}

// hear keeps what a node is told of holds.
func hear(n *node) func() []Hold {
	var told []Hold
	n.OnHold(func(h Hold) { n.mu.Lock(); defer n.mu.Unlock(); told = append(told, h) })
	return func() []Hold { n.mu.Lock(); defer n.mu.Unlock(); return slices.Clone(told) }
}

func TestHold(t *testing.T) {
	q := newQuartet(t)
	ada, ben, cyd, dan := q.ada, q.ben, q.cyd, q.dan
	told, own := hear(ada), hear(ben)
	q.quarantine(ben, cyd, dan)
	counted := ada.Frontier()
	shown := ada.doc("script").CRDT()
	late := append(ben.write("script", "B2"), ben.write("notes", "new")...)
	for _, n := range []*node{ada, cyd, dan} {
		for _, e := range late { // judged and stored as ever
			if v, err := n.Accept(t.Context(), e, ben.person.dev.ID); v != Accepted {
				t.Fatalf("%s: %v %v", n.person.name, v, err)
			}
		}
	}
	sees(t, "script", "AB1", ada, cyd, dan)
	sees(t, "notes", "", ada, cyd, dan)
	if names := ada.Names(); slices.Contains(names, "notes") {
		t.Errorf("a document that only he has named is listed: %q", names)
	}
	sees(t, "script", "AB1B2", ben) // his own stays with him
	if got := ada.Frontier(); slices.Equal(got, counted) {
		t.Error("what is held does not count any more")
	}
	envelopes, bytes := ada.HeldBack(ben.person.id.Member())
	if envelopes != len(late) || bytes == 0 || !ada.Withheld(ben.person.dev.ID) || ben.Withheld(ben.person.dev.ID) {
		t.Errorf("%d envelopes, %d bytes held, withheld %v", envelopes, bytes, ada.Withheld(ben.person.dev.ID))
	}
	for w, err := range ada.History(ada.doc("notes").ID) {
		if err != nil || !w.Counts || !w.Held {
			t.Errorf("history: counts %v, held %v, %v", w.Counts, w.Held, err)
		}
	}
	agree(t, []*node{ada, cyd, dan}, "script", "notes")
	if before, after := cutsOf(t, ben, ben), cutsOf(t, ada, ben); before[0].Seq != after[0].Seq+uint64(len(late)) {
		t.Errorf("a removal would cut him at %d, he is at %d", after[0].Seq, before[0].Seq)
	}

	// It survives a restart, and goes with the lift, in the same document.
	again := restart(q.team, dan)
	q.dan = again
	sees(t, "script", "AB1", again)
	q.lift(ada, ben)
	sees(t, "script", "AB1B2", q.nodes()...)
	sees(t, "notes", "new", q.nodes()...)
	if ada.doc("script").CRDT() != shown {
		t.Error("the document was replaced to show a few edits more")
	}
	agree(t, q.nodes(), "script", "notes")
	want := []Hold{
		{ben.person.id.Member(), true, HoldQuarantine, testTime.Add(time.Hour)},
		{Member: ben.person.id.Member(), Why: HoldLifted},
	}
	for who, got := range map[string][]Hold{"Ada": told(), "Ben": own()} {
		if !slices.Equal(got, want) {
			t.Errorf("%s was told %v, want %v", who, got, want)
		}
	}
	if ada.Withheld(ben.person.dev.ID) || len(ada.Holds()) != 0 {
		t.Error("he is still held")
	}
}

// TestHoldTakesBack: the voters have seen less than this device shows, and what lies beyond is taken back.
func TestHoldTakesBack(t *testing.T) {
	q := newQuartet(t)
	late := q.ben.write("script", "B2")
	q.ada.take(q.ben, late...)
	sees(t, "script", "AB1B2", q.ada)
	q.quarantine(q.ben, q.cyd, q.dan)
	sees(t, "script", "AB1", q.ada, q.cyd, q.dan)
	fresh := restart(q.team, q.ada)
	q.ada = fresh
	sees(t, "script", "AB1", fresh)
	q.spread()
	sees(t, "script", "AB1", fresh, q.cyd, q.dan)
	q.lift(q.ada, q.ben)
	sees(t, "script", "AB1B2", q.nodes()...)
	agree(t, q.nodes(), "script")
}

// TestHoldOfChainOpenedLater: a chain that nobody has named is held from its beginning.
func TestHoldOfChainOpenedLater(t *testing.T) {
	q := newQuartet(t)
	q.quarantine(q.ben, q.cyd, q.dan)
	path, g := q.ben.path, q.ben.gov
	q.ben.shut()
	g = q.govOf(g)
	ben := q.openAt(g, path)
	q.ben = ben
	ben.Journal.mu.Lock()
	clear(ben.Journal.own.ours) // as after a crash: it goes on with a new chain
	ben.renumber()
	ben.Journal.mu.Unlock()
	ben.write("notes", "elsewhere")
	ben.quiet()
	for _, n := range []*node{q.ada, q.cyd, q.dan} {
		n.gov.learn(lastEvent(ben))
	}
	q.spread()
	sees(t, "notes", "", q.ada, q.cyd, q.dan)
	q.lift(q.ada, ben)
	sees(t, "notes", "elsewhere", q.nodes()...)
}

// TestHoldEnds: by the clock of each device, however often it is restarted; what comes after the end holds nothing.
func TestHoldEnds(t *testing.T) {
	q := newQuartet(t)
	q.dan.pass(2 * time.Hour) // his clock is past the end already
	told := hear(q.ada)
	q.quarantine(q.ben, q.ada, q.cyd)
	late := q.ben.write("script", "B2")
	for _, n := range []*node{q.ada, q.cyd, q.dan} {
		n.take(q.ben, late...)
	}
	sees(t, "script", "AB1", q.ada, q.cyd)
	sees(t, "script", "AB1B2", q.dan)

	q.ada.pass(59 * time.Minute)
	q.ada.Changed()
	sees(t, "script", "AB1", q.ada)
	cyd := q.cyd
	cyd.shut()
	q.cyd = q.openAt(q.govOf(cyd.gov), cyd.path) // its clock stands at the beginning again
	sees(t, "script", "AB1", q.cyd)
	for _, n := range []*node{q.ada, q.cyd} {
		n.pass(time.Hour)
		n.Changed()
		sees(t, "script", "AB1B2", n)
	}
	if got := told(); len(got) == 0 || got[len(got)-1].Held || got[len(got)-1].Why != HoldOver {
		t.Errorf("told %v", got)
	}
	q.cyd.pass(-2 * time.Hour) // over is over
	q.cyd.Changed()
	sees(t, "script", "AB1B2", q.cyd)
	agree(t, q.nodes(), "script")
}

// TestHoldIsNoLongerThanItsAuthorSays: somebody far behind gets it late and still holds no longer than it was meant for.
func TestHoldIsNoLongerThanItsAuthorSays(t *testing.T) {
	q := newQuartet(t)
	heads := cutsOf(t, q.cyd, q.ben)
	raw := func() []byte {
		q.cyd.gov.mu.Lock()
		defer q.cyd.gov.mu.Unlock()
		raw, _, err := q.cyd.gov.log.Propose(q.cyd.person.author(), governance.KindQuarantinePropose, &governance.QuarantinePropose{
			Member: q.ben.person.id.Member(), Expires: uint64(testTime.Add(100 * time.Hour).Unix()), Heads: heads,
		}, governance.WithTime(uint64(testTime.Add(90*time.Hour).Unix())))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}()
	for _, n := range q.nodes() {
		n.gov.learn(raw)
	}
	e, _ := governance.ParseEvent(raw)
	q.act(q.dan, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: e.ID})
	if got := q.ada.Holds(); len(got) != 1 || !got[0].Until.Equal(testTime.Add(10*time.Hour)) {
		t.Fatalf("held %v", got)
	}
}

// TestProvisionalHold: a manager's proposal holds at once, for a while, and an editor's does not.
func TestProvisionalHold(t *testing.T) {
	q := newQuartet(t)
	told := hear(q.cyd)
	q.propose(q.ben, q.dan, time.Hour)
	q.cyd.take(q.ben, q.ben.write("script", "B2")...)
	sees(t, "script", "AB1B2", q.cyd)
	id := q.propose(q.ben, q.ada, time.Hour)
	sees(t, "script", "AB1", q.cyd) // Ada had not seen more
	if got := q.cyd.Holds(); len(got) != 1 || got[0].Why != HoldProposal || !got[0].Until.Equal(testTime.Add(Provisional)) {
		t.Fatalf("held %v", got)
	}
	q.cyd.pass(Provisional)
	q.cyd.Changed()
	sees(t, "script", "AB1B2", q.cyd)
	sees(t, "script", "AB1", q.dan)
	q.act(q.cyd, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: id, Heads: cutsOf(t, q.cyd, q.ben)})
	sees(t, "script", "AB1B2", q.cyd) // he has seen it and votes for that much
	if got := told(); len(got) != 3 || got[0].Why != HoldProposal || got[1].Why != HoldOver || got[2].Why != HoldQuarantine {
		t.Errorf("told %v", got)
	}

	// Taken back before others have voted, it ends.
	id = q.propose(q.dan, q.ada, time.Hour)
	q.cyd.take(q.dan, q.dan.write("diary", "D")...)
	sees(t, "diary", "", q.cyd)
	q.act(q.ada, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: id, Withdraw: 1})
	sees(t, "diary", "D", q.cyd)
}

// TestProvisionalHoldIsNotRenewed: one manager cannot hold another back for ever by proposing it again and again.
func TestProvisionalHoldIsNotRenewed(t *testing.T) {
	q := newQuartet(t)
	q.propose(q.ben, q.ada, time.Hour)
	late := q.ben.write("script", "B2")
	q.cyd.take(q.ben, late...)
	sees(t, "script", "AB1", q.cyd)
	again := q.propose(q.ben, q.ada, 2*time.Hour)
	q.cyd.pass(Provisional)
	q.cyd.Changed()
	sees(t, "script", "AB1B2", q.cyd)
	q.propose(q.ben, q.ada, 3*time.Hour)
	q.cyd = restart(q.team, q.cyd)
	if held := q.cyd.Holds(); len(held) > 0 {
		t.Errorf("held again: %+v", held)
	}
	q.act(q.dan, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: again, Heads: cutsOf(t, q.dan, q.ben)})
	if held := q.cyd.Holds(); len(held) != 1 || held[0].Why != HoldQuarantine {
		t.Errorf("with a vote of another: %+v", held)
	}
}

func TestNoProvisionalHold(t *testing.T) {
	q := newQuartet(t)
	q.cyd.provisional = -1
	q.propose(q.ben, q.ada, time.Hour)
	q.cyd.take(q.ben, q.ben.write("script", "B2")...)
	sees(t, "script", "AB1B2", q.cyd)
}

// TestVouching: who has typed beside held text is not frozen, whichever of the two comes first.
func TestVouching(t *testing.T) {
	for name, first := range map[string]bool{"dependent first": true, "held first": false} {
		t.Run(name, func(t *testing.T) {
			q := newQuartet(t)
			ada := q.ada
			q.quarantine(q.ben, q.cyd, q.dan, ada, q.ben) // neither knows of it
			one, two, three := q.ben.write("script", "B2"), q.ben.write("diary", "elsewhere"), q.ben.write("script", "B3")
			ada.take(q.ben, slices.Concat(one, two)...)
			sees(t, "script", "AB1B2", ada)
			answer := ada.write("script", "A2")
			apart := ada.write("notes", "apart")
			ben := slices.Concat(one, two, three)
			if first {
				q.cyd.take(ada, slices.Concat(answer, apart)...)
				q.cyd.take(q.ben, ben...)
			} else {
				q.cyd.take(q.ben, ben...)
				sees(t, "script", "AB1", q.cyd)
				q.cyd.take(ada, slices.Concat(answer, apart)...)
			}
			sees(t, "script", "AB1B2A2", q.cyd)
			sees(t, "notes", "apart", q.cyd)
			sees(t, "diary", "", q.cyd)
			if blocked := q.cyd.doc("script").Blocked(); len(blocked) > 0 {
				t.Errorf("blocked: %v", blocked)
			}
			q.cyd = restart(q.team, q.cyd)
			sees(t, "script", "AB1B2A2", q.cyd)
			agree(t, []*node{q.cyd}, "script", "notes", "diary")

			// Ada learns of it: what she has built on stays, the rest goes.
			for e := range q.cyd.gov.log.All() {
				ada.gov.learn(e.Raw)
			}
			ada.take(q.ben, three...)
			sees(t, "script", "AB1B2A2", ada)
			sees(t, "diary", "", ada)
			ada.write("script", "A3")
			if ada.Held() > 0 {
				t.Error("she cannot go on")
			}
			for e := range ada.gov.log.All() {
				q.ben.gov.learn(e.Raw)
			}
			q.lift(ada, q.ben)
			q.spread()
			agree(t, q.nodes(), "script", "notes", "diary")
			sees(t, "diary", "elsewhere", q.nodes()...)
		})
	}
}

// TestHeldVouchForNobody: two in quarantine cannot release each other.
func TestHeldVouchForNobody(t *testing.T) {
	q := newQuartet(t)
	q.quarantine(q.ben, q.cyd, q.ada)
	q.quarantine(q.dan, q.cyd, q.ada)
	ben := q.ben.write("script", "B2")
	q.dan.take(q.ben, ben...)
	q.lift(q.cyd, q.ben) // an editor alone: it counts as one vote and ends nothing
	sees(t, "script", "AB1", q.dan)
	// Dan runs a program that shows him everything.
	q.dan.Journal.mu.Lock()
	q.dan.holds.of = map[identity.MemberID]*holding{}
	q.dan.applyHolds()
	q.dan.markStale()
	q.dan.unlock()
	sees(t, "script", "AB1B2", q.dan)
	dan := q.dan.write("script", "D")
	q.cyd.take(q.ben, ben...)
	q.cyd.take(q.dan, dan...)
	sees(t, "script", "AB1", q.cyd)
	m := q.dan.person.id.Member()
	q.act(q.ada, governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &m}) // now he may vouch
	sees(t, "script", "AB1B2D", q.cyd)
}

// TestVouchingReachesThrough: who has typed on text of somebody who is in trouble himself later is not frozen by what that text
// rests on.
func TestVouchingReachesThrough(t *testing.T) {
	ends := map[string]func(q *quartet){
		"held": func(q *quartet) { q.quarantine(q.dan, q.cyd, q.ada) },
		"removed": func(q *quartet) {
			q.act(q.ada, governance.KindRevoke, &governance.Revoke{Member: q.dan.person.id.Member(), Cuts: cutsOf(t, q.ada, q.dan)}, q.dan)
		},
		"muted before": func(q *quartet) {},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			q := newQuartet(t)
			q.quarantine(q.ben, q.cyd, q.ada, q.dan, q.ben)
			if name == "muted before" {
				if err := q.cyd.Mute(q.dan.person.id.Member(), true); err != nil {
					t.Fatal(err)
				}
			}
			ben := q.ben.write("script", "B2")
			q.dan.take(q.ben, ben...)
			dan := q.dan.write("script", "D")
			for _, n := range []*node{q.ada, q.cyd} {
				n.take(q.ben, ben...)
				n.take(q.dan, dan...)
			}
			sees(t, "script", "AB1B2D", q.ada)
			ada := q.ada.write("script", "A2")
			q.cyd.take(q.ada, ada...)
			sees(t, "script", "AB1B2DA2", q.ada, q.cyd)
			end(q)
			sees(t, "script", "AB1B2DA2", q.ada, q.cyd)
			q.cyd = restart(q.team, q.cyd)
			sees(t, "script", "AB1B2DA2", q.cyd)
		})
	}
}

// TestMuteOfAVoucher: whom this device has muted goes on vouching in what it offers others.
func TestMuteOfAVoucher(t *testing.T) {
	q := newQuartet(t)
	q.quarantine(q.ben, q.cyd, q.ada, q.dan, q.ben)
	if err := q.cyd.Mute(q.dan.person.id.Member(), true); err != nil {
		t.Fatal(err)
	}
	ben := q.ben.write("script", "B2")
	q.dan.take(q.ben, ben...)
	dan := q.dan.write("script", "D")
	for _, n := range []*node{q.ada, q.cyd} {
		n.take(q.ben, ben...)
		n.take(q.dan, dan...)
	}
	sees(t, "script", "AB1B2D", q.ada)
	sees(t, "script", "AB1", q.cyd)
	if ours, theirs := cutsOf(t, q.cyd, q.ben), cutsOf(t, q.ada, q.ben); !slices.Equal(ours, theirs) {
		t.Errorf("who has muted somebody names %v, others %v", ours, theirs)
	}
}

// TestForkedVoucherReleasesNothing: what a chain said after its contradiction does not show what others hold back, whoever
// learns of the contradiction when.
func TestForkedVoucherReleasesNothing(t *testing.T) {
	q := newQuartet(t)
	q.quarantine(q.ben, q.cyd, q.ada, q.dan, q.ben)
	ben := q.ben.write("script", "B2")
	begun := q.dan.write("notes", "begun")
	head, _ := q.dan.Chain()
	twin := newForger(q.dan.gov, head.ChainNo)
	twin.chain = envelope.NewChain(head)
	q.dan.take(q.ben, ben...)
	dan := q.dan.write("script", "D")
	other := twin.update("another")
	q.cyd.take(q.ben, ben...)
	q.cyd.take(q.dan, slices.Concat(begun, dan)...)
	sees(t, "script", "AB1B2D", q.cyd)
	if v, err := q.cyd.Accept(t.Context(), other, q.dan.person.dev.ID); v != Refused || !errors.Is(err, ErrFork) {
		t.Fatalf("the second envelope: %v %v", v, err)
	}
	sees(t, "script", "AB1", q.cyd)
}

// TestHeldContentIsBounded: what is too much is left to anti-entropy, and lost to nobody.
func TestHeldContentIsBounded(t *testing.T) {
	q := newQuartet(t)
	q.quarantine(q.ben, q.cyd, q.dan)
	q.cyd.maxHeld = 4000
	var all []*envelope.Envelope
	for range 40 {
		all = append(all, q.ben.write("script", "more and more and more ")...)
	}
	refused := false
	for _, e := range all {
		v, err := q.cyd.Accept(t.Context(), e, q.ben.person.dev.ID)
		switch {
		case v == Accepted && !refused:
		case v == Waiting && errors.Is(err, ErrUnverifiable):
			refused = true
		default:
			t.Fatalf("%v %v", v, err)
		}
	}
	if _, bytes := q.cyd.HeldBack(q.ben.person.id.Member()); !refused || bytes > 4000 {
		t.Fatalf("%d bytes are held back", bytes)
	}
	q.lift(q.ada, q.ben)
	q.spread()
	agree(t, q.nodes(), "script")
}

// TestOwnEditsBesideHeldText: what the owner is writing when the quarantine comes goes on under the same number.
func TestOwnEditsBesideHeldText(t *testing.T) {
	q := newQuartet(t)
	q.ada.take(q.ben, q.ben.write("script", "B2")...)
	q.ada.take(q.ben, q.ben.write("script", "B3")...)
	q.ada.take(q.ben, q.ben.write("script", "B4")...)
	r := q.ada.doc("script")
	if err := r.Update(func(tx *crdt.Txn) error { return r.CRDT().Text("body").Insert(tx, 5, "(unsent)") }); err != nil {
		t.Fatal(err)
	}
	no := r.no
	q.quarantine(q.ben, q.cyd, q.dan)
	q.ada.write("script", "!")
	q.spread()
	sees(t, "script", "AB1B2(unsent)B3!", q.ada, q.cyd, q.dan)
	if r.no != no {
		t.Errorf("she goes on under chain %d", r.no)
	}
}

func TestMute(t *testing.T) {
	q := newQuartet(t)
	ben := q.ben.person.id.Member()
	if err := q.ada.Mute(q.ada.person.id.Member(), true); !errors.Is(err, ErrMute) {
		t.Errorf("mutes herself: %v", err)
	}
	if err := q.ada.Mute(identity.MemberID{1}, true); !errors.Is(err, ErrMute) {
		t.Errorf("mutes a stranger: %v", err)
	}
	if err := q.ada.Mute(ben, true); err != nil {
		t.Fatal(err)
	}
	q.ben.write("script", "B2")
	q.spread()
	sees(t, "script", "AB1", q.ada)
	sees(t, "script", "AB1B2", q.ben, q.cyd, q.dan)
	if cut := cutsOf(t, q.ada, q.ben); !slices.Equal(cut, cutsOf(t, q.cyd, q.ben)) {
		t.Error("a mute shows in what she would say of him")
	}
	if q.ada.Withheld(q.ben.person.dev.ID) || len(q.ada.Holds()) > 0 {
		t.Error("a mute is taken for a quarantine")
	}
	raw, err := q.ada.Snapshot(q.ada.doc("script").ID)
	if err != nil {
		t.Fatal(err)
	}
	zoe := openEditor(t, q.ada, q.ben, q.cyd, q.dan)
	if err := zoe.AdoptSnapshot(t.Context(), raw, q.ada.person.dev.ID); err != nil {
		t.Fatal(err)
	}
	sees(t, "script", "AB1B2", zoe)

	q.ada = restart(q.team, q.ada)
	if got := q.ada.Muted(); !slices.Equal(got, []identity.MemberID{ben}) {
		t.Fatalf("muted after a restart: %v", got)
	}
	sees(t, "script", "AB1", q.ada)
	if err := q.ada.Mute(ben, false); err != nil {
		t.Fatal(err)
	}
	sees(t, "script", "AB1B2", q.ada)
	agree(t, q.nodes(), "script")
}

// TestSnapshotDuringHold: a snapshot holds no more than is shown, and one that holds more is not taken.
func TestSnapshotDuringHold(t *testing.T) {
	q := newQuartet(t)
	q.ada.take(q.ben, q.ben.write("script", "B2")...)
	before, err := q.ada.Snapshot(q.ada.doc("script").ID)
	if err != nil {
		t.Fatal(err)
	}
	q.quarantine(q.ben, q.cyd, q.dan)
	if err := q.cyd.AdoptSnapshot(t.Context(), before, q.ada.person.dev.ID); !errors.Is(err, ErrCut) {
		t.Errorf("takes what is held: %v", err)
	}
	after, err := q.ada.Snapshot(q.ada.doc("script").ID)
	if err != nil {
		t.Fatal(err)
	}
	zoe := openEditor(t, q.ada, q.ben, q.cyd, q.dan)
	for e := range q.ada.gov.log.All() {
		zoe.gov.learn(e.Raw)
	}
	if err := zoe.AdoptSnapshot(t.Context(), after, q.ada.person.dev.ID); err != nil {
		t.Fatal(err)
	}
	sees(t, "script", "AB1", zoe)
	pull(t, zoe, q.ada)
	sees(t, "script", "AB1", zoe)
	if got := zoe.alerted(AlertSnapshot); len(got) > 0 {
		t.Errorf("an honest snapshot is disputed: %v", got)
	}
}
