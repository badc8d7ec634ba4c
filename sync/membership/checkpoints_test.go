package membership

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// settles makes projects of nodes make checkpoints at so many events.
func settles(events int) func(*Config) {
	return func(c *Config) { c.Checkpoints = CheckpointPolicy{Events: events, Pause: time.Nanosecond} }
}

// settled waits until all projects have settled a checkpoint of at least this number, and the same.
func settled(t testing.TB, number uint64, projects ...*Project) governance.Settled {
	t.Helper()
	eventually(t, "a checkpoint is settled everywhere", func() bool {
		first := projects[0].State().Settled()
		return first.Number >= number && !slices.ContainsFunc(projects, func(p *Project) bool { return p.State().Settled() != first })
	})
	return projects[0].State().Settled()
}

// chains opens a few chains of a project's device: events without any meaning.
func chains(t testing.TB, p *Project, n int) {
	t.Helper()
	for range n {
		if _, err := p.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// A sole manager settles alone; nothing happens before it is due.
func TestCheckpointAlone(t *testing.T) {
	checkLeaks(t)
	n := newNode(t, "anna")
	n.shape = settles(5)
	p := n.found()
	chains(t, p, 3)
	p.wakeCheckpoints()
	if _, due := p.checkpointDue(); due || p.State().Settled().Number != 0 {
		t.Fatal("due after four events")
	}
	chains(t, p, 1)
	first := settled(t, 1, p)
	if late := time.Since(time.Unix(int64(first.Time), 0)); late > time.Minute || late < -time.Minute {
		t.Errorf("its time is %s away", late)
	}
	chains(t, p, 4)
	if _, due := p.checkpointDue(); due {
		t.Error("due after four more")
	}
	chains(t, p, 1)
	if s := settled(t, 2, p); s.Number != 2 || s.Time < first.Time {
		t.Errorf("after ten: %+v, after five: %+v", s, first)
	}
	// And with age, if anything is unsettled.
	n.clock.advance(25 * time.Hour)
	if _, due := p.checkpointDue(); due {
		t.Error("due although everything is settled")
	}
	chains(t, p, 1)
	settled(t, 3, p)
}

// An old project that never had one gets its first by age, and one that is not a manager's makes none.
func TestCheckpointByAge(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	anna.shape, berta.shape = settles(1000), settles(1)
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	if _, due := pb.checkpointDue(); due {
		t.Error("due at an editor's")
	}
	pa.wakeCheckpoints()
	if _, due := pa.checkpointDue(); due {
		t.Error("due at once")
	}
	anna.clock.advance(25 * time.Hour)
	berta.clock.advance(25 * time.Hour)
	pa.wakeCheckpoints()
	settled(t, 1, pa, pb)
}

// At quorum 2 another manager's device signs without anybody being asked, one checkpoint is made, and a manager's removal
// is settled at once.
func TestCheckpointByTwo(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, settles(1000), "anna", "berta", "carl")
	for _, p := range b.projects {
		if _, due := p.checkpointDue(); due {
			t.Fatal("due before anything is")
		}
	}
	id := b.propose(0, governance.KindRevoke, &governance.Revoke{Member: b.nodes[2].member()})
	knowsAct(t, b.projects[1], id)
	if err := b.projects[1].ApproveAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	settled(t, 1, b.projects[:2]...)
	converge(t, b.projects[:2]...)
	if u := b.projects[0].unsettled(); u.Urgent || u.Events != 0 {
		t.Errorf("left unsettled: %+v", u)
	}
	if role(b.projects[0], b.nodes[2].self) != governance.None {
		t.Error("carl is a member")
	}
}

func (p *Project) unsettled() (u governance.Unsettled) {
	p.View(func(l *governance.Log) { u = l.Unsettled() })
	return u
}

// shelfOfEnvelopes stands for a journal: which chains count here, and up to where.
type shelfOfEnvelopes struct {
	mu   sync.Mutex
	cuts []governance.Cut
}

func (s *shelfOfEnvelopes) set(cuts ...governance.Cut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = cuts
}

func (s *shelfOfEnvelopes) content(context.Context) ([]governance.Cut, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cuts), nil
}

func (s *shelfOfEnvelopes) counts(c governance.Cut) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.cuts, func(x governance.Cut) bool {
		return x.Device == c.Device && x.ChainNo == c.ChainNo && (x.Seq > c.Seq || x.Seq == c.Seq && x.Envelope == c.Envelope)
	})
}

// What a checkpoint settles of the documents is what both signers hold: the other waits until it has it, too.
func TestCheckpointSettlesContent(t *testing.T) {
	checkLeaks(t)
	shelves := map[string]*shelfOfEnvelopes{"anna": {}, "berta": {}}
	b := &board{t: t}
	for _, name := range []string{"anna", "berta"} {
		n := newNode(t, name)
		n.shape = func(c *Config) {
			c.Checkpoints = CheckpointPolicy{Events: 6, Pause: time.Nanosecond}
			c.Content, c.Counts = shelves[name].content, shelves[name].counts
		}
		b.nodes = append(b.nodes, n)
	}
	pa := b.nodes[0].found()
	pb := b.nodes[1].join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	if _, err := pa.Propose(timeout(t), governance.KindRoleGrant, &governance.RoleGrant{Member: b.nodes[1].member(), Role: governance.Manager}); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb)
	written := governance.Cut{Device: b.nodes[0].self.Device.ID, Seq: 7, Envelope: wire.ID{7}}
	shelves["anna"].set(written)
	var d *governance.Draft
	draft := func() {
		t.Helper()
		var err error
		if d, err = pa.draftCheckpoint([]governance.Cut{written, {Device: identity.DeviceID{1}, Seq: 1}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	draft()
	if got := b.nodes[0].asks(pa, b.nodes[1], nil, d); got != cosignLater {
		t.Errorf("content that the cosigner lacks: answer %d", got)
	}
	shelves["berta"].set(written)
	chains(t, pb, 3)
	settled(t, 1, pa, pb)
	var settledContent []governance.Cut
	pa.View(func(l *governance.Log) {
		body, err := governance.DecodeBody(l.Get(l.State().Settled().Event))
		if err != nil {
			t.Fatal(err)
		}
		settledContent = body.(*governance.Checkpoint).Content
	})
	if !slices.Equal(settledContent, []governance.Cut{written}) {
		t.Errorf("settled of the documents: %+v", settledContent)
	}
	// What is settled is not listed again; what has grown is.
	grown := written
	grown.Seq, grown.Envelope = 9, wire.ID{9}
	pa.View(func(l *governance.Log) {
		for _, c := range []struct{ have, want []governance.Cut }{{[]governance.Cut{written}, nil}, {[]governance.Cut{grown}, []governance.Cut{grown}}} {
			next, err := l.NextCheckpoint(b.nodes[0].self.Device.ID, c.have, 0)
			if err != nil || !slices.Equal(next.Content, c.want) {
				t.Errorf("next, with %v: %+v, %v", c.have, next, err)
			}
		}
	})
}

// What an honest device does not sign of a checkpoint's draft, although a rogue manager's program asks for it.
func TestCheckpointRefused(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, settles(12), "anna", "berta", "carl") // seven events: enough to be signed, not to be made
	rogue, honest := b.nodes[0], b.nodes[1]
	stale := b.projects[0].copyLog(t, b.projects[0].Heads())
	body := func(l *governance.Log, change func(*governance.Checkpoint)) *governance.Draft {
		t.Helper()
		c, err := l.NextCheckpoint(rogue.self.Device.ID, nil, uint64(time.Now().Unix()))
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		d, err := l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindCheckpoint, c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := func(*governance.Checkpoint) {}
	for name, c := range map[string]struct {
		change func(*governance.Checkpoint)
		want   cosignResult
	}{
		"an hour ahead":               {func(c *governance.Checkpoint) { c.Time += 3600 }, cosignRefused},
		"an hour ago":                 {func(c *governance.Checkpoint) { c.Time -= 3600 }, cosignRefused},
		"documents that nobody holds": {func(c *governance.Checkpoint) { c.Content = []governance.Cut{{Device: rogue.self.Device.ID, Seq: 1}} }, cosignLater},
	} {
		if got := rogue.asks(b.projects[0], honest, nil, body(stale, c.change)); got != c.want {
			t.Errorf("%s: answer %d, want %d", name, got, c.want)
		}
	}
	if got := b.nodes[2].asks(b.projects[2], honest, nil, body(stale, same)); got != cosignRefused {
		t.Errorf("another device's draft: %d", got)
	}
	// A quorum leaves an event out on purpose; what has just come may be missing.
	chains(t, b.projects[2], 1)
	converge(t, b.projects...)
	draft := body(stale, same)
	if got := rogue.asks(b.projects[0], honest, nil, draft); got != cosignSigned {
		t.Errorf("an event that has just come is missing: %d", got)
	}
	honest.clock.advance(2 * time.Minute)
	if got := rogue.asks(b.projects[0], honest, nil, draft); got != cosignAhead {
		t.Errorf("an event is left out: %d", got)
	}
	honest.clock.advance(-2 * time.Minute)
	// One signature a number, of the same author too, and over a restart.
	again := body(stale, func(c *governance.Checkpoint) { c.Time++ })
	if got := rogue.asks(b.projects[0], honest, nil, again); got != cosignLater {
		t.Errorf("a second checkpoint of one number by the same author: %d", got)
	}
	honest.stop()
	honest.start()
	b.projects[1] = honest.reopen(b.projects[0].ID())
	rogue.reach(honest)
	b.nodes[2].reach(honest)
	if err := b.projects[1].Pull(timeout(t), rogue.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	if got := rogue.asks(b.projects[0], honest, nil, again); got != cosignLater {
		t.Errorf("a second checkpoint of one number after a restart: %d", got)
	}
	var other *governance.Draft
	var err error
	b.projects[2].View(func(l *governance.Log) {
		var c *governance.Checkpoint
		if c, err = l.NextCheckpoint(b.nodes[2].self.Device.ID, nil, uint64(time.Now().Unix())); err == nil {
			other, err = l.Draft(b.nodes[2].self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindCheckpoint, c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.nodes[2].asks(b.projects[2], honest, nil, other); got != cosignLater {
		t.Errorf("a second checkpoint of one number: %d", got)
	}
	if n := b.projects[0].State().Settled().Number; n != 0 {
		t.Errorf("checkpoint %d is settled", n)
	}
}

// While a device collects signatures for its own checkpoint it may sign another's: then it does not make its own, or there
// were two of one number with its signature.
func TestCheckpointOwnAfterAnothers(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, settles(12), "anna", "berta", "carl") // seven events: enough to be signed, not to be made
	pa, pb := b.projects[0], b.projects[1]
	own, err := pb.draftCheckpoint(nil, map[identity.DeviceID]bool{b.nodes[0].self.Device.ID: true}) // with carl
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := pb.collect(timeout(t), own, &cosignRequest{Project: pb.ID(), Core: own.Core}, map[identity.DeviceID]bool{})
	if err != nil {
		t.Fatal(err)
	}
	others, err := pa.draftCheckpoint(nil, map[identity.DeviceID]bool{b.nodes[2].self.Device.ID: true}) // with berta
	if err != nil {
		t.Fatal(err)
	}
	if got := b.nodes[0].asks(pa, b.nodes[1], nil, others); got != cosignSigned {
		t.Fatalf("another's checkpoint: answer %d", got)
	}
	if err := pb.assemble(own, nil, signatures); !errors.Is(err, ErrCosigners) {
		t.Errorf("a second checkpoint of one number, its own: %v", err)
	}
	if u := pb.unsettled(); u.Events == 0 {
		t.Error("it was made")
	}
}

// A rogue manager has a rival of a settled checkpoint signed by somebody who has not signed that one himself, in the quiet
// that follows: what it settled would be open again.
func TestCheckpointRivalOfSettled(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, settles(20), "anna", "berta", "carl", "dora") // ten events: enough to be signed, not to be made
	rogue, honest := b.nodes[2], b.nodes[1]
	pa, pr := b.projects[0], b.projects[2]
	before := pr.copyLog(t, pr.Heads())
	but := map[identity.DeviceID]bool{rogue.self.Device.ID: true, honest.self.Device.ID: true}
	d, err := pa.draftCheckpoint(nil, but) // with dora
	if err != nil {
		t.Fatal(err)
	}
	if err := pa.finish(timeout(t), d, nil, but); err != nil {
		t.Fatal(err)
	}
	first := settled(t, 1, b.projects...)
	converge(t, b.projects...)
	raw, _, err := before.Propose(rogue.author(), governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}) // something to settle
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Add(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := pr.take(rogue.self.Device.ID, [][]byte{raw}); err != nil {
		t.Fatal(err)
	}
	converge(t, b.projects...)
	for _, n := range b.nodes {
		n.clock.advance(13 * time.Hour)
	}
	c, err := before.NextCheckpoint(rogue.self.Device.ID, nil, uint64(rogue.clock.now().Unix()))
	if err != nil || c.Number != first.Number {
		t.Fatal(c.Number, err)
	}
	rival, err := before.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindCheckpoint, c)
	if err != nil {
		t.Fatal(err)
	}
	if got := rogue.asks(pr, honest, nil, rival); got != cosignAhead {
		t.Errorf("a rival of what is settled: answer %d, want %d", got, cosignAhead)
	}
}

// Who may make no checkpoint has nothing looked up by a draft of one: what counts here is asked of the journal, a thousand
// times a draft.
func TestCheckpointOfNoManager(t *testing.T) {
	checkLeaks(t)
	var asked atomic.Int32
	b := newBoardWith(t, func(c *Config) {
		settles(12)(c)
		c.Counts = func(governance.Cut) bool { asked.Add(1); return true }
	}, "anna", "berta", "carl")
	carl, pc := b.nodes[2], b.projects[2]
	l := pc.copyLog(t, pc.Heads())
	c, err := l.NextCheckpoint(carl.self.Device.ID, nil, uint64(time.Now().Unix()))
	if err != nil {
		t.Fatal(err)
	}
	c.Content = []governance.Cut{{Device: carl.self.Device.ID, Seq: 1}}
	d, err := l.Draft(carl.self.Device.ID, []identity.DeviceID{b.nodes[1].self.Device.ID}, governance.KindCheckpoint, c)
	if err != nil {
		t.Fatal(err)
	}
	drop := &governance.RoleDrop{Member: carl.member(), Role: governance.Viewer}
	if _, err := b.projects[0].Propose(timeout(t), governance.KindRoleDrop, drop, governance.WithCosigners(b.nodes[1].author())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carl is a viewer", func() bool { return role(b.projects[1], carl.self) == governance.Viewer })
	before := asked.Load()
	if got := carl.asks(pc, b.nodes[1], nil, d); got != cosignRefused || asked.Load() != before {
		t.Errorf("answer %d, %d envelopes looked up", got, asked.Load()-before)
	}
}

// Nobody's device signs one checkpoint after the other: who is away would miss more than count.
func TestCheckpointNotRipe(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, func(c *Config) { c.Checkpoints = CheckpointPolicy{Events: 12} }, "anna", "berta")
	rogue, honest := b.nodes[0], b.nodes[1]
	ask := func() cosignResult {
		t.Helper()
		l := b.projects[0].copyLog(t, b.projects[0].Heads())
		c, err := l.NextCheckpoint(rogue.self.Device.ID, nil, uint64(rogue.clock.now().Unix()))
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Draft(rogue.self.Device.ID, []identity.DeviceID{honest.self.Device.ID}, governance.KindCheckpoint, c)
		if err != nil {
			t.Fatal(err)
		}
		return rogue.asks(b.projects[0], honest, nil, d)
	}
	if got := ask(); got != cosignLater {
		t.Errorf("after four events: answer %d", got)
	}
	chains(t, b.projects[0], 8)
	settled(t, 1, b.projects...)
	converge(t, b.projects...)
	chains(t, b.projects[0], 12)
	converge(t, b.projects...)
	if _, due := b.projects[0].checkpointDue(); due {
		t.Error("due again at once")
	}
	if got := ask(); got != cosignLater {
		t.Errorf("at once after the first: answer %d", got)
	}
	for _, n := range b.nodes {
		n.clock.advance(2 * time.Hour)
	}
	for _, p := range b.projects {
		p.wakeCheckpoints()
	}
	settled(t, 2, b.projects...)
}

// copyLog is the log of somebody who holds no more than some events and those before them.
func (p *Project) copyLog(t testing.TB, heads []governance.EventID) *governance.Log {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := governance.NewLog(p.first)
	l.SetRoots(p.chain.View(), p.chain.Records())
	within := p.closure(heads)
	for e := range p.events.All() {
		if !within[e.ID] {
			continue
		}
		if _, err := l.Add(e.Raw); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// A member who was away opens a chain and makes an invite beside a checkpoint: the chain counts, the invite waits for a
// manager's word.
func TestLateAndEndorsed(t *testing.T) {
	checkLeaks(t)
	b := newBoardWith(t, settles(1000), "anna", "berta", "carl")
	away, project := b.nodes[2], b.projects[0].ID()
	away.host.Disconnect(b.nodes[0].self.Device.ID)
	away.host.Disconnect(b.nodes[1].self.Device.ID)
	away.stop()
	for _, n := range b.nodes {
		n.clock.advance(25 * time.Hour)
	}
	b.projects[0].wakeCheckpoints()
	b.projects[1].wakeCheckpoints()
	settled(t, 1, b.projects[:2]...)
	away.start()
	p := away.reopen(project)
	no, err := p.OpenChain(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	invited(t, p, InviteOptions{Role: governance.Viewer})
	invite := p.Heads()[0]
	away.reach(b.nodes[0])
	if err := p.Pull(timeout(t), b.nodes[0].self.Device.ID); err != nil {
		t.Fatal(err)
	}
	converge(t, b.projects[0], b.projects[1], p)
	s := b.projects[0].State()
	if c, ok := s.Chain(away.self.Device.ID, no); !ok || !c.Owned {
		t.Error("the chain that was opened offline does not count")
	}
	var why governance.Explanation
	b.projects[0].View(func(l *governance.Log) { why, err = l.Explain(invite) })
	if err != nil || why.Counts || why.Reason != governance.ReasonLate || why.Culprit != s.Settled().Event {
		t.Errorf("the invite: %+v, %v", why, err)
	}
	if late := b.projects[1].Late(); !slices.Equal(late, []governance.EventID{invite}) {
		t.Errorf("late: %v, want the invite", late)
	}
	if id, err := b.projects[1].endorse(t, invite); err != nil || !id.IsZero() {
		t.Fatalf("endorse: %v, %v", id, err)
	}
	converge(t, b.projects[0], b.projects[1], p)
	if len(b.projects[0].State().Invites()) != 3 || len(b.projects[1].Late()) != 0 {
		t.Errorf("after it was endorsed: %d invites, %d late", len(b.projects[0].State().Invites()), len(b.projects[1].Late()))
	}
	if _, err := b.projects[1].endorse(t); !errors.Is(err, governance.ErrEvent) {
		t.Errorf("endorse nothing: %v", err)
	}
}

// An editor's device signs forty events of one number: two managers' devices settle a checkpoint together all the same, and
// what everybody else did is in it.
func TestCheckpointBesideFortyHeads(t *testing.T) {
	checkLeaks(t)
	shape := func(c *Config) {
		c.Checkpoints = CheckpointPolicy{Events: 50, Pause: time.Nanosecond, Grace: time.Nanosecond}
	}
	b := newBoardWith(t, shape, "anna", "berta")
	carl := newNode(t, "carl")
	pc := carl.join(invited(t, b.projects[0], InviteOptions{}))
	carl.reach(b.nodes[1])
	converge(t, append(b.projects, pc)...)
	before := pc.Heads()
	var forks [][]byte
	for k := range 40 {
		forks = append(forks, carl.forge(pc.copyLog(t, before), governance.KindChainOpen, &governance.ChainOpen{ChainNo: uint32(k + 1)}))
	}
	carl.brings(b.nodes[0], pc, forks...)
	carl.brings(b.nodes[1], pc, forks...)
	eventually(t, "both have the forty", func() bool {
		return !slices.ContainsFunc(b.projects, func(p *Project) bool { return len(p.Heads()) < 40 && p.State().Settled().Number == 0 })
	})
	for _, p := range b.projects {
		chains(t, p, 5)
	}
	s := settled(t, 1, b.projects...)
	for k, p := range b.projects {
		p.View(func(l *governance.Log) {
			for e := range l.All() {
				if in, err := l.Contains([]governance.EventID{s.Event}, e.ID); e.Device != carl.self.Device.ID && e.Depth < l.Get(s.Event).Depth && (err != nil || !in) {
					t.Errorf("at %d: %v of %s is not settled: %v", k, e.Kind, e.Device.Short(), err)
				}
			}
			if d, ok := p.State().Device(carl.self.Device.ID); !ok || !d.Suspended {
				t.Error("the forty are no equivocation")
			}
		})
	}
}
