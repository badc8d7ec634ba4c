package assets

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/sync/membership"
)

// collector is a device that asks for whatever it likes, by hash.
type collector struct {
	*Server
	got, none chan hash
}

func newCollector() *collector {
	return &collector{got: make(chan hash, 64), none: make(chan hash, 64)}
}

func (c *collector) as(s *Server) library { c.Server = s; return c }

func (c *collector) arrived(p peer.ID, b block) {
	c.got <- b.hash
	c.Server.arrived(p, b)
}

func (c *collector) lacks(p peer.ID, h hash) {
	c.none <- h
	c.Server.lacks(p, h)
}

// gets asks a node for a block and reports whether it comes.
func (c *collector) gets(t *testing.T, from *node, h hash) bool {
	t.Helper()
	p := peer.ID(identity.PeerIDBytes(from.self.Device.Peer))
	c.exchange.ask(p, h, true, func() bool { return true })
	defer c.exchange.cancel(p, h)
	limit := time.After(time.Minute)
	for {
		select {
		case x := <-c.got:
			if x == h {
				return true
			}
		case x := <-c.none:
			if x == h {
				return false
			}
		case <-limit:
			t.Fatal("no answer")
		}
	}
}

// hashes lists the blocks that a room has, those of one file after the other.
func (r *room) hashes(path string, content []byte) []hash {
	r.t.Helper()
	had := map[hash]bool{}
	for _, h := range r.a.shelf.all() {
		had[h] = true
	}
	r.add(path, content)
	var out []hash
	for _, h := range r.a.shelf.all() {
		if !had[h] {
			out = append(out, h)
		}
	}
	return out
}

// Berta was removed from the film and still shares the comic with anna. She knows the names of the film's blocks.
func TestScenario43RemovedAsksForBlocks(t *testing.T) {
	scenario.Run(t, 43, "a revoked peer, still connected through another project, asks for blocks whose names it knows: the answer is that for a block that is nowhere", func(t *testing.T) {
		c := newCollector()
		anna, berta := newNode(t, "anna"), newNode(t, "berta", setup{as: c.as})
		film, comic := anna.found(), anna.found()
		bf := film.join(berta)
		comic.join(berta)
		before, page := film.hashes("before", noise(1, smallBlock/2)), comic.hashes("page", noise(2, smallBlock/2))
		if len(before) < 2 || len(page) < 2 {
			t.Fatalf("%d and %d blocks", len(before), len(page))
		}
		if !c.gets(t, anna, before[0]) {
			t.Fatal("a member is refused a block")
		}
		_, err := film.p.Remove(t.Context(), membership.Removal{Member: berta.self.Identity.Member(), Reason: "test"})
		must(t, err)
		eventually(t, "berta knows", bf.p.Removed)
		after := film.hashes("after", noise(3, smallBlock/2))
		for _, h := range append(append(before[1:], after...), sha256.Sum256([]byte("nowhere"))) {
			if c.gets(t, anna, h) {
				t.Error("the removed gets a block")
			}
		}
		if !c.gets(t, anna, page[0]) {
			t.Error("a block of the project that is still shared is refused")
		}
		if got := bf.a.peers(); len(got) != 0 {
			t.Errorf("the removed would ask %d peers, and serve them", len(got))
		}
	})
}

// Carl shares the comic with anna, and no other project.
func TestScenario104BlocksOfAnotherProject(t *testing.T) {
	scenario.Run(t, 104, "a member of one project asks for another's blocks by name: the answer is that for a block that is nowhere", func(t *testing.T) {
		c := newCollector()
		anna, carl := newNode(t, "anna"), newNode(t, "carl", setup{as: c.as})
		film, comic := anna.found(), anna.found()
		comic.join(carl)
		for _, h := range append(film.hashes("take", noise(1, smallBlock/2)), sha256.Sum256([]byte("nowhere"))) {
			if c.gets(t, anna, h) {
				t.Error("a block of another project comes")
			}
		}
		if page := comic.hashes("page", noise(2, smallBlock/2)); !c.gets(t, anna, page[0]) {
			t.Error("a block of their own project is refused")
		}
	})
}
