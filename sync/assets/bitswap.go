package assets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	bsmsg "github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	bsnetwork "github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	bsserver "github.com/ipfs/boxo/bitswap/server"
	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/internal/task"
)

// exchange is all that the rest of this room needs of bitswap. It is boxo's server and wire format, under wants that this
// room directs itself. boxo's client is left out: it asks everybody who is connected, project or not; it cannot be told
// whom to ask, nor in which order; a peer that takes a want and sends nothing is waited for, and one that lacked a block
// is not asked again for 40 s.
type exchange interface {
	// ask wants a block of a peer. may is asked when the want is about to be sent.
	ask(p peer.ID, h hash, urgent bool, may func() bool)
	// cancel takes a want back.
	cancel(p peer.ID, h hash)
	// peers lists the members who are connected, of whatever project, in a fixed order.
	peers() []peer.ID
	// heard returns when the last byte came from a peer.
	heard(p peer.ID) time.Time
	// offer serves a block that has come in to the peers who have asked for it before.
	offer(b block)
}

// library is what bitswap serves from, and whom it tells.
type library interface {
	mayServe(p peer.ID, h hash) bool
	size(ctx context.Context, h hash) (int, error)
	read(ctx context.Context, h hash) ([]byte, error)
	arrived(p peer.ID, b block)
	lacks(p peer.ID, h hash)
	connected(p peer.ID)
	disconnected(p peer.ID)
	failed(p peer.ID) // what it was asked did not reach it
}

// protocolPrefix stands before bitswap's own name. It tells nothing of a project.
const protocolPrefix protocol.ID = "/collab"

// bitswap is the exchange of a node.
type bitswap struct {
	lib    library
	host   *bitswapHost
	net    bsnetwork.BitSwapNetwork
	server *bsserver.Server
	logger *slog.Logger
	tasks  *task.Group

	mu       sync.Mutex
	couriers map[peer.ID]*courier
}

func newBitswap(h host.Host, lib library, logger *slog.Logger) *bitswap {
	b := &bitswap{
		lib: lib, host: newBitswapHost(h), logger: logger, tasks: task.New(context.Background()), couriers: map[peer.ID]*courier{},
	}
	b.net = bsnet.NewFromIpfsHost(b.host, bsnet.Prefix(protocolPrefix), bsnet.SupportedProtocols([]protocol.ID{bsnet.ProtocolBitswap}))
	b.server = bsserver.New(b.tasks.Context(), gate{b.net, lib.mayServe}, servedBlocks{lib},
		bsserver.WithPeerBlockRequestFilter(func(p peer.ID, c cid.Cid) bool {
			h, ok := hashOf(c)
			return ok && lib.mayServe(p, h)
		}),
		bsserver.TaskWorkerCount(serveWorkers),
		bsserver.EngineTaskWorkerCount(serveWorkers),
		bsserver.EngineBlockstoreWorkerCount(storeWorkers),
		bsserver.MaxOutstandingBytesPerPeer(serveOutstanding),
		bsserver.MaxQueuedWantlistEntriesPerPeer(serveWants),
		bsserver.MaxCidSize(maxCID),
		bsserver.WithWantHaveReplaceSize(0),
	)
	b.net.Start(b.server, receiver{b})
	return b
}

// close ends the exchange and waits for what it has started.
func (b *bitswap) close() error {
	b.tasks.Stop()
	b.host.resetStreams() // a message that is being written does not look at its context
	b.net.Stop()
	b.server.Close()
	return b.tasks.Wait()
}

// peers asks the network, not bitswap's own list: that leaves out for good whom a message once did not reach.
func (b *bitswap) peers() []peer.ID {
	net := b.host.Network()
	list := slices.DeleteFunc(net.Peers(), func(p peer.ID) bool { return net.Connectedness(p) != network.Connected })
	slices.Sort(list)
	return list
}

func (b *bitswap) heard(p peer.ID) time.Time { return b.host.heard(p) }

func (b *bitswap) offer(bl block) {
	if wire, err := blocks.NewBlockWithCid(bl.sealed, cidOf(bl.hash)); err == nil {
		_ = b.server.NotifyNewBlocks(b.tasks.Context(), wire) // returns no error
	}
}

func (b *bitswap) ask(p peer.ID, h hash, urgent bool, may func() bool) {
	b.courier(p).add(h, errand{urgent: urgent, may: may})
}

func (b *bitswap) cancel(p peer.ID, h hash) { b.courier(p).add(h, errand{cancel: true}) }

func (b *bitswap) courier(p peer.ID) *courier {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.couriers[p]
	if c == nil {
		c = &courier{b: b, to: p, errands: map[hash]errand{}}
		b.couriers[p] = c
	}
	return c
}

func (b *bitswap) forget(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.couriers, p)
}

// courier carries wants and cancels to one peer, over one stream so that they keep their order.
type courier struct {
	b      *bitswap
	to     peer.ID
	sender bsnetwork.MessageSender // belongs to whoever runs

	mu      sync.Mutex
	errands map[hash]errand
	running bool
}

// errand is what a peer is to be told of a block.
type errand struct {
	cancel, urgent bool
	may            func() bool
}

// add replaces what the peer was to be told of the block and has not been yet.
func (c *courier) add(h hash, e errand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errands[h] = e
	if !c.running {
		c.running = c.b.tasks.Go("wants", c.run)
	}
}

// run carries errands until there are none.
func (c *courier) run(ctx context.Context) error {
	for {
		msg, more := c.next()
		if !more {
			return nil
		}
		if msg.Empty() {
			continue
		}
		if err := c.send(ctx, msg); err != nil {
			c.b.logger.Debug("assets: wants were not sent", "peer", c.to.String(), "err", err)
			c.sender = nil
			c.b.lib.failed(c.to)
		}
	}
}

func (c *courier) send(ctx context.Context, msg bsmsg.BitSwapMessage) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.sender == nil {
		c.sender, err = c.b.net.NewMessageSender(ctx, c.to, &bsnetwork.MessageSenderOpts{
			MaxRetries: 2, SendTimeout: sendTimeout, SendErrorBackoff: 100 * time.Millisecond,
		})
		if err != nil {
			return err
		}
	}
	return c.sender.SendMsg(ctx, msg)
}

// next takes what has to be told; more is false if there is nothing and run has to end.
func (c *courier) next() (msg bsmsg.BitSwapMessage, more bool) {
	c.mu.Lock()
	errands := c.errands
	c.errands = map[hash]errand{}
	c.running = len(errands) > 0
	c.mu.Unlock()
	msg = bsmsg.New(false)
	for h, e := range errands {
		switch {
		case e.cancel:
			msg.Cancel(cidOf(h))
		case e.may():
			priority := int32(1)
			if e.urgent {
				priority = 2
			}
			msg.AddEntry(cidOf(h), priority, pb.Message_Wantlist_Block, true)
		}
	}
	return msg, len(errands) > 0
}

// receiver takes what others answer.
type receiver struct{ b *bitswap }

func (r receiver) ReceiveMessage(_ context.Context, p peer.ID, msg bsmsg.BitSwapMessage) {
	for _, b := range msg.Blocks() { // the name was made of the content on arrival
		h, _ := hashOf(b.Cid())
		r.b.lib.arrived(p, block{h, b.RawData()})
	}
	for _, c := range msg.DontHaves() {
		if h, ok := hashOf(c); ok {
			r.b.lib.lacks(p, h)
		}
	}
}

func (receiver) ReceiveError(error) {}

func (r receiver) PeerConnected(p peer.ID) { r.b.lib.connected(p) }

func (r receiver) PeerDisconnected(p peer.ID) {
	r.b.forget(p)
	r.b.host.forget(p)
	r.b.lib.disconnected(p)
}

// gate is the network as the server sees it. What the server has decided to send is looked at again when it goes out:
// it may have waited in a queue, or have come in after it was asked for.
type gate struct {
	bsnetwork.BitSwapNetwork
	may func(peer.ID, hash) bool
}

func (g gate) SendMessage(ctx context.Context, p peer.ID, msg bsmsg.BitSwapMessage) error {
	kept := bsmsg.New(false)
	for _, b := range msg.Blocks() {
		if h, ok := hashOf(b.Cid()); ok && g.may(p, h) {
			kept.AddBlock(b)
		} else {
			kept.AddDontHave(b.Cid())
		}
	}
	for _, c := range msg.Haves() {
		if h, ok := hashOf(c); ok && g.may(p, h) {
			kept.AddHave(c)
		} else {
			kept.AddDontHave(c)
		}
	}
	for _, c := range msg.DontHaves() {
		kept.AddDontHave(c)
	}
	return g.BitSwapNetwork.SendMessage(ctx, p, kept)
}

// servedBlocks is the library as the server wants it: only for reading.
type servedBlocks struct{ lib library }

var _ blockstore.Blockstore = servedBlocks{}

var errReadOnly = fmt.Errorf("assets: served blocks: %w", errors.ErrUnsupported)

func (s servedBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := s.GetSize(ctx, c)
	return err == nil, nil
}

func (s servedBlocks) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if h, ok := hashOf(c); ok {
		if n, err := s.lib.size(ctx, h); err == nil {
			return n, nil
		}
	}
	return 0, ipld.ErrNotFound{Cid: c}
}

func (s servedBlocks) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if h, ok := hashOf(c); ok {
		if raw, err := s.lib.read(ctx, h); err == nil {
			return blocks.NewBlockWithCid(raw, c)
		}
	}
	return nil, ipld.ErrNotFound{Cid: c}
}

func (servedBlocks) Put(context.Context, blocks.Block) error       { return errReadOnly }
func (servedBlocks) PutMany(context.Context, []blocks.Block) error { return errReadOnly }
func (servedBlocks) DeleteBlock(context.Context, cid.Cid) error    { return errReadOnly }
func (servedBlocks) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errReadOnly
}
