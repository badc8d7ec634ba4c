package membership

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/sync/boxkeys"
)

// Protocols that a registry serves.
const (
	protocolEvents = "/collab/events/1"
	protocolInvite = "/collab/invite/1"
	protocolRoots  = "/collab/roots/1"
	protocolActs   = "/collab/acts/1"
	protocolCosign = "/collab/cosign/1"
)

// Self is this device and its owner.
type Self struct {
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Keys     *identity.DeviceKeys // must be kept secret; prints as "[redacted]"
}

// RegistryConfig is what a [Registry] is made of. Self is required.
type RegistryConfig struct {
	Self Self
	// BoxKeys are this device's KEM keys. Nil: it has the one that its certificate names, for good.
	BoxKeys *boxkeys.Keys
	Random  io.Reader        // nil: crypto/rand
	Now     func() time.Time // nil: time.Now; decides when invites expire here, never what counts
	Logger  *slog.Logger     // nil: nothing is logged
}

// JoinRequest is a newcomer who holds a valid invite of this host.
type JoinRequest struct {
	Project  genesis.ProjectID
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Role     governance.Role // what the invite gives
	Approval bool            // the invite asks for a person's consent
	Words    []string        // six; the newcomer is shown the same
}

// JoinPolicy decides on a newcomer; an error refuses. It may block on a person until ctx ends, two minutes at most;
// the newcomer is then told to come again.
type JoinPolicy func(ctx context.Context, r JoinRequest) error

// Config is what one project works with.
type Config struct {
	Store *store.Store // the project's own; it stays the caller's to close, after the project
	// JoinPolicy is asked about everybody who comes with a valid invite. Nil: they are admitted, except on an invite
	// that asks for approval, which then stays pending.
	JoinPolicy JoinPolicy
	// Cuts names the last envelopes of a member's chains that are applied here: where they are to end if he is removed. It
	// is called outside the project's lock. Nil: removals name none, so that nothing that the removed wrote counts.
	Cuts func(identity.MemberID) ([]governance.Cut, error)
	// Checkpoints says when this node makes checkpoints.
	Checkpoints CheckpointPolicy
	// KeyLife is how long this device's KEM key is used before another takes its place. Zero: DefaultKeyLife.
	KeyLife time.Duration
	// Content names the last envelope of every chain that is durable and counts here: what a checkpoint settles of the
	// documents. Counts reports whether an envelope is one of these, or lies before one. Both are called outside the
	// project's lock. Nil: checkpoints of this node settle no documents, and it signs none that do.
	Content func(context.Context) ([]governance.Cut, error)
	Counts  func(governance.Cut) bool
	// RootMark is a root record that was in force before, zero if none is known. Until the store or a peer has it the
	// project's store was set back, and nothing is signed for the root; see Project.SetBack.
	RootMark genesis.RootID
}

// Registry holds the open projects of a node. It implements the transport's roster. It is safe for concurrent use.
type Registry struct {
	cfg     RegistryConfig
	boxKeys *boxkeys.Keys
	limiter *limiter

	mu        sync.RWMutex
	host      *p2p.Host
	projects  map[genesis.ProjectID]*Project
	exchanges map[identity.DeviceID]int
	closed    bool
}

var _ p2p.Roster = (*Registry)(nil)

// NewRegistry returns a registry without projects.
func NewRegistry(cfg RegistryConfig) *Registry {
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	keys := cfg.BoxKeys
	if keys == nil {
		keys = boxkeys.Fixed(cfg.Self.Keys.KEM)
	}
	return &Registry{
		cfg: cfg, boxKeys: keys, limiter: newLimiter(cfg.Now),
		projects: map[genesis.ProjectID]*Project{}, exchanges: map[identity.DeviceID]int{},
	}
}

// Attach gives the registry the transport that has it as its roster, and registers the protocols of invites,
// events, root records and proposed acts there. Call it once, before the host starts to listen.
func (r *Registry) Attach(host *p2p.Host) {
	r.mu.Lock()
	r.host = host
	r.mu.Unlock()
	host.Handle(protocolEvents, p2p.Member, r.serveEvents)
	host.Handle(protocolInvite, p2p.Guest, r.serveInvite)
	host.Handle(protocolRoots, p2p.Member, r.serveRoots)
	host.Handle(protocolActs, p2p.Member, r.serveActs)
	host.Handle(protocolCosign, p2p.Member, r.serveCosign)
}

// transport returns the host, nil if there is none yet.
func (r *Registry) transport() *p2p.Host {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.host
}

// project returns an open project, nil if it is not open here.
func (r *Registry) project(id genesis.ProjectID) *Project {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.projects[id]
}

func (r *Registry) all() []*Project {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Values(r.projects))
}

// DeviceByPeer implements [p2p.Roster]: the device with this transport key, if it is live in some open project.
func (r *Registry) DeviceByPeer(peer [32]byte) (*identity.DeviceCert, bool) {
	for _, p := range r.all() {
		if cert, ok := p.deviceByPeer(peer); ok {
			return cert, true
		}
	}
	return nil, false
}

// InviteKey implements [p2p.Roster]: the MAC key of an invite that this device hosts in an open project.
func (r *Registry) InviteKey(hash wire.ID) ([32]byte, bool) {
	for _, p := range r.all() {
		if h, ok := p.hostedInvite(hash); ok {
			return h.MAC, true
		}
	}
	return [32]byte{}, false
}

// reserve makes p the open project of its id.
func (r *Registry) reserve(p *Project) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.projects[p.id] != nil {
		return fmt.Errorf("%w: %s", ErrExists, p.id.Short())
	}
	r.projects[p.id] = p
	return nil
}

func (r *Registry) remove(p *Project) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.projects[p.id] == p {
		delete(r.projects, p.id)
	}
}

// Close closes every project. The host should be closed first.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	var errs []error
	for _, p := range r.all() {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// enterExchange counts the exchanges that a device has open with us.
func (r *Registry) enterExchange(d identity.DeviceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exchanges[d] >= maxExchanges {
		return false
	}
	r.exchanges[d]++
	return true
}

func (r *Registry) leaveExchange(d identity.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exchanges[d]--; r.exchanges[d] == 0 {
		delete(r.exchanges, d)
	}
}

// serveEvents answers a member's exchange of events.
func (r *Registry) serveEvents(_ context.Context, s *p2p.Stream) {
	var h hello
	named := func() genesis.ProjectID { return h.Project }
	r.serveExchange(s, "events", &h, named, func(p *Project) error { return p.follow(s, s.Device(), &h) })
}

// serveExchange reads a member's hello and lets answer go on in the project that it names. Whatever is wrong, an unknown
// project or a forbidden one, the stream is reset without a byte.
func (r *Registry) serveExchange(s *p2p.Stream, of string, hello checker, project func() genesis.ProjectID, answer func(*Project) error) {
	if !r.enterExchange(s.Device()) {
		_ = s.Reset()
		return
	}
	defer r.leaveExchange(s.Device())
	_ = s.SetDeadline(time.Now().Add(exchangeTime))
	if err := receive(s, hello); err != nil {
		_ = s.Reset()
		return
	}
	p := r.project(project())
	if p == nil || !p.allowed(s.Device()) || !p.patient(s.Device()) {
		_ = s.Reset()
		return
	}
	err := p.within("serve "+of, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
		return answer(p)
	})
	if err != nil {
		r.cfg.Logger.Debug("membership: exchange of "+of, "device", s.Device().Short(), "err", err)
		_ = s.Reset()
	}
}

// serveInvite answers a newcomer.
func (r *Registry) serveInvite(ctx context.Context, s *p2p.Stream) {
	if !r.limiter.enter(addressOf(s)) {
		_ = s.Reset()
		return
	}
	defer r.limiter.leave()
	_ = s.SetDeadline(time.Now().Add(handshakeTime))
	self := r.cfg.Self
	err := invite.Serve(ctx, s, invite.Server{
		Exporter: s.Exporter(), Remote: s.Cert(), Identity: self.Identity, Device: self.Device, Keys: self.Keys,
		Channel: s.Invite(),
		Lookup: func(hash wire.ID) (*invite.Terms, bool) {
			for _, p := range r.all() {
				if h, ok := p.hostedInvite(hash); ok {
					return p.terms(h, s)
				}
			}
			return nil, false
		},
	})
	if err != nil {
		r.cfg.Logger.Debug("membership: invite handshake", "device", s.Device().Short(), "err", err)
		if !errors.Is(err, invite.ErrExpired) && !errors.Is(err, invite.ErrUsed) && !errors.Is(err, invite.ErrCancelled) &&
			!errors.Is(err, invite.ErrVoid) && !errors.Is(err, invite.ErrFull) && !errors.Is(err, invite.ErrDenied) {
			_ = s.Reset() // else the answer is still on its way
		}
	}
}

// addressOf returns the network address, without port, from which a stream's connection comes.
func addressOf(s *p2p.Stream) string {
	addr := s.Conn().RemoteMultiaddr()
	if addr == nil {
		return ""
	}
	return hostPart(addr)
}
