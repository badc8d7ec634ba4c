package foundation

import (
	"context"
	"log/slog"
	"sync"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/traffic"
)

// The protocols. Their names tell nothing of a project.
const (
	protocolSync     = "/collab/sync/1"
	protocolSnapshot = "/collab/snapshot/1"
)

// Server answers for all open projects of a node. It is safe for concurrent use.
type Server struct {
	host      *p2p.Host
	logger    *slog.Logger
	buildings chan struct{} // holds a token for each snapshot that is being made
	passed    traffic.Counter

	mu       sync.Mutex
	projects map[genesis.ProjectID]*Foundation
}

// NewServer registers the protocols; the host must not listen yet. Without a logger nothing is logged.
func NewServer(host *p2p.Host, logger *slog.Logger) *Server {
	s := newServer(host, logger)
	host.Handle(protocolSync, p2p.Member, func(ctx context.Context, st *p2p.Stream) {
		s.serve(&exchange{stream: st, with: st.Device(), passed: &s.passed}, protocolSync)
	})
	host.Handle(protocolSnapshot, p2p.Member, func(ctx context.Context, st *p2p.Stream) {
		s.serve(&exchange{stream: st, with: st.Device(), passed: &s.passed}, protocolSnapshot)
	})
	return s
}

// newServer answers nothing yet.
func newServer(host *p2p.Host, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		host: host, logger: logger, projects: map[genesis.ProjectID]*Foundation{}, buildings: make(chan struct{}, maxBuildings),
	}
}

// Traffic is what all exchanges have carried: envelopes of runs, and bytes of frames.
func (s *Server) Traffic() traffic.Totals { return s.passed.Totals() }

// Join serves a project from now on, until its Close.
func (s *Server) Join(cfg Config) *Foundation {
	f := &Foundation{
		server: s, cfg: cfg, log: s.logger.With("project", cfg.Project.Short()), tasks: task.New(context.Background()),
		serving: map[served]int{}, brought: map[identity.DeviceID]uint64{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.projects[cfg.Project] = f
	return f
}

// serve reads which project a stream is about and answers if the peer is of its roster. The end of the host resets the
// stream, which ends this.
func (s *Server) serve(x *exchange, protocol string) {
	f := s.find(x)
	if f == nil || !f.enter(x.with, protocol) {
		_ = x.Reset()
		return
	}
	defer f.leave(x.with, protocol)
	follow := f.followSync
	if protocol == protocolSnapshot {
		follow = f.followSnapshots
	}
	if err := f.exchange(context.Background(), x, follow); err != nil {
		f.log.Debug("foundation: exchange", "device", x.with.Short(), "err", err)
	}
}

// find returns the project that a stream opens with, if it is open here and the peer is live in it.
func (s *Server) find(x *exchange) *Foundation {
	raw, err := x.receive(maxOpening, answerTime)
	var o opening
	if err != nil || decode(raw, &o, maxOpening) != nil {
		return nil
	}
	s.mu.Lock()
	f := s.projects[o.Project]
	s.mu.Unlock()
	if f == nil || !f.live(x.with) {
		return nil
	}
	return f
}
