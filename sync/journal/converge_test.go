package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// crowd is a project with n editors, all of whom know each other.
func crowd(t *testing.T, n int) (*team, []*node) {
	t.Helper()
	w := newTeam(t)
	w.begin()
	people := []*person{w.ada}
	for i := 1; i < n; i++ {
		p := newPerson(t, string(rune('A'+i))+"en")
		w.admit(governance.Editor, p)
		people = append(people, p)
	}
	var nodes []*node
	for _, p := range people {
		nodes = append(nodes, w.open(p))
	}
	return w, nodes
}

// scribble makes a random edit.
func scribble(n *node, rng *rand.Rand, name string) []*envelope.Envelope {
	r := n.doc(name)
	return n.edit(r, func(tx *crdt.Txn) error {
		doc := r.CRDT()
		body, meta := doc.Text("body"), doc.Map("meta")
		switch length := body.Len(tx); {
		case rng.IntN(4) == 0:
			return meta.Set(tx, fmt.Sprint(rng.IntN(3)), fmt.Sprint(n.person.name, rng.IntN(100)))
		case length > 3 && rng.IntN(3) == 0:
			at := rng.IntN(length - 2)
			return body.Delete(tx, at, 1+rng.IntN(2))
		default:
			return body.Insert(tx, rng.IntN(length+1), fmt.Sprintf("<%d>", rng.IntN(1000)))
		}
	})
}

// agree fails the test unless all nodes show the same and would build the same.
func agree(t *testing.T, nodes []*node, names ...string) {
	t.Helper()
	for _, name := range names {
		want, err := structure(nodes[0].doc(name).CRDT())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			r := n.doc(name)
			if got, err := structure(r.CRDT()); err != nil || got != want || r.Digest() != nodes[0].doc(name).Digest() {
				t.Errorf("%s differs in %q: %q against %q, %v", n.person.name, name, n.text(name), nodes[0].text(name), err)
			}
			if differed, err := n.Rebuild(t.Context(), r.ID); differed || err != nil {
				t.Errorf("%s: rebuilt %q differs: %v, %v", n.person.name, name, differed, err)
			}
		}
	}
}

// TestConvergence lets replicas edit and exchange random parts of what there is, live and in runs, twice and in any
// order, close and open again, and wants equal documents in the end.
func TestConvergence(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			w, nodes := crowd(t, 2+int(seed)%3)
			names := []string{"script", "notes"}
			var all []*envelope.Envelope
			for range 60 {
				i, k := rng.IntN(len(nodes)), rng.IntN(len(nodes))
				a, b := nodes[i], nodes[k]
				switch p := rng.IntN(20); {
				case p < 10:
					all = append(all, scribble(a, rng, names[rng.IntN(2)])...)
				case p < 15 && len(all) > 0:
					for range rng.IntN(10) {
						a.take(b, all[rng.IntN(len(all))])
					}
				case p < 18:
					pull(t, a, b)
				case p < 19:
					nodes[i] = restart(w, a)
				}
			}
			for range len(nodes) {
				for i := range nodes {
					syncNodes(t, nodes[i], nodes[(i+1)%len(nodes)])
				}
			}
			for _, n := range nodes {
				n.settle()
			}
			agree(t, nodes, names...)
			for _, n := range nodes {
				for _, name := range names {
					if missing := n.doc(name).Blocked(); len(missing) > 0 {
						t.Errorf("%s misses %v in %q", n.person.name, missing, name)
					}
				}
				if len(n.alerts) > 0 {
					t.Errorf("%s: %v", n.person.name, n.alerts)
				}
			}
		})
	}
}

// restart closes a journal and opens it again.
func restart(w *team, n *node) *node {
	n.t.Helper()
	n.shut()
	return w.openAt(w.govOf(n.gov), n.path)
}
