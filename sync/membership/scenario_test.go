package membership

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// forged makes an event of a node's device on what its project holds, as a modified program would.
func (n *node) forged(p *Project, kind governance.Kind, body any, edit func(*forge.Core)) (raw []byte, id governance.EventID) {
	p.View(func(log *governance.Log) {
		raw, id = forge.Act{On: log, Author: p.author(), Kind: kind, Body: body, Edit: edit}.Sign()
	})
	return raw, id
}

// smuggle puts an event into a project of the device that made it, whose program asks nothing: from there it goes to the
// others by the ordinary exchange.
func (p *Project) smuggle(t testing.TB, raw []byte) {
	t.Helper()
	if _, err := p.take(p.self.Device.ID, [][]byte{raw}); err != nil {
		t.Fatal(err)
	}
}

// brings hands events to another node in an exchange made by hand. It returns once the other side has answered or has
// cut it off.
func (n *node) brings(to *node, project *Project, events ...[]byte) {
	n.t.Helper()
	s := n.talk(to)
	writeRaw(s, hello{Project: project.ID(), Have: project.Heads()})
	for len(events) > 0 {
		part := events[:min(len(events), maxBatch)]
		events = events[len(part):]
		writeRaw(s, batch{Events: part, Last: len(events) == 0})
	}
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, s)
	_ = s.Reset()
}

// explain returns why an event does not count at a replica.
func (p *Project) explain(t testing.TB, id governance.EventID) (x governance.Explanation) {
	t.Helper()
	p.View(func(log *governance.Log) {
		var err error
		if x, err = log.Explain(id); err != nil {
			t.Fatal(err)
		}
	})
	return x
}

// studio is a founder and editors, all connected to one another.
func studio(t testing.TB, names ...string) (nodes []*node, projects []*Project) {
	t.Helper()
	for k, name := range names {
		n := newNode(t, name)
		nodes = append(nodes, n)
		if k == 0 {
			projects = append(projects, n.found())
			continue
		}
		projects = append(projects, n.join(invited(t, projects[0], InviteOptions{})))
	}
	converge(t, projects...) // nobody is dialled by who does not know him yet
	for k, a := range nodes {
		for _, b := range nodes[k+1:] {
			a.reach(b)
		}
	}
	converge(t, projects...)
	return nodes, projects
}

// sever ends the connection to another node, and one that was just coming about.
func (n *node) sever(other *node) {
	n.t.Helper()
	here, there := apart(n, other), apart(other, n)
	eventually(n.t, n.name+" and "+other.name+" are apart", func() bool {
		if here() && there() {
			return true
		}
		n.host.Disconnect(other.self.Device.ID)
		return false
	})
}

// Scenario 23: one device says two different things to two members in the same place of its log.
func TestScenario23EquivocationAtPeers(t *testing.T) {
	scenario.Run(t, 23, "a device gives two members different events of one number: its acts from there on are void everywhere, its authority is suspended, its member stays; a manager lifts it and it goes on", func(t *testing.T) {
		nodes, projects := studio(t, "anna", "berta", "carl")
		berta, carl := nodes[1], nodes[2]
		pa, pb, pc := projects[0], projects[1], projects[2]
		for k := range nodes {
			nodes[k].sever(nodes[(k+1)%3])
		}
		at := func(unix uint64) func(*forge.Core) { return func(c *forge.Core) { c.THint = &unix } }
		one, first := berta.forged(pb, governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, at(1))
		two, second := berta.forged(pb, governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}, at(2))
		berta.connect(nodes[0])
		berta.brings(nodes[0], pb, one)
		berta.connect(carl)
		berta.brings(carl, pb, two)
		carl.connect(nodes[0])
		if err := pc.Pull(timeout(t), nodes[0].self.Device.ID); err != nil {
			t.Fatal(err)
		}
		if err := pb.Pull(timeout(t), nodes[0].self.Device.ID); err != nil {
			t.Fatal(err)
		}
		converge(t, pa, pb, pc)
		for _, p := range projects {
			d, _ := p.State().Device(berta.self.Device.ID)
			if !d.Suspended || !d.Live || p.State().Role(berta.self.Identity.Member()) != governance.Editor {
				t.Errorf("at %s: %+v", p.self.Identity.Display, d)
			}
			for _, id := range []governance.EventID{first, second} {
				if x := p.explain(t, id); x.Counts {
					t.Errorf("at %s: one of the two counts", p.self.Identity.Display)
				}
			}
		}
		if _, err := pb.OpenChain(timeout(t)); err == nil {
			t.Error("a suspended device acts")
		}
		id := berta.self.Device.ID
		if _, err := pa.Propose(timeout(t), governance.KindLiftQuarantine, governance.LiftQuarantine{Device: &id, Aprev: &first}); err != nil {
			t.Fatal(err)
		}
		converge(t, pa, pb, pc)
		if d, _ := pc.State().Device(id); d.Suspended {
			t.Error("the lift is not heard")
		}
		if _, err := pb.OpenChain(timeout(t)); err != nil {
			t.Errorf("after the lift: %v", err)
		}
		converge(t, pa, pb, pc)
	})
}

// Scenario 25: five people act at random, apart and together; whatever they hear in which order, they end alike.
func TestScenario25RandomPartitions(t *testing.T) {
	scenario.Run(t, 25, "five devices act at random in changing partitions, two hundred events, one of them restarts: one digest at all, and what is read back from the disk is the same", func(t *testing.T) {
		nodes, projects := studio(t, "anna", "berta", "carl", "dora", "emil")
		rng := rand.New(rand.NewPCG(25, 1))
		grant := governance.RoleGrant{Member: nodes[1].self.Identity.Member(), Role: governance.Manager}
		if _, err := projects[0].Propose(timeout(t), governance.KindRoleGrant, grant); err != nil {
			t.Fatal(err)
		}
		converge(t, projects...)
		for len(projects[0].eventsRaw()) < 200 {
			for k, n := range nodes { // nobody hears anybody
				for _, o := range nodes[k+1:] {
					n.sever(o)
				}
			}
			for range 12 {
				act(t, projects[rng.IntN(len(projects))], nodes, rng)
			}
			for range 4 { // some meet
				a, b := rng.IntN(len(nodes)), rng.IntN(len(nodes))
				if a != b && !projects[a].Removed() && !projects[b].Removed() {
					nodes[a].reach(nodes[b])
					_ = projects[a].Pull(timeout(t), nodes[b].self.Device.ID) // refused to who has just been removed
				}
			}
		}
		for _, i := range rng.Perm(len(nodes)) {
			for k := range nodes {
				if k != i && !projects[i].Removed() && !projects[k].Removed() {
					nodes[i].reach(nodes[k])
				}
			}
		}
		for range 2 {
			for i := range nodes {
				for k := range nodes {
					if k != i && !projects[i].Removed() {
						_ = projects[i].Pull(timeout(t), nodes[k].self.Device.ID)
					}
				}
			}
		}
		converge(t, projects...)
		digest, id := projects[2].State().Digest(), projects[2].ID()
		nodes[2].stop()
		nodes[2].start()
		if again := nodes[2].reopen(id); again.State().Digest() != digest {
			t.Error("read back from the disk it is another state")
		}
	})
}

// act does something that a person could do, or tries to.
func act(t testing.TB, p *Project, nodes []*node, rng *rand.Rand) {
	t.Helper()
	who := nodes[rng.IntN(len(nodes))].self.Identity.Member()
	switch rng.IntN(8) {
	case 0:
		_, _ = p.Propose(timeout(t), governance.KindRoleGrant, governance.RoleGrant{Member: who, Role: governance.Editor})
	case 1:
		_, _ = p.Propose(timeout(t), governance.KindRoleDrop, governance.RoleDrop{Member: who, Role: governance.Viewer})
	case 2:
		_, _ = p.CreateInvite(timeout(t), InviteOptions{Compact: true})
	case 3:
		_ = p.Rotate(context.WithoutCancel(timeout(t)))
	case 4:
		_, _ = p.Propose(timeout(t), governance.KindQuarantinePropose, governance.QuarantinePropose{
			Member: who, Reason: "noise", Expires: uint64(p.reg.cfg.Now().Unix()) + 3600,
		})
	case 5:
		for _, q := range p.State().Quarantines() {
			_, _ = p.Propose(timeout(t), governance.KindLiftQuarantine, governance.LiftQuarantine{Member: &q.Member})
		}
	default:
		_, _ = p.OpenChain(timeout(t))
	}
}

// Scenarios 26 and 80: acts of kinds that nobody knows count for nothing and hold nobody up.
func TestScenario26UnknownKindAtPeers(t *testing.T) {
	unknownKind(t, 26, "a manager's program signs an event of a kind that is not switched on and others build on it: void at all, what rests on it counts", 0)
}

func TestScenario80UnknownKindOfAViewer(t *testing.T) {
	unknownKind(t, 80, "a viewer signs an event of an unknown kind and honest members build on it: void, governance goes on for everybody, the viewer too", 1)
}

func unknownKind(t *testing.T, number int, tries string, author int) {
	scenario.Run(t, number, tries, func(t *testing.T) {
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		nodes := []*node{anna, berta, carl}
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{Role: governance.Viewer}))
		pc := carl.join(invited(t, pa, InviteOptions{}))
		berta.reach(carl)
		converge(t, pa, pb, pc)
		projects := []*Project{pa, pb, pc}
		raw, id := nodes[author].forged(projects[author], 4711, map[int]string{1: "take over"}, nil)
		projects[author].smuggle(t, raw)
		converge(t, pa, pb, pc)
		for _, p := range projects {
			if x := p.explain(t, id); x.Counts {
				t.Errorf("at %s it counts", p.self.Identity.Display)
			}
			if _, err := p.OpenChain(timeout(t)); err != nil {
				t.Errorf("%s cannot go on: %v", p.self.Identity.Display, err)
			}
		}
		converge(t, pa, pb, pc)
		for _, p := range projects {
			p.View(func(log *governance.Log) {
				on, err := log.Contains(log.Heads(), id)
				if err != nil || !on {
					t.Errorf("at %s nobody built on it", p.self.Identity.Display)
				}
			})
			for _, n := range nodes {
				if _, open := p.State().Chain(n.self.Device.ID, 1); !open {
					t.Errorf("at %s the chain of %s does not count", p.self.Identity.Display, n.name)
				}
			}
		}
	})
}

// Scenario 27: what has the wrong structure never gets into a log.
func TestScenario27StructureAtPeers(t *testing.T) {
	scenario.Run(t, 27, "a member's program sends events with 17 parents, a lie about depth, parents out of order, no previous event of its own: refused before storage, the exchange is cut off, honest ones go on", func(t *testing.T) {
		nodes, projects := studio(t, "anna", "berta", "carl")
		anna, berta := nodes[0], nodes[1]
		pa, pb := projects[0], projects[1]
		if _, err := pb.OpenChain(timeout(t)); err != nil { // so that there is a previous event
			t.Fatal(err)
		}
		converge(t, projects...)
		held, digest := len(pa.eventsRaw()), pa.State().Digest()
		stored := func() (n uint64) { return countStored(t, anna, pa) }
		onDisk := stored()
		for name, edit := range map[string]func(*forge.Core){
			"17 parents": func(c *forge.Core) {
				for k := range byte(17) {
					c.Parents = append(c.Parents, governance.EventID{k})
				}
				c.Parents = wire.SortIDs(c.Parents)
			},
			"too deep":             func(c *forge.Core) { c.Depth++ },
			"not deep enough":      func(c *forge.Core) { c.Depth-- },
			"parents out of order": func(c *forge.Core) { c.Parents = append(c.Parents, governance.EventID{}) },
			"no previous one":      func(c *forge.Core) { c.Aprev = nil },
			"another's event":      func(c *forge.Core) { c.Aprev = &c.Parents[0]; c.Aseq += 5 },
			"another's name":       func(c *forge.Core) { c.Device = anna.self.Device.ID },
		} {
			raw, id := berta.forged(pb, governance.KindChainOpen, governance.ChainOpen{ChainNo: 9}, edit)
			if err := berta.tryBring(anna, pb, raw); err == nil {
				t.Errorf("%s: the exchange goes on", name)
			}
			if len(pa.eventsRaw()) != held || pa.State().Digest() != digest || stored() != onDisk {
				t.Errorf("%s: something was kept", name)
			}
			pa.View(func(log *governance.Log) {
				if log.Has(id) {
					t.Errorf("%s: it is in the log", name)
				}
			})
		}
		if _, err := pb.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		converge(t, projects...)
	})
}

// tryBring is brings that fails if the other side cuts the exchange off.
func (n *node) tryBring(to *node, project *Project, raw []byte) error {
	n.t.Helper()
	s := n.talk(to)
	defer s.Reset()
	writeRaw(s, hello{Project: project.ID(), Have: project.Heads()})
	writeRaw(s, batch{Events: [][]byte{raw}, Last: true})
	_, err := io.Copy(io.Discard, s)
	return err
}

// countStored returns how many events lie in a node's store.
func countStored(t testing.TB, n *node, p *Project) (count uint64) {
	t.Helper()
	reg := NewRegistry(RegistryConfig{Self: n.self, Now: n.clock.now})
	again, err := reg.load(n.cfg(), p.ID())
	if err != nil {
		t.Fatal(err)
	}
	raws := len(again.eventsRaw())
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	return uint64(raws)
}

// Scenario 28: one peer sends ten thousand events whose parents nobody has.
func TestScenario28OrphansFromAPeer(t *testing.T) {
	scenario.Run(t, 28, "10 000 events with unknown parents from one member: the buffer stays within its bounds, the sender gets no more room, an honest member's sync still completes", func(t *testing.T) {
		nodes, projects := studio(t, "anna", "berta", "carl")
		anna, berta := nodes[0], nodes[1]
		pa, pb, pc := projects[0], projects[1], projects[2]
		var core []byte
		pb.View(func(log *governance.Log) {
			core = forge.Act{On: log, Author: pb.author(), Kind: governance.KindChainOpen, Body: governance.ChainOpen{ChainNo: 3},
				Edit: func(c *forge.Core) { c.Parents, c.Depth = []governance.EventID{{0xEE}}, 99 }}.Core()
		})
		parent := bytes.Index(core, governanceID(0xEE))
		if parent < 0 {
			t.Fatal("the parent is not in the core")
		}
		orphans := make([][]byte, 10_000)
		for k := range orphans {
			c := bytes.Clone(core)
			binary.BigEndian.PutUint64(c[parent+24:], uint64(k)+1)
			orphans[k] = wire.Marshal(wire.Signed{Core: c, Sigs: [][]byte{make([]byte, sign.SignatureSize)}})
		}
		for len(orphans) > 0 { // an exchange takes so many, then it is cut off or refused
			part := orphans[:min(len(orphans), 2_000)]
			orphans = orphans[len(part):]
			berta.brings(anna, pb, part...)
		}
		pa.mu.Lock()
		waiting := len(pa.events.Missing())
		pa.mu.Unlock()
		if waiting == 0 || waiting > governance.MaxPeerOrphans {
			t.Errorf("%d parents are waited for, at most %d are", waiting, governance.MaxPeerOrphans)
		}
		for range 20 {
			if _, err := pc.OpenChain(timeout(t)); err != nil {
				t.Fatal(err)
			}
		}
		converge(t, pa, pc)
		if err := pc.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Errorf("an honest exchange: %v", err)
		}
		if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Errorf("the sender's own honest exchange afterwards: %v", err)
		}
		converge(t, pa, pb, pc)
	})
}

func governanceID(first byte) []byte {
	return append([]byte{first}, make([]byte, len(governance.EventID{})-1)...)
}
