// Package coordinator owns a project's peers: it keeps a connection to every live device of the roster that can be
// reached, and decides when the tiers below run. On connect, on a gap and periodically it runs a round with a device:
// governance events first, as content is judged by them, then the chains of envelopes.
//
// Make one with [New], run [Coordinator.Serve] in the session's task group, and tell it what happens with
// [Coordinator.Connected], [Coordinator.Disconnected], [Coordinator.RosterChanged] and [Coordinator.Gap].
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/task"
)

// Config is what a coordinator works with. All fields but Logger and OnPeer are required.
type Config struct {
	Host      *p2p.Host
	Self      identity.DeviceID
	State     func() *governance.State
	Addresses func(identity.DeviceID) []string // where a device was last known to listen
	Rounds    []Round                          // run in this order
	OnPeer    func(device identity.DeviceID, online bool)
	Logger    *slog.Logger
}

// Round is one tier's exchange with a device; both sides hold the union afterwards.
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
	synced  chan struct{} // closed and replaced after each completed set of rounds
	rounds  uint64        // completed sets of rounds
	lastErr error
}

// peer is what the coordinator knows of one device.
type peer struct {
	online  bool
	dialing bool
	running bool      // a set of rounds is under way
	again   bool      // another set was asked for meanwhile
	nextAt  time.Time // when the next set is due
	dialAt  time.Time // not before
	backoff time.Duration
	synced  bool // a set has completed since it came online
}

// New returns a coordinator that knows of nobody yet; see [Coordinator.Refresh].
func New(cfg Config) *Coordinator {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Coordinator{cfg: cfg, wake: make(chan struct{}, 1), peers: map[identity.DeviceID]*peer{}, synced: make(chan struct{})}
}

// Refresh looks up who is connected. Call it once Connected and Disconnected are being called, to learn of what was
// before.
func (c *Coordinator) Refresh() {
	online := map[identity.DeviceID]bool{}
	c.mu.Lock()
	for device := range c.peers {
		online[device] = false
	}
	c.mu.Unlock()
	for _, p := range c.cfg.Host.Connected() {
		if p.Class == p2p.Member {
			online[p.Device] = true
		}
	}
	for device, is := range online {
		c.setOnline(device, is)
	}
}

// Connected says that a device is connected as a member of some project.
func (c *Coordinator) Connected(device identity.DeviceID) { c.setOnline(device, true) }

// Disconnected says that a device has no connection any more.
func (c *Coordinator) Disconnected(device identity.DeviceID) { c.setOnline(device, false) }

func (c *Coordinator) setOnline(device identity.DeviceID, online bool) {
	c.mu.Lock()
	p := c.peer(device)
	changed := p.online != online
	p.online = online
	if changed && online {
		p.nextAt, p.backoff, p.synced = time.Time{}, 0, false
	}
	inRoster := c.inRoster(device)
	c.mu.Unlock()
	if changed && inRoster && c.cfg.OnPeer != nil {
		c.cfg.OnPeer(device, online)
	}
	c.signal()
}

// RosterChanged says that members or addresses may have changed. Devices that were connected before they were known
// as members are announced now.
func (c *Coordinator) RosterChanged(before *governance.State) {
	c.mu.Lock()
	var announce []identity.DeviceID
	for device, p := range c.peers {
		if d, ok := before.Device(device); p.online && c.inRoster(device) && (!ok || !d.Live) {
			announce = append(announce, device)
			p.nextAt = time.Time{}
		}
	}
	c.mu.Unlock()
	for _, device := range announce {
		if c.cfg.OnPeer != nil {
			c.cfg.OnPeer(device, true)
		}
	}
	c.signal()
}

// Gap asks for a round with everybody connected soon: something is known to be missing.
func (c *Coordinator) Gap() {
	c.mu.Lock()
	for _, p := range c.peers {
		p.nextAt = time.Time{}
		p.again = p.running
	}
	c.mu.Unlock()
	c.signal()
}

// Online lists the roster's devices that are connected, without this one.
func (c *Coordinator) Online() []identity.DeviceID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []identity.DeviceID
	for device, p := range c.peers {
		if p.online && c.inRoster(device) {
			out = append(out, device)
		}
	}
	return out
}

// Status says whether a set of rounds has completed with a device that is connected now, and how the last one that
// failed has failed; nil after a success.
func (c *Coordinator) Status() (synced bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for device, p := range c.peers {
		if p.online && p.synced && c.inRoster(device) {
			return true, c.lastErr
		}
	}
	return false, c.lastErr
}

// WaitSynced returns when a set of rounds that began after the call has completed with at least one device. It fails
// with [p2p.ErrUnreachable] if none does before ctx ends.
func (c *Coordinator) WaitSynced(ctx context.Context) error {
	c.mu.Lock()
	target := c.rounds + 1
	for _, p := range c.peers {
		if p.running {
			target++ // what is under way may have looked before the call
		}
	}
	c.mu.Unlock()
	c.Gap()
	for {
		c.mu.Lock()
		done, next := c.rounds >= target, c.synced
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("%w: no round completed: %w", p2p.ErrUnreachable, ctx.Err())
		}
	}
}

// Serve dials and runs rounds until ctx ends.
func (c *Coordinator) Serve(ctx context.Context) error {
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

// step starts what is due and says how long to wait for what is not.
func (c *Coordinator) step(work *task.Group) time.Duration {
	now := time.Now()
	next := roundEvery
	due := func(at time.Time) bool {
		if at.After(now) {
			next = min(next, at.Sub(now))
			return false
		}
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.cfg.State().Devices() {
		if d.ID == c.cfg.Self {
			continue
		}
		p := c.peer(d.ID)
		switch {
		case p.online && !p.running && due(p.nextAt):
			p.running = true
			work.Go("round", func(ctx context.Context) error { c.round(ctx, d.ID); return nil })
		case !p.online && !p.dialing && c.dialing() < maxDials && due(p.dialAt):
			addrs := c.cfg.Addresses(d.ID)
			if len(addrs) == 0 {
				p.dialAt = now.Add(lastBackoff)
				continue
			}
			p.dialing = true
			target := p2p.Target{Device: d.ID, Peer: d.Cert.Peer, Addrs: addrs}
			work.Go("dial", func(ctx context.Context) error { c.dial(ctx, target); return nil })
		}
	}
	return next
}

// dial connects to a device; the host's observer tells of success.
func (c *Coordinator) dial(ctx context.Context, target p2p.Target) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	_, err := c.cfg.Host.Dial(ctx, target)
	c.mu.Lock()
	p := c.peer(target.Device)
	p.dialing = false
	if err != nil {
		p.backoff = min(max(2*p.backoff, firstBackoff), lastBackoff)
		p.dialAt = time.Now().Add(p.backoff + rand.N(p.backoff/2))
		c.cfg.Logger.Debug("dial failed", "device", target.Device.Short(), "err", err)
	} else {
		p.dialAt = time.Now().Add(firstBackoff)
	}
	c.mu.Unlock()
	c.signal()
}

// round runs every tier's exchange with one device.
func (c *Coordinator) round(ctx context.Context, device identity.DeviceID) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var err error
	for _, r := range c.cfg.Rounds {
		if err = r.Run(ctx, device); err != nil {
			err = fmt.Errorf("coordinator: %s with %s: %w", r.Name, device.Short(), err)
			break
		}
	}
	c.mu.Lock()
	p := c.peer(device)
	p.running = false
	switch {
	case err != nil:
		p.nextAt = time.Now().Add(firstBackoff + rand.N(firstBackoff))
		if !errors.Is(err, context.Canceled) && p.online {
			c.lastErr = err
			c.cfg.Logger.Debug("round failed", "err", err)
		}
	case p.again:
		p.nextAt = time.Time{}
	default:
		p.nextAt = time.Now().Add(roundEvery - roundJitter + rand.N(2*roundJitter))
	}
	p.again = false
	if err == nil {
		p.synced, c.lastErr = true, nil
		c.rounds++
		close(c.synced)
		c.synced = make(chan struct{})
	}
	c.mu.Unlock()
	c.signal()
}

// peer returns the entry of a device; the lock is held.
func (c *Coordinator) peer(device identity.DeviceID) *peer {
	p := c.peers[device]
	if p == nil {
		p = &peer{}
		c.peers[device] = p
	}
	return p
}

// dialing counts the dials under way; the lock is held.
func (c *Coordinator) dialing() (n int) {
	for _, p := range c.peers {
		if p.dialing {
			n++
		}
	}
	return n
}

func (c *Coordinator) inRoster(device identity.DeviceID) bool {
	d, ok := c.cfg.State().Device(device)
	return ok && d.Live
}

func (c *Coordinator) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
