// Package collab adds private, live, peer-to-peer collaboration to a Go program.
//
// There are six concepts. A [Node] is one device: its identity, its store and its place on the network. A [Session] is
// one open project. A [Doc] is a document in it that everybody edits at once. An invite code lets somebody in. A
// [Ceremony] splits a project's root key over [Custodian]s when it is founded, or moved ([Authority.Migrate]). An [Event]
// tells a user interface what happened.
//
// Open a node with [Open]; get a session from [Node.Create], [Node.Join] or [Node.OpenProject]; get a document from
// [Session.Doc] and edit it with [Doc.Update]. Files that are too large for a document are in [Session.Assets].
//
// # Who may do what
//
// Members are viewers, editors or managers ([Session.SetRole]). Managers let people in ([Session.Invite]) and remove them
// ([Session.Revoke]); whoever wants to goes ([Session.Leave]). What one person may not decide alone waits for others:
// [Session.Proposals] shows what a signature would mean, [Session.Vote] gives it. The members together hold somebody back until
// a manager can act ([Session.ProposeQuarantine], [Session.LiftQuarantine]). The holders of the root can act when nobody
// else can ([Session.Authorize]). Whose machine was stolen ends the own identity everywhere with a page of paper
// ([Node.WriteRevocationKit], [Node.RevokeIdentity]). Every act is signed history ([Session.Audit], [Session.Explain]); what is
// forbidden fails with [ErrDenied] and a *[DeniedError], and is void wherever a changed program sends it all the same.
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
// A member keeps what they have read, also after [Session.Revoke]; and members who have not heard of a removal yet still
// talk to the removed. Sizes and times of messages can be observed on the network.
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
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/sync/assets"
	"github.com/studio-whip/collab/sync/coordinator"
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
	files    *assets.Server
	tiers    *coordinator.Tiers
	metrics  *coordinator.Metrics // nil: none are wanted
	tasks    *task.Group
	life     context.Context // ends when Close begins
	endLife  context.CancelFunc

	closing  sync.Once
	closeErr error

	founding sync.Mutex // one founding ceremony at a time, as the journal has one place for it

	mu       sync.Mutex
	closed   bool
	busy     sync.WaitGroup              // Create, Join and OpenProject under way; added to only while not closed
	opening  map[ProjectID]chan struct{} // closed when the opening has ended
	sessions map[ProjectID]*Session
}

// Open starts a node. With no options its state is under os.UserConfigDir and its key in the operating system's
// keychain; where there is no usable keychain it fails with keystore.ErrUnavailable, ErrLocked, ErrDenied or ErrTimeout
// and changes nothing.
// A directory that another process has open gives [ErrInUse]; other failures are [ErrKeyMissing], [ErrDamaged],
// [ErrDiskFull], or of the key store. ctx bounds the start only; the node lives until Close.
func Open(ctx context.Context, opts ...Option) (_ *Node, err error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, tiers: coordinator.NewTiers(cfg.bandwidth),
		opening: map[ProjectID]chan struct{}{}, sessions: map[ProjectID]*Session{},
	}
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
		Self: n.self, BoxKeys: n.home.boxKeys, Random: cfg.random, Now: cfg.now, Logger: cfg.logger,
	})
	if n.host, err = p2p.New(n.tasks.Context(), p2p.Config{
		Device: n.self.Keys, Cert: n.self.Device, Roster: n.registry, Listen: cfg.listen, Network: cfg.network,
		Logger: cfg.logger, OnRefused: n.refused, Tap: cfg.tap,
	}); err != nil {
		return nil, wrap("open the network", err)
	}
	n.registry.Attach(n.host)
	n.tier2 = foundation.NewServer(n.host, cfg.logger)
	if n.gossip, err = live.NewGossip(n.host, cfg.logger); err != nil {
		return nil, wrap("open the network", err)
	}
	n.files = assets.NewServer(n.host, assets.Options{
		Dir: n.home.blocks(), Schedule: n.tiers, Random: cfg.random, Logger: cfg.logger,
	})
	if err := n.report(); err != nil {
		return nil, err
	}
	n.host.Observe(p2p.Observer{Connected: n.connected, Disconnected: n.disconnected, PathChanged: n.pathChanged})
	if err := n.host.Start(); err != nil {
		return nil, wrap("listen", err)
	}
	cfg.logger.Info("collab: node open", "device", n.self.Device.ID.Short())
	return n, nil
}

// Close ends what is under way, closes every session as [Session.Close] does, waits for all goroutines and flushes the
// store. Closing again waits too and gives the same answer. Create, Join and OpenProject return [ErrClosed] from then
// on and Projects lists nothing; what is only read from memory, as Identity, can still be asked. Close must not be
// called from a function that this package calls.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
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
	err := errors.Join(append(errs, n.release())...)
	n.cfg.logger.Info("collab: node closed", "device", n.self.Device.ID.Short())
	return err
}

// release gives back what Open has taken, in the opposite order.
func (n *Node) release() error {
	n.endLife()
	n.tiers.Close()
	n.metrics.Close()
	var errs []error
	if n.files != nil {
		errs = append(errs, n.files.Close())
	}
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

// Projects lists the projects on this device, by name; none once the node is closed.
func (n *Node) Projects() iter.Seq[ProjectInfo] {
	return func(yield func(ProjectInfo) bool) {
		projects, err := n.home.projects()
		if errors.Is(err, store.ErrClosed) {
			return
		}
		if err != nil {
			n.cfg.logger.Error("collab: list projects", "err", err)
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
// memory only while Create runs. name is at most 128 bytes of UTF-8. It fails with what a custodian answered, or with
// genesis.ErrCeremony if the ceremony or the name cannot be used; the custodians forget their shares then. Shares that a crash
// has left behind serve nothing; the next Create erases those at the custodians that it names.
func (n *Node) Create(ctx context.Context, name string, c Ceremony) (*Session, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	n.founding.Lock()
	defer n.founding.Unlock()
	notes := custodian.Journal(n.home.vault)
	undone, err := genesis.ResumeFounding(ctx, notes, n.founded, slices.Clone(c.Custodians))
	if err != nil {
		return nil, n.wrap("undo an interrupted ceremony", err)
	}
	if len(undone.Left) > 0 {
		n.cfg.logger.Warn("collab: shares of a ceremony that was interrupted are not erased; they serve nothing", "left", len(undone.Left))
	}
	var s *Session
	_, err = genesis.Found(ctx, n.cfg.random, n.cfg.now(), genesis.Founding{
		Title: name, Policy: genesis.DefaultPolicy(), Identity: n.self.Identity, Device: n.self.Device, Ceremony: c, Journal: notes,
		Store: func(ctx context.Context, root *genesis.Root) (err error) {
			s, err = n.open(ctx, root.Project, false, func(cfg membership.Config) (*membership.Project, error) {
				return n.registry.Found(ctx, cfg, root)
			})
			return err
		},
	})
	switch {
	case s == nil:
		return nil, n.wrap("genesis ceremony", err)
	case err != nil: // the project is there and so are its shares; the next Create clears the note
		s.log.Warn("collab: project founded, but where its shares lie is not noted", "err", err)
	default:
		s.log.Info("collab: project founded")
	}
	return s, nil
}

// founded returns a project's founding, nil if it certainly was not completed here: its shares can go then.
func (n *Node) founded(id ProjectID) *genesis.Root {
	if known, err := n.home.has(id); err == nil && !known {
		return nil
	}
	return &genesis.Root{Project: id, N: 1}
}

// OpenProject reopens a project that is on this device; it works offline. A project that is open already gives the
// same session. One that this device's owner was removed from, or has left, gives a session that has ended, with [ErrRevoked]
// or [ErrLeft] as its Err: what is on this device can be read and exported, nothing can be changed, nobody is reached. Should the removal turn
// out not to count, OpenProject closes that session and gives a live one.
func (n *Node) OpenProject(ctx context.Context, id ProjectID) (*Session, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return n.openKnown(ctx, id, false)
}

// openKnown opens a project that is on this device, or borrows its session: see [Node.giveBack].
func (n *Node) openKnown(ctx context.Context, id ProjectID, borrow bool) (*Session, error) {
	known, err := n.home.has(id)
	if err != nil {
		return nil, n.wrap("open project", err)
	}
	if !known {
		return nil, fmt.Errorf("%w: %s; join it with a code", ErrUnknownProject, id.Short())
	}
	return n.open(ctx, id, borrow, func(cfg membership.Config) (*membership.Project, error) {
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
// [ErrInviteInvalid], [ErrInviteExpired], [ErrInviteUsed], [ErrInviteCancelled], [ErrDenied], [ErrPending], [ErrVersion],
// [ErrNotPostQuantum] or [ErrUnreachable]. Nothing is kept then, unless the host was lost after it had admitted this device: the project is
// then on the device, and Join with the same code, or [Node.OpenProject], goes on from there.
//
// Who was removed from a project that is on the device, or has left it, comes back with a new code: the session that was open for reading
// is closed, and the one returned goes on where the device was cut off.
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
		return nil, n.wrap("read the code", err)
	}
	defer parsed.Secret.Wipe()
	var archive *Session
	if known, err := n.home.has(parsed.Project); err != nil {
		return nil, n.wrap("join", err)
	} else if known {
		s, err := n.openKnown(ctx, parsed.Project, false)
		if err != nil || !out(s.Err()) {
			return s, err
		}
		archive = s
	}
	welcome, err := n.registry.Redeem(ctx, parsed, jc.show)
	if err != nil {
		return nil, n.wrap("join", err)
	}
	if welcome.Pending {
		return nil, fmt.Errorf("%w; try again with the same code when a manager has agreed", ErrPending)
	}
	start := n.registry.Adopt
	if archive != nil {
		if err := archive.Close(); err != nil {
			return nil, err
		}
		start = n.registry.Return
	}
	s, err := n.open(ctx, parsed.Project, false, func(cfg membership.Config) (*membership.Project, error) {
		return start(ctx, cfg, parsed, welcome)
	})
	if err != nil {
		return nil, err
	}
	if err := s.fetchFirst(ctx, welcome.HostDevice.ID); err != nil {
		return nil, errors.Join(n.wrap("first snapshot", err), s.Close())
	}
	s.log.Info("collab: project joined", "device", welcome.HostDevice.ID.Short())
	return s, nil
}

// open gives a project's session, or makes one of the membership that start opens. It waits for an opening or a closing
// of the same project, so that two never run at once.
func (n *Node) open(ctx context.Context, id ProjectID, borrow bool, start func(membership.Config) (*membership.Project, error)) (*Session, error) {
	for {
		s, wait := n.enter(id, borrow)
		if wait == nil {
			if s == nil {
				break
			}
			if !s.revived() {
				return s, nil
			}
			if err := s.Close(); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, n.wrap("wait for the project", ctx.Err())
		}
	}
	s, err := newSession(n, id, start)
	n.mu.Lock()
	close(n.opening[id])
	delete(n.opening, id)
	if err == nil {
		n.sessions[id] = s
		if borrow {
			s.borrowed = 1
		}
	}
	n.mu.Unlock()
	if err != nil && n.life.Err() != nil {
		return nil, n.wrap("open project", err)
	}
	if err != nil {
		return nil, err
	}
	if s.coordinator != nil {
		s.coordinator.Refresh()
	}
	s.log.Info("collab: project open")
	return s, nil
}

// enter gives a project's session if it is open, what to wait for if it is being opened or closed, and otherwise
// neither: the caller then opens it.
func (n *Node) enter(id ProjectID, borrow bool) (s *Session, wait <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if opening := n.opening[id]; opening != nil {
		return nil, opening
	}
	if s := n.sessions[id]; s != nil {
		if s.readable() != nil {
			return nil, s.gone
		}
		switch {
		case !borrow:
			s.borrowed = 0
		case s.borrowed > 0:
			s.borrowed++
		}
		return s, nil
	}
	n.opening[id] = make(chan struct{})
	return nil, nil
}

// lent reports whether only the node itself has a session open.
func (n *Node) lent(s *Session) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return s.borrowed > 0
}

// giveBack closes a session that the node had opened for itself, unless somebody has opened the project meanwhile: then it is
// theirs to close.
func (n *Node) giveBack(s *Session) error {
	n.mu.Lock()
	last := s.borrowed == 1
	if s.borrowed = max(0, s.borrowed-1); last {
		s.retire() // before anybody else gets it
	}
	n.mu.Unlock()
	if !last {
		return nil
	}
	return s.Close()
}

// wrap is [wrap] for what ends with the node.
func (n *Node) wrap(doing string, err error) error {
	if err != nil && n.life.Err() != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("%w: %s: %w", ErrClosed, doing, err)
	}
	return wrap(doing, err)
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
		n.each(func(s *Session) { s.peerConnected(p.Device, true) })
	}
}

func (n *Node) disconnected(p p2p.Peer) {
	if p.Class == p2p.Member {
		n.each(func(s *Session) { s.peerConnected(p.Device, false) })
	}
}

func (n *Node) pathChanged(p p2p.Peer) {
	if p.Class == p2p.Member {
		n.each(func(s *Session) { s.pathChanged(p.Device) })
	}
}

func (n *Node) refused(r p2p.Refusal) {
	n.metrics.Refused(r)
	n.each(func(s *Session) {
		s.troubles.note(n.cfg.now(), "refused", r.Reason)
		s.events.Send(PeerRejected{Peer: r.Peer, Reason: r.Reason})
	})
}

// randomName is a file name that tells nothing.
func randomName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
