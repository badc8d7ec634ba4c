package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// crowdSize is how many devices the largest roster has.
const crowdSize = 48

// crowd returns the states of a project that grows: the n-th has n + 1 devices. They are made once.
var crowd = sync.OnceValues(func() (states []*governance.State, err error) {
	ada, err := newPerson(0)
	if err != nil {
		return nil, err
	}
	root, err := genesis.Found(context.Background(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: ada.id, Device: ada.device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	if err != nil {
		return nil, err
	}
	log := governance.NewLog(root)
	propose := func(kind governance.Kind, body any) error {
		raw, _, err := log.Propose(governance.Author{Keys: ada.keys, Device: ada.device.ID}, kind, body)
		if err == nil {
			_, err = log.Add(raw)
		}
		return err
	}
	key, err := epoch.Mint(rand.Reader, root.Project, ada.device.ID, 1, []epoch.Recipient{{Device: ada.device.ID, KEM: ada.device.KEM}}, nil)
	if err != nil {
		return nil, err
	}
	if err := propose(governance.KindKeyEpoch, &key.Object); err != nil {
		return nil, err
	}
	for n := 1; n <= crowdSize; n++ {
		states = append(states, log.State())
		p, err := newPerson(n)
		if err != nil {
			return nil, err
		}
		if err := propose(governance.KindAdmit, governance.Admit{Role: governance.Editor, Identity: p.id.Raw, Device: p.device.Raw}); err != nil {
			return nil, err
		}
	}
	return states, nil
})

type person struct {
	id     *identity.IdentityCert
	device *identity.DeviceCert
	keys   *identity.DeviceKeys
}

func newPerson(n int) (p person, err error) {
	ik := identity.NewIdentityKey(identity.Seed{0: 1, 1: byte(n)})
	p.keys = devicekeys.Of(identity.Seed{0: 2, 1: byte(n)})
	if p.id, err = identity.NewIdentityCert(ik, fmt.Sprint("person ", n), wire.ID{1}, time.Unix(1_800_000_000, 0)); err == nil {
		p.device, err = identity.NewDeviceCert(ik, p.id.Member(), p.keys, 30)
	}
	return p, err
}

// devices lists a roster's devices by their identifiers.
func devices(s *governance.State) []identity.DeviceID {
	var out []identity.DeviceID
	for _, d := range s.Devices() {
		out = append(out, d.ID)
	}
	slices.SortFunc(out, func(a, b identity.DeviceID) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// bench is a coordinator with a transport, a roster and tiers that a test directs. It lives in a bubble of its own time.
type bench struct {
	*Coordinator
	t     *testing.T
	self  identity.DeviceID
	peers []identity.DeviceID // the others, by identifier
	start time.Time
	state atomic.Pointer[governance.State]
	end   context.CancelFunc
	ended chan struct{}

	mu        sync.Mutex
	connected map[identity.DeviceID]bool
	paths     map[identity.DeviceID]p2p.Path                 // of connections; else QUIC
	dial      func(context.Context, identity.DeviceID) error // outcome of a dial; nil: all are reachable
	round     func(context.Context, identity.DeviceID) error // outcome of a round; nil: success at once
	addresses func(identity.DeviceID) []string               // nil: all are known
	brought   atomic.Uint64                                  // what rounds have brought
	dials     []event
	rounds    []event
	told      []event
	dialing   load
	running   load
	busy      map[identity.DeviceID]bool // a round is under way
}

// event is what happened with a device, and when.
type event struct {
	device identity.DeviceID
	after  time.Duration
	online bool
}

// load counts what happens at a time.
type load struct{ now, peak int }

func (l *load) add(n int) { l.now += n; l.peak = max(l.peak, l.now) }

// allTold reports whether OnPeer is told of nothing else yet.
func (b *bench) allTold() bool {
	b.Coordinator.mu.Lock()
	defer b.Coordinator.mu.Unlock()
	return len(b.Coordinator.told) == 0
}

// try runs a test with n devices besides this one, which is the first or the last by identifier.
func try(t *testing.T, n int, first bool, test func(*testing.T, *bench)) {
	t.Helper()
	states, err := crowd()
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, start: time.Now(), connected: map[identity.DeviceID]bool{}, busy: map[identity.DeviceID]bool{}, ended: make(chan struct{})}
		b.state.Store(states[n])
		all := devices(states[n])
		b.self, b.peers = all[0], all[1:]
		if !first {
			b.self, b.peers = all[n], all[:n]
		}
		b.Coordinator = New(Config{
			Host: b, Self: b.self, State: b.state.Load, Addresses: b.where,
			Rounds:  []Round{{"first", b.run}, {"second", func(context.Context, identity.DeviceID) error { return nil }}},
			Brought: func(identity.DeviceID) uint64 { return b.brought.Load() },
			OnPeer: func(device identity.DeviceID, online bool) {
				if slices.Contains(b.Online(), device) != online && b.allTold() {
					t.Errorf("OnPeer says %v of %s, Online another thing", online, device.Short())
				}
				b.note(&b.told, device, online)
			},
		})
		defer func() {
			if b.end != nil {
				b.end()
				<-b.ended
			}
		}()
		test(t, b)
		b.end()
		<-b.ended
		if b.dialing.now != 0 || b.running.now != 0 {
			t.Errorf("%d dials and %d rounds go on after Serve", b.dialing.now, b.running.now)
		}
	})
}

// serve begins, with the world as fn sets it up.
func (b *bench) serve(fn func()) {
	b.set(fn)
	var ctx context.Context
	ctx, b.end = context.WithCancel(context.Background())
	go func() {
		defer close(b.ended)
		if err := b.Serve(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	synctest.Wait()
}

func (b *bench) note(list *[]event, device identity.DeviceID, online bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, event{device, time.Since(b.start), online})
}

// wait lets time pass.
func (b *bench) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) where(device identity.DeviceID) []string {
	b.mu.Lock()
	fn := b.addresses
	b.mu.Unlock()
	if fn != nil {
		return fn(device)
	}
	return []string{"/ip4/192.0.2.1/tcp/1"}
}

// Dial implements Host.
func (b *bench) Dial(ctx context.Context, target p2p.Target) (*p2p.Conn, error) {
	device := target.Device
	b.note(&b.dials, device, false)
	b.mu.Lock()
	b.dialing.add(1)
	fn := b.dial
	b.mu.Unlock()
	var err error
	if fn != nil {
		err = fn(ctx, device)
	}
	b.mu.Lock()
	b.dialing.add(-1)
	b.mu.Unlock()
	if err == nil {
		b.connect(device)
	}
	return nil, err
}

// Connected implements Host.
func (b *bench) Connected() []p2p.Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []p2p.Peer
	for device := range b.connected {
		path, ok := b.paths[device]
		if !ok {
			path = p2p.PathQUIC
		}
		out = append(out, p2p.Peer{Device: device, Class: p2p.Member, Path: path})
	}
	return append(out, p2p.Peer{Device: identity.DeviceID{0xee}, Class: p2p.Guest})
}

// connect makes a device connected and tells the coordinator; disconnect the opposite.
func (b *bench) connect(devices ...identity.DeviceID) {
	for _, d := range devices {
		b.mu.Lock()
		b.connected[d] = true
		b.mu.Unlock()
		b.Coordinator.Connected(d)
	}
}

func (b *bench) disconnect(devices ...identity.DeviceID) {
	for _, d := range devices {
		b.mu.Lock()
		delete(b.connected, d)
		b.mu.Unlock()
		b.Disconnected(d)
	}
}

// run is the first tier.
func (b *bench) run(ctx context.Context, device identity.DeviceID) error {
	b.note(&b.rounds, device, true)
	b.mu.Lock()
	if b.busy[device] {
		b.t.Error("two rounds with one device at a time")
	}
	b.busy[device] = true
	b.running.add(1)
	fn := b.round
	b.mu.Unlock()
	var err error
	if fn != nil {
		err = fn(ctx, device)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[device] = false
	b.running.add(-1)
	return err
}

// set changes how the world answers.
func (b *bench) set(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

// take returns what was noted since it was last called.
func (b *bench) take(list *[]event) []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := *list
	*list = nil
	return out
}

// gaps returns the shortest and the longest time between events with one device.
func gaps(events []event) (shortest, longest time.Duration) {
	shortest = time.Hour
	for i := 1; i < len(events); i++ {
		d := events[i].after - events[i-1].after
		shortest, longest = min(shortest, d), max(longest, d)
	}
	return shortest, longest
}

var errDown = errors.New("nobody answers")

// unreachable is the outcome of a dial that nobody answers.
func unreachable(ctx context.Context, _ identity.DeviceID) error {
	<-ctx.Done()
	return errDown
}

func refused(context.Context, identity.DeviceID) error { return errDown }
