package membership

import (
	"errors"
	"slices"
	"testing"

	"github.com/studio-whip/collab/governance"
)

// settle makes n checkpoints, each of what has happened.
func (n *node) settle(p *Project, count int) {
	n.t.Helper()
	for range count {
		s := p.State()
		body := governance.Checkpoint{Number: s.Settled().Number + 1, State: s.Digest(), Time: uint64(n.clock.now().Unix())}
		if body.Number > 1 {
			body.Prev = []governance.EventID{s.Settled().Event}
		}
		_, err := p.Propose(timeout(n.t), governance.KindCheckpoint, body)
		if p.State() != s && errors.As(err, new(*governance.DeniedError)) {
			n.settle(p, 1) // an event came between
		} else if err != nil {
			n.t.Fatal(err)
		}
	}
}

func (p *Project) attested() (n int) {
	p.View(func(l *governance.Log) { n = l.Attested() })
	return n
}

// One member drops signatures. He restarts with the same state, and a newcomer and somebody who was away get the log from him.
func TestCompact(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	berta.stop()
	for range 3 {
		if _, err := pa.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		anna.settle(pa, 1)
	}
	if n, err := pa.Compact(timeout(t)); err != nil || n != 0 {
		t.Fatalf("nothing is old enough, and %d events were compacted: %v", n, err)
	}
	anna.settle(pa, 24)
	digest := pa.State().Digest()
	n, err := pa.Compact(timeout(t))
	if err != nil || n == 0 || pa.attested() != n || pa.State().Digest() != digest {
		t.Fatalf("%d events compacted, %v", n, err)
	}
	if err := pa.Close(); err != nil {
		t.Fatal(err)
	}
	pa = anna.reopen(pa.ID())
	if pa.State().Digest() != digest || pa.attested() != n {
		t.Fatalf("after a restart %d of %d attested", pa.attested(), n)
	}
	pc := carl.join(invited(t, pa, InviteOptions{Role: governance.Viewer}))
	converge(t, pa, pc)
	if pc.attested() != n {
		t.Errorf("the newcomer holds %d of %d without signatures", pc.attested(), n)
	}
	if id, key, ok := pa.SendingEpoch(); !ok {
		t.Error("no key")
	} else if got, held := pc.EpochKey(id); !held || got != key {
		t.Error("the newcomer lacks the key")
	}
	berta.start()
	pb = berta.reopen(pa.ID())
	berta.connect(anna)
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb, pc)
	if got := pb.attested(); got == 0 || got >= n {
		t.Errorf("who was away holds %d of %d without signatures", got, n)
	}
	if _, err := pc.Propose(timeout(t), governance.KindKeyUpdate, governance.KeyUpdate{KEM: berta.self.Device.KEM.Bytes()}); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb, pc)
	for _, p := range []*Project{pb, pc} {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	pc = carl.reopen(pc.ID())
	if pc.attested() != n || pc.State().Digest() != pa.State().Digest() {
		t.Errorf("the newcomer after a restart: %d attested", pc.attested())
	}
}

// A member who sends events without signatures and no checkpoint that attests them is refused, and nothing is taken.
func TestUnattestedIsRefused(t *testing.T) {
	checkLeaks(t)
	anna, _, pa, pb := couple(t)
	if _, err := pa.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	anna.settle(pa, 27)
	converge(t, pa, pb)
	if n, err := pa.Compact(timeout(t)); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	var bare, next [][]byte
	pa.View(func(l *governance.Log) {
		for e := range l.All() {
			if e.Compacted() {
				bare = append(bare, e.Raw)
			} else if len(bare) > 0 && len(next) < 3 {
				next = append(next, e.Raw)
			}
		}
	})
	carl := newNode(t, "carl")
	pc := carl.reg.newProject(carl.cfg(), pa.first)
	in := &intake{p: pc, from: anna.self.Device.ID}
	defer in.close()
	if err := in.take(&batch{Events: bare}); err != nil {
		t.Fatal(err)
	}
	if err := in.take(&batch{Events: next, Last: true}); !errors.Is(err, ErrProtocol) || !errors.Is(err, governance.ErrNotAttested) {
		t.Errorf("without the checkpoints: %v", err)
	}
	if _, err := pc.take(anna.self.Device.ID, bare[:1]); !errors.Is(err, governance.ErrCompacted) {
		t.Errorf("as news: %v", err)
	}
	if pc.events.Len() != 0 {
		t.Errorf("%d events were taken", pc.events.Len())
	}
	if err := pc.tasks.Close(); err != nil {
		t.Error(err)
	}
}

// What waits for a checkpoint that attests it is bounded: of one device, in however many exchanges, and in keys and
// addresses that come beside.
func TestWaitingIsBounded(t *testing.T) {
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	from := berta.self.Device.ID
	bare := make([]byte, governance.MaxEventCore)
	bare[0] = 0xa0
	many := &batch{Events: slices.Repeat([][]byte{bare}, maxBatch)}
	size := 0
	var open []*intake
	for full := false; !full; {
		in := &intake{p: pa, from: from}
		open = append(open, in)
		for range maxExchanges {
			if full = in.take(many) != nil; full {
				break
			}
			size += maxBatch * len(bare)
		}
		if size > governance.MaxImport {
			t.Fatalf("%d bytes wait", size)
		}
	}
	other := &intake{p: pa, from: anna.self.Device.ID}
	defer other.close()
	if err := other.take(&batch{Events: [][]byte{bare}}); err != nil {
		t.Errorf("another device's: %v", err)
	}
	for _, in := range open {
		in.close()
	}
	in := &intake{p: pa, from: from}
	defer in.close()
	if err := in.take(many); err != nil {
		t.Errorf("after those have ended: %v", err)
	}
	beside := &batch{Boxes: slices.Repeat([][]byte{bare}, maxNeeds)}
	if err := in.take(beside); err != nil {
		t.Errorf("the keys of one answer: %v", err)
	}
	if err := in.take(beside); !errors.Is(err, ErrProtocol) {
		t.Errorf("keys without end: %v", err)
	}
}
