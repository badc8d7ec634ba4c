package p2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/multiformats/go-multistream"
)

func TestDialErrors(t *testing.T) {
	checkLeaks(t)
	anna, berta, carol := newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carol")
	a := start(t, anna, newRoster(anna, berta, carol))
	c := start(t, carol, newRoster(carol)) // knows nobody
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadPort := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	known := func(d device, addrs ...string) Target {
		return Target{Device: d.cert.ID, Peer: d.cert.Peer, Addrs: addrs}
	}
	atCarol := func(transport string) []string { return target(t, carol, c, transport).Addrs }
	for _, tc := range []struct {
		name string
		to   Target
		want error
		says string
	}{
		{"nobody listens", known(berta, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", deadPort)), ErrUnreachable, "check that it is running"},
		{"no address", known(berta), ErrUnreachable, "no address is known"},
		{"another peer answers, tcp", known(berta, atCarol("tcp")...), ErrWrongDevice, "new invite"},
		{"another peer answers, quic", known(berta, atCarol("quic")...), ErrWrongDevice, "new invite"},
		{"it does not know us, tcp", known(carol, atCarol("tcp")...), ErrRefused, "still in the project"},
		{"it does not know us, quic", known(carol, atCarol("quic")...), ErrRefused, "still in the project"},
		{"not in the roster", Target{Device: newDevice(t, "stranger").cert.ID, Peer: newDevice(t, "stranger").cert.Peer}, ErrNotMember, "invite"},
		{"another device for the key", Target{Device: carol.cert.ID, Peer: berta.cert.Peer}, ErrNotMember, "invite"},
		{"ourselves", known(anna, a.Addrs()...), ErrConfig, "this device"},
		{"no device", Target{Peer: berta.cert.Peer}, ErrConfig, "without a device"},
		{"no multiaddress", known(berta, "localhost:80"), ErrConfig, "localhost:80"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := a.Dial(timeout(t), tc.to)
			if !errors.Is(err, tc.want) || conn != nil {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "p2p: ") {
				t.Errorf("%q does not say %q", err, tc.says)
			}
			var d *DialError
			if errors.As(err, &d) && len(tc.to.Addrs) > 0 && (d.Device != tc.to.Device || !strings.Contains(err.Error(), tc.to.Addrs[0])) {
				t.Errorf("%q does not say what was tried", err)
			}
			for _, p := range a.swarm.Peerstore().Peers() {
				a.swarm.Peerstore().ClearAddrs(p)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Dial(ctx, known(berta, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", deadPort))); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestWrongDeviceForGuest dials with an invite whose listed device has another certificate than the one that answers.
func TestWrongDeviceForGuest(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			host, joiner := newDevice(t, "host"), newDevice(t, "joiner")
			r := newRoster(host)
			invite := inviteOf("one")
			r.host(invite)
			seen := newRefusals()
			h, j := start(t, host, r, seen.into), start(t, joiner, newRoster())
			to := target(t, host, h, transport)
			to.Device, to.Invite = newDevice(t, "another").cert.ID, &invite
			if _, err := j.Dial(timeout(t), to); !errors.Is(err, ErrRefused) { // the host sees it first
				t.Fatalf("%v, want %v", err, ErrRefused)
			}
			seen.expect(t, ErrBadProof)
		})
	}
}

func TestDialTriesAllAddresses(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	to := target(t, berta, b, "tcp")
	for i := range to.Addrs {
		to.Addrs[i] += "/p2p/" + b.PeerID()
	}
	to.Addrs = append([]string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/2/ws"}, to.Addrs...)
	c, err := a.Dial(timeout(t), to)
	if err != nil {
		t.Fatal(err)
	}
	if c.Peer().Path != PathTCP {
		t.Errorf("path %s", c.Peer().Path)
	}
}

// TestManyDialsOneConnection lets both sides dial each other from many goroutines.
func TestManyDialsOneConnection(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r, only("quic")), start(t, berta, r, only("quic"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := a.Dial(timeout(t), target(t, berta, b, "quic")); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := b.Dial(timeout(t), target(t, anna, a, "quic")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "each sees one peer", func() bool { return len(a.Connected()) == 1 && len(b.Connected()) == 1 })
	if n := len(a.swarm.Conns()); n > 2 { // one each way at most
		t.Errorf("%d connections", n)
	}
}

// TestSilentDialersDelayNobody opens connections that never say anything, more than an accept queue holds, and then
// connects.
func TestSilentDialersDelayNobody(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	seen := newRefusals()
	h := start(t, anna, r, seen.into)
	for i := range 24 {
		switch i % 3 {
		case 0: // silent from the first byte
			c, err := net.Dial("tcp4", hostPort(t, target(t, anna, h, "tcp")))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		case 1: // silent after TLS
			if _, err := rawDial(t, "tcp", target(t, anna, h, "tcp"), randomKey(t), hybridOnly); err != nil {
				t.Fatal(err)
			}
		case 2:
			if _, err := rawDial(t, "quic", target(t, anna, h, "quic"), randomKey(t), hybridOnly); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := start(t, berta, r)
	for _, transport := range transports {
		c, err := b.Dial(timeout(t), target(t, anna, h, transport))
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != 0 {
			t.Errorf("over %s it got in only when the silent ones' time was over", transport)
		}
		c.Close()
		eventually(t, "the connection is gone", func() bool { return len(b.Connected()) == 0 })
	}
	for range refusalBurst { // all are hung up on when their time is over
		seen.expect(t, ErrSilent)
	}
}

func hostPort(t *testing.T, to Target) string {
	t.Helper()
	list, err := multiaddrs(to.Addrs[:1])
	if err != nil {
		t.Fatal(err)
	}
	port, err := list[0].ValueForProtocol(6)
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

// TestHalfOpenPerAddress fills one address's places and expects the next connection to be dropped, not to wait.
func TestHalfOpenPerAddress(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	seen := newRefusals()
	h := start(t, anna, newRoster(anna, berta), seen.into, func(c *Config) { c.HalfOpenPerAddress = 2 })
	var held []*rawConn
	for range 2 {
		c, err := rawDial(t, "tcp", target(t, anna, h, "tcp"), berta.keys.Peer.Key(), hybridOnly)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	if _, err := rawDial(t, "tcp", target(t, anna, h, "tcp"), berta.keys.Peer.Key(), hybridOnly); err == nil {
		t.Fatal("a third TCP connection got in")
	} else if errors.Is(err, multistream.ErrNotSupported[string]{}) {
		t.Fatalf("the third TCP connection was answered: %v", err)
	}
	seen.expect(t, ErrHalfOpen)
	if _, err := rawDial(t, "quic", target(t, anna, h, "quic"), berta.keys.Peer.Key(), hybridOnly); err == nil {
		t.Fatal("a third connection got in over QUIC")
	}
	seen.expect(t, ErrHalfOpen)
	proof := berta.prover(nil).dialerFrame(held[0].exporter, anna.cert.Peer, anna.cert.ID, member)
	if _, err := held[0].Write(frameBytes(proof)); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(held[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the proven one gives its place back", func() bool { return len(h.Connected()) == 1 })
	if _, err := rawDial(t, "quic", target(t, anna, h, "quic"), berta.keys.Peer.Key(), hybridOnly); err != nil {
		t.Fatalf("no place after one was given back: %v", err)
	}
}

func TestGate(t *testing.T) {
	addr := func(s string) net.Addr {
		a, err := net.ResolveUDPAddr("udp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	enter := func(g *gate, n int, s string) (in []*slot) {
		for range n {
			if place, ok := g.enter(addr(s)); ok {
				in = append(in, place)
			}
		}
		return in
	}
	g := newGate(0)
	if n := len(enter(g, 9, "192.0.2.1:1")); n != HalfOpenPerAddress {
		t.Errorf("%d from one IPv4 address", n)
	}
	if n := len(enter(g, 3, "[2001:db8::1]:1")) + len(enter(g, 9, "[2001:db8::ffff]:2")); n != HalfOpenPerAddress {
		t.Errorf("%d from one IPv6 /64", n)
	}
	if n := len(enter(g, 1, "[::ffff:192.0.2.1]:9")); n != 0 {
		t.Error("a mapped IPv4 address is another address")
	}
	inside := enter(g, 100, "127.0.0.1:1")
	if n := len(inside); n != HalfOpen-2*HalfOpenPerAddress {
		t.Errorf("%d from loopback", n)
	}
	if len(enter(g, 1, "198.51.100.1:1")) != 0 || !g.crowded() {
		t.Error("more than all")
	}
	for _, s := range inside {
		s.leave()
		s.leave()
	}
	if g.total != 2*HalfOpenPerAddress || len(g.by) != 2 {
		t.Errorf("%d places are taken, %v", g.total, g.by)
	}
	if n := len(enter(newGate(3), 9, "127.0.0.1:1")); n != 3 {
		t.Errorf("%d from loopback with a number of its own", n)
	}
	if _, ok := g.enter(nil); !ok {
		t.Error("an address that is none")
	}
	var none *slot
	none.leave()
}

func TestConfigErrors(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna)
	for name, cfg := range map[string]Config{
		"empty":              {},
		"no roster":          {Device: anna.keys, Cert: anna.cert},
		"another's cert":     {Device: anna.keys, Cert: berta.cert, Roster: r},
		"negative half-open": {Device: anna.keys, Cert: anna.cert, Roster: r, HalfOpenPerAddress: -1},
	} {
		if _, err := New(t.Context(), cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, addr := range []string{"nonsense", "/ip4/127.0.0.1/tcp/0/ws", "/ip4/192.0.2.1/tcp/0"} {
		h, err := New(t.Context(), Config{Device: anna.keys, Cert: anna.cert, Roster: r, Listen: []string{addr}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(); err == nil || !strings.Contains(err.Error(), addr) {
			t.Errorf("listening on %s: %v", addr, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if _, err := h.Dial(t.Context(), Target{Device: berta.cert.ID, Peer: berta.cert.Peer, Invite: &InviteAuth{}, Addrs: []string{loopTCP}}); !errors.Is(err, ErrClosed) {
			t.Errorf("dialing after Close: %v", err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	invite := inviteOf("secret")
	to := Target{Invite: &invite}
	js, err := json.Marshal(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(invite), fmt.Sprintf("%+v %#v", invite, invite), fmt.Sprintf("%v", to.Invite), string(js)} {
		for _, form := range []string{fmt.Sprintf("%x", invite.Key), fmt.Sprint(invite.Key), fmt.Sprintf("%d", invite.Key[0])} {
			if len(form) > 3 && strings.Contains(s, form) {
				t.Errorf("%q shows the key", s)
			}
		}
	}
}
