package membership

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// bringActs speaks the protocol of proposed acts by hand, as a manager's rogue program, and returns how the other side
// took it.
func (n *node) bringActs(with *node, project genesis.ProjectID, b actBatch) error {
	n.t.Helper()
	s, err := n.host.Open(timeout(n.t), with.self.Device.ID, protocolActs)
	if err != nil {
		n.t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	writeRaw(s, actHello{Project: project})
	if err := receive(s, &actHello{}); err != nil {
		return err
	}
	for {
		var got actBatch
		if err := receive(s, &got); err != nil {
			return err
		}
		if got.Last {
			break
		}
	}
	b.Last = true
	writeRaw(s, b)
	return receive(s, &actBatch{})
}

// Proposals and votes that are not what they seem are refused; those that nobody may make are left out.
func TestForgedActs(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	rogue, anna := b.nodes[1], b.nodes[0]
	project, now := b.projects[0].ID(), time.Now()
	terms, err := governance.Terms(governance.KindRevoke, governance.Revoke{Member: b.nodes[2].member()})
	if err != nil {
		t.Fatal(err)
	}
	core := actCore{
		Project: project, Kind: governance.KindRevoke, Terms: terms, Device: rogue.self.Device.ID,
		Since: b.projects[0].Heads(), Expires: uint64(now.Add(time.Hour).Unix()),
	}
	proposal := func(by *node, change func(*actCore)) *actRecord {
		c := core
		change(&c)
		r, err := newActRecord(by.self.Keys, c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	same := func(*actCore) {}
	good := proposal(rogue, same)
	vote := func(by *node, device identity.DeviceID, n uint64) []byte {
		v, err := newVoteRecord(by.self.Keys, voteCore{Project: project, Act: good.id, Device: device, N: n, Approve: 1})
		if err != nil {
			t.Fatal(err)
		}
		return v.raw
	}
	for name, tt := range map[string]struct {
		batch   actBatch
		refused bool
	}{
		"rubbish":                     {actBatch{Proposals: [][]byte{{1}}}, true},
		"in another's name":           {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Device = anna.self.Device.ID }).raw}}, true},
		"another project's":           {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Project[0] ^= 1 }).raw}}, true},
		"its time is over":            {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Expires = uint64(now.Unix()) - 1 }).raw}}, false},
		"it never ends":               {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Expires = 1 << 62 }).raw}}, false},
		"it knows what nobody knows":  {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Since = []governance.EventID{{1}} }).raw}}, false},
		"a stranger's":                {actBatch{Proposals: [][]byte{proposal(rogue, func(c *actCore) { c.Device = identity.DeviceID{1} }).raw}}, false},
		"a vote on what is not there": {actBatch{Votes: [][]byte{vote(rogue, rogue.self.Device.ID, 1)}}, false},
	} {
		err := rogue.bringActs(anna, project, tt.batch)
		if (err != nil) != tt.refused || len(b.projects[0].Acts()) != 0 {
			t.Errorf("%s: %v, %d acts", name, err, len(b.projects[0].Acts()))
		}
	}
	if err := rogue.bringActs(anna, project, actBatch{Proposals: [][]byte{good.raw}, Votes: [][]byte{vote(rogue, rogue.self.Device.ID, 1<<62)}}); err != nil {
		t.Fatal(err)
	}
	knowsAct(t, b.projects[0], good.id)
	b.projects[0].mu.Lock()
	if n := len(b.projects[0].acts[good.id].votes); n != 0 {
		t.Errorf("%d votes from the future are kept", n)
	}
	b.projects[0].mu.Unlock()
	if err := rogue.bringActs(anna, project, actBatch{Votes: [][]byte{vote(rogue, anna.self.Device.ID, 1)}}); err == nil {
		t.Error("a vote in another's name was taken")
	}
	if x := knowsAct(t, b.projects[0], good.id); len(x.Approved) != 1 {
		t.Errorf("approved by %d", len(x.Approved))
	}
	// And no more of one member than a few.
	var many actBatch
	for k := range 2 * maxMemberActs {
		many.Proposals = append(many.Proposals, proposal(rogue, func(c *actCore) { c.Expires += uint64(k) }).raw)
	}
	if err := rogue.bringActs(anna, project, many); err != nil {
		t.Fatal(err)
	}
	if n := len(b.projects[0].Acts()); n != maxMemberActs {
		t.Errorf("%d proposals of one member are kept, want %d", n, maxMemberActs)
	}
}

// An editor has no part in it: his program's proposals are not taken, and nothing is told to him.
func TestEditorProposes(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl")
	dora := newNode(t, "dora")
	pd := dora.join(invited(t, b.projects[0], InviteOptions{}))
	converge(t, append(b.projects, pd)...)
	b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member()})
	if err := dora.bringActs(b.nodes[0], pd.ID(), actBatch{}); err == nil {
		t.Error("an editor was told of a proposed act")
	}
	if err := pd.Pull(timeout(t), b.nodes[0].self.Device.ID); err != nil {
		t.Errorf("an editor's exchange: %v", err)
	}
	if len(pd.Acts()) != 0 {
		t.Error("an editor knows a proposed act")
	}
}

// ask sends a draft to another device as its author's program would, and returns the answer.
func (n *node) asks(p *Project, with *node, act *ActID, d *governance.Draft) cosignResult {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := p.askToSign(ctx, with.self.Device.ID, &cosignRequest{Project: p.ID(), Act: act, Core: d.Core})
	if err != nil {
		n.t.Fatalf("ask to sign: %v", err)
	}
	return a.Result
}

// A rogue manager uses an approval for what it was not given for: no device signs.
func TestCosignOnlyWhatWasAgreed(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	rogue, honest := b.nodes[0], b.nodes[1]
	pr, ph := b.projects[0], b.projects[1]
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member(), Reason: "agreed"})
	knowsAct(t, ph, id)
	draft := func(kind governance.Kind, content any) *governance.Draft {
		var d *governance.Draft
		var err error
		pr.View(func(l *governance.Log) {
			d, err = l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, kind, content)
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	agreed := func(cuts ...governance.Cut) *governance.Draft {
		return draft(governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member(), Reason: "agreed", Cuts: cuts})
	}
	if got := rogue.asks(pr, honest, &id, agreed()); got != cosignRefused {
		t.Errorf("before anybody has approved: %d", got)
	}
	// Approved on berta's device, with the rogue's own program kept from making it first.
	pr.mu.Lock()
	pr.concluding[id] = true
	pr.mu.Unlock()
	ph.mu.Lock()
	ph.cosigned[id] = honest.clock.now() // and berta's for a while
	err := ph.vote(ph.acts[id], true)
	ph.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	other := ActID{1}
	for name, c := range map[string]struct {
		act  *ActID
		d    *governance.Draft
		want cosignResult
	}{
		"another person":             {&id, draft(governance.KindRevoke, &governance.Revoke{Member: b.nodes[3].member(), Reason: "agreed"}), cosignRefused},
		"another reason":             {&id, draft(governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member(), Reason: "changed"}), cosignRefused},
		"another kind":               {&id, draft(governance.KindRoleDrop, &governance.RoleDrop{Member: b.nodes[2].member(), Role: governance.Viewer}), cosignRefused},
		"cuts of somebody else":      {&id, agreed(governance.Cut{Device: honest.self.Device.ID}), cosignRefused},
		"a proposal that is unknown": {&other, agreed(), cosignLater},
		"as a checkpoint":            {nil, agreed(), cosignRefused},
	} {
		if got := rogue.asks(pr, honest, c.act, c.d); got != c.want {
			t.Errorf("%s: answer %d, want %d", name, got, c.want)
		}
	}
	if role(ph, b.nodes[2].self) != governance.Manager {
		t.Error("carl is out")
	}
	cut := governance.Cut{Device: b.nodes[2].self.Device.ID, Seq: 4}
	if got := rogue.asks(pr, honest, &id, agreed(cut)); got != cosignSigned {
		t.Errorf("what was agreed: %d", got)
	}
	// A draft in the name of another device, though the very same.
	if got := b.nodes[2].asks(b.projects[2], honest, &id, agreed()); got != cosignRefused {
		t.Errorf("another device's draft: %d", got)
	}
}

// A rogue manager has an act signed again and again and never makes it: he keeps nobody else from making it, and who has
// signed for him looks again by himself.
func TestCosignStalls(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	rogue, honest := b.nodes[0], b.nodes[1]
	pr, ph := b.projects[0], b.projects[1]
	revoke := &governance.Revoke{Member: b.nodes[3].member()}
	id := b.propose(0, governance.KindRevoke, revoke)
	knowsAct(t, ph, id)
	pr.mu.Lock()
	pr.concluding[id] = true // the rogue's program does not make it
	pr.mu.Unlock()
	var d *governance.Draft
	pr.View(func(l *governance.Log) {
		var err error
		d, err = l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindRevoke, revoke)
		if err != nil {
			t.Error(err)
		}
	})
	ph.mu.Lock()
	if err := ph.vote(ph.acts[id], true); err != nil {
		t.Error(err)
	}
	if a, err := ph.cosignAct(id, d, nil, false); err != nil || a.Result != cosignSigned || !ph.pausing(id) {
		t.Errorf("signed for the first time: answer %d, %v, pausing %v", a.Result, err, ph.pausing(id))
	}
	ph.mu.Unlock()
	ph.conclude()
	ph.mu.Lock()
	if !ph.concluding[id] {
		t.Error("nothing looks again when the pause is over")
	}
	ph.mu.Unlock()
	honest.clock.advance(cosignPause)
	ph.mu.Lock()
	if a, err := ph.cosignAct(id, d, nil, false); err != nil || a.Result != cosignSigned || ph.pausing(id) {
		t.Errorf("signed once more: answer %d, %v, pausing %v", a.Result, err, ph.pausing(id))
	}
	ph.mu.Unlock()
}

// A draft that drops edits of the removed that its cosigner had read when he agreed is not signed; what came later keeps
// nobody from removing whoever goes on writing, nor does what has ceased to count.
func TestCosignKeepsWhatWasRead(t *testing.T) {
	checkLeaks(t)
	var read sync.Map // member -> number of the last envelope, alike at all
	device := func(m identity.MemberID) (id identity.DeviceID) {
		people.Range(func(_, s any) bool {
			if s.(Self).Device.Member == m {
				id = s.(Self).Device.ID
			}
			return true
		})
		return id
	}
	b := newBoardWith(t, func(c *Config) {
		c.Cuts = func(m identity.MemberID) ([]governance.Cut, error) {
			seq, ok := read.Load(m)
			if !ok {
				return nil, nil
			}
			return []governance.Cut{{Device: device(m), Seq: seq.(uint64), Envelope: wire.ID{1}}}, nil
		}
	}, "anna", "berta", "carl", "dora")
	rogue, honest, carl := b.nodes[0], b.nodes[1], b.nodes[2]
	pr, ph := b.projects[0], b.projects[1]
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: carl.member()})
	knowsAct(t, ph, id)
	pr.mu.Lock()
	pr.concluding[id] = true // the rogue's program does not make it
	pr.mu.Unlock()
	ph.mu.Lock()
	ph.cosigned[id] = honest.clock.now().Add(time.Hour) // nor does berta's
	ph.mu.Unlock()
	read.Store(carl.member(), uint64(7))
	if err := ph.ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	ask := func(seq uint64) cosignResult {
		var d *governance.Draft
		var err error
		pr.View(func(l *governance.Log) {
			d, err = l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindRevoke, &governance.Revoke{
				Member: carl.member(), Cuts: []governance.Cut{{Device: carl.self.Device.ID, Seq: seq, Envelope: wire.ID{1}}},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return rogue.asks(pr, honest, &id, d)
	}
	if got := ask(6); got != cosignLater {
		t.Errorf("it drops one: %d", got)
	}
	read.Store(carl.member(), uint64(1000)) // carl goes on writing
	if got := ask(7); got != cosignSigned {
		t.Errorf("it drops what came later: %d", got)
	}
	read.Store(carl.member(), uint64(5)) // some of it is held back meanwhile
	if got := ask(5); got != cosignSigned {
		t.Errorf("it drops what does not count: %d", got)
	}
	if got := ask(4); got != cosignLater {
		t.Errorf("it drops what does: %d", got)
	}
	honest.stop()
	honest.start()
	ph = honest.reopen(ph.ID())
	ph.mu.Lock()
	defer ph.mu.Unlock()
	if o := ph.acts[id]; o == nil || len(o.marks) != 1 || o.marks[0].Seq != 7 {
		t.Errorf("after a restart: %+v", o)
	}
}

// A draft that leaves out what its cosigner has held for a while backdates the act: it is not signed.
func TestCosignNoBackdating(t *testing.T) {
	checkLeaks(t)
	b := newBoard(t, "anna", "berta", "carl", "dora")
	rogue, honest := b.nodes[0], b.nodes[1]
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member()})
	knowsAct(t, b.projects[1], id)
	var d *governance.Draft
	b.projects[0].View(func(l *governance.Log) {
		var err error
		d, err = l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member()})
		if err != nil {
			t.Error(err)
		}
	})
	b.projects[0].mu.Lock()
	b.projects[0].concluding[id] = true // the rogue's program does not make it
	b.projects[0].mu.Unlock()
	if _, err := b.projects[3].OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, b.projects...)
	b.projects[1].mu.Lock()
	b.projects[1].cosigned[id] = honest.clock.now().Add(time.Hour)
	err := b.projects[1].vote(b.projects[1].acts[id], true)
	b.projects[1].mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if got := rogue.asks(b.projects[0], honest, &id, d); got != cosignSigned {
		t.Errorf("what has just come may be missing: %d", got)
	}
	honest.clock.advance(2 * arrivalGrace)
	if got := rogue.asks(b.projects[0], honest, &id, d); got != cosignAhead {
		t.Errorf("what has been there for a while is missing: %d", got)
	}
	if slices.ContainsFunc(b.projects, func(p *Project) bool { return role(p, b.nodes[2].self) != governance.Manager }) {
		t.Error("carl is out")
	}
}

// Who asks another device of the cosigner's than that on which he agreed gets no signature either that drops what is read there.
func TestCosignKeepsWhatOtherDevicesRead(t *testing.T) {
	checkLeaks(t)
	var seq atomic.Uint64
	seq.Store(7)
	carl := selfOf(t, "carl")
	b := newBoardWith(t, func(c *Config) {
		c.Cuts = func(m identity.MemberID) ([]governance.Cut, error) {
			if m != carl.Device.Member {
				return nil, nil
			}
			return []governance.Cut{{Device: carl.Device.ID, Seq: seq.Load(), Envelope: wire.ID{1}}}, nil
		}
	}, "anna", "berta", "carl", "dora")
	rogue, honest, pr, ph := b.nodes[0], b.nodes[1], b.projects[0], b.projects[1]
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: carl.Device.Member})
	knowsAct(t, ph, id)
	for _, p := range []*Project{pr, ph} {
		p.mu.Lock()
		p.concluding[id] = true // no program makes it by itself
		p.mu.Unlock()
	}
	ph.mu.Lock()
	err := ph.vote(ph.acts[id], true) // as it comes from berta's other device: nothing is noted here of what was read there
	ph.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(end uint64) cosignResult {
		var d *governance.Draft
		var err error
		pr.View(func(l *governance.Log) {
			d, err = l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindRevoke, &governance.Revoke{
				Member: carl.Device.Member, Cuts: []governance.Cut{{Device: carl.Device.ID, Seq: end, Envelope: wire.ID{1}}},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return rogue.asks(pr, honest, &id, d)
	}
	if got := ask(1); got != cosignLater {
		t.Errorf("it drops six: %d", got)
	}
	seq.Store(1000) // carl goes on writing
	if got := ask(7); got != cosignSigned {
		t.Errorf("it drops what came later: %d", got)
	}
}
