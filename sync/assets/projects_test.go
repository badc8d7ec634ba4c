package assets

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/membership"
)

// demand asks a node for a block as anybody may who is connected, and reports whether it came. The answer is waited for.
func demand(t *testing.T, from, to *room, arrived, lacking *hashes, h hash) bool {
	t.Helper()
	got, lacks := len(arrived.all()), len(lacking.all())
	from.server.exchange.ask(to.peer(), h, true, func() bool { return true })
	eventually(t, "the answer", func() bool { return len(arrived.all()) > got || len(lacking.all()) > lacks })
	return len(arrived.all()) > got
}

// Two projects on one node: a member of the first, connected, asks for the second's blocks and gets the answer that it
// gets for blocks that are nowhere. Nothing is ever asked of it that belongs to the second.
func TestForbiddenLooksUnknown(t *testing.T) {
	asked, arrived, lacking := &hashes{}, &hashes{}, &hashes{}
	bertas := &spy{
		onAsked:   func(_ peer.ID, h hash) { asked.add(h) },
		onArrived: func(_ peer.ID, b block) { arrived.add(b.hash) },
		onLacks:   func(_ peer.ID, h hash) { lacking.add(h) },
	}
	silent := &spy{onRead: func(ctx context.Context, _ hash, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	annaNode := newNode(t, "anna")
	first, second := annaNode.found(), annaNode.found()
	berta := first.join(newNode(t, "berta", spied(bertas)))
	carl := second.join(newNode(t, "carl", spied(silent)))
	open, secret := first.add("open", noise(1, 1000)), second.add("secret", noise(2, 1000))
	if open.ID == secret.ID {
		t.Fatal("two files with one ID")
	}
	if !demand(t, berta, first, arrived, lacking, first.content("open").blocks[0]) {
		t.Error("a member does not get a block")
	}
	for name, h := range map[string]hash{
		"forbidden block": second.content("secret").blocks[0], "forbidden manifest": second.content("secret").Manifest[0], "unknown": {1},
	} {
		if demand(t, berta, first, arrived, lacking, h) {
			t.Errorf("%s: served", name)
		}
	}
	// Carl has what anna wants and does not give it; berta is connected and idle, and is not asked.
	i := carl.add("rushes", noise(3, 1000))
	second.learn(carl)
	ctx, cancel := context.WithTimeout(t.Context(), stallAfter+time.Second)
	defer cancel()
	f, err := second.a.Open(ctx, i.Path)
	must(t, err)
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("read what nobody gave")
	}
	if got := asked.all(); len(got) > 0 {
		t.Errorf("berta was asked for %v", got)
	}
	// A project that is closed answers like one that never was.
	h := first.content("open").blocks[0]
	must(t, first.a.Close())
	if demand(t, berta, first, arrived, lacking, h) {
		t.Error("a closed project serves")
	}
}

// TestRevoked: a removed member who stays connected, because of another project, gets nothing from the moment that State
// says so: neither what it asks for then, nor what was about to be sent.
func TestRevoked(t *testing.T) {
	arrived, lacking := &hashes{}, &hashes{}
	reading, release := make(chan struct{}), make(chan struct{})
	var holding hash
	slow := &spy{onRead: func(ctx context.Context, h hash, raw []byte) ([]byte, error) {
		if h == holding {
			close(reading)
			<-release
		}
		return raw, nil
	}}
	bertas := &spy{
		onArrived: func(_ peer.ID, b block) { arrived.add(b.hash) },
		onLacks:   func(_ peer.ID, h hash) { lacking.add(h) },
	}
	annaNode, bertaNode := newNode(t, "anna", spied(slow)), newNode(t, "berta", spied(bertas))
	project, other := annaNode.found(), annaNode.found()
	berta := project.join(bertaNode)
	other.join(bertaNode)
	project.add("film", noise(1, 3*smallBlock))
	blocks := project.content("film").blocks
	if !demand(t, berta, project, arrived, lacking, blocks[0]) {
		t.Fatal("a member does not get a block")
	}
	holding = blocks[1]
	got := len(arrived.all())
	berta.server.exchange.ask(project.peer(), blocks[1], true, func() bool { return true })
	<-reading
	_, err := project.p.Remove(t.Context(), membership.Removal{Member: berta.self.Identity.Member()})
	must(t, err)
	eventually(t, "anna knows", func() bool { return !project.a.live(berta.peer()) })
	close(release)
	eventually(t, "berta is refused", func() bool { return lacking.has(blocks[1]) })
	if demand(t, berta, project, arrived, lacking, blocks[2]) || len(arrived.all()) > got {
		t.Error("a removed member gets a block")
	}
	if demand(t, berta, project, arrived, lacking, wire.ID{9}) {
		t.Error("nobody's block came")
	}
}
