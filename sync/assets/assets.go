package assets

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// Assets is the files of one project. It is safe for concurrent use.
type Assets struct {
	server  *Server
	cfg     Config
	shelf   *shelf
	index   *journal.Replica
	fetcher *fetcher
	urgent  *urgency
	tasks   *task.Group
	log     *slog.Logger
	stop    func() // ends following the index

	wakeIndex chan struct{} // the index has changed
	lanes     [2]lane       // of the background: what may wait, and what is pinned as PriorityNow
	collect   chan struct{} // something may have become garbage
	tidyAfter time.Duration

	reading sync.Mutex // one at a time brings files up to date with the index
	healing sync.Mutex // one at a time removes a damaged block

	mu       sync.Mutex
	closed   bool
	files    map[string]*file   // what the index lists, by path
	assets   map[wire.ID]*asset // their contents; also those that are still open somewhere
	places   map[hash][]place   // where a block belongs
	adding   map[hash]int       // blocks of files that are being added
	policies map[string]policy  // of this device, by path
	order    []*asset           // what the background is to fetch, best first; nil if that has to be found out
	inflight map[hash]struct{}  // what it is fetching
	failed   time.Time          // blocks cannot be stored: it rests until then

	events events
}

// file is a path in the index.
type file struct {
	path  string
	raw   string // as it stands there
	entry *entry
	asset *asset
}

// asset is a content. Two paths may share one.
type asset struct {
	*entry
	id      wire.ID
	paths   int    // in the index
	readers int    // files that are open
	blocks  []hash // nil until the manifest is here
	invalid error  // it can never be read

	here   []bool // which blocks are
	have   int64  // bytes of them, and how many
	haveNo int
	from   map[identity.MemberID]int64
	speed  meter

	// For the background.
	cursor   int // where to look for the next block
	misses   int // blocks in a row that nobody had
	held     time.Time
	wanted   bool
	priority Priority
}

// place is where a block belongs: block no of a file, or part -1-no of its manifest.
type place struct {
	asset *asset
	no    int
}

// Info describes a file.
type Info struct {
	Path   string
	ID     string // content address of the manifest, in hex; empty: the path has gone
	Size   int64  // bytes
	Time   time.Time
	Local  bool // all of it is on this device
	Pinned bool // by Pin
}

// Progress is how much of a file is on this device.
type Progress struct {
	Have, Size     int64 // bytes
	BytesPerSecond float64
	From           map[identity.MemberID]int64 // bytes received since the project was opened, by who sent them
}

func newAssets(s *Server, cfg Config, blocks *shelf) (*Assets, error) {
	a := &Assets{
		server: s, cfg: cfg, shelf: blocks, fetcher: newFetcher(s.exchange), urgent: &urgency{schedule: s.opts.Schedule},
		tasks: task.New(context.Background()), log: s.opts.Logger.With("project", cfg.Project.Short()),
		wakeIndex: make(chan struct{}, 1), collect: make(chan struct{}, 1), tidyAfter: s.opts.tidyAfter,
		files: map[string]*file{}, assets: map[wire.ID]*asset{}, places: map[hash][]place{}, adding: map[hash]int{},
		inflight: map[hash]struct{}{}, events: newEvents(),
	}
	for i := range a.lanes {
		a.lanes[i] = lane{eager: i == 1, wake: make(chan struct{}, 1)}
	}
	a.fetcher.peers, a.fetcher.live, a.fetcher.store = a.peers, a.live, a.storeBlock
	var err error
	if a.policies, err = loadPolicies(cfg.Store); err != nil {
		return nil, err
	}
	if a.index, err = cfg.Journal.AssetIndex(); err != nil {
		return nil, fmt.Errorf("assets: open the index: %w", err)
	}
	return a, nil
}

// start reads the index and begins to work.
func (a *Assets) start() {
	a.follow()
	a.refresh()
	a.tasks.Go("watch wants", a.fetcher.watch)
	a.tasks.Go("follow index", a.followIndex)
	a.tasks.Go("tell", a.tell)
	a.tasks.Go("collect", a.collectGarbage)
	for i := range a.lanes {
		a.tasks.Go("background", func(ctx context.Context) error { return a.background(ctx, &a.lanes[i]) })
	}
}

// Close ends transfers, fails reads that wait, and waits for every goroutine. It must not be called from a callback.
// Closing again does nothing.
func (a *Assets) Close() error {
	a.mu.Lock()
	closed := a.closed
	a.closed = true
	stop := a.stop
	a.mu.Unlock()
	if closed {
		return nil
	}
	a.server.leave(a)
	if stop != nil {
		stop()
	}
	_ = a.tasks.Close() // tasks return no errors
	a.urgent.close()
	if err := a.shelf.close(); err != nil {
		return fmt.Errorf("assets: close the blocks: %w", err)
	}
	return nil
}

// live reports whether a peer is a device of the project that may receive its content; none is, once this device was
// removed from it.
func (a *Assets) live(p peer.ID) bool {
	state := a.cfg.State()
	if !state.May(a.cfg.Device, governance.ActRead) {
		return false
	}
	d, ok := deviceIn(state, p)
	return ok && state.May(d.ID, governance.ActRead) && !a.cfg.Journal.Withheld(d.ID)
}

// peers lists the connected devices of the project.
func (a *Assets) peers() []peer.ID {
	return slices.DeleteFunc(a.fetcher.exchange.peers(), func(p peer.ID) bool { return !a.live(p) })
}

// found looks again for what nobody had: somebody has come.
func (a *Assets) found() {
	a.fetcher.found()
	a.mu.Lock()
	for _, x := range a.assets {
		x.held, x.misses = time.Time{}, 0
	}
	a.mu.Unlock()
	a.wakeLanes()
}

// knows reports whether a block belongs to a file of the project.
func (a *Assets) knows(h hash) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.places[h]) > 0
}

// List yields the project's files by path.
func (a *Assets) List() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for _, i := range a.list() {
			if !yield(i) {
				return
			}
		}
	}
}

func (a *Assets) list() []Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Info, 0, len(a.files))
	for _, path := range slices.Sorted(maps.Keys(a.files)) {
		out = append(out, a.info(a.files[path]))
	}
	return out
}

// Stat describes a file; it fails with [fs.ErrNotExist].
func (a *Assets) Stat(path string) (Info, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.file("stat", path)
	if err != nil {
		return Info{}, err
	}
	return a.info(f), nil
}

// Progress tells how much of a file is here; it fails with [fs.ErrNotExist].
func (a *Assets) Progress(path string) (Progress, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.file("progress", path)
	if err != nil {
		return Progress{}, err
	}
	return f.asset.progress(), nil
}

// Pending returns how many bytes of the files that this device wants are still to come.
func (a *Assets) Pending() (bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.assets {
		if x.wanted {
			bytes += x.Size - x.have
		}
	}
	return bytes
}

// file finds a path; a.mu is held.
func (a *Assets) file(op, path string) (*file, error) {
	if a.closed {
		return nil, &fs.PathError{Op: op, Path: path, Err: ErrClosed}
	}
	f := a.files[wire.NFC(path)]
	if f == nil {
		return nil, &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return f, nil
}

// info needs a.mu.
func (a *Assets) info(f *file) Info {
	return Info{
		Path: f.path, ID: f.asset.id.String(), Size: f.entry.Size, Time: f.entry.Time,
		Local: f.asset.complete(), Pinned: a.policies[f.path].Mode == modePinned,
	}
}

// complete reports whether all is here; it and progress need a.mu.
func (x *asset) complete() bool { return x.blocks != nil && x.haveNo == len(x.blocks) }

func (x *asset) progress() Progress {
	return Progress{Have: x.have, Size: x.Size, BytesPerSecond: x.speed.read(time.Now()), From: maps.Clone(x.from)}
}
