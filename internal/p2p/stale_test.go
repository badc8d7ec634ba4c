package p2p

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// cut makes a machine fall silent: nothing of it arrives and nothing reaches it any more.
func (h *hub) cut(ip netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at := range h.ports {
		if at.Addr() == ip {
			delete(h.ports, at)
		}
	}
}

// TestStaleConnection kills a device without a word and lets it come back: the connection that it left behind is closed
// soon, long before it would be found idle, and nobody is told that the device went.
func TestStaleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDevice(t, "a"), newDevice(t, "b")
		r := newRoster(a, b)
		net1 := &hub{ports: map[netip.AddrPort]*hubConn{}}
		at := func(ip string) func(*Config) {
			return func(c *Config) {
				c.Network, c.Listen = &hubHost{hub: net1, ip: netip.MustParseAddr(ip)}, nil
			}
		}
		stays, dies, back := start(t, a, r, at("10.0.0.1")), start(t, b, r, at("10.0.0.2")), start(t, b, r, at("10.0.0.3"))
		gone := 0
		stays.Observe(Observer{Disconnected: func(Peer) { gone++ }})
		to := target(t, a, stays, "quic")
		if _, err := dies.Dial(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		net1.cut(netip.MustParseAddr("10.0.0.2"))
		if _, err := back.Dial(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * aliveTimeout)
		synctest.Wait()
		conns := stays.swarm.Conns()
		if len(conns) != 1 {
			t.Fatalf("%d connections are left, want the new one", len(conns))
		}
		if from := conns[0].RemoteMultiaddr().String(); !strings.Contains(from, "/10.0.0.3/") {
			t.Errorf("the connection from %s is left", from)
		}
		if gone != 0 || len(stays.Connected()) != 1 {
			t.Errorf("the device went %d times and %d are connected; want it connected throughout", gone, len(stays.Connected()))
		}
		s, err := stays.Open(t.Context(), b.cert.ID, "echo")
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, s)
	})
}
