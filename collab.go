// Package collab adds private, live, peer-to-peer collaboration to a Go program.
//
// There are six concepts. A [Node] is one device: its identity, its store and its place on the network. A [Session] is
// one open project. A [Doc] is a document in it that everybody edits at once. An invite code lets somebody in. A
// [Ceremony] splits a project's root key over [Custodian]s when it is founded. An [Event] tells a user interface what
// happened.
//
// Open a node with [Open]; get a session from [Node.Create], [Node.Join] or [Node.OpenProject]; get a document from
// [Session.Doc] and edit it with [Doc.Update].
//
// # What is promised
//
// Every byte that leaves the device is encrypted to the project's members under a key agreed with ML-KEM-768 and
// X25519, and signed with ML-DSA-65 and Ed25519; no option weakens that. What [Doc.WaitSaved] acknowledged survives a
// crash. Replicas that have received the same edits hold equal documents, whatever the order. Events are hints and
// state is readable: a slow subscriber never blocks the network.
//
// # What is not
//
// A member keeps what they have read. Sizes and times of messages can be observed on the network.
package collab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/sync/foundation"
	"github.com/studio-whip/collab/sync/live"
	"github.com/studio-whip/collab/sync/membership"
)

// Node is one device: an identity, a store and a libp2p host. Methods are safe for concurrent use.
type Node struct {
	cfg      *config
	home     *home
	self     membership.Self
	host     *p2p.Host
	registry *membership.Registry
	gossip   *live.Gossip
	tier2    *foundation.Server
	tasks    *task.Group
	life     context.Context // ends when Close begins
	endLife  context.CancelFunc

	mu       sync.Mutex
	closed   bool
	busy     sync.WaitGroup // Create, Join and OpenProject under way; added to only while not closed
	opening  map[ProjectID]bool
	sessions map[ProjectID]*Session
}

// Open starts a node. With no options its state is under os.UserConfigDir and its key in the operating system's
// keychain; where there is no usable keychain it fails with keystore.ErrUnavailable or ErrLocked and changes nothing.
// A directory that another process has open gives [ErrInUse]. ctx bounds the start only; the node lives until Close.
func Open(ctx context.Context, opts ...Option) (_ *Node, err error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, opening: map[ProjectID]bool{}, sessions: map[ProjectID]*Session{}}
	n.life, n.endLife = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = n.release()
		}
	}()
	if n.home, err = openHome(ctx, cfg); err != nil {
		return nil, err
	}
	if n.self, err = n.home.identity(ctx, cfg); err != nil {
		return nil, err
	}
	n.tasks = task.New(context.Background())
	n.registry = membership.NewRegistry(membership.RegistryConfig{
		Self: n.self, Random: cfg.random, Now: cfg.now, Logger: cfg.logger,
	})
	if n.host, err = p2p.New(n.tasks.Context(), p2p.Config{
		Device: n.self.Keys, Cert: n.self.Device, Roster: n.registry, Listen: cfg.listen,
		Logger: cfg.logger, OnRefused: n.refused,
	}); err != nil {
		return nil, wrap("open the network", err)
	}
	n.registry.Attach(n.host)
	n.tier2 = foundation.NewServer(n.host, cfg.logger)
	if n.gossip, err = live.NewGossip(n.host, cfg.logger); err != nil {
		return nil, wrap("open the network", err)
	}
	n.host.Observe(p2p.Observer{Connected: n.connected, Disconnected: n.disconnected})
	if err := n.host.Start(); err != nil {
		return nil, wrap("listen", err)
	}
	return n, nil
}

// Close ends what is under way, stops every session, waits for all goroutines and flushes the store. Later calls of
// other methods return [ErrClosed].
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.endLife()
	n.busy.Wait()
	n.mu.Lock()
	sessions := slices.Collect(maps.Values(n.sessions))
	n.mu.Unlock()
	var errs []error
	for _, s := range sessions {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, n.release())...)
}

// release gives back what Open has taken, in the opposite order.
func (n *Node) release() error {
	n.endLife()
	var errs []error
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.registry != nil {
		errs = append(errs, n.registry.Close())
	}
	if n.tasks != nil {
		errs = append(errs, n.tasks.Close())
	}
	if n.home != nil {
		errs = append(errs, n.home.close())
	}
	return wrap("close", errors.Join(errs...))
}

// Identity describes this device's owner.
func (n *Node) Identity() Identity { return identityOf(n.self.Identity) }

func identityOf(cert *identity.IdentityCert) Identity {
	return Identity{ID: cert.Member(), Name: cert.Display, Fingerprint: fingerprint(cert.Member())}
}

// Projects lists the projects on this device, by name.
func (n *Node) Projects() iter.Seq[ProjectInfo] {
	return func(yield func(ProjectInfo) bool) {
		projects, err := n.home.projects()
		if err != nil {
			n.cfg.logger.Error("list projects", "err", err)
			return
		}
		for _, p := range projects {
			if !yield(ProjectInfo{ID: p.ID, Name: p.Title}) {
				return
			}
		}
	}
}

// Create founds a project by the ceremony c and opens it; the founder is its first manager. The root key exists in
// memory only while Create runs. name is at most 128 bytes of UTF-8.
func (n *Node) Create(ctx context.Context, name string, c Ceremony) (*Session, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	root, err := genesis.Found(ctx, n.cfg.random, n.cfg.now(), genesis.Founding{
		Title: name, Policy: genesis.DefaultPolicy(), Identity: n.self.Identity, Device: n.self.Device, Ceremony: c,
	})
	if err != nil {
		return nil, wrap("genesis ceremony", err)
	}
	return n.open(root.Project, func(cfg membership.Config) (*membership.Project, error) {
		return n.registry.Found(ctx, cfg, root)
	})
}

// OpenProject reopens a project that is on this device; it works offline. A project that is open already gives the
// same session.
func (n *Node) OpenProject(ctx context.Context, id ProjectID) (*Session, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return n.openKnown(ctx, id)
}

// openKnown opens a project that is on this device.
func (n *Node) openKnown(ctx context.Context, id ProjectID) (*Session, error) {
	n.mu.Lock()
	s := n.sessions[id]
	n.mu.Unlock()
	if s != nil {
		return s, nil
	}
	known, err := n.home.has(id)
	if err != nil {
		return nil, wrap("open project", err)
	}
	if !known {
		return nil, fmt.Errorf("%w: %s; join it with a code", ErrUnknownProject, id.Short())
	}
	return n.open(id, func(cfg membership.Config) (*membership.Project, error) {
		return n.registry.Open(ctx, cfg, id)
	})
}

// JoinOption changes one default of [Node.Join].
type JoinOption func(*joinConfig)

type joinConfig struct{ show func([]string) }

// WithVerification shows six words while a person at the host decides; the same six words are shown there.
func WithVerification(show func(words []string)) JoinOption {
	return func(c *joinConfig) { c.show = show }
}

// Join redeems an invite code and opens the project once a first snapshot is applied. It fails with
// [ErrInviteInvalid], [ErrInviteExpired], [ErrInviteUsed], [ErrInviteCancelled], [ErrDenied], [ErrPending] or
// [ErrUnreachable]. Nothing is kept then, unless the host was lost after it had admitted this device: the project is
// then on the device, and Join with the same code, or [Node.OpenProject], goes on from there.
func (n *Node) Join(ctx context.Context, code string, opts ...JoinOption) (*Session, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var jc joinConfig
	for _, o := range opts {
		o(&jc)
	}
	parsed, err := invite.Parse(code)
	if err != nil {
		return nil, wrap("read the code", err)
	}
	if known, err := n.home.has(parsed.Project); err != nil {
		return nil, wrap("join", err)
	} else if known {
		return n.openKnown(ctx, parsed.Project)
	}
	welcome, err := n.registry.Redeem(ctx, parsed, jc.show)
	if err != nil {
		return nil, wrap("join", err)
	}
	if welcome.Pending {
		return nil, fmt.Errorf("%w; try again with the same code when a manager has agreed", ErrPending)
	}
	s, err := n.open(parsed.Project, func(cfg membership.Config) (*membership.Project, error) {
		return n.registry.Adopt(ctx, cfg, parsed, welcome)
	})
	if err != nil {
		return nil, err
	}
	if err := s.fetchFirst(ctx, welcome.HostDevice.ID); err != nil {
		return nil, errors.Join(wrap("first snapshot", err), s.Close())
	}
	return s, nil
}

// open makes a session of a project whose membership start opens. Two opens of one project never run at once.
func (n *Node) open(id ProjectID, start func(membership.Config) (*membership.Project, error)) (_ *Session, err error) {
	n.mu.Lock()
	if n.opening[id] || n.sessions[id] != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("%w: project %s is being opened already", ErrInUse, id.Short())
	}
	n.opening[id] = true
	n.mu.Unlock()
	s, err := newSession(n, id, start)
	n.mu.Lock()
	delete(n.opening, id)
	if err == nil {
		n.sessions[id] = s
	}
	n.mu.Unlock()
	if err == nil {
		s.coordinator.Refresh()
	}
	return s, err
}

// begin guards what must not outlast Close: the context ends when Close begins, and Close waits for done.
func (n *Node) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, ErrClosed
	}
	n.busy.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		n.busy.Done()
	}, nil
}

// each calls fn with every open session.
func (n *Node) each(fn func(*Session)) {
	n.mu.Lock()
	sessions := slices.Collect(maps.Values(n.sessions))
	n.mu.Unlock()
	for _, s := range sessions {
		fn(s)
	}
}

func (n *Node) connected(p p2p.Peer) {
	if p.Class == p2p.Member {
		n.each(func(s *Session) { s.coordinator.Connected(p.Device) })
	}
}

func (n *Node) disconnected(p p2p.Peer) {
	if p.Class == p2p.Member {
		n.each(func(s *Session) { s.coordinator.Disconnected(p.Device) })
	}
}

func (n *Node) refused(r p2p.Refusal) {
	n.each(func(s *Session) { s.events.Send(PeerRejected{Peer: r.Peer, Reason: r.Reason}) })
}

// randomName is a file name that tells nothing.
func randomName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
