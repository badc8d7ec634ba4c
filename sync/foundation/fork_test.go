package foundation

import (
	"testing"

	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// branch makes n envelopes that follow the chain's head at holder, as its writer could. Other marks make other branches.
func branch(t *testing.T, holder, writer *room, mark string, n int) (envs []*envelope.Envelope) {
	t.Helper()
	key := chainOf(t, holder, writer)
	chain := envelope.NewChain(envelope.ChainHead{
		Project: holder.p.ID(), Device: key.Device, ChainNo: key.ChainNo,
		Seq: holder.j.HeldTo(key.Device, key.ChainNo), ID: headOf(holder, key),
	})
	for range n {
		e, err := chain.Next(nil, writer.self.Keys.DK, envelope.Draft{Kind: 200, GovHeads: holder.p.Heads(), Payload: []byte(mark)})
		must(t, err)
		envs = append(envs, e)
	}
	return envs
}

func (r *room) accept(envs []*envelope.Envelope) {
	r.t.Helper()
	for _, e := range envs {
		if v, err := r.j.Accept(r.t.Context(), e, e.Device); v != journal.Accepted {
			r.t.Fatalf("%s: %v: %v", r.name, v, err)
		}
	}
}

func (r *room) forkedAt(chain chainKey) uint64 {
	for _, p := range r.f.forks() {
		if p.chain() == chain {
			return p.Seq
		}
	}
	return 0
}

// Two devices hold different branches of a third one's chain, of different lengths: when they meet, both find out,
// wherever the branches part; and a device that has seen only one branch is shown the proof.
func TestFork(t *testing.T) {
	for name, c := range map[string]struct{ annas, bertas int }{
		"same length": {1, 1}, "anna's is longer": {5, 2}, "berta's is longer": {2, 300},
	} {
		t.Run(name, func(t *testing.T) {
			anna, berta, carl := trio(t)
			dora := anna.join(newNode(t, "dora"))
			carl.write("notes", "carl ")
			for _, r := range []*room{anna, berta, dora} {
				r.meet(carl)
				must(t, r.f.Sync(t.Context(), carl.device()))
			}
			chain := chainOf(t, anna, carl)
			honest := anna.j.HeldTo(chain.Device, chain.ChainNo)
			one, other := branch(t, anna, carl, "one", c.annas), branch(t, anna, carl, "other", c.bertas)
			anna.accept(one)
			berta.accept(other)
			dora.accept(other)

			must(t, anna.f.Sync(t.Context(), berta.device()))
			for _, r := range []*room{anna, berta} {
				if got := r.forkedAt(chain); got != honest+1 {
					t.Errorf("%s sees the fork at %d, want %d", r.name, got, honest+1)
				}
			}
			dora.connect(anna.node)
			must(t, dora.f.Sync(t.Context(), anna.device()))
			if got := dora.forkedAt(chain); got != honest+1 {
				t.Errorf("dora sees the fork at %d, want %d", got, honest+1)
			}
			equal(t, []string{"notes"}, anna, berta, dora)

			// It is settled: nothing is asked for or brought any more.
			before := anna.f.Brought(berta.device()) + berta.f.Brought(anna.device())
			must(t, berta.f.Sync(t.Context(), anna.device()))
			if after := anna.f.Brought(berta.device()) + berta.f.Brought(anna.device()); after != before {
				t.Error("the fork is exchanged again")
			}
		})
	}
}
