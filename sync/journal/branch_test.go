package journal

import (
	"errors"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// twin returns a copy of a forger, which goes on writing on the same chain by itself.
func (f *forger) twin() *forger {
	f.t.Helper()
	c := *f
	c.chain = envelope.NewChain(f.chain.Head())
	state, err := f.crdt.EncodeUpdate(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	c.crdt = crdt.New(crdt.WithClientID(f.crdt.ClientID()))
	if _, err := c.crdt.ApplyUpdate(state); err != nil {
		f.t.Fatal(err)
	}
	return &c
}

func (f *forger) updates(texts ...string) (envs []*envelope.Envelope) {
	f.t.Helper()
	for _, s := range texts {
		envs = append(envs, f.update(s))
	}
	return envs
}

// run hands a run to a journal, whatever becomes of it.
func (n *node) run(envs []*envelope.Envelope) error {
	n.t.Helper()
	raw, err := envelope.EncodeRun(envs)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.AcceptRun(n.t.Context(), raw, envs[0].Device)
}

// pickOf proves to all that a chain is forked and picks a place of it.
func pickOf(w *team, x, y []*envelope.Envelope, pick *envelope.Envelope) [][]byte {
	g := w.gov(w.ada)
	proof := g.propose(governance.KindEquivocationProof, proofOf(x, y))
	g.learn(proof)
	return [][]byte{proof, g.propose(governance.KindFrontierExtend, &governance.FrontierExtend{Cuts: []governance.Cut{cutOf(pick)}})}
}

// Whoever writes a chain in many ways before the picked one arrives fills the room for branches. The picked one is taken in all
// the same, and shown also after a restart, whether the others part from one place or each from the one before, and whichever
// of them was held last.
func TestManyBranches(t *testing.T) {
	for name, fill := range map[string]func(*node, *forger){
		"side by side": func(n *node, f *forger) {
			for i := range 6 {
				_ = n.run(f.twin().updates(slices.Repeat([]string{string(rune('A' + i))}, 9-i)...))
			}
		},
		"back to an earlier one": func(n *node, f *forger) {
			again := f.twin()
			first := again.updates("A", "A", "A", "A", "A", "A")
			_ = n.run(first)
			_ = n.run(f.twin().updates("B", "B", "B", "B", "B", "B"))
			_ = n.run(f.twin().updates("C", "C", "C", "C", "C")) // the last and the least of all
			_ = n.run(append(first, again.update("A")))
		},
		"each on the one before": func(n *node, f *forger) {
			for i := range 6 {
				next := f.twin()
				common := next.update(string(rune('A' + i)))
				f = next.twin()
				_ = n.run(append([]*envelope.Envelope{common}, next.updates("x", "y", "z")...))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTeam(t)
			w.begin()
			ben := newPerson(t, "Ben")
			w.admit(governance.Editor, ben)
			writer := newForger(w.gov(ben), 0)
			start := []*envelope.Envelope{writer.introduce(), writer.update("-")}
			base, good := writer.twin(), writer.twin()
			picked := good.updates("1", "2", "3", "4")
			held := writer.updates("a", "b", "c", "d", "e", "f", "g")

			n := w.open(w.ada)
			n.take(n, append(start, held...)...)
			for _, raw := range pickOf(w, held[:1], picked[:1], picked[3]) {
				n.gov.learn(raw)
			}
			n.settle()
			fill(n, base)
			if got := n.chains[keyOf(held[0])].branches; len(got) != MaxBranches {
				t.Fatalf("%d branches are kept", len(got))
			}
			if err := n.run(picked); err != nil {
				t.Errorf("the picked branch is refused: %v", err)
			}
			n.settle()
			if got, want := n.text("script"), "4321-"; got != want {
				t.Errorf("%q is shown, want %q", got, want)
			}
			if got, want := restart(w, n).text("script"), "4321-"; got != want {
				t.Errorf("after a restart %q is shown, want %q", got, want)
			}
		})
	}
}

// A branch was picked. That its device then signs another envelope for a place further down takes nothing away: the pick names
// what lies before it, whether or not the lower fork is known to all.
func TestForkBelowAPick(t *testing.T) {
	w := newTeam(t)
	w.begin()
	ben := newPerson(t, "Ben")
	w.admit(governance.Editor, ben)
	writer := newForger(w.gov(ben), 0)
	start := []*envelope.Envelope{writer.introduce()}
	below := writer.twin().updates("!")
	start = append(start, writer.update("-"))
	picked, other := writer.twin().updates("1", "2"), writer.updates("a", "b")

	g := w.gov(w.ada)
	for _, raw := range pickOf(w, picked[:1], other[:1], picked[1]) {
		w.events = append(w.events, raw)
		g.learn(raw)
	}
	lower := g.propose(governance.KindEquivocationProof, proofOf(start[1:], below))
	early, late := w.open(w.ada), w.open(w.ada)
	for _, n := range []*node{early, late} {
		n.take(n, append(start, picked...)...)
	}
	shown := func(when string) {
		t.Helper()
		for _, n := range []*node{early, late} {
			n.settle()
			if got, want := n.text("script"), "21-"; got != want {
				t.Errorf("%s, %q is shown, want %q", when, got, want)
			}
		}
	}
	shown("picked")
	if _, err := late.Accept(t.Context(), below[0], below[0].Device); !errors.Is(err, ErrFork) {
		t.Fatal(err)
	}
	shown("with another envelope below at one of the two")
	for _, n := range []*node{early, late} {
		n.gov.learn(lower)
		if c, ok := n.gov.log.State().Chain(below[0].Device, 0); !ok || c.Forked != 2 {
			t.Fatalf("%+v", c)
		}
	}
	shown("proven")
}
