package membership

import (
	"bytes"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// talk opens the events protocol by hand.
func (n *node) talk(with *node) *p2p.Stream {
	n.t.Helper()
	s, err := n.host.Open(timeout(n.t), with.self.Device.ID, protocolEvents)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	n.t.Cleanup(func() { _ = s.Reset() })
	return s
}

// A member that breaks the protocol is cut off and changes nothing.
func TestProtocolViolations(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	digest := pa.State().Digest()
	forged := bytes.Clone(pa.eventsRaw()[1])
	forged[len(forged)-1] ^= 1
	good := hello{Project: pa.ID()}
	for name, write := range map[string]func(s *p2p.Stream){
		"garbage":          func(s *p2p.Stream) { _, _ = s.Write([]byte("hello, who is there?")) },
		"too long":         func(s *p2p.Stream) { _, _ = s.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
		"nothing":          func(s *p2p.Stream) {},
		"too many had":     func(s *p2p.Stream) { writeRaw(s, hello{Project: pa.ID(), Have: make([]governance.EventID, maxHave+1)}) },
		"event of no kind": func(s *p2p.Stream) { writeRaw(s, hello{Project: pa.ID(), Events: [][]byte{{1}}}) },
		"forged event": func(s *p2p.Stream) {
			writeRaw(s, good)
			writeRaw(s, batch{Events: [][]byte{forged}, Last: true})
		},
		"empty batch": func(s *p2p.Stream) { writeRaw(s, good); writeRaw(s, batch{}) },
		"bad box and bad address are left out": func(s *p2p.Stream) {
			writeRaw(s, good)
			writeRaw(s, batch{Boxes: [][]byte{{1}}, Addrs: [][]byte{{1}}, Last: true})
		},
	} {
		s := berta.talk(anna)
		write(s)
		_ = s.CloseWrite()
		_, _ = s.Read(make([]byte, 1))
		_ = s.Reset()
		if pa.State().Digest() != digest {
			t.Fatalf("%s: the state has changed", name)
		}
	}
	if _, err := pb.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb) // the honest are still served
}

func writeRaw(s *p2p.Stream, m any) {
	msg := wire.Marshal(m)
	_, _ = s.Write(append([]byte{byte(len(msg) >> 24), byte(len(msg) >> 16), byte(len(msg) >> 8), byte(len(msg))}, msg...))
}

func (p *Project) eventsRaw() (out [][]byte) {
	p.View(func(log *governance.Log) {
		for e := range log.All() {
			out = append(out, e.Raw)
		}
	})
	return out
}

// A device has a few exchanges open with us at a time, not more.
func TestExchangesAreCounted(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, _ := couple(t)
	eventually(t, "nothing is under way", func() bool {
		anna.reg.mu.RLock()
		defer anna.reg.mu.RUnlock()
		return len(anna.reg.exchanges) == 0
	})
	for range maxExchanges {
		berta.talk(anna)
	}
	eventually(t, "all are open", func() bool {
		anna.reg.mu.RLock()
		defer anna.reg.mu.RUnlock()
		return anna.reg.exchanges[berta.self.Device.ID] == maxExchanges
	})
	s, err := berta.host.Open(timeout(t), anna.self.Device.ID, protocolEvents)
	if err != nil {
		return // reset before it was agreed on
	}
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	_ = send(s, &hello{Project: pa.ID()})
	if err := receive(s, &hello{}); err == nil {
		t.Error("one exchange too many is served")
	}
}

// Many events on both sides, apart from each other, are exchanged in one Pull.
func TestPullIsAUnion(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	heal := anna.partition(berta)
	for range 60 {
		for _, p := range []*Project{pa, pb} {
			if _, err := p.OpenChain(timeout(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 300 { // invites, as chains are counted
		if _, err := pa.CreateInvite(timeout(t), InviteOptions{Compact: true}); err != nil {
			t.Fatal(err)
		}
	}
	heal()
	if a, b := pa.eventsRaw(), pb.eventsRaw(); len(a) != len(b) || pa.State().Digest() != pb.State().Digest() {
		t.Errorf("%d and %d events", len(a), len(b))
	}
}

// What a peer lacks is what is not before anything that it named and we know.
func TestLacking(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	p := anna.found()
	for range 40 {
		if _, err := p.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	all := p.eventsRaw()
	ids := make([]governance.EventID, len(all))
	for i, raw := range all {
		e, err := governance.ParseEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = e.ID
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range ids {
		if got := len(p.lacking([]governance.EventID{ids[i], {1}})); got != len(ids)-1-i {
			t.Errorf("who has %d events lacks %d, sent %d", i+1, len(ids)-1-i, got)
		}
	}
	if got := len(p.lacking([]governance.EventID{{1}})); got != len(ids) {
		t.Errorf("a stranger lacks %d", got)
	}
	// A peer that is behind by any number finds at least half of what both have in the sample.
	sample := p.sample()
	if len(sample) > maxHave || sample[0] != ids[len(ids)-1] {
		t.Fatalf("sample of %d", len(sample))
	}
	for behind := range ids {
		common := 0
		for _, id := range sample {
			for k, x := range ids[:len(ids)-behind] {
				if x == id {
					common = max(common, k+1)
				}
			}
		}
		if have := len(ids) - behind; common*2 < have-behind {
			t.Errorf("behind by %d: %d of %d common events are found", behind, common, have)
		}
	}
}

// A manager whose clock is a year ahead, or who says so, ends no invite and no quarantine of those whose clock is right.
func TestScenario82FutureCheckpointAtPeers(t *testing.T) {
	scenario.Run(t, 82, "a manager's checkpoint a year ahead of the peers' clocks: not taken, with what rests on it, and governance goes on; taken when their clocks get there", func(t *testing.T) {
		anna, berta, cleo := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "cleo")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		pc := cleo.join(invited(t, pa, InviteOptions{}))
		berta.reach(cleo)
		converge(t, pa, pb, pc)

		const year = 365 * 24 * time.Hour
		anna.clock.advance(year)
		early := &governance.Checkpoint{Number: 1, State: pa.State().Digest(), Time: uint64(anna.clock.now().Unix())}
		if _, err := pa.Propose(timeout(t), governance.KindCheckpoint, early); err != nil {
			t.Fatal(err)
		}
		if _, err := pa.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Errorf("the bearer is blamed: %v", err)
		}
		if n := pb.State().Settled().Number; n != 0 {
			t.Fatalf("checkpoint %d is settled a year early", n)
		}
		if _, err := pb.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		converge(t, pb, pc)

		for _, n := range []*node{berta, cleo} {
			n.clock.advance(year)
		}
		for _, p := range []*Project{pb, pc} {
			if err := p.Pull(timeout(t), anna.self.Device.ID); err != nil {
				t.Fatal(err)
			}
		}
		converge(t, pa, pb, pc)
		if n := pc.State().Settled().Number; n != 1 {
			t.Errorf("settled is checkpoint %d", n)
		}
	})
}
