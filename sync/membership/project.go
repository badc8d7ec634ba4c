package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/boxkeys"
)

// Project is the governance of one open project. It is safe for concurrent use.
type Project struct {
	reg   *Registry
	cfg   Config
	id    genesis.ProjectID
	first *genesis.Root // version 1 of the root record
	self  Self
	names names
	log   *slog.Logger
	tasks *task.Group

	state   atomic.Pointer[governance.State]
	rootNow atomic.Pointer[RootStatus]
	hosted  atomic.Pointer[map[wire.ID]hosting] // invites served here, by the hash of their id

	patience patience
	gate     gate
	changes  *changes
	outbox   *outbox

	// mu guards what follows. It is held while the store is written, so that memory and disk agree.
	mu      sync.Mutex
	events  *governance.Log
	chain   *genesis.Chain
	keys    keyring
	boxKeys *boxkeys.Ring // this device's KEM keys here
	renewed time.Time     // when a new KEM key was last refused; none is tried for a while
	book    map[identity.DeviceID]*addressRecord
	failed  error // the store's failure, which ends all
	doubt   bool  // own events may be missing: sign nothing
	minting bool  // a timer for an owed epoch runs

	proposals map[genesis.RootID]*openProposal     // for the place after the present root
	declined  map[genesis.RootID]bool              // proposals that the owner put away
	offers    map[identity.MemberID]*genesis.Offer // to hold the next root, as far as they are known here
	offer     *genesis.Offer                       // this device's owner's

	acts       map[ActID]*openAct        // acts that are proposed
	concluding map[ActID]bool            // a task is bringing one about
	cosigned   map[ActID]time.Time       // when this device signed another's draft of one
	waiting    map[identity.DeviceID]int // bytes of events without signatures that wait, by who brings them
	arrived    []arrival                 // events that came a short while ago, oldest first
	pointing   bool                      // a checkpoint is being made
	signed     signedPoint

	proving map[forkedChain]Fork // of each the lowest place known; tasks wait to publish its proof
	proofs  map[forkedChain]int  // how often this device was about to

	settling chan struct{} // holds a token when it is to be looked whether a checkpoint is due
	tending  chan struct{} // holds a token when it is to be looked whether a KEM key is due

	addressed bool // the caller has said where this device can be reached
}

// newProject makes a project from its root record. Nothing is read from the store yet.
func (r *Registry) newProject(cfg Config, root *genesis.Root) *Project {
	p := &Project{
		reg: r, cfg: cfg, id: root.Project, first: root, self: r.cfg.Self, names: namesOf(root.Project),
		log: r.cfg.Logger.With("project", root.Project.Short()), tasks: task.New(context.Background()),
		events: governance.NewLog(root), chain: genesis.NewChain(root), book: map[identity.DeviceID]*addressRecord{},
		proposals: map[genesis.RootID]*openProposal{}, declined: map[genesis.RootID]bool{}, offers: map[identity.MemberID]*genesis.Offer{},
		acts: map[ActID]*openAct{}, concluding: map[ActID]bool{}, cosigned: map[ActID]time.Time{},
		waiting: map[identity.DeviceID]int{}, settling: make(chan struct{}, 1), tending: make(chan struct{}, 1),
	}
	p.proving, p.proofs = map[forkedChain]Fork{}, map[forkedChain]int{}
	p.keys = newKeyring()
	if p.boxKeys, p.failed = r.boxKeys.Project(context.Background(), p.id); p.failed != nil {
		p.failed = fmt.Errorf("membership: %w", p.failed)
	}
	p.gate.departing = map[[32]byte]*identity.DeviceCert{}
	p.changes = newChanges()
	p.outbox = &outbox{p: p, peers: map[identity.DeviceID]*pending{}}
	p.state.Store(p.events.State())
	p.rootNow.Store(&RootStatus{Current: root, View: p.chain.View()})
	p.hosted.Store(&map[wire.ID]hosting{})
	return p
}

// start lets the project be seen and runs its goroutines.
func (p *Project) start() error {
	if p.failed != nil {
		return p.failed
	}
	if err := p.reg.reserve(p); err != nil {
		return err
	}
	p.changes.observe(p.changed)
	p.tasks.Go("changes", p.changes.run)
	if p.reg.cfg.BoxKeys != nil {
		p.tasks.Go("box keys", p.runBoxKeys)
	}
	if !p.cfg.Checkpoints.Off {
		p.tasks.Go("checkpoints", p.runCheckpoints)
	}
	return p.announceAddresses()
}

// Found makes a project of its founding root record in an empty store, with its first key, and opens it. It fails
// with [ErrExists] if the store holds the project.
func (r *Registry) Found(ctx context.Context, cfg Config, root *genesis.Root) (*Project, error) {
	if root.Founder.Device.ID != r.cfg.Self.Device.ID {
		return nil, fmt.Errorf("%w: the root record names another device as the founder's", ErrNotMember)
	}
	p := r.newProject(cfg, root)
	p.events.SetClock(r.cfg.Now)
	err := cfg.Store.Update(func(tx *store.Tx) error {
		if s, err := readStatus(tx, p.id); err != nil || s == statusReady {
			return errors.Join(err, existsIf(s == statusReady, p.id))
		}
		return p.names.begin(tx, p.id, root)
	})
	if err != nil {
		return nil, fmt.Errorf("membership: found: %w", err)
	}
	p.mu.Lock()
	err = p.mint(ctx, func(tx *store.Tx) error { return writeStatus(tx, p.id, statusReady) })
	p.mu.Unlock()
	p.changes.forget()
	if err == nil {
		err = p.start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("membership: found: %w", err), p.discard())
	}
	return p, nil
}

func existsIf(yes bool, id genesis.ProjectID) error {
	if yes {
		return fmt.Errorf("%w: %s", ErrExists, id.Short())
	}
	return nil
}

// Open opens a project that the store holds. It fails with [ErrUnknownProject], [ErrExists] if it is open already, or
// [store.ErrDamaged]. A project from which this device was removed can only be read; see [Project.Removed].
func (r *Registry) Open(ctx context.Context, cfg Config, id genesis.ProjectID) (*Project, error) {
	if r.project(id) != nil {
		return nil, fmt.Errorf("membership: open: %w", existsIf(true, id))
	}
	p, err := r.load(cfg, id)
	if err != nil {
		return nil, fmt.Errorf("membership: open: %w", err)
	}
	if err := p.start(); err != nil {
		r.remove(p)
		return nil, errors.Join(fmt.Errorf("membership: open: %w", err), p.tasks.Close())
	}
	p.owe()
	p.conclude()
	return p, nil
}

// ID returns the project's id.
func (p *Project) ID() genesis.ProjectID { return p.id }

// State returns what all events held amount to. All of them are durable.
func (p *Project) State() *governance.State { return p.state.Load() }

// Heads returns the newest events held.
func (p *Project) Heads() []governance.EventID { return p.State().Heads() }

// View runs fn with the log, which is locked meanwhile: fn must be quick, must not keep the log or call the project.
func (p *Project) View(fn func(*governance.Log)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(p.events)
}

// Knows reports whether all of heads are held.
func (p *Project) Knows(heads []governance.EventID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range heads {
		if !p.events.Has(h) {
			return false
		}
	}
	return true
}

// Err returns the failure of the store that stopped the project, or nil.
func (p *Project) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// usable says why nothing may be written. p.mu is held.
func (p *Project) usable() error {
	if p.failed != nil {
		return p.failed
	}
	if p.tasks.Context().Err() != nil {
		return ErrClosed
	}
	return nil
}

// within runs fn as one of the project's tasks, which Close waits for; ctx ends with the project.
func (p *Project) within(name string, fn func(ctx context.Context) error) error {
	done := make(chan error, 1)
	if !p.tasks.Go(name, func(ctx context.Context) error {
		done <- fn(ctx)
		return nil
	}) {
		return ErrClosed
	}
	return <-done
}

// Close ends exchanges and handshakes, waits for every goroutine, and notes in the store that nothing is missing. It
// must not be called from a function given to OnChange. The store stays open. Closing again does nothing.
func (p *Project) Close() error {
	p.reg.remove(p)
	p.mu.Lock()
	first := p.tasks.Context().Err() == nil
	p.tasks.Stop()
	p.mu.Unlock()
	err := p.tasks.Wait()
	if first && p.Err() == nil {
		p.mu.Lock()
		clean := !p.doubt
		p.keys.wipe()
		p.mu.Unlock()
		if clean {
			err = errors.Join(err, p.cfg.Store.Update(func(tx *store.Tx) error { return p.names.markClean(tx, true) }))
		}
	}
	if err != nil {
		return fmt.Errorf("membership: close: %w", err)
	}
	return nil
}

// discard closes a project that never came to be and removes what it left in the store.
func (p *Project) discard() error {
	p.reg.remove(p)
	_ = p.tasks.Close()
	if p.reg.project(p.id) == nil {
		if err := p.reg.boxKeys.Forget(context.Background(), p.id); err != nil {
			p.log.Warn("membership: forget the keys of a project that did not come to be", "err", err)
		}
	}
	return p.cfg.Store.Update(func(tx *store.Tx) error { return p.names.drop(tx, p.id) })
}
