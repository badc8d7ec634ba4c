package p2p

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// TestHolePunchOverQUIC lets two hosts dial each other at once, one in the role that waits for packets to arrive.
func TestHolePunchOverQUIC(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	punch := func(h, at *Host, d device, client bool) (transport.CapableConn, error) {
		list, err := multiaddrs(target(t, d, at, "quic").Addrs)
		if err != nil {
			return nil, err
		}
		ctx := network.WithSimultaneousConnect(timeout(t), client, "test")
		return h.swarm.TransportForDialing(list[0]).Dial(ctx, list[0], peerOf(t, d))
	}
	type result struct {
		conn transport.CapableConn
		err  error
	}
	waiting := make(chan result, 1)
	go func() {
		c, err := punch(b, a, anna, false)
		waiting <- result{c, err}
	}()
	// The waiting side must have begun before the other arrives, or its listener takes the connection.
	var dialed transport.CapableConn
	for attempt := 0; ; attempt++ {
		c, err := punch(a, b, berta, true)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-waiting:
			if got.err != nil {
				t.Fatal(got.err)
			}
			dialed = c
			defer got.conn.Close()
			checkRoles(t, c, got.conn)
		case <-time.After(100 * time.Millisecond):
			c.Close()
			if attempt < 20 {
				continue
			}
			t.Fatal("the waiting side never got the connection")
		}
		break
	}
	dialed.Close()
}

func checkRoles(t *testing.T, dialer, listener interface{ As(any) bool }) {
	t.Helper()
	d, ok1 := provenOf(dialer)
	l, ok2 := provenOf(listener)
	if !ok1 || !ok2 || d.inbound || !l.inbound || d.exporter != l.exporter || d.class != Member || l.class != Member {
		t.Errorf("dialer %+v, listener %+v", d, l)
	}
}

// TestSecurityRoles runs the security of TCP as a hole punch does: both sides dialed, both know whom, and libp2p has
// said which of them is the listener.
func TestSecurityRoles(t *testing.T) {
	checkLeaks(t)
	anna, berta, carol := newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carol")
	r := newRoster(anna, berta, carol)
	run := func(expects device) (dialer, listener sec.SecureConn, derr, lerr error) {
		c, s := tcpPair(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			listener, lerr = securityOf(t, berta, r).SecureInbound(timeout(t), s, peerOf(t, expects))
		}()
		dialer, derr = securityOf(t, anna, r).SecureOutbound(timeout(t), c, peerOf(t, berta))
		<-done
		return
	}
	d, l, derr, lerr := run(anna)
	if derr != nil || lerr != nil {
		t.Fatal(derr, lerr)
	}
	if p := l.(*secureConn).proven; !p.inbound || p.cert.ID != anna.cert.ID || p.exporter != d.(*secureConn).proven.exporter {
		t.Errorf("listener %+v", p)
	}
	d.Close()
	l.Close()
	if _, _, derr, lerr = run(carol); !errors.Is(lerr, ErrWrongDevice) || !errors.Is(derr, ErrRefused) {
		t.Errorf("another peer than expected: dialer %v, listener %v", derr, lerr)
	}
}

func securityOf(t *testing.T, d device, r *roster) *security {
	t.Helper()
	key, err := ic.UnmarshalEd25519PrivateKey(d.keys.Peer.Key())
	if err != nil {
		t.Fatal(err)
	}
	id, err := libp2ptls.NewIdentity(key)
	if err != nil {
		t.Fatal(err)
	}
	p := d.prover(r)
	p.expect = func(peer [32]byte) (expected, bool) {
		cert, ok := r.DeviceByPeer(peer)
		if !ok {
			return expected{}, false
		}
		return expected{device: cert.ID, class: Member}, true
	}
	return &security{
		identity: id, local: peerOf(t, d), prover: p, gate: newGate(0), muxers: []string{"/yamux/1.0.0"},
		refused: func(peer.ID, net.Addr, error) {},
	}
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// TestSecurityObeysContext cancels handshakes whose other side keeps silent.
func TestSecurityObeysContext(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	s := securityOf(t, anna, r)
	for name, secure := range map[string]func(context.Context, net.Conn) error{
		"inbound": func(ctx context.Context, c net.Conn) error { _, err := s.SecureInbound(ctx, c, ""); return err },
		"outbound": func(ctx context.Context, c net.Conn) error {
			_, err := s.SecureOutbound(ctx, c, peerOf(t, berta))
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := tcpPair(t)
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := secure(ctx, c); err == nil {
			t.Errorf("%s succeeded", name)
		}
		cancel()
	}
	if s.gate.total != 0 {
		t.Errorf("%d places are still taken", s.gate.total)
	}
}

// relayed makes a relay, a device that can be reached through it, and the target that names that device there.
func relayed(t *testing.T, r *roster, hub, behind device, behindKnows *roster, edit ...func(*Config)) (at *Host, to Target) {
	t.Helper()
	_, at, to = relayedBy(t, r, hub, behind, behindKnows, edit...)
	return at, to
}

// relayedBy also returns the relay.
func relayedBy(t *testing.T, r *roster, hub, behind device, behindKnows *roster, edit ...func(*Config)) (h, at *Host, to Target) {
	t.Helper()
	h = start(t, hub, r, func(c *Config) {
		c.extra = []libp2p.Option{libp2p.EnableRelayService(relay.WithInfiniteLimits()), libp2p.ForceReachabilityPublic()}
	})
	at = start(t, behind, behindKnows, edit...)
	if _, err := at.Dial(timeout(t), target(t, hub, h, "quic")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the relay serves", func() bool {
		_, err := client.Reserve(timeout(t), at.host, peer.AddrInfo{ID: h.host.ID()})
		return err == nil
	})
	to = Target{Device: behind.cert.ID, Peer: behind.cert.Peer}
	for _, addr := range target(t, hub, h, "quic").Addrs {
		to.Addrs = append(to.Addrs, addr+"/p2p/"+h.PeerID()+"/p2p-circuit")
	}
	return h, at, to
}

// TestRelay connects two members through a third, which carries what it cannot read.
func TestRelay(t *testing.T) {
	checkLeaks(t)
	hub, anna, berta := newDevice(t, "hub"), newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(hub, anna, berta)
	b, to := relayed(t, r, hub, berta, r)
	c, err := start(t, anna, r).Dial(timeout(t), to)
	if err != nil {
		t.Fatal(err)
	}
	if c.Peer().Path != PathRelay || c.Class() != Member || c.Device() != berta.cert.ID {
		t.Fatalf("%+v", c.Peer())
	}
	s, err := c.Open(timeout(t), "secret")
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, s)
	eventually(t, "berta sees anna", func() bool { return len(b.Connected()) == 2 })
	back, err := b.Open(timeout(t), anna.cert.ID, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if back.Exporter() != c.Exporter() {
		t.Error("the security does not run end to end")
	}
	roundTrip(t, back)
}

// TestScenario102StrangerThroughRelay comes through a relay that knows it to a device that does not.
func TestScenario102StrangerThroughRelay(t *testing.T) {
	scenario.Run(t, 102, "a stranger comes through a relay: closed without an answer to its proof, the refusal is told", func(t *testing.T) {
		checkLeaks(t)
		hub, carol, berta := newDevice(t, "hub"), newDevice(t, "carol"), newDevice(t, "berta")
		r := newRoster(hub, carol, berta)
		seen := newRefusals()
		_, to := relayed(t, r, hub, berta, newRoster(hub, berta), seen.into)
		if _, err := start(t, carol, r).Dial(timeout(t), to); !errors.Is(err, ErrRefused) {
			t.Errorf("%v, want %v", err, ErrRefused)
		}
		if got := seen.expect(t, ErrNotMember); got.Peer != peerOf(t, carol).String() {
			t.Errorf("refused %q", got.Peer)
		}
	})
}

// Anna is removed, and does not accept it. The relay is a member's device: at first it does not know of the removal.
func TestScenario31RemovedThroughRelay(t *testing.T) {
	scenario.Run(t, 31, "a revoked member reconnects by relay: refused with a report; once the relay knows, its reservation and circuits end too", func(t *testing.T) {
		hub, anna, berta, carl := newDevice(t, "hub"), newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carl")
		at, all := newRoster(hub, anna, berta, carl), newRoster(hub, anna, berta, carl)
		knows := newRoster(hub, anna, berta)
		seen := newRefusals()
		relay, b, to := relayedBy(t, at, hub, berta, knows, seen.into)
		a := start(t, anna, all)
		if _, err := a.Dial(timeout(t), to); err != nil {
			t.Fatal(err)
		}
		eventually(t, "berta sees the relay and anna", func() bool { return len(b.Connected()) == 2 })

		knows.remove(anna)
		b.Recheck()
		eventually(t, "the circuit ends at berta's", func() bool { return len(b.Connected()) == 1 })
		eventually(t, "anna sees it", func() bool { return len(a.Connected()) == 1 })
		if _, err := a.Dial(timeout(t), to); !errors.Is(err, ErrRefused) {
			t.Errorf("by relay: %v, want %v", err, ErrRefused)
		}
		if got := seen.expect(t, ErrNotMember); got.Peer != peerOf(t, anna).String() {
			t.Errorf("refused %q", got.Peer)
		}

		// Behind the relay anna is reachable for carl, until the relay knows.
		eventually(t, "the relay serves anna", func() bool {
			_, err := client.Reserve(timeout(t), a.host, peer.AddrInfo{ID: relay.host.ID()})
			return err == nil
		})
		back := Target{Device: anna.cert.ID, Peer: anna.cert.Peer}
		for _, addr := range target(t, hub, relay, "quic").Addrs {
			back.Addrs = append(back.Addrs, addr+"/p2p/"+relay.PeerID()+"/p2p-circuit")
		}
		c := start(t, carl, all)
		if _, err := c.Dial(timeout(t), back); err != nil {
			t.Fatal(err)
		}
		at.remove(anna)
		relay.Recheck()
		eventually(t, "nobody is connected to anna", func() bool { return len(a.Connected()) == 0 && len(c.Connected()) == 1 })
		if _, err := c.Dial(timeout(t), back); !errors.Is(err, ErrUnreachable) {
			t.Errorf("the relay still serves the removed: %v", err)
		}
		if _, err := client.Reserve(timeout(t), a.host, peer.AddrInfo{ID: relay.host.ID()}); err == nil {
			t.Error("the relay reserves for the removed")
		}
	})
}
