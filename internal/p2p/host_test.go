package p2p

import (
	"errors"
	"io"
	"testing"
	"time"
)

var transports = []string{"quic", "tcp"}

func TestMembersConnect(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
			r := newRoster(anna, berta)
			a, b := start(t, anna, r), start(t, berta, r)
			c, err := a.Dial(timeout(t), target(t, berta, b, transport))
			if err != nil {
				t.Fatal(err)
			}
			if c.Class() != Member || c.Device() != berta.cert.ID || string(c.Peer().Path) != transport {
				t.Fatalf("connection %v %v %v", c.Class(), c.Device(), c.Peer())
			}
			for _, protocol := range []string{"echo", "secret"} {
				s, err := c.Open(timeout(t), protocol)
				if err != nil {
					t.Fatal(err)
				}
				if s.Exporter() != c.Exporter() || s.Exporter() == [32]byte{} {
					t.Fatal("stream and connection differ in their exporter")
				}
				roundTrip(t, s)
				s.Close()
			}
			eventually(t, "b sees a", func() bool { return len(b.Connected()) == 1 })
			p := b.Connected()[0]
			if p.Device != anna.cert.ID || p.Class != Member || !p.Inbound || p.Member != anna.cert.Member {
				t.Fatalf("b sees %+v", p)
			}
			s, err := b.Open(timeout(t), anna.cert.ID, "secret") // the other way on the same connection
			if err != nil {
				t.Fatal(err)
			}
			if s.Exporter() != c.Exporter() {
				t.Fatal("the two ends differ in their exporter")
			}
			roundTrip(t, s)
			again, err := a.Dial(timeout(t), target(t, berta, b, transport))
			if err != nil || again.Exporter() != c.Exporter() {
				t.Fatalf("a second dial made another connection: %v", err)
			}
		})
	}
}

func TestGuestReachesGuestProtocolsOnly(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			host, joiner, member := newDevice(t, "host"), newDevice(t, "joiner"), newDevice(t, "member")
			r := newRoster(host, member)
			invite := inviteOf("one")
			r.host(invite)
			h, j := start(t, host, r), start(t, joiner, newRoster())
			to := target(t, host, h, transport)
			if _, err := j.Dial(timeout(t), to); !errors.Is(err, ErrNotMember) {
				t.Fatalf("dial without an invite: %v", err)
			}
			to.Invite = &invite
			c, err := j.Dial(timeout(t), to)
			if err != nil {
				t.Fatal(err)
			}
			if c.Class() != Guest {
				t.Fatalf("class %v", c.Class())
			}
			s, err := c.Open(timeout(t), "echo")
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, s)
			s.Close()
			mustBeReset(t, c, "secret")
			eventually(t, "host sees the guest", func() bool { return len(h.Connected()) == 1 })
			if p := h.Connected()[0]; p.Class != Guest || p.Invite != invite.Hash {
				t.Fatalf("host sees %+v", p)
			}
			if _, err := h.Open(timeout(t), joiner.cert.ID, "echo"); !errors.Is(err, ErrNotConnected) {
				t.Fatalf("a guest counts as a member: %v", err)
			}

			// Admitted: both know each other, the guest dials again.
			r.add(joiner)
			jr := j.cfg.Roster.(*roster)
			jr.add(host)
			jr.add(joiner)
			if _, err := h.Dial(timeout(t), target(t, joiner, j, transport)); !errors.Is(err, ErrGuestBusy) {
				t.Fatalf("the host's dial cuts the guest off: %v", err)
			}
			to.Invite = nil
			c, err = j.Dial(timeout(t), to)
			if err != nil {
				t.Fatal(err)
			}
			if c.Class() != Member {
				t.Fatalf("class %v", c.Class())
			}
			s, err = c.Open(timeout(t), "secret")
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, s)
		})
	}
}

// mustBeReset opens a stream that the other side does not serve to us.
func mustBeReset(t *testing.T, c *Conn, protocol string) {
	t.Helper()
	s, err := c.Open(timeout(t), protocol)
	if err != nil {
		return
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = s.Write([]byte("let me in"))
	if n, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF { // a lost connection wraps EOF, a clean end is EOF
		t.Fatalf("%q answered %d bytes, %v", protocol, n, err)
	}
}

func TestDefaultAddresses(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	everywhere := func(c *Config) { c.Listen = nil }
	a, b := start(t, anna, r, everywhere), start(t, berta, r, everywhere)
	for _, transport := range transports {
		c, err := a.Dial(timeout(t), target(t, berta, b, transport))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// TestCloseTellsObservers closes a host that is connected.
func TestCloseTellsObservers(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	left := make(chan Peer, 1)
	a.Observe(Observer{Disconnected: func(p Peer) { left <- p }})
	if _, err := a.Dial(timeout(t), target(t, berta, b, "tcp")); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-left:
		if p.Device != berta.cert.ID {
			t.Errorf("%s left", p.Device.Short())
		}
	default:
		t.Error("Close returned before the observers were told")
	}
}
