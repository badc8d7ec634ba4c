package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/task"
)

// ErrPartly is for a [Round] to return that was all that is to be exchanged with the device for now, but not all that there
// is: nothing has failed, and nobody who waits for what is here to be somewhere else has got it.
var ErrPartly = errors.New("coordinator: exchanged in part")

// ErrStopped means that Serve has ended.
var ErrStopped = errors.New("coordinator: stopped")

// Host is what a coordinator needs of the transport, a [p2p.Host].
type Host interface {
	Dial(ctx context.Context, t p2p.Target) (*p2p.Conn, error)
	Connected() []p2p.Peer
}

// Config is what a coordinator works with. All fields from Brought on may be left out.
type Config struct {
	Host      Host
	Self      identity.DeviceID
	State     func() *governance.State         // the present one; called with a lock held, so it must not wait
	Addresses func(identity.DeviceID) []string // where a device was last known to listen
	Rounds    []Round                          // run in this order
	// Brought changes when a device has brought something new. Without it only governance counts as new, and hints of
	// missing content lead to fewer rounds than could help.
	Brought func(identity.DeviceID) uint64
	// Tiers is the node's schedule, to which rounds are urgent. Without it they hold up nothing.
	Tiers *Tiers
	// OnPeer is told when a device of the roster comes and goes, one call at a time. It may call the coordinator.
	OnPeer func(device identity.DeviceID, online bool)
	// OnRound is told how each round ended that did not end with Serve; several may be at once. It may call the
	// coordinator.
	OnRound func(device identity.DeviceID, err error)
	Metrics *Metrics // the node's
	Logger  *slog.Logger
}

// Round is one tier's exchange with a device; both sides hold the union afterwards, but for [ErrPartly].
type Round struct {
	Name string
	Run  func(ctx context.Context, device identity.DeviceID) error
}

// Coordinator owns the peers of one project. It is safe for concurrent use.
type Coordinator struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	peers   map[identity.DeviceID]*peer
	begun   uint64        // number of the newest round
	done    uint64        // highest number of a round that has succeeded
	synced  chan struct{} // closed and replaced when a round succeeds
	stopped chan struct{} // closed when Serve ends
	lastErr error
	recheck bool // addresses may have become known
	met     bool // the roster was gone through once

	told    []func() // calls of OnPeer that are due
	telling bool     // somebody makes them
}

// New returns a coordinator that knows of nobody yet; see [Coordinator.Refresh].
func New(cfg Config) *Coordinator {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Brought == nil {
		cfg.Brought = func(identity.DeviceID) uint64 { return 0 }
	}
	return &Coordinator{
		cfg: cfg, wake: make(chan struct{}, 1), peers: map[identity.DeviceID]*peer{},
		synced: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// Refresh looks up who is connected. Call it once Connected and Disconnected are being called, to learn of what was
// before.
func (c *Coordinator) Refresh() {
	now := time.Now()
	// Locked, so that no event that is newer than the list is taken for older.
	c.mu.Lock()
	online := map[identity.DeviceID]bool{}
	for _, p := range c.cfg.Host.Connected() {
		if p.Class == p2p.Member {
			online[p.Device] = true
			c.peer(p.Device)
		}
	}
	for device, p := range c.peers {
		c.set(p, online[device], now)
	}
	c.reconcile(now)
	c.mu.Unlock()
	c.tell()
	c.signal()
}

// Connected says that a device is connected as a member of some project.
func (c *Coordinator) Connected(device identity.DeviceID) { c.setOnline(device, true) }

// Disconnected says that a device has no connection any more.
func (c *Coordinator) Disconnected(device identity.DeviceID) { c.setOnline(device, false) }

func (c *Coordinator) setOnline(device identity.DeviceID, online bool) {
	now := time.Now()
	c.mu.Lock()
	c.set(c.peer(device), online, now)
	c.reconcile(now)
	c.mu.Unlock()
	c.tell()
	c.signal()
}

// RosterChanged says that members or addresses may have changed. Devices that were connected before they were known
// as members are announced now, and removed ones are said to be gone.
func (c *Coordinator) RosterChanged(*governance.State) {
	now := time.Now()
	c.mu.Lock()
	c.recheck = true
	c.reconcile(now)
	c.mu.Unlock()
	c.tell()
	c.signal()
}

// Gap says that something is known to be missing: a round with everybody connected is due, as soon as the pauses allow.
func (c *Coordinator) Gap() {
	c.mu.Lock()
	for _, p := range c.peers {
		p.hinted = p.present
	}
	c.mu.Unlock()
	c.signal()
}

// Online lists the roster's devices that are connected, without this one, in the order of their identifiers.
func (c *Coordinator) Online() []identity.DeviceID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []identity.DeviceID
	for device, p := range c.peers {
		if p.present {
			out = append(out, device)
		}
	}
	slices.SortFunc(out, func(a, b identity.DeviceID) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// Status says whether a round has completed with a device that is connected now, and how the last one that failed has
// failed; nil after a success.
func (c *Coordinator) Status() (synced bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		synced = synced || p.present && p.synced
	}
	return synced, c.lastErr
}

// WaitSynced returns when a round that began after the call has completed with at least one device. It fails with
// [p2p.ErrUnreachable] if none does before ctx ends, and with [ErrStopped].
func (c *Coordinator) WaitSynced(ctx context.Context) error {
	c.mu.Lock()
	after := c.begun
	now := time.Now()
	for _, p := range c.peers {
		p.hurry(now)
	}
	c.mu.Unlock()
	c.signal()
	for {
		c.mu.Lock()
		done, next := c.done > after, c.synced
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-next:
		case <-c.stopped:
			return ErrStopped
		case <-ctx.Done():
			if _, err := c.Status(); err != nil {
				return fmt.Errorf("%w: no round completed: %w; the last one: %v", p2p.ErrUnreachable, ctx.Err(), err)
			}
			return fmt.Errorf("%w: no round completed: %w", p2p.ErrUnreachable, ctx.Err())
		}
	}
}

// Serve dials and runs rounds until ctx ends, and waits for what it started. It is called once.
func (c *Coordinator) Serve(ctx context.Context) error {
	defer close(c.stopped)
	work := task.New(ctx)
	defer work.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(c.step(work))
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// peer returns the entry of a device; the lock is held.
func (c *Coordinator) peer(device identity.DeviceID) *peer {
	p := c.peers[device]
	if p == nil {
		p = &peer{id: device}
		c.peers[device] = p
	}
	return p
}

// set notes whether a device has a connection; the lock is held.
func (c *Coordinator) set(p *peer, online bool, now time.Time) {
	if p.online == online {
		return
	}
	p.online = online
	if online {
		p.since = now
		return
	}
	p.lost(now, c.first(p.id))
}

// first reports whether it is for this device to dial first.
func (c *Coordinator) first(device identity.DeviceID) bool {
	return bytes.Compare(c.cfg.Self[:], device[:]) < 0
}

// reconcile finds out who came and who went, by connection and roster, and forgets who matters no more; the lock is
// held. It returns the state that it went by.
func (c *Coordinator) reconcile(now time.Time) *governance.State {
	state := c.cfg.State() // here, so that an older one never comes after a newer
	for device, p := range c.peers {
		live := c.member(state, device)
		present := p.online && live
		if present != p.present {
			p.present = present
			p.conn++
			if present {
				p.fresh(now)
			}
			if c.cfg.OnPeer != nil {
				c.told = append(c.told, func() { c.cfg.OnPeer(device, present) })
			}
		}
		if !live && !p.online && !p.dialing && !p.running {
			delete(c.peers, device)
		}
	}
	return state
}

// member reports whether a device is another one of the roster.
func (c *Coordinator) member(state *governance.State, device identity.DeviceID) bool {
	d, ok := state.Device(device)
	return ok && d.Live && device != c.cfg.Self
}

// tell calls OnPeer for what has changed, in order. If another goroutine, or this one further up its stack, is at it
// already, that one goes on with it.
func (c *Coordinator) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.telling {
		return
	}
	c.telling = true
	for len(c.told) > 0 {
		fn := c.told[0]
		c.told = c.told[1:]
		c.mu.Unlock()
		fn()
		c.mu.Lock()
	}
	c.telling = false
}

func (c *Coordinator) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
