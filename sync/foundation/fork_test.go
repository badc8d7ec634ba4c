package foundation

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
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

// A member shows two devices different branches and is removed before they compare: the cut is at the same place for both, and
// what they hold up to there is not the same. They find out when they meet next, whoever asks.
func TestForkBelowACut(t *testing.T) {
	for name, longer := range map[string]int{"as long": 0, "longer": 3} {
		t.Run(name, func(t *testing.T) {
			anna, berta, carl := trio(t)
			carl.write("notes", "carl ")
			for _, r := range []*room{anna, berta} {
				r.meet(carl)
				must(t, r.f.Sync(t.Context(), carl.device()))
			}
			chain := chainOf(t, anna, carl)
			honest := anna.j.HeldTo(chain.Device, chain.ChainNo)
			berta.accept(carl.copyOf("notes").edit("b", 2+longer))
			anna.accept(carl.copyOf("notes").edit("a", 2))
			anna.dismiss(carl)
			berta.meet(anna)

			must(t, berta.f.Sync(t.Context(), anna.device()))
			for _, r := range []*room{anna, berta} {
				if got := r.forkedAt(chain); got != honest+1 {
					t.Errorf("%s sees the fork at %d, want %d", r.name, got, honest+1)
				}
			}
			equal(t, []string{"notes"}, anna, berta)
		})
	}
}

// What proves a fork is up to two large runs, and a member may fork many chains: they are not all read whenever two devices compare.
func TestForksAreComparedWithoutRuns(t *testing.T) {
	anna, berta, carl := trio(t)
	carl.write("notes", "carl ")
	for _, r := range []*room{anna, berta} {
		r.meet(carl)
		must(t, r.f.Sync(t.Context(), carl.device()))
	}
	const size = 900 << 10
	anna.accept(branch(t, anna, carl, strings.Repeat("a", size), 1))
	berta.accept(branch(t, berta, carl, strings.Repeat("b", size), 1))
	must(t, anna.f.Sync(t.Context(), berta.device()))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found := len(anna.f.forks())
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; found != 1 || taken > size {
		t.Errorf("%d forks, for which %d bytes were taken", found, taken)
	}
}

// copied is the store of a device that was copied: it goes on writing a document where the original does, too.
type copied struct {
	*room
	doc   journal.DocID
	crdt  *crdt.Doc
	chain *envelope.Chain
}

// copyOf copies a device that has written a document.
func (r *room) copyOf(name string) *copied {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	state, err := doc.CRDT().EncodeUpdate(nil)
	must(r.t, err)
	key := chainOf(r.t, r, r)
	c := &copied{room: r, doc: doc.ID, crdt: crdt.New(crdt.WithClientID(uint64(identity.ClientID([32]byte(r.p.ID()), key.Device, key.ChainNo))))}
	_, err = c.crdt.ApplyUpdate(state)
	must(r.t, err)
	c.chain = envelope.NewChain(envelope.ChainHead{
		Project: r.p.ID(), Device: key.Device, ChainNo: key.ChainNo, Seq: r.j.HeldTo(key.Device, key.ChainNo), ID: headOf(r, key),
	})
	return c
}

// edit makes n envelopes that each add text.
func (c *copied) edit(text string, n int) (envs []*envelope.Envelope) {
	c.t.Helper()
	e, ok := c.p.State().SendingEpoch()
	key, held := c.p.EpochKey(e.ID)
	if !ok || !held {
		c.t.Fatal("no epoch to write under")
	}
	head := c.chain.Head()
	for range n {
		var update []byte
		stop := c.crdt.OnUpdate(func(u []byte, _ crdt.Origin) { update = u })
		must(c.t, c.crdt.Update(func(tx *crdt.Txn) error {
			body := c.crdt.Text("body")
			return body.Insert(tx, body.Len(tx), text)
		}))
		stop()
		env, err := c.chain.Next(rand.Reader, c.self.Keys.DK, envelope.Draft{
			Kind: envelope.KindUpdate, Doc: c.doc, GovHeads: c.p.Heads(), Epoch: &e.ID,
			Payload: (&envelope.Update{Updates: [][]byte{update}}).Encode(),
			Key:     epoch.ContentKey(key, e.ID, head.Device, head.ChainNo, c.doc),
		})
		must(c.t, err)
		envs = append(envs, env)
	}
	return envs
}

// Somebody's store is copied, and both copies go on writing on one chain. Everybody ends it at the fork; once that is proven
// a manager picks a branch, and another one later: all take it in from whoever has it, also who held the other one or none,
// and show the same, also after a restart.
func TestForkPicked(t *testing.T) {
	for name, c := range map[string]struct{ annas, bertas int }{"short": {1, 1}, "longer than the other": {3, 60}} {
		t.Run(name, func(t *testing.T) {
			anna, berta, carl := trio(t)
			dora := anna.join(newNode(t, "dora"))
			rooms := []*room{anna, berta, dora}
			carl.write("notes", "carl ")
			for _, r := range rooms {
				r.meet(carl)
				must(t, r.f.Sync(t.Context(), carl.device()))
			}
			berta.accept(carl.copyOf("notes").edit("b", c.bertas))
			anna.accept(carl.copyOf("notes").edit("a", c.annas))
			dora.connect(anna.node)
			exchange := func() {
				t.Helper()
				for range 2 {
					for _, r := range []*room{berta, dora} {
						r.meet(anna)
						must(t, anna.p.Pull(t.Context(), r.device()))
						must(t, r.f.Sync(t.Context(), anna.device()))
					}
				}
			}
			exchange()
			shows := func(what, want string) {
				t.Helper()
				equal(t, []string{"notes"}, rooms...)
				if got := anna.text("notes"); got != want {
					t.Errorf("%s: %q is shown, want %q", what, got, want)
				}
			}
			shows("forked", "carl ")

			for _, r := range rooms[:2] { // each may; one does
				forks, err := r.j.Forks()
				must(t, err)
				if len(forks) != 1 || len(forks[0].Branches) != 2 || forks[0].Proof == nil {
					t.Fatalf("%s knows of %+v", r.name, forks)
				}
				f := forks[0]
				r.p.ProveFork(membership.Fork{Device: f.Device, ChainNo: f.ChainNo, Seq: f.Seq, Proof: f.Proof})
			}
			chain := chainOf(t, anna, carl)
			eventually(t, "the fork is proven to all", func() bool {
				exchange()
				for _, r := range rooms {
					if c, ok := r.p.State().Chain(chain.Device, chain.ChainNo); !ok || c.Forked == 0 {
						return false
					}
				}
				return true
			})
			shows("proven", "carl ")

			pick := func(letter string, n int) {
				t.Helper()
				forks, err := anna.j.Forks()
				must(t, err)
				for _, b := range forks[0].Branches {
					if b.Last.Seq == forks[0].Seq+uint64(n)-1 && !b.Counts {
						_, err = anna.p.Propose(t.Context(), governance.KindFrontierExtend, governance.FrontierExtend{Cuts: []governance.Cut{b.Last}})
						must(t, err)
						exchange()
						return
					}
				}
				t.Fatalf("no branch %q of %d: %+v", letter, n, forks[0].Branches)
			}
			if c.annas == c.bertas { // whichever comes first
				pick("either", 1)
				first := anna.text("notes")
				pick("the other", 1)
				if second := anna.text("notes"); first == second || len(first) != len("carl x") || len(second) != len(first) {
					t.Errorf("picked one after the other: %q and %q", first, second)
				}
				equal(t, []string{"notes"}, rooms...)
			} else {
				pick("b", c.bertas)
				shows("berta's is picked", fmt.Sprintf("carl %s", strings.Repeat("b", c.bertas)))
				pick("a", c.annas)
				shows("anna's is picked", "carl aaa")
				pick("b", c.bertas)
				shows("berta's again", fmt.Sprintf("carl %s", strings.Repeat("b", c.bertas)))
			}
			want := anna.text("notes")
			for _, r := range rooms {
				must(t, r.j.Close())
				r.open()
			}
			shows("after a restart", want)
		})
	}
}
