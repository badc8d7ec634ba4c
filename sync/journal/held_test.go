package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// BenchmarkHeld is the work of one more envelope of somebody in quarantine, and of one that rests on such text, when so many
// are held back already: it must not grow with them.
func BenchmarkHeld(b *testing.B) {
	for _, held := range []int{1 << 10, 1 << 13, 1 << 16, 1 << 18} {
		b.Run(fmt.Sprint(held), func(b *testing.B) {
			w := newTeam(b)
			w.begin()
			ben := newPerson(b, "Ben")
			w.admit(governance.Editor, ben)
			ada := w.open(w.ada)
			writer := newForger(w.gov(ben), 0)
			ada.take(ada, writer.introduce(), writer.update("shown "))
			ada.gov.propose(governance.KindQuarantinePropose, &governance.QuarantinePropose{
				Member: ben.id.Member(), Expires: uint64(testTime.Add(time.Hour).Unix()), Heads: cutsOf(b, ada, &node{person: ben}),
			})
			ada.settle()
			e := writer.update("held ")
			ada.take(ada, []*envelope.Envelope{e}...)
			c := ada.chain(keyOf(e))
			if n, _ := ada.HeldBack(ben.id.Member()); n != 1 {
				b.Fatalf("%d envelopes are held", n)
			}
			fill(c, e, held)
			b.ResetTimer()
			for range b.N {
				ada.mu.Lock()
				full := ada.tooMuchHeld(c, e.Size())
				ada.revouch()
				ada.mu.Unlock()
				if full {
					b.Fatal("too much is held")
				}
			}
		})
	}
}

// fill notes as many held envelopes of a chain as a run of them would, without making them.
func fill(c *chain, like *envelope.Envelope, n int) {
	last := c.hold.edits[len(c.hold.edits)-1]
	for i := range n {
		c.hold.add(heldEdit{seq: last.seq + uint64(i) + 1, doc: like.Doc, from: last.from + uint64(i) + 1, size: 200}, true)
	}
}

// TestHeldIsCounted compares what is kept of held envelopes with a look at each of them, also where their author has numbered
// what they make as he likes.
func TestHeldIsCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	for range 300 {
		c := &chain{branch: &branch{from: 1}, hold: &chainHold{point: 3}}
		docs := []DocID{{1}, {2}}
		made := map[uint64]bool{}
		for seq := uint64(4); seq < 4+rng.Uint64N(30); seq++ {
			made[seq] = rng.IntN(4) > 0
			c.hold.add(heldEdit{seq: seq, doc: docs[rng.IntN(2)], from: rng.Uint64N(40), size: rng.IntN(100)}, made[seq])
		}
		for place := range uint64(36) {
			n, bytes := 0, 0
			for _, e := range c.hold.edits {
				if e.seq > place {
					n, bytes = n+1, bytes+e.size
				}
			}
			if gotN, gotBytes := c.hold.beyond(place); gotN != n || gotBytes != bytes {
				t.Fatalf("beyond %d: %d, %d; want %d, %d", place, gotN, gotBytes, n, bytes)
			}
		}
		for _, doc := range docs {
			for end := range uint64(42) {
				want := uint64(0)
				for _, e := range c.hold.edits {
					if e.doc == doc && made[e.seq] && e.from < end {
						want = e.seq
					}
				}
				if got := c.hold.last(doc, end); got != want {
					t.Fatalf("up to clock %d: %d, want %d", end, got, want)
				}
			}
		}
	}
}
