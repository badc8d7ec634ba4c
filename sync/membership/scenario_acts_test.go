package membership

import (
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// forge makes an event on what a log holds, adds it there, and returns it. Nobody is asked whether it counts.
func (n *node) forge(l *governance.Log, kind governance.Kind, body any, with ...*node) []byte {
	n.t.Helper()
	act := forge.Act{On: l, Author: n.author(), Kind: kind, Body: body}
	for _, w := range with {
		act.With = append(act.With, w.author())
	}
	raw, _ := act.Sign()
	if res, err := l.Add(raw); err != nil || len(res.Added) != 1 {
		n.t.Fatalf("forge %v: %v, %v", kind, res, err)
	}
	return raw
}

func idOf(t testing.TB, raw []byte) governance.EventID {
	t.Helper()
	e, err := governance.ParseEvent(raw)
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// why says at every project whether an event counts; all must say the same.
func why(t testing.TB, id governance.EventID, projects ...*Project) governance.Explanation {
	t.Helper()
	var first governance.Explanation
	for k, p := range projects {
		var x governance.Explanation
		var err error
		p.View(func(l *governance.Log) { x, err = l.Explain(id) })
		if err != nil {
			t.Fatal(err)
		}
		if k == 0 {
			first = x
		} else if x != first {
			t.Errorf("%+v at one, %+v at another", first, x)
		}
	}
	return first
}

// agree decides an act by two members of a board.
func (b *board) agree(by, with int, kind governance.Kind, content any) {
	b.t.Helper()
	id := b.propose(by, kind, content)
	knowsAct(b.t, b.projects[with], id)
	if err := b.projects[with].ApproveAct(timeout(b.t), id); err != nil {
		b.t.Fatal(err)
	}
}

// split cuts the connections between two groups of a board's nodes.
func (b *board) split(left, right []int) {
	for _, k := range left {
		for _, m := range right {
			b.nodes[k].partition(b.nodes[m])
		}
	}
}

// meet connects two nodes and has them exchange what they hold.
func (b *board) meet(k, m int) {
	b.t.Helper()
	b.nodes[k].reach(b.nodes[m])
	if err := b.projects[k].Pull(timeout(b.t), b.nodes[m].self.Device.ID); err != nil {
		b.t.Fatal(err)
	}
}

func (b *board) of(at ...int) []*Project {
	var out []*Project
	for _, k := range at {
		out = append(out, b.projects[k])
	}
	return out
}

// roles waits until some projects agree on who has which role, and on everything else.
func (b *board) roles(want map[int]governance.Role, at ...int) {
	b.t.Helper()
	eventually(b.t, "the roles are as they must be", func() bool {
		for _, p := range b.of(at...) {
			for k, r := range want {
				if p.State().Role(b.nodes[k].member()) != r {
					return false
				}
			}
		}
		return true
	})
	converge(b.t, b.of(at...)...)
}

const (
	out     = governance.None
	manager = governance.Manager
)

// asRoot lets the founder's root key sign, wherever its custodians are asked.
func (b *board) asRoot(fn func(*genesis.Authority) error) {
	b.t.Helper()
	if err := genesis.Authorize(timeout(b.t), b.projects[0].first, b.custody.Custodians, fn); err != nil {
		b.t.Fatal(err)
	}
}

// Scenario 16: two quorums remove each other's member in two halves of the network, and settle it there.
func TestScenario16MutualRemovalBetweenNodes(t *testing.T) {
	scenario.Run(t, 16, "four managers' nodes in two halves, each removes and settles one of the other: both out, the others settle it together, the root re-adds", func(t *testing.T) {
		b := newBoardWith(t, settles(1000), "anna", "berta", "carl", "dora")
		b.split([]int{0, 2}, []int{1, 3})
		b.agree(0, 2, governance.KindRevoke, &governance.Revoke{Member: b.nodes[1].member()})
		b.agree(1, 3, governance.KindRevoke, &governance.Revoke{Member: b.nodes[0].member()})
		settled(t, 1, b.of(0, 2)...)
		settled(t, 1, b.of(1, 3)...)
		if b.projects[2].State().Settled() == b.projects[3].State().Settled() {
			t.Fatal("the halves have met")
		}
		b.meet(2, 3)
		b.roles(map[int]governance.Role{0: out, 1: out, 2: manager, 3: manager}, 2, 3)
		if s := settled(t, 2, b.of(2, 3)...); s.Number != 2 {
			t.Errorf("settled: %+v", s)
		}
		b.roles(map[int]governance.Role{0: out, 1: out, 2: manager, 3: manager}, 2, 3)
		b.asRoot(func(a *genesis.Authority) error {
			anna := b.nodes[0].self
			_, err := b.projects[2].Propose(timeout(t), governance.KindAdmit,
				&governance.Admit{Role: governance.Editor, Identity: anna.Identity.Raw, Device: anna.Device.Raw}, governance.WithHolders(a))
			return err
		})
		b.roles(map[int]governance.Role{0: governance.Editor, 1: out}, 2, 3)
		b.nodes[2].reach(b.nodes[0])
		if err := b.projects[2].Pull(timeout(t), b.nodes[0].self.Device.ID); err != nil {
			t.Fatal(err)
		}
		b.roles(map[int]governance.Role{0: governance.Editor, 1: out, 2: manager, 3: manager}, 0, 2, 3)
	})
}

// Scenario 16, continued: one manager's program removes another alone, whatever the policy says.
func TestScenario16OneManagerAloneBetweenNodes(t *testing.T) {
	scenario.Run(t, 16, "one manager's node removes another manager alone: void at all, his program asks and is refused", func(t *testing.T) {
		b := newBoard(t, "anna", "berta", "carl")
		raw := b.nodes[1].forge(b.projects[1].copyLog(t, b.projects[1].Heads()), governance.KindRevoke, &governance.Revoke{Member: b.nodes[0].member()})
		b.projects[1].smuggle(t, raw)
		eventually(t, "all have it", func() bool {
			return !slices.ContainsFunc(b.projects, func(p *Project) bool { return !p.Knows([]governance.EventID{idOf(t, raw)}) })
		})
		if x := why(t, idOf(t, raw), b.projects...); x.Counts || x.Reason != governance.ReasonQuorum {
			t.Errorf("the removal: %+v", x)
		}
		b.roles(map[int]governance.Role{0: manager, 1: manager, 2: manager}, 0, 1, 2)
	})
}

// Scenario 18: a cycle of removals with a grant in it, made apart on the same view, each co-signed from outside.
func TestScenario18RemovalCycleBetweenNodes(t *testing.T) {
	scenario.Run(t, 18, "a cycle of removals with a grant in it, made in three parts of the network: all three out at all, the grant void", func(t *testing.T) {
		b := newBoard(t, "anna", "berta", "carl", "emil", "fred") // a, b, c and two outside
		d := newNode(t, "dora")
		b.nodes, b.projects = append(b.nodes, d), append(b.projects, d.join(invited(t, b.projects[0], InviteOptions{})))
		for k := 1; k < 5; k++ {
			b.nodes[5].reach(b.nodes[k])
		}
		converge(t, b.projects...)
		a, bb, c, e, f := b.nodes[0], b.nodes[1], b.nodes[2], b.nodes[3], b.nodes[4]
		before := b.projects[0].Heads()
		all := []int{0, 1, 2, 3, 4, 5}
		for _, k := range all {
			b.split([]int{k}, all[k+1:])
		}
		revoke := func(who *node) *governance.Revoke { return &governance.Revoke{Member: who.member()} }
		stale := func(k int) *governance.Log { return b.projects[k].copyLog(t, before) }
		b.projects[0].smuggle(t, a.forge(stale(0), governance.KindRevoke, revoke(bb), e))
		b.projects[1].smuggle(t, bb.forge(stale(1), governance.KindRevoke, revoke(c), e))
		cycle := stale(2)
		grant := c.forge(cycle, governance.KindRoleGrant, &governance.RoleGrant{Member: d.member(), Role: manager}, f)
		b.projects[2].smuggle(t, grant)
		b.projects[2].smuggle(t, d.forge(cycle, governance.KindRevoke, revoke(a), f))
		b.meet(3, 0) // each part reaches one who does not know of the others,
		b.meet(4, 1)
		b.meet(5, 2)
		b.meet(3, 4) // and then all meet
		b.meet(5, 3)
		b.meet(4, 5)
		b.roles(map[int]governance.Role{0: out, 1: out, 2: out, 3: manager, 4: manager, 5: governance.Editor}, 3, 4, 5)
		if x := why(t, idOf(t, grant), b.of(3, 4, 5)...); x.Counts || x.Reason != governance.ReasonStripped {
			t.Errorf("the grant: %+v", x)
		}
	})
}

// Scenario 29: the founder, who holds the root, is removed by two managers; his root key goes on.
func TestScenario29RootHolderRevokedBetweenNodes(t *testing.T) {
	scenario.Run(t, 29, "managers remove the root's holder: out as a member, his root signature still counts; one of them alone only proposes", func(t *testing.T) {
		b := newBoardWith(t, settles(1000), "anna", "berta", "carl")
		id := b.propose(1, governance.KindRevoke, &governance.Revoke{Member: b.nodes[0].member(), Reason: "coup"})
		knowsAct(t, b.projects[2], id)
		if role(b.projects[1], b.nodes[0].self) != manager {
			t.Fatal("one manager has removed another")
		}
		if err := b.projects[2].ApproveAct(timeout(t), id); err != nil {
			t.Fatal(err)
		}
		b.roles(map[int]governance.Role{0: out, 1: manager, 2: manager}, 1, 2)
		settled(t, 1, b.of(1, 2)...)
		var act governance.EventID
		b.asRoot(func(a *genesis.Authority) (err error) {
			act, err = b.projects[2].ActAsRoot(timeout(t), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1].member()}, a)
			return err
		})
		b.roles(map[int]governance.Role{0: out, 1: out, 2: manager}, 2)
		eventually(t, "berta knows", b.projects[1].Removed)
		if x := why(t, act, b.of(1, 2)...); !x.Counts {
			t.Errorf("the root's act: %+v", x)
		}
	})
}

// Scenario 69: a removed manager retaliates with an event on a view from before his removal.
func TestScenario69RetaliationBetweenNodes(t *testing.T) {
	scenario.Run(t, 69, "a removed manager backdates a removal of his remover, alone and with a colluder after a checkpoint: void at all", func(t *testing.T) {
		b := newBoardWith(t, settles(1000), "anna", "berta", "carl", "dora")
		rogue, colluder := b.nodes[1], b.nodes[3]
		stale := b.projects[1].copyLog(t, b.projects[1].Heads())
		b.agree(0, 2, governance.KindRevoke, &governance.Revoke{Member: rogue.member(), Reason: "rogue"})
		b.roles(map[int]governance.Role{1: out}, 0, 2, 3)
		checkpoint := settled(t, 1, b.of(0, 2, 3)...)
		back := &governance.Revoke{Member: b.nodes[0].member(), Reason: "retaliation"}
		below := rogue.forge(stale, governance.KindRevoke, back)
		quorum := rogue.forge(stale, governance.KindRevoke, &governance.Revoke{Member: b.nodes[0].member(), Reason: "with a second signer"}, colluder)
		b.projects[3].smuggle(t, below) // nobody else takes anything from the rogue
		b.projects[3].smuggle(t, quorum)
		eventually(t, "all have both", func() bool {
			return !slices.ContainsFunc(b.of(0, 2, 3), func(p *Project) bool {
				return !p.Knows([]governance.EventID{idOf(t, below), idOf(t, quorum)})
			})
		})
		if x := why(t, idOf(t, below), b.of(0, 2, 3)...); x.Counts {
			t.Errorf("alone: %+v", x)
		}
		if x := why(t, idOf(t, quorum), b.of(0, 2, 3)...); x.Counts || x.Reason != governance.ReasonOvertaken || x.Culprit != checkpoint.Event {
			t.Errorf("with a colluder: %+v", x)
		}
		b.roles(map[int]governance.Role{0: manager, 1: out, 2: manager, 3: manager}, 0, 2, 3)
	})
}

// Scenario 70: two rogues want back whom a settled removal removed, by removing the remover on a view from before it.
func TestScenario70RescueBetweenNodes(t *testing.T) {
	scenario.Run(t, 70, "rogues backdate the removal of a remover so that his settled removal falls: it stands at all, theirs counts forward only", func(t *testing.T) {
		b := newBoardWith(t, settles(1000), "anna", "berta", "carl")
		friend := newNode(t, "dora")
		pd := friend.join(invited(t, b.projects[0], InviteOptions{}))
		converge(t, append(b.projects, pd)...)
		stale := b.projects[1].copyLog(t, b.projects[1].Heads())
		remove(t, b.projects[0], friend)
		converge(t, b.projects...)
		for _, n := range b.nodes {
			n.clock.advance(25 * time.Hour)
		}
		for _, p := range b.projects {
			p.wakeCheckpoints()
		}
		settled(t, 1, b.projects...)
		rescue := b.nodes[1].forge(stale, governance.KindRevoke, &governance.Revoke{Member: b.nodes[0].member()}, b.nodes[2])
		b.projects[1].smuggle(t, rescue)
		eventually(t, "anna is out", func() bool {
			return !slices.ContainsFunc(b.projects, func(p *Project) bool { return role(p, b.nodes[0].self) != out })
		})
		for _, p := range b.projects {
			if p.State().Role(friend.member()) != out {
				t.Error("the removed friend is back")
			}
		}
		b.roles(map[int]governance.Role{0: out, 1: manager, 2: manager}, 1, 2)
	})
}

// Scenario 81: what one manager may do, and two may not.
func TestScenario81SoleManagerBetweenNodes(t *testing.T) {
	scenario.Run(t, 81, "a sole manager's node settles alone and names a second manager alone; then neither removes the other, the root does", func(t *testing.T) {
		b := newBoardWith(t, settles(3), "anna", "berta")
		settled(t, 1, b.projects...)
		for k := range 2 {
			_, err := b.projects[k].ProposeAct(timeout(t), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1-k].member()}, "")
			if denied := deniedBy(err); denied == nil || denied.Reason != governance.ReasonQuorum || denied.Need != 2 || denied.Have != 1 {
				t.Errorf("%s removes the other: %v", b.nodes[k].name, err)
			}
			raw := b.nodes[k].forge(b.projects[k].copyLog(t, b.projects[k].Heads()), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1-k].member()})
			b.projects[k].smuggle(t, raw)
			b.roles(map[int]governance.Role{0: manager, 1: manager}, 0, 1)
		}
		b.asRoot(func(a *genesis.Authority) error {
			_, err := b.projects[0].ActAsRoot(timeout(t), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1].member()}, a)
			return err
		})
		eventually(t, "berta is out", func() bool { return role(b.projects[0], b.nodes[1].self) == out && b.projects[1].Removed() })
	})
}

// Scenario 83: two halves settle the same number.
func TestScenario83RivalCheckpointsBetweenNodes(t *testing.T) {
	scenario.Run(t, 83, "two halves of the network make checkpoints of one number: neither stands when they meet, until the next has both before it", func(t *testing.T) {
		b := newBoardWith(t, settles(1000), "anna", "berta", "carl", "dora")
		b.split([]int{0, 1}, []int{2, 3})
		chains(t, b.projects[0], 1)
		chains(t, b.projects[2], 1)
		converge(t, b.of(0, 1)...)
		converge(t, b.of(2, 3)...)
		for _, n := range b.nodes {
			n.clock.advance(25 * time.Hour)
		}
		for _, p := range b.projects {
			p.wakeCheckpoints()
		}
		left, right := settled(t, 1, b.of(0, 1)...), settled(t, 1, b.of(2, 3)...)
		if left.Event == right.Event {
			t.Fatal("the halves have met")
		}
		both := b.projects[0].copyLog(t, b.projects[0].Heads()) // what whoever holds both comes to, before the next
		b.projects[2].View(func(l *governance.Log) {
			for e := range l.All() {
				if _, err := both.Add(e.Raw); err != nil {
					t.Error(err)
				}
			}
		})
		if s := both.State().Settled(); s.Number != 0 {
			t.Errorf("of two rivals one is settled: %+v", s)
		}
		for _, k := range []int{0, 1} {
			for _, m := range []int{2, 3} {
				b.meet(k, m)
			}
		}
		s := settled(t, 2, b.projects...)
		converge(t, b.projects...)
		b.projects[3].View(func(l *governance.Log) { // by the next, or by one after it if that had rivals in turn
			for _, x := range []governance.Settled{left, right} {
				if before, err := l.Contains([]governance.EventID{s.Event}, x.Event); err != nil || !before {
					t.Errorf("%v is not before what is settled: %v", x.Event.Short(), err)
				}
			}
		})
	})
}

// Scenario 84: a quorum settles without an act that it holds.
func TestScenario84LeftOutBetweenNodes(t *testing.T) {
	scenario.Run(t, 84, "a quorum leaves a grant out of its checkpoint on purpose: no honest device signs, the rogues' own makes it late, an Endorse brings it back", func(t *testing.T) {
		b := newBoardWith(t, settles(20), "anna", "berta", "carl", "dora")
		guest := newNode(t, "emil")
		pe := guest.join(invited(t, b.projects[0], InviteOptions{Role: governance.Viewer}))
		all := append(slices.Clone(b.projects), pe)
		converge(t, all...)
		rogue, honest := b.nodes[0], b.nodes[2]
		stale := b.projects[0].copyLog(t, b.projects[0].Heads())
		grant, err := b.projects[3].Propose(timeout(t), governance.KindRoleGrant, &governance.RoleGrant{Member: guest.member(), Role: governance.Editor})
		if err != nil {
			t.Fatal(err)
		}
		converge(t, all...)
		next, err := stale.NextCheckpoint(rogue.self.Device.ID, nil, uint64(time.Now().Unix()))
		if err != nil {
			t.Fatal(err)
		}
		d, err := stale.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindCheckpoint, next)
		if err != nil {
			t.Fatal(err)
		}
		honest.clock.advance(2 * time.Minute)
		if got := rogue.asks(b.projects[0], honest, nil, d); got != cosignAhead {
			t.Errorf("an honest device's answer: %d", got)
		}
		honest.clock.advance(-2 * time.Minute)
		checkpoint := rogue.forge(stale, governance.KindCheckpoint, next, b.nodes[1])
		b.projects[0].smuggle(t, checkpoint)
		settled(t, 1, all...)
		converge(t, all...)
		if x := why(t, grant, all...); x.Counts || x.Reason != governance.ReasonLate || x.Culprit != idOf(t, checkpoint) {
			t.Errorf("the grant: %+v", x)
		}
		if role(pe, guest.self) != governance.Viewer {
			t.Error("the guest is an editor")
		}
		if late := b.projects[2].Late(); !slices.Equal(late, []governance.EventID{grant}) {
			t.Errorf("late at an honest manager: %v", late)
		}
		if id, err := b.projects[2].endorse(t, grant); err != nil || !id.IsZero() {
			t.Fatalf("endorse: %v, %v", id, err)
		}
		converge(t, all...)
		for _, p := range all {
			if p.State().Role(guest.member()) != governance.Editor {
				t.Error("the endorsed grant is not in force")
			}
		}
	})
}
