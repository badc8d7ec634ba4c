package membership

import (
	"bytes"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// forksOf makes proofs that a chain of a node's device is forked at its places, the last one first.
func (n *node) forksOf(p *Project, places int) (out []Fork) {
	n.t.Helper()
	at := envelope.Beginning(p.ID(), n.self.Device.ID, 0)
	next := func(chain *envelope.Chain, mark string) *envelope.Envelope {
		e, err := chain.Next(nil, n.self.Keys.DK, envelope.Draft{Kind: 200, GovHeads: p.Heads(), Payload: []byte(mark)})
		if err != nil {
			n.t.Fatal(err)
		}
		return e
	}
	for range places {
		one, other := envelope.NewChain(at), envelope.NewChain(at)
		x, y := next(one, "1"), next(other, "2")
		if bytes.Compare(x.Statement(), y.Statement()) > 0 {
			x, y = y, x
		}
		at = one.Head()
		out = append([]Fork{{Device: at.Device, Seq: x.Seq, Proof: &governance.EquivocationProof{
			A: governance.NewProofHalf(x.Statement(), x.Sig), B: governance.NewProofHalf(y.Statement(), y.Sig),
		}}}, out...)
	}
	return out
}

// Whoever shows that his own chain parts at every one of its places, the last one first, makes others publish a proof of the
// first place that they hear of, and of the lowest after a while: not one of each.
func TestForkAtEveryPlace(t *testing.T) {
	anna := newNode(t, "anna")
	p := anna.found()
	forks := anna.forksOf(p, 30)
	proofs := func() (count int) {
		p.View(func(log *governance.Log) {
			for e := range log.All() {
				if e.Kind == governance.KindEquivocationProof {
					count++
				}
			}
		})
		return count
	}
	p.ProveFork(forks[0])
	eventually(t, "the first proof is published", func() bool { return proofs() == 1 })
	for _, f := range forks[1:] {
		p.ProveFork(f)
		eventually(t, "it is taken in", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, waits := range p.proving {
				return waits.Seq == f.Seq
			}
			return false
		})
	}
	if got := proofs(); got != 1 {
		t.Errorf("%d proofs are published, want 1", got)
	}
	lowest := forks[len(forks)-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := len(p.proving); got != 1 {
		t.Errorf("%d tasks wait, want 1", got)
	}
	before := p.proofWait(lowest)
	p.proofs[forkedChain{lowest.Device, 0}] = 5
	if after := p.proofWait(lowest); before < proofPause || after < 8*before {
		t.Errorf("it waits for %v, and after 5 proofs for %v", before, after)
	}
}
