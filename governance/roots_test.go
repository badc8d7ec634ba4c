package governance

import (
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore/memory"
)

var rootTime = time.Unix(1_800_000_000, 0)

// anyLedger lets a holder sign whatever it is asked for, as a rogue's program does.
type anyLedger struct{}

func (anyLedger) Note(genesis.Signing) error { return nil }

// moved is a root that has moved: the chain, and who keeps the newest key.
type moved struct {
	*team
	chain   *genesis.Chain
	shelves map[genesis.RootID][]genesis.Custodian // of each version
}

func newMoved(t *testing.T, quorum uint8) *moved {
	tm := newTeam(t, quorum)
	return &moved{tm, genesis.NewChain(tm.root), map[genesis.RootID][]genesis.Custodian{tm.root.ID: tm.f.shelves}}
}

// move makes a record after parent, held by a new key of A; change alters the draft.
func (m *moved) move(parent *genesis.Root, change func(*genesis.Draft)) *genesis.Root {
	m.t.Helper()
	return m.moveTo("A", parent, change)
}

func (m *moved) moveTo(holder string, parent *genesis.Root, change func(*genesis.Draft)) *genesis.Root {
	m.t.Helper()
	fresh := []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}
	offer, err := genesis.MakeHolder(m.t.Context(), rand.Reader, parent, m.person(holder).cert, genesis.Ceremony{Threshold: 2, Custodians: fresh})
	if err != nil {
		m.t.Fatal(err)
	}
	d := genesis.Draft{Title: parent.Title, Policy: parent.Policy, Holders: []genesis.Offer{*offer}}
	change(&d)
	p, err := genesis.Propose(rand.Reader, parent, d, rootTime.Add(time.Hour))
	if err != nil {
		m.t.Fatal(err)
	}
	signs := func(a *genesis.Authority) error { return p.Sign(a, anyLedger{}, rootTime) }
	if err := genesis.Authorize(m.t.Context(), parent, m.shelves[parent.ID], signs); err != nil {
		m.t.Fatal(err)
	}
	if err := genesis.AuthorizeOffer(m.t.Context(), parent, offer, fresh, signs); err != nil {
		m.t.Fatal(err)
	}
	raw, err := p.Complete(rootTime)
	if err != nil {
		m.t.Fatal(err)
	}
	next, err := genesis.ParseNext(parent, raw)
	if err != nil {
		m.t.Fatal(err)
	}
	m.shelves[next.ID] = fresh
	return next
}

// tell adds records to the chain and tells the log.
func (m *moved) tell(roots ...*genesis.Root) {
	m.t.Helper()
	for _, r := range roots {
		if _, err := m.chain.Add(r.Raw); err != nil {
			m.t.Fatal(err)
		}
	}
	m.log.SetRoots(m.chain.View(), m.chain.Records())
}

// at names events as the frontier of a record.
func (m *moved) at(names ...string) func(*genesis.Draft) {
	return func(d *genesis.Draft) { d.Frontier = sortedIDs(m.heads(names...)) }
}

// act adds an event on the authority of a version of the root, whatever the log's newest one is.
func (m *moved) act(name string, root *genesis.Root, s step, parents ...string) {
	m.t.Helper()
	number := uint64(len(m.raws))
	s.edit = func(c *eventCore) { c.Root, c.THint = root.ID, &number }
	if s.root {
		was, shelves := m.root, m.f
		m.root, m.f = root, &foundation{root: root, shelves: m.shelves[root.ID]}
		defer func() { m.root, m.f = was, shelves }()
	}
	m.add(name, s, parents...)
}

// agree delivers events and roots to other logs in other orders, and expects one state.
func (m *moved) agree(voids map[string]Reason) {
	m.t.Helper()
	for name, id := range m.ids {
		if x, err := m.log.Explain(id); err != nil || x.Reason != voids[name] {
			m.t.Errorf("%s: %v, %v, want %v", name, x.Reason, err, voids[name])
		}
	}
	want := m.log.State()
	for k := range 8 {
		rng := mathrand.New(mathrand.NewPCG(uint64(k), 7))
		l := NewLog(m.root)
		chain := genesis.NewChain(m.root)
		if err := chain.Settle(m.chain.Pin()); err != nil {
			m.t.Fatal(err)
		}
		left := slices.Clone(m.raws)
		rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		records := m.chain.Records()[1:]
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		for tries := 0; len(left)+len(records) > 0; tries++ {
			if tries > 1000 {
				m.t.Fatalf("order %d: %d events and %d records are left", k, len(left), len(records))
			}
			if len(records) > 0 && (len(left) == 0 || rng.IntN(4) == 0) {
				if _, err := chain.Add(records[0].Raw); err != nil {
					m.t.Fatal(err)
				}
				records = records[1:]
				l.SetRoots(chain.View(), chain.Records())
				continue
			}
			raw := left[0]
			left = left[1:]
			if _, err := l.Add(raw); errors.Is(err, ErrUnknownRoot) {
				left = append(left, raw)
			} else if err != nil {
				m.t.Fatal(err)
			}
		}
		if got := l.State(); l.Len() != len(m.raws) || got.Digest() != want.Digest() || got.Root() != want.Root() {
			m.t.Fatalf("order %d: %d of %d events, root %s, want %s; another state", k, l.Len(), len(m.raws), got.Root().Short(), want.Root().Short())
		}
	}
}

// The founder's old key revokes and admits after the root has moved: what the next record knew of stands, the rest falls.
func TestOldRootActs(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	m.add("V", admitStep("A", "V", Viewer), "start")
	m.act("known", m.root, grantStep("A", "V", Editor).byRoot(), "V")
	v2 := m.move(m.root, m.at("known"))
	m.act("late", m.root, revokeStep("B", "B").byRoot(), "known")
	if m.log.State().Role(m.member("B")) != None {
		t.Fatal("the root of its time could not act")
	}
	m.tell(v2)
	s := m.log.State()
	if s.Role(m.member("B")) != Manager || s.Role(m.member("V")) != Editor || s.Root() != v2.ID || m.log.Root().ID != v2.ID {
		t.Fatal("an act that the new root did not know of stands")
	}
	m.agree(map[string]Reason{"late": ReasonSuperseded})
	// Built on and named by events of the new root, it stays void; and the new key acts.
	m.act("on", v2, grantStep("A", "V", Manager).byRoot(), "late")
	m.act("again", m.root, revokeStep("B", "V").byRoot(), "known")
	if got := m.log.State().Role(m.member("V")); got != Manager {
		t.Fatalf("the new root's act gives %v", got)
	}
	m.agree(map[string]Reason{"late": ReasonSuperseded, "again": ReasonSuperseded})
	// Nobody goes back to the old root.
	s2 := step{kind: KindChainOpen, by: "A", body: chainStep("A", 1).body, edit: func(c *eventCore) { c.Root = m.root.ID }}
	if _, err := m.log.Add(m.make(s2, "on")); !errors.Is(err, ErrEvent) {
		t.Fatalf("an event on an older root than its parent's: %v", err)
	}
}

// The old holder cannot act in the name of the new version.
func TestOldHolderOnNewRoot(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	v2 := m.move(m.root, m.at("start"))
	m.tell(v2)
	forged := revokeStep("A", "B").byRoot()
	forged.edit = func(c *eventCore) { c.Root = v2.ID }
	if _, err := m.log.Add(m.make(forged, "start")); err == nil {
		t.Fatal("taken")
	}
}

func TestForkSuspendsTheRootOnly(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	m.add("V", admitStep("A", "V", Viewer), "start")
	m.act("before", m.root, grantStep("A", "V", Editor).byRoot(), "V")
	a, b := m.move(m.root, m.at("before")), m.move(m.root, m.at("before"))
	m.tell(a)
	m.act("of a", a, admitStep("A", "C", Manager).byRoot(), "before")
	m.act("meanwhile", a, admitStep("B", "D", Viewer), "of a")
	if got := m.log.State().Role(m.member("C")); got != Manager {
		t.Fatalf("the next root's act gives %v", got)
	}
	m.tell(b)
	m.act("of the parent", m.root, revokeStep("A", "B").byRoot(), "before")
	s := m.log.State()
	if s.Role(m.member("C")) != None || s.Role(m.member("B")) != Manager || s.Role(m.member("V")) != Editor || s.Role(m.member("D")) != Viewer {
		t.Fatal("a fork suspends the wrong things")
	}
	m.agree(map[string]Reason{"of a": ReasonSuperseded, "of the parent": ReasonSuspended})
	if err := m.chain.Settle(a.ID); err != nil {
		t.Fatal(err)
	}
	m.tell()
	if m.log.State().Role(m.member("C")) != Manager || m.log.Root().ID != a.ID {
		t.Fatal("settling does not end it")
	}
	m.agree(map[string]Reason{"of the parent": ReasonSuperseded})
}

// A newer policy asks for more managers: what fewer signed without knowing falls, unless the record knew of it.
func TestLargerQuorumOfTheNewerRoot(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B", "C", "D")
	m.add("V", admitStep("A", "V", Viewer), "start")
	m.add("W", admitStep("A", "W", Viewer), "V")
	m.add("by two", grantStep("A", "V", Manager).and("B"), "W")
	v2 := m.move(m.root, func(d *genesis.Draft) { m.at("by two")(d); d.Policy.ManagerQuorum = 3 })
	m.act("too few", m.root, grantStep("A", "W", Manager).and("B"), "by two")
	m.tell(v2)
	m.agree(map[string]Reason{"too few": ReasonQuorum})
	m.act("three", v2, grantStep("A", "W", Manager).and("B", "C"), "too few")
	m.agree(map[string]Reason{"too few": ReasonQuorum})
	if m.log.State().Role(m.member("W")) != Manager {
		t.Fatal("three managers do not suffice")
	}
}

// A version whose frontier has not come does not count yet, and says what it waits for.
func TestRootWaitsForItsFrontier(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	id := m.add("V", admitStep("A", "V", Viewer), "start")
	v2 := m.move(m.root, m.at("V"))
	m.tell(v2)
	m.act("next", v2, grantStep("A", "V", Editor).byRoot(), "V")
	l := NewLog(m.root)
	l.SetRoots(m.chain.View(), m.chain.Records())
	if l.Root().N != 1 || !slices.Equal(l.AwaitedRoot(), []EventID{id}) {
		t.Fatalf("version %d, waiting for %v", l.Root().N, l.AwaitedRoot())
	}
	for i, raw := range m.raws {
		if i == len(m.raws)-2 { // V is missing
			if _, err := l.Add(m.raws[len(m.raws)-1]); !errors.Is(err, ErrUnknownRoot) {
				t.Fatal(err)
			}
		}
		if _, err := l.Add(raw); err != nil {
			t.Fatal(err)
		}
	}
	if l.Root().N != 2 || len(l.AwaitedRoot()) > 0 || l.State().Digest() != m.log.State().Digest() {
		t.Fatal("it does not count although its frontier is there")
	}
}

// Random moves of the root among random acts, with rivals that are settled or not: one state, whatever the order.
func TestRandomRootsConverge(t *testing.T) {
	for seed := range uint64(4) {
		rng := mathrand.New(mathrand.NewPCG(seed, 11))
		m := newMoved(t, 2)
		m.managers("B", "C")
		names, parent := []string{"start"}, m.root
		live := []*genesis.Root{m.root}
		for i := range 12 {
			pick := names[max(0, len(names)-1-rng.IntN(3))]
			name := "e" + string(rune('a'+i))
			switch rng.IntN(5) {
			case 0:
				next := m.move(parent, m.at(pick))
				if rng.IntN(3) > 0 {
					parent = next
				}
				m.tell(next)
				live = append(live, next)
				continue
			case 1, 2:
				root := m.newest(pick, live, rng)
				m.act(name, root, grantStep("A", "B", Role(10*(1+rng.IntN(3)))).byRoot(), pick)
			case 3:
				m.act(name, m.newest(pick, live, rng), revokeStep("A", "C").byRoot(), pick)
			default:
				m.act(name, m.newest(pick, live, rng), admitStep("B", string(rune('K'+i)), Viewer), pick)
			}
			names = append(names, name)
		}
		if rng.IntN(2) == 0 && len(live) > 1 {
			if err := m.chain.Settle(live[1+rng.IntN(len(live)-1)].ID); err != nil {
				t.Fatal(err)
			}
			m.tell()
		}
		voids := map[string]Reason{}
		for name, id := range m.ids {
			x, err := m.log.Explain(id)
			if err != nil {
				t.Fatal(err)
			}
			voids[name] = x.Reason
			if e := m.log.Get(id); e != nil && x.Counts && len(e.Holders) > 0 {
				v := m.chain.View()
				if !slices.ContainsFunc(v.Versions, func(r *genesis.Root) bool { return r.ID == e.Root }) {
					t.Errorf("seed %d: %s counts on a record that is not in force", seed, name)
				}
			}
		}
		m.agree(voids)
	}
}

// newest picks a record for an event on a parent: one that is known to the log and not older than the parent's.
func (m *moved) newest(parent string, live []*genesis.Root, rng *mathrand.Rand) *genesis.Root {
	least := uint32(1)
	if e := m.log.Get(m.ids[parent]); e != nil {
		least = m.log.h.roots.known[e.Root].N
	}
	var fit []*genesis.Root
	for _, r := range live {
		if r.N >= least {
			fit = append(fit, r)
		}
	}
	return fit[rng.IntN(len(fit))]
}

// Who settles a version: enough of the managers that its frontier knows, by the policy before it; not managers named
// since, nor the root itself, nor the old holder's friends.
func TestSettledBy(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	m.add("V", admitStep("A", "V", Viewer), "start")
	v2 := m.move(m.root, m.at("V"))
	m.tell(v2)
	m.act("new", v2, grantStep("A", "V", Manager).byRoot(), "V")
	sign := func(name string, root *genesis.Root, by string, with ...string) {
		s := step{by: by, kind: 6, body: func(*team, *State) any { return Checkpoint{Number: 1} }} // what it says is not looked at
		m.act(name, root, s.and(with...), "new")
	}
	sign("two", v2, "A", "B")
	sign("one", v2, "A")
	sign("one old, one new", v2, "B", "V")
	for name, want := range map[string]bool{"two": true, "one": false, "one old, one new": false, "new": false, "V": false} {
		id, ok := m.log.SettledBy(m.ids[name])
		if ok != want || ok && id != v2.ID {
			t.Errorf("%s: %v, %s", name, ok, id.Short())
		}
	}
	if _, ok := m.log.SettledBy(EventID{1}); ok {
		t.Error("an unknown event settles")
	}
}
