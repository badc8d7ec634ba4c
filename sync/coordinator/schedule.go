package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/task"
)

// step starts what is due and says how long to wait for what is not.
func (c *Coordinator) step(work *task.Group) time.Duration {
	now, wait := time.Now(), roundEvery
	c.mu.Lock()
	state := c.reconcile(now)
	serving := c.serving(state)
	if serving {
		c.meet(state, now)
		wait = c.startRounds(work, now)
	}
	c.mu.Unlock()
	c.tell()
	if !serving {
		return wait // nobody would answer; a change of the roster wakes us
	}
	c.learn(now)
	return min(wait, c.startDials(work, state, now))
}

// meet takes up the devices of the roster that it does not know yet; the lock is held.
func (c *Coordinator) meet(state *governance.State, now time.Time) {
	for _, d := range state.Devices() {
		if d.ID != c.cfg.Self && c.peers[d.ID] == nil {
			p := c.peer(d.ID)
			p.met(now, !c.met || c.first(d.ID))
		}
	}
	c.met = true
}

// serving reports whether this device itself is of the roster.
func (c *Coordinator) serving(state *governance.State) bool {
	d, ok := state.Device(c.cfg.Self)
	return ok && d.Live
}

// startRounds starts the rounds that are due, those first that have waited longest; the lock is held.
func (c *Coordinator) startRounds(work *task.Group, now time.Time) time.Duration {
	wait := roundEvery
	var ready []*peer
	busy := 0
	for _, p := range c.peers {
		switch {
		case p.running && now.Sub(p.started) < slowRound:
			busy++
			wait = min(wait, p.started.Add(slowRound).Sub(now)) // then it makes room
		case p.present && !p.running && p.due().After(now):
			wait = min(wait, p.due().Sub(now))
		case p.present && !p.running:
			ready = append(ready, p)
		}
	}
	slices.SortFunc(ready, func(a, b *peer) int { return a.due().Compare(b.due()) })
	for _, p := range ready[:min(len(ready), max(maxRounds-busy, 0))] {
		c.begun++
		begin, hinted, conn := c.begun, p.hinted, p.conn
		p.running, p.started, p.hinted, p.asked = true, now, false, false
		work.Go("round", func(ctx context.Context) error { c.round(ctx, p, begin, conn, hinted); return nil })
	}
	return wait
}

// round runs every tier's exchange with one device.
func (c *Coordinator) round(ctx context.Context, p *peer, begin, conn uint64, hinted bool) {
	began, state, brought := time.Now(), c.cfg.State(), c.cfg.Brought(p.id)
	err := c.exchange(ctx, p)
	partly := errors.Is(err, ErrPartly)
	if partly {
		err = nil
	}
	news := c.cfg.State() != state || c.cfg.Brought(p.id) != brought
	now := time.Now()
	c.mu.Lock()
	p.running, p.ended = false, now
	c.recheck = true
	if p.present && p.conn == conn { // else what follows is for another connection
		p.roundEnded(now, hinted, news, err)
		p.synced = p.synced && !partly
	}
	ended := ctx.Err() == nil
	if ended {
		p.counted(&p.count.Rounds, &p.count.FailedRounds, err)
	}
	switch {
	case partly:
		c.lastErr = nil
	case err == nil:
		c.lastErr = nil
		c.done = max(c.done, begin)
		close(c.synced)
		c.synced = make(chan struct{})
	case ended && p.conn == conn:
		c.lastErr = err
	}
	c.mu.Unlock()
	if err != nil && ended {
		c.cfg.Logger.Debug("coordinator: round failed", "device", p.id.Short(), "err", err)
	}
	if ended {
		c.cfg.Metrics.round(now.Sub(began), err)
		if c.cfg.OnRound != nil {
			c.cfg.OnRound(p.id, err)
		}
	}
	if errors.Is(err, p2p.ErrNotConnected) {
		c.Refresh() // our picture is wrong
	}
	c.signal()
}

func (c *Coordinator) exchange(ctx context.Context, p *peer) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	defer c.cfg.Tiers.Exchange()()
	var partly error
	for _, r := range c.cfg.Rounds {
		switch err := r.Run(ctx, p.id); {
		case errors.Is(err, ErrPartly):
			partly = ErrPartly
		case err != nil:
			return fmt.Errorf("coordinator: %s with %s: %w", r.Name, p.id.Short(), err)
		}
	}
	return partly
}

// learn looks for addresses that have become known. The lock is not held while the address book is asked.
func (c *Coordinator) learn(now time.Time) {
	c.mu.Lock()
	recheck := c.recheck
	c.recheck = false
	var away []*peer
	for _, p := range c.peers {
		if recheck && !p.online && !p.dialing && p.dialAt.After(now) {
			away = append(away, p)
		}
	}
	c.mu.Unlock()
	for _, p := range away {
		addrs := c.cfg.Addresses(p.id)
		c.mu.Lock()
		p.learned(addrs, now)
		c.mu.Unlock()
	}
}

// startDials dials devices that are due, those first that have waited longest.
func (c *Coordinator) startDials(work *task.Group, state *governance.State, now time.Time) time.Duration {
	wait := roundEvery
	for _, p := range c.toDial(state, now, &wait) {
		d, _ := state.Device(p.id)
		target := p2p.Target{Device: p.id, Peer: d.Cert.Peer, Addrs: c.cfg.Addresses(p.id)}
		c.mu.Lock()
		p.tried, p.addrs = true, target.Addrs
		if len(target.Addrs) == 0 {
			p.dialAt = now.Add(lastBackoff) // it may dial us, or somebody tells us where it is
			p.dialing = false
		}
		c.mu.Unlock()
		if len(target.Addrs) > 0 {
			work.Go("dial", func(ctx context.Context) error { c.dial(ctx, p, target); return nil })
		}
	}
	return wait
}

// toDial chooses whom to dial and marks them; wait is shortened to when the next one is due.
func (c *Coordinator) toDial(state *governance.State, now time.Time, wait *time.Duration) []*peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ready []*peer
	busy := 0
	for device, p := range c.peers {
		switch {
		case p.dialing:
			busy++
		case p.online || !c.member(state, device):
		case p.dialAt.After(now):
			*wait = min(*wait, p.dialAt.Sub(now))
		default:
			ready = append(ready, p)
		}
	}
	slices.SortFunc(ready, func(a, b *peer) int { return a.dialAt.Compare(b.dialAt) })
	ready = ready[:min(len(ready), max(maxDials-busy, 0))]
	for _, p := range ready {
		p.dialing = true
	}
	return ready
}

// dial connects to a device; the host's observer tells of success.
func (c *Coordinator) dial(ctx context.Context, p *peer, target p2p.Target) {
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	_, err := c.cfg.Host.Dial(limited, target)
	now := time.Now()
	c.mu.Lock()
	p.dialing, p.dialed = false, now
	if ctx.Err() == nil {
		p.counted(&p.count.Dials, &p.count.FailedDials, err)
		c.cfg.Metrics.dial(err)
	}
	switch {
	case err == nil:
		p.dialAt = now.Add(firstBackoff)
	case errors.Is(err, p2p.ErrGuestBusy):
		p.dialAt = now.Add(guestPause)
	default:
		p.dialFailed(now)
	}
	c.mu.Unlock()
	if err == nil {
		c.Refresh()
	} else if ctx.Err() == nil {
		c.cfg.Logger.Debug("coordinator: dial failed", "device", target.Device.Short(), "err", err)
	}
	c.signal()
}
