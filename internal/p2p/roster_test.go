package p2p

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRosterIsAskedAtEachStream removes a device that stays connected.
func TestRosterIsAskedAtEachStream(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
			ra, rb := newRoster(anna, berta), newRoster(anna, berta)
			seen := newRefusals()
			a, b := start(t, anna, ra), start(t, berta, rb, seen.into)
			c, err := a.Dial(timeout(t), target(t, berta, b, transport))
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.Open(timeout(t), "secret")
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, s)
			rb.remove(anna) // b knows, a does not yet
			mustBeReset(t, c, "secret")
			seen.expect(t, ErrNotMember)
			eventually(t, "both are disconnected", func() bool { return len(a.Connected())+len(b.Connected()) == 0 })
			if _, err := a.Dial(timeout(t), target(t, berta, b, transport)); !errors.Is(err, ErrRefused) {
				t.Errorf("the removed dials again: %v", err)
			}
			seen.expect(t, ErrNotMember)
		})
	}
}

// TestRemovedPeerIsNotAsked removes a device and opens a stream to it.
func TestRemovedPeerIsNotAsked(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	ra := newRoster(anna, berta)
	a, b := start(t, anna, ra), start(t, berta, newRoster(anna, berta))
	c, err := a.Dial(timeout(t), target(t, berta, b, "quic"))
	if err != nil {
		t.Fatal(err)
	}
	ra.remove(berta)
	if _, err := c.Open(timeout(t), "secret"); !errors.Is(err, ErrNotMember) {
		t.Errorf("stream to a removed device: %v", err)
	}
	if _, err := a.Dial(timeout(t), target(t, berta, b, "quic")); !errors.Is(err, ErrNotMember) {
		t.Errorf("dial of a removed device: %v", err)
	}
	eventually(t, "both are disconnected", func() bool { return len(a.Connected())+len(b.Connected()) == 0 })
}

func TestRecheckClosesTheRemoved(t *testing.T) {
	checkLeaks(t)
	hub, anna, joiner := newDevice(t, "hub"), newDevice(t, "anna"), newDevice(t, "joiner")
	berta := newDevice(t, "berta")
	r := newRoster(hub, anna, berta)
	invite := inviteOf("one")
	r.host(invite)
	h := start(t, hub, r)
	for _, d := range []device{anna, berta} {
		if _, err := start(t, d, newRoster(hub, d)).Dial(timeout(t), target(t, hub, h, "tcp")); err != nil {
			t.Fatal(err)
		}
	}
	to := target(t, hub, h, "tcp")
	to.Invite = &invite
	if _, err := start(t, joiner, newRoster()).Dial(timeout(t), to); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three are connected", func() bool { return len(h.Connected()) == 3 })
	if order := h.Connected(); order[0].Class != Member || order[2].Class != Guest {
		t.Errorf("members do not come first: %+v", order)
	}
	h.Recheck()
	if n := len(h.Connected()); n != 3 {
		t.Fatalf("%d remain though nobody was removed", n)
	}
	r.remove(berta)
	r.end(invite)
	h.Recheck()
	eventually(t, "one remains", func() bool { return len(h.Connected()) == 1 })
	if got := h.Connected()[0].Device; got != anna.cert.ID {
		t.Errorf("%s remains", got.Short())
	}
	h.Disconnect(anna.cert.ID)
	eventually(t, "none remains", func() bool { return len(h.Connected()) == 0 })
}

// TestGuestOfAnEndedInvite keeps a connection beyond the life of the invite.
func TestGuestOfAnEndedInvite(t *testing.T) {
	checkLeaks(t)
	host, joiner := newDevice(t, "host"), newDevice(t, "joiner")
	r := newRoster(host)
	invite := inviteOf("one")
	r.host(invite)
	h, j := start(t, host, r), start(t, joiner, newRoster())
	to := target(t, host, h, "quic")
	to.Invite = &invite
	c, err := j.Dial(timeout(t), to)
	if err != nil {
		t.Fatal(err)
	}
	r.end(invite)
	mustBeReset(t, c, "echo")
	eventually(t, "the joiner hears of the end", func() bool { return len(j.Connected()) == 0 }) // else Dial gives the old one
	if _, err := j.Dial(timeout(t), to); err == nil {
		t.Error("the ended invite still connects")
	}
}

func TestObserversHearInOrder(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	var mu sync.Mutex
	heard := map[string][]string{}
	observe := func(name string) {
		note := func(what string) func(Peer) {
			return func(p Peer) {
				mu.Lock()
				defer mu.Unlock()
				heard[name] = append(heard[name], fmt.Sprintf("%s %s %s", what, p.Device.Short(), p.Class))
			}
		}
		b.Observe(Observer{Connected: note("+"), Disconnected: note("-")})
	}
	observe("early")
	b.Observe(Observer{})
	hears := func(name string, what ...string) {
		t.Helper()
		for i := range what {
			what[i] += " " + anna.cert.ID.Short() + " member"
		}
		eventually(t, fmt.Sprintf("%s hears %v", name, what), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Equal(heard[name], what)
		})
	}
	for range 2 {
		c, err := a.Dial(timeout(t), target(t, berta, b, "quic"))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "b sees a", func() bool { return len(b.Connected()) == 1 })
		c.Close()
		eventually(t, "b sees nobody", func() bool { return len(b.Connected()) == 0 })
	}
	if _, err := a.Dial(timeout(t), target(t, berta, b, "quic")); err != nil {
		t.Fatal(err)
	}
	hears("early", "+", "-", "+", "-", "+")
	observe("late")
	hears("late", "+")
	a.Disconnect(berta.cert.ID)
	hears("early", "+", "-", "+", "-", "+", "-")
	hears("late", "+", "-")
}

// TestPresenceCountsConnections compares the events with a slow model.
func TestPresenceCountsConnections(t *testing.T) {
	e := newEvents(nil)
	var heard []string
	e.observe(Observer{
		Connected:    func(p Peer) { heard = append(heard, fmt.Sprint("+", p.Key[0], p.Class)) },
		Disconnected: func(p Peer) { heard = append(heard, fmt.Sprint("-", p.Key[0], p.Class)) },
	})
	peer := func(key byte, class Class) Peer { return Peer{Key: [32]byte{key}, Class: class} }
	model := map[Peer]int{}
	var want []string
	step := uint32(1)
	for range 2000 {
		step = step*1664525 + 1013904223
		p := peer(byte(step>>20%3), Class(1+step>>24%2))
		if step>>28%2 == 0 {
			e.connected(p)
			if model[p]++; model[p] == 1 {
				want = append(want, fmt.Sprint("+", p.Key[0], p.Class))
			}
		} else {
			e.disconnected(p)
			if model[p] > 0 {
				if model[p]--; model[p] == 0 {
					want = append(want, fmt.Sprint("-", p.Key[0], p.Class))
				}
			}
		}
	}
	e.drain()
	if !slices.Equal(heard, want) {
		t.Errorf("heard %d events, want %d", len(heard), len(want))
	}
	if len(want) < 100 {
		t.Errorf("only %d events: the walk is too tame", len(want))
	}
}

// TestPathChanges: a direct connection counts before a relayed one, whichever is newer, and changes are told.
func TestPathChanges(t *testing.T) {
	e := newEvents(nil)
	var heard []string
	e.observe(Observer{
		Connected:    func(p Peer) { heard = append(heard, "+"+string(p.Path)) },
		Disconnected: func(Peer) { heard = append(heard, "-") },
		PathChanged:  func(p Peer) { heard = append(heard, string(p.Path)) },
	})
	relay, other, direct, tcp := Peer{Path: PathRelay}, Peer{Path: PathRelay, Addr: "other"}, Peer{Path: PathQUIC}, Peer{Path: PathTCP}
	for _, step := range []struct {
		do   func(Peer)
		conn Peer
		want string // what is heard
		path Path   // then
	}{
		{e.connected, relay, "+relay", PathRelay},
		{e.connected, other, "", PathRelay},
		{e.connected, direct, "quic", PathQUIC},
		{e.connected, relay, "", PathQUIC},
		{e.connected, tcp, "", PathTCP},
		{e.disconnected, tcp, "", PathQUIC},
		{e.disconnected, direct, "relay", PathRelay},
		{e.disconnected, relay, "", PathRelay},
		{e.connected, direct, "quic", PathQUIC},
		{e.disconnected, other, "", PathQUIC},
		{e.disconnected, relay, "", PathQUIC},
		{e.disconnected, direct, "-", ""},
	} {
		heard = nil
		step.do(step.conn)
		e.drain()
		path := Path("")
		for _, p := range e.present {
			path = p.peer().Path
		}
		if got := strings.Join(heard, " "); got != step.want || path != step.path {
			t.Errorf("%+v: heard %q, want %q; path %q, want %q", step.conn, got, step.want, path, step.path)
		}
	}
}

func TestRefusalsAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Refusal
		e := newEvents(func(r Refusal) { got = append(got, r) })
		addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}
		flood := func(n int) {
			for range n {
				e.refused("", addr, io.EOF)
			}
			e.drain()
		}
		flood(100)
		if len(got) != refusalBurst {
			t.Fatalf("%d reports of a flood", len(got))
		}
		if r := got[0]; r.Addr != "192.0.2.1:7" || r.Peer != "" || r.Reason != io.EOF || r.Suppressed != 0 {
			t.Errorf("%+v", r)
		}
		<-time.After(refusalEvery)
		flood(3)
		if len(got) != refusalBurst+1 || got[refusalBurst].Suppressed != 100-refusalBurst {
			t.Fatalf("%d reports a while later, %+v", len(got), got[len(got)-1])
		}
		<-time.After(100 * refusalEvery)
		flood(100)
		if len(got) != 2*refusalBurst+1 {
			t.Errorf("%d reports after a long pause", len(got))
		}
	})
}
