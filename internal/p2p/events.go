package p2p

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Peer describes a connected device.
type Peer struct {
	Device  identity.DeviceID
	Member  identity.MemberID
	Key     [32]byte // its transport key
	Class   Class
	Invite  wire.ID // guest: the hash of the invite that it came with, or that we came with
	Inbound bool    // it dialed us
	Path    Path
	Addr    string // multiaddress of the other end
	Since   time.Time
}

// Path says how a connection runs.
type Path string

// The paths.
const (
	PathQUIC  Path = "quic"
	PathTCP   Path = "tcp"
	PathRelay Path = "relay"
)

// Observer is told of devices that come and go. The host calls the functions of all observers one at a time, in the
// order in which things happened; a device counts once per class, however many connections it has. Nil functions are
// left out. A slow function delays the events after it, and nothing else.
type Observer struct {
	Connected    func(Peer)
	Disconnected func(Peer)
	// PathChanged is told when a device that is present is reached directly from now on instead of through a relay, or
	// the other way round.
	PathChanged func(Peer)
}

// Refusal reports an inbound connection, or a stream of one, that was refused. The other side was told nothing.
type Refusal struct {
	Peer       string // its libp2p peer ID, if it got as far as to show one
	Addr       string
	Reason     error // wraps an exported error of this package where one fits
	Suppressed int   // refusals before this one that were not reported, as they came too fast
}

// presenceKey is what observers count once.
type presenceKey struct {
	peer  [32]byte
	class Class
}

// events is a queue with one goroutine at its end, and the list of who is present.
type events struct {
	mu        sync.Mutex
	wake      chan struct{} // holds a token while the queue is not empty
	queue     []func()
	observers []Observer
	present   map[presenceKey]*presence

	onRefused  func(Refusal)
	tokens     int
	refilled   time.Time
	suppressed int
}

// presence holds a device's connections of one class, the oldest first.
type presence struct{ conns []Peer }

// peer describes the device by the connection that serves best: direct before relayed, then the newest.
func (p *presence) peer() Peer {
	best := p.conns[0]
	for _, c := range p.conns[1:] {
		if best.Path == PathRelay || c.Path != PathRelay {
			best = c
		}
	}
	return best
}

func newEvents(onRefused func(Refusal)) *events {
	return &events{
		wake:      make(chan struct{}, 1),
		present:   map[presenceKey]*presence{},
		onRefused: onRefused,
		tokens:    refusalBurst,
		refilled:  time.Now(),
	}
}

// run calls what was queued, until ctx ends and the queue is empty.
func (e *events) run(ctx context.Context) error {
	for {
		select {
		case <-e.wake:
			e.drain()
		case <-ctx.Done():
			e.drain()
			return nil
		}
	}
}

func (e *events) drain() {
	for {
		e.mu.Lock()
		queue := e.queue
		e.queue = nil
		e.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, fn := range queue {
			fn()
		}
	}
}

// push needs e.mu.
func (e *events) push(fn func()) {
	e.queue = append(e.queue, fn)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// observe adds an observer, which first hears of those who are present.
func (e *events) observe(o Observer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observers = append(e.observers, o)
	for _, was := range e.present {
		if p := was.peer(); o.Connected != nil {
			e.push(func() { o.Connected(p) })
		}
	}
}

func (e *events) connected(p Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := presenceKey{p.Key, p.Class}
	if was := e.present[key]; was != nil {
		before := was.peer()
		was.conns = append(was.conns, p)
		e.compare(before, was.peer())
		return
	}
	e.present[key] = &presence{conns: []Peer{p}}
	for _, o := range e.observers {
		if o.Connected != nil {
			e.push(func() { o.Connected(p) })
		}
	}
}

func (e *events) disconnected(p Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := presenceKey{p.Key, p.Class}
	was := e.present[key]
	if was == nil {
		return
	}
	before := was.peer()
	if i := slices.Index(was.conns, p); i >= 0 {
		was.conns = slices.Delete(was.conns, i, i+1)
	}
	if len(was.conns) > 0 {
		e.compare(before, was.peer())
		return
	}
	delete(e.present, key)
	for _, o := range e.observers {
		if o.Disconnected != nil {
			e.push(func() { o.Disconnected(p) })
		}
	}
}

// compare tells of a path that has changed; e.mu is held.
func (e *events) compare(before, now Peer) {
	if (before.Path == PathRelay) == (now.Path == PathRelay) {
		return
	}
	for _, o := range e.observers {
		if o.PathChanged != nil {
			e.push(func() { o.PathChanged(now) })
		}
	}
}

// refused queues a report, unless too many came at once.
func (e *events) refused(p peer.ID, addr net.Addr, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.onRefused == nil {
		return
	}
	if n := int(time.Since(e.refilled) / refusalEvery); n > 0 {
		e.tokens = min(refusalBurst, e.tokens+n)
		e.refilled = e.refilled.Add(time.Duration(n) * refusalEvery)
	}
	if e.tokens == 0 {
		e.suppressed++
		return
	}
	e.tokens--
	r := Refusal{Reason: why, Suppressed: e.suppressed}
	if p != "" {
		r.Peer = p.String()
	}
	if addr != nil {
		r.Addr = addr.String()
	}
	e.suppressed = 0
	e.push(func() { e.onRefused(r) })
}
