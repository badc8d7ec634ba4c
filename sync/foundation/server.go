// Package foundation is tier 2: what gossip cannot promise. Anti-entropy compares the chains of two devices and
// exchanges what either lacks ([Foundation.Sync]); a newcomer gets a snapshot of every document first
// ([Foundation.FetchSnapshots]) and the signed envelopes behind it afterwards.
//
// Make one [Server] for a node before its host listens, and [Server.Join] it for each open project. Every stream names
// one project and is checked against that project's roster when it is opened; a project that is unknown here and one
// that the peer is no member of get the same answer: none.
package foundation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// The protocols. Their names tell nothing of a project.
const (
	protocolSync     = "/collab/sync/1"
	protocolSnapshot = "/collab/snapshot/1"
)

// Server answers for all open projects of a node. It is safe for concurrent use.
type Server struct {
	host   *p2p.Host
	logger *slog.Logger

	mu       sync.Mutex
	projects map[genesis.ProjectID]*Foundation
}

// NewServer registers the protocols; the host must not listen yet.
func NewServer(host *p2p.Host, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{host: host, logger: logger, projects: map[genesis.ProjectID]*Foundation{}}
	host.Handle(protocolSync, p2p.Member, func(ctx context.Context, st *p2p.Stream) { s.serve(ctx, st, (*Foundation).serveSync) })
	host.Handle(protocolSnapshot, p2p.Member, func(ctx context.Context, st *p2p.Stream) { s.serve(ctx, st, (*Foundation).serveSnapshots) })
	return s
}

// Config is what one project needs. All fields are required.
type Config struct {
	Project genesis.ProjectID
	State   func() *governance.State // the present one; decides who is served
	Journal *journal.Journal
}

// Foundation is tier 2 of one project. It is safe for concurrent use.
type Foundation struct {
	server *Server
	cfg    Config
}

// Join serves a project from now on, until Close.
func (s *Server) Join(cfg Config) *Foundation {
	f := &Foundation{server: s, cfg: cfg}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.projects[cfg.Project] = f
	return f
}

// Close stops serving the project. Exchanges under way end with an error once the journal is closed.
func (f *Foundation) Close() {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	if f.server.projects[f.cfg.Project] == f {
		delete(f.server.projects, f.cfg.Project)
	}
}

// serve reads which project a stream is about and hands it on if the peer is of its roster.
func (s *Server) serve(ctx context.Context, st *p2p.Stream, handle func(*Foundation, context.Context, *exchange, []byte) error) {
	x := &exchange{Stream: st}
	opening, err := x.read(MaxHello, answerTimeout)
	if err != nil {
		_ = st.Reset()
		return
	}
	f := s.find(opening, st.Device())
	if f == nil {
		_ = st.Reset()
		return
	}
	if err := handle(f, ctx, x, opening); err != nil {
		s.logger.Debug("tier 2 exchange failed", "device", st.Device().Short(), "err", err)
		_ = st.Reset()
	}
}

// find returns the project that an opening names, if it is open here and device is live in it.
func (s *Server) find(opening []byte, device identity.DeviceID) *Foundation {
	var h hello
	if wire.Unmarshal(opening, &h, MaxHello) != nil {
		return nil
	}
	s.mu.Lock()
	f := s.projects[h.Project]
	s.mu.Unlock()
	if f == nil || !f.live(device) {
		return nil
	}
	return f
}

func (f *Foundation) live(device identity.DeviceID) bool {
	d, ok := f.cfg.State().Device(device)
	return ok && d.Live
}

// open starts an exchange with a connected device.
func (f *Foundation) open(ctx context.Context, device identity.DeviceID, protocol string, opening any) (*exchange, error) {
	if !f.live(device) {
		return nil, ErrRefused // nothing is told to a device outside the roster, not even the project's name
	}
	st, err := f.server.host.Open(ctx, device, protocol)
	if err != nil {
		return nil, err
	}
	x := &exchange{Stream: st}
	x.stop = context.AfterFunc(ctx, func() { _ = st.Reset() })
	if err := x.write(wire.Marshal(opening)); err != nil {
		x.abort()
		return nil, err
	}
	return x, nil
}

// exchange is a stream with a deadline for each frame.
type exchange struct {
	*p2p.Stream
	stop func() bool
}

func (x *exchange) read(limit int, within time.Duration) ([]byte, error) {
	if err := x.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	return readFrame(x, limit)
}

func (x *exchange) write(b []byte) error {
	if err := x.SetWriteDeadline(time.Now().Add(idleTimeout)); err != nil {
		return err
	}
	return writeFrame(x, b)
}

// finish ends an exchange that went well: everything was acknowledged. Closing may still fail, as the other side has
// closed already.
func (x *exchange) finish() error {
	if x.stop != nil {
		x.stop()
	}
	_ = x.Close()
	return nil
}

// abort ends one that did not.
func (x *exchange) abort() {
	if x.stop != nil {
		x.stop()
	}
	_ = x.Reset()
}

// refusal turns a reset before the first answer into ErrRefused.
func refusal(err error) error { return errors.Join(ErrRefused, err) }
