package assets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/traffic"
	"github.com/studio-whip/collab/sync/journal"
)

// Options say how a node keeps and fetches blocks.
type Options struct {
	// Dir is the folder of the blocks, one folder in it for each project; "" keeps them in memory.
	Dir string
	// Schedule says when what may be fetched. Nil: the background whenever no project waits for anything.
	Schedule Schedule
	Random   io.Reader    // keys of files; nil: crypto/rand
	Logger   *slog.Logger // nil: nothing is logged

	tidyAfter time.Duration // tests; 0: collectAfter
}

// Server is a node's exchange of blocks, for all its open projects. It is safe for concurrent use.
type Server struct {
	opts     Options
	exchange *bitswap

	mu       sync.RWMutex
	closed   bool
	projects map[genesis.ProjectID]*Assets
}

// NewServer registers the protocol; the host must not listen yet.
func NewServer(host *p2p.Host, o Options) *Server {
	return newServer(host, o, func(s *Server) library { return s })
}

// newServer lets bitswap see what as makes of the server.
func newServer(host *p2p.Host, o Options, as func(*Server) library) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Schedule == nil {
		o.Schedule = newPlainSchedule()
	}
	if o.tidyAfter == 0 {
		o.tidyAfter = collectAfter
	}
	s := &Server{opts: o, projects: map[genesis.ProjectID]*Assets{}}
	s.exchange = newBitswap(host.MemberHost(), as(s), o.Logger)
	return s
}

// Traffic returns what files have cost so far, requests included; envelopes are not counted.
func (s *Server) Traffic() traffic.Totals { return s.exchange.host.passed.Totals() }

// Close ends the exchange and waits for it; projects must be closed before.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.exchange.close()
}

// Config is what one project needs. All fields are required.
type Config struct {
	Project genesis.ProjectID
	State   func() *governance.State // the present one; decides who is asked and served
	Journal *journal.Journal
	Store   *store.Store      // the project's own
	Device  identity.DeviceID // this one
}

// Join opens a project's files and serves them from now on, until their Close.
func (s *Server) Join(ctx context.Context, cfg Config) (*Assets, error) {
	dir, err := s.folder(cfg.Store)
	if err != nil {
		return nil, err
	}
	blocks, err := openShelf(ctx, dir)
	if err != nil {
		return nil, err
	}
	a, err := newAssets(s, cfg, blocks)
	if err != nil {
		return nil, errors.Join(err, blocks.close())
	}
	s.mu.Lock()
	taken := s.closed || s.projects[cfg.Project] != nil
	if !taken {
		s.projects[cfg.Project] = a
	}
	s.mu.Unlock()
	if taken {
		return nil, errors.Join(fmt.Errorf("%w: the server is, or the project is open here already", ErrClosed), a.Close())
	}
	a.start()
	return a, nil
}

const (
	metaMap   = "assets"
	folderKey = "folder"
)

// folder returns where a project's blocks are. The name is drawn once and tells nothing.
func (s *Server) folder(st *store.Store) (string, error) {
	if s.opts.Dir == "" {
		return "", nil
	}
	var name [16]byte
	err := st.Update(func(tx *store.Tx) error {
		raw, ok, err := tx.Map(metaMap).Get([]byte(folderKey))
		if err != nil {
			return err
		}
		if ok && len(raw) == len(name) {
			copy(name[:], raw)
			return nil
		}
		if _, err := io.ReadFull(s.opts.Random, name[:]); err != nil {
			return err
		}
		return tx.Map(metaMap).Put([]byte(folderKey), name[:])
	})
	if err != nil {
		return "", fmt.Errorf("assets: name of the folder of blocks: %w", err)
	}
	return filepath.Join(s.opts.Dir, hex.EncodeToString(name[:])), nil
}

func (s *Server) leave(a *Assets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.projects[a.cfg.Project] == a {
		delete(s.projects, a.cfg.Project)
	}
}

// open lists the projects.
func (s *Server) open() []*Assets {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Assets, 0, len(s.projects))
	for _, a := range s.projects {
		out = append(out, a)
	}
	return out
}

// owner returns a project that has a block; nil if none that is open does.
func (s *Server) owner(h hash, also func(*Assets) bool) *Assets {
	for _, a := range s.open() {
		if a.shelf.has(h) && also(a) {
			return a
		}
	}
	return nil
}

// mayServe reports whether a peer may have a block: it is live in a project that owns it. Nothing distinguishes a block
// of another project from one that is nowhere.
func (s *Server) mayServe(p peer.ID, h hash) bool {
	return s.owner(h, func(a *Assets) bool { return a.live(p) }) != nil
}

func (s *Server) size(ctx context.Context, h hash) (int, error) {
	if a := s.owner(h, anyProject); a != nil {
		return a.shelf.size(ctx, h)
	}
	return 0, errAbsent
}

// read reads a block for a peer. A damaged one is not sent.
func (s *Server) read(ctx context.Context, h hash) ([]byte, error) {
	a := s.owner(h, anyProject)
	if a == nil {
		return nil, errAbsent
	}
	return a.readBlock(ctx, h)
}

func anyProject(*Assets) bool { return true }

// arrived hands a block to whoever wants it. A peer that sends what no project knows has made it up.
func (s *Server) arrived(p peer.ID, b block) {
	wanted, known := false, false
	projects := s.open()
	for _, a := range projects {
		wanted = a.fetcher.arrived(p, b) || wanted
		known = known || a.knows(b.hash)
	}
	if wanted || known {
		return
	}
	for _, a := range projects {
		a.fetcher.lied(p)
	}
}

func (s *Server) lacks(p peer.ID, h hash) {
	for _, a := range s.open() {
		a.fetcher.lacks(p, h)
	}
}

func (s *Server) connected(peer.ID) {
	for _, a := range s.open() {
		a.found()
	}
}

func (s *Server) disconnected(p peer.ID) {
	for _, a := range s.open() {
		a.fetcher.lost(p, true)
	}
}

func (s *Server) failed(p peer.ID) {
	for _, a := range s.open() {
		a.fetcher.lost(p, false)
	}
}

// deviceIn returns the live device that owns a transport identity.
func deviceIn(state *governance.State, id peer.ID) (*governance.Device, bool) {
	var key [32]byte
	if state == nil || len(id) < len(key) {
		return nil, false
	}
	copy(key[:], id[len(id)-len(key):])
	if string(identity.PeerIDBytes(key)) != string(id) {
		return nil, false
	}
	return state.DeviceByPeer(key)
}
