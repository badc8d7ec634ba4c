package membership

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// board is a project whose members are all managers, and connected to each other.
type board struct {
	t        testing.TB
	nodes    []*node
	projects []*Project
	custody  genesis.Ceremony // of the root, which the founder holds
}

// newBoard founds a project, quorum 2, and makes everybody named a manager.
func newBoard(t testing.TB, names ...string) *board {
	t.Helper()
	return newBoardWith(t, func(*Config) {}, names...)
}

func newBoardWith(t testing.TB, shape func(*Config), names ...string) *board {
	t.Helper()
	return newBoardOf(t, 2, shape, names...)
}

// newBoardOf is newBoard with another quorum and what is special about projects.
func newBoardOf(t testing.TB, quorum int, shape func(*Config), names ...string) *board {
	t.Helper()
	b := &board{t: t}
	for k, name := range names {
		n := newNode(t, name)
		n.shape, n.quorum = shape, uint8(quorum)
		b.nodes = append(b.nodes, n)
		if k == 0 {
			b.custody = custody()
			b.projects = append(b.projects, n.foundWith(b.custody))
			continue
		}
		p := n.join(invited(t, b.projects[0], InviteOptions{}))
		for _, other := range b.nodes[1:k] {
			n.connect(other)
		}
		b.projects = append(b.projects, p)
		converge(t, b.projects...)
		var with []governance.ProposeOption
		for _, w := range b.nodes[1:min(quorum, k)] {
			with = append(with, governance.WithCosigners(w.author()))
		}
		_, err := b.projects[0].Propose(timeout(t), governance.KindRoleGrant,
			&governance.RoleGrant{Member: n.member(), Role: governance.Manager}, with...)
		if err != nil {
			t.Fatal(err)
		}
		converge(t, b.projects...)
	}
	return b
}

func (n *node) author() governance.Author {
	return governance.Author{Keys: n.self.Keys, Device: n.self.Device.ID}
}

func (n *node) member() identity.MemberID { return n.self.Identity.Member() }

// knows waits until a project has a proposed act, and returns it.
func knowsAct(t testing.TB, p *Project, id ActID) Act {
	t.Helper()
	var found Act
	eventually(t, "the proposed act is known", func() bool {
		for _, x := range p.Acts() {
			if x.ID == id {
				found = x
				return true
			}
		}
		return false
	})
	return found
}

// propose asks for an act that needs others, and fails the test if it does not.
func (b *board) propose(k int, kind governance.Kind, content any) ActID {
	b.t.Helper()
	id, err := b.projects[k].ProposeAct(timeout(b.t), kind, content, "as we said")
	if err != nil || id.IsZero() {
		b.t.Fatalf("propose %v: %v, %v", kind, id.Short(), err)
	}
	return id
}

// One manager proposes to remove another, a second agrees elsewhere, and the event is made between their devices.
func TestActByTwoManagers(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member(), Reason: "sells our drafts"})
	x := knowsAct(t, b.projects[1], id)
	body, ok := x.Body.(*governance.Revoke)
	if !ok || body.Reason != "sells our drafts" || x.By != b.nodes[0].member() || x.Needed != 2 || len(x.Approved) != 1 || !x.Mine ||
		x.Subject != b.nodes[2].member() || x.Note != "as we said" || time.Until(x.Expires) < 6*24*time.Hour {
		t.Errorf("as shown to the other manager: %+v", x)
	}
	if mine := knowsAct(t, b.projects[0], id); mine.Mine {
		t.Error("the proposal waits for its own author")
	}
	if len(b.projects[2].Acts()) != 0 {
		t.Error("whom it is about was told")
	}
	if err := b.projects[1].ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carl is out everywhere", func() bool {
		return !slices.ContainsFunc(b.projects, func(p *Project) bool { return p.State().Role(b.nodes[2].member()) != governance.None })
	})
	eventually(t, "the proposal is closed", func() bool { return len(b.projects[0].Acts())+len(b.projects[1].Acts()) == 0 })
	converge(t, b.projects[:2]...)
	id2, _, ok := b.projects[0].SendingEpoch()
	if _, held := b.projects[1].EpochKey(id2); !ok || !held {
		t.Error("the removal has brought no new key")
	}
	if _, held := b.projects[2].EpochKey(id2); held {
		t.Error("the removed has the new key")
	}
}

// A grant, a demotion and the removal of a device, one after the other, each by proposal.
func TestActsOfEveryKind(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	carl := b.nodes[2]
	for _, c := range []struct {
		name    string
		kind    governance.Kind
		content any
		done    func(*governance.State) bool
	}{
		{"demote", governance.KindRoleDrop, governance.RoleDrop{Member: carl.member(), Role: governance.Editor},
			func(s *governance.State) bool { return s.Role(carl.member()) == governance.Editor }},
		{"promote", governance.KindRoleGrant, &governance.RoleGrant{Member: carl.member(), Role: governance.Manager},
			func(s *governance.State) bool { return s.Role(carl.member()) == governance.Manager }},
		{"remove the device", governance.KindDeviceRemove, &governance.DeviceRemove{Device: carl.self.Device.ID},
			func(s *governance.State) bool { d, ok := s.Device(carl.self.Device.ID); return ok && !d.Live }},
	} {
		id := b.propose(1, c.kind, c.content)
		knowsAct(t, b.projects[0], id)
		if err := b.projects[0].ApproveAct(timeout(t), id); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		eventually(t, c.name, func() bool {
			return !slices.ContainsFunc(b.projects, func(p *Project) bool { return !c.done(p.State()) })
		})
		converge(t, b.projects[:2]...)
	}
	key, _, ok := b.projects[0].SendingEpoch()
	if _, held := b.projects[1].EpochKey(key); !ok || !held {
		t.Error("the removal of a device has brought no key that all who stay hold")
	}
	if _, held := b.projects[2].EpochKey(key); held {
		t.Error("the removed device has the new key")
	}
}

// What one may do alone is done at once; what cannot come about is not recorded.
func TestActAlone(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta")
	carl := newNode(t, "carl")
	pc := carl.join(invited(t, b.projects[0], InviteOptions{}))
	if id, err := b.projects[0].ProposeAct(timeout(t), governance.KindRoleDrop, &governance.RoleDrop{Member: carl.member(), Role: governance.Viewer}, ""); err != nil || !id.IsZero() {
		t.Errorf("demote an editor: %v, %v", id, err)
	}
	denied := new(governance.DeniedError)
	for name, try := range map[string]func() (ActID, error){
		"two managers, one of them the subject": func() (ActID, error) {
			return b.projects[0].ProposeAct(timeout(t), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1].member()}, "")
		},
		"a viewer": func() (ActID, error) {
			return pc.ProposeAct(timeout(t), governance.KindRevoke, &governance.Revoke{Member: b.nodes[1].member()}, "")
		},
	} {
		if id, err := try(); !errors.As(err, &denied) || !id.IsZero() {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	if _, err := b.projects[0].ProposeAct(timeout(t), governance.KindCheckpoint, &governance.Checkpoint{Number: 1}, ""); !errors.Is(err, governance.ErrUnknownKind) {
		t.Errorf("a checkpoint is proposed: %v", err)
	}
	if n := len(b.projects[0].Acts()); n != 0 {
		t.Errorf("%d acts wait", n)
	}
}

// An approval that was taken back counts for nothing; one that is declined is not shown; both go on elsewhere.
func TestActWithdrawnAndDeclined(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[3].member()})
	for _, p := range b.projects[1:3] {
		knowsAct(t, p, id)
	}
	if err := b.projects[0].WithdrawAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a proposal that nobody agrees to is not shown", func() bool { return len(b.projects[1].Acts())+len(b.projects[0].Acts()) == 0 })
	if err := b.projects[1].DeclineAct(id); err != nil {
		t.Fatal(err)
	}
	if err := b.projects[2].ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	x := knowsAct(t, b.projects[0], id)
	if len(x.Approved) != 1 || x.Approved[0] != b.nodes[2].member() || !x.Mine {
		t.Errorf("after one withdrawal and one approval: %+v", x)
	}
	if len(b.projects[1].Acts()) != 0 {
		t.Error("what was declined is shown")
	}
	if err := b.projects[3].ApproveAct(timeout(t), id); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("the subject approves: %v", err)
	}
	if role(b.projects[0], b.nodes[3].self) != governance.Manager {
		t.Fatal("one approval removed a manager")
	}
	if err := b.projects[0].ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dora is out", func() bool {
		return !slices.ContainsFunc(b.projects, func(p *Project) bool { return p.State().Role(b.nodes[3].member()) != governance.None })
	})
}

// Where three must agree, nobody's device signs before all have said that they would, and the third word decides.
func TestActByThree(t *testing.T) {
	checkLeaks(t)
	b := newBoardOf(t, 3, settles(1000), "anna", "berta", "carl", "dora")
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[3].member()})
	for k := 1; k < 3; k++ {
		if x := knowsAct(t, b.projects[k], id); x.Needed != 3 {
			t.Errorf("needs %d", x.Needed)
		}
		if role(b.projects[0], b.nodes[3].self) != governance.Manager {
			t.Fatal("two have removed a manager")
		}
		if err := b.projects[k].ApproveAct(timeout(t), id); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "dora is out", func() bool {
		return !slices.ContainsFunc(b.projects, func(p *Project) bool { return p.State().Role(b.nodes[3].member()) != governance.None })
	})
	settled(t, 1, b.projects[:3]...) // by three as well
}

// Two people ask for the same thing at once: nobody has to approve what he asked for himself.
func TestSameActTwice(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	b.nodes[0].host.Disconnect(b.nodes[1].self.Device.ID)
	b.nodes[2].host.Disconnect(b.nodes[0].self.Device.ID)
	b.nodes[2].host.Disconnect(b.nodes[1].self.Device.ID)
	drop := &governance.RoleDrop{Member: b.nodes[2].member(), Role: governance.Editor}
	b.propose(0, governance.KindRoleDrop, drop)
	b.propose(1, governance.KindRoleDrop, drop)
	b.nodes[0].reach(b.nodes[1])
	if err := b.projects[0].Pull(timeout(t), b.nodes[1].self.Device.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carl is an editor", func() bool {
		return !slices.ContainsFunc(b.projects[:2], func(p *Project) bool { return p.State().Role(b.nodes[2].member()) != governance.Editor })
	})
}

// The approval is given while the other is away: it is kept over a restart of both, and the act comes about when they meet.
func TestActOverRestarts(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member()})
	knowsAct(t, b.projects[1], id)
	project := b.projects[0].ID()
	b.nodes[0].stop()
	if err := b.projects[1].ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	b.nodes[1].stop()
	for k := range 2 {
		b.nodes[k].start()
		b.projects[k] = b.nodes[k].reopen(project)
	}
	if x := knowsAct(t, b.projects[1], id); len(x.Approved) != 2 {
		t.Errorf("after a restart: %+v", x)
	}
	if x := knowsAct(t, b.projects[0], id); len(x.Approved) != 1 {
		t.Errorf("who proposed, after a restart: %+v", x)
	}
	b.nodes[0].reach(b.nodes[1])
	if err := b.projects[0].Pull(timeout(t), b.nodes[1].self.Device.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carl is out", func() bool {
		return role(b.projects[0], b.nodes[2].self) == governance.None && role(b.projects[1], b.nodes[2].self) == governance.None
	})
}

// What was agreed on without knowing what has happened to its subject since is not brought about, and ends by itself; so
// does what nobody answered in time.
func TestActOvertakenAndExpired(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	first := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[3].member()})
	knowsAct(t, b.projects[1], first)
	_, err := b.projects[1].Propose(timeout(t), governance.KindRoleDrop,
		&governance.RoleDrop{Member: b.nodes[3].member(), Role: governance.Editor}, governance.WithCosigners(b.nodes[2].author()))
	if err != nil {
		t.Fatal(err)
	}
	converge(t, b.projects...)
	eventually(t, "what the demotion overtook is closed", func() bool { return len(b.projects[0].Acts())+len(b.projects[1].Acts()) == 0 })
	if err := b.projects[1].ApproveAct(timeout(t), first); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("approve what is closed: %v", err)
	}
	second := b.propose(0, governance.KindRoleGrant, &governance.RoleGrant{Member: b.nodes[3].member(), Role: governance.Manager})
	knowsAct(t, b.projects[1], second)
	for _, n := range b.nodes {
		n.clock.advance(DefaultActLife + time.Minute)
	}
	if err := b.projects[1].ApproveAct(timeout(t), second); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("approve after its end: %v", err)
	}
	if n := len(b.projects[0].Acts()); n != 0 {
		t.Errorf("%d acts wait", n)
	}
}

// What is over takes no room: who has proposed as much as is kept may propose again when its time is over, though nothing
// else has happened meanwhile.
func TestActsOverLeaveRoom(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	revoke := func(k int) error {
		_, err := b.projects[0].ProposeAct(timeout(t), governance.KindRevoke,
			&governance.Revoke{Member: b.nodes[2].member(), Reason: string(rune('a' + k))}, "")
		return err
	}
	for k := range maxMemberActs {
		if err := revoke(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := revoke(maxMemberActs); !errors.Is(err, ErrTooManyActs) {
		t.Fatalf("one too many: %v", err)
	}
	for _, n := range b.nodes {
		n.clock.advance(DefaultActLife + time.Minute)
	}
	if err := revoke(0); err != nil {
		t.Errorf("after all are over: %v", err)
	}
}

// The last word of a member stands, on whichever of several proposals of one act he says it.
func TestLastWordOnSameAct(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	pa, carl := b.projects[0], b.nodes[2].member()
	for _, n := range b.nodes {
		n.clock.stop()
	}
	first := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: carl})
	terms, err := governance.Terms(governance.KindRevoke, governance.Revoke{Member: carl})
	if err != nil {
		t.Fatal(err)
	}
	r, err := newActRecord(b.nodes[1].self.Keys, actCore{
		Project: pa.ID(), Kind: governance.KindRevoke, Terms: terms, Device: b.nodes[1].self.Device.ID, Since: pa.Heads(),
		Expires: uint64(b.nodes[1].clock.now().Add(time.Hour).Unix()),
	})
	if err != nil {
		t.Fatal(err)
	}
	pa.mu.Lock()
	defer pa.mu.Unlock()
	if o, err := pa.takeAct(r); err != nil || o == nil {
		t.Fatal(o, err)
	}
	agrees := func() bool {
		x, _ := pa.describe(pa.acts[first])
		return slices.Contains(x.Approved, b.nodes[0].member())
	}
	for k, say := range []struct {
		on      ActID
		approve bool
	}{{first, false}, {r.id, true}, {first, false}, {r.id, false}, {first, true}} {
		if err := pa.vote(pa.acts[say.on], say.approve); err != nil {
			t.Fatal(err)
		}
		if agrees() != say.approve {
			t.Errorf("word %d: agrees %v, said %v", k, agrees(), say.approve)
		}
	}
}

// deniedBy returns the refusal in an error, nil if there is none.
func deniedBy(err error) *governance.DeniedError {
	denied := new(governance.DeniedError)
	if !errors.As(err, &denied) {
		return nil
	}
	return denied
}
