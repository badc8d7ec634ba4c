package p2p

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const gossip = protocol.ID("/gossip/1")

// TestMemberHostSeesNoGuests walks one device through its life as a guest and then as a member, before the eyes of
// something that knows only libp2p, as gossip does.
func TestMemberHostSeesNoGuests(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			host, joiner := newDevice(t, "host"), newDevice(t, "joiner")
			hr, jr := newRoster(host), newRoster(joiner)
			invite := inviteOf("one")
			hr.host(invite)
			h, j := start(t, host, hr, only(transport)), start(t, joiner, jr, only(transport))
			view := h.MemberHost()
			w := watchView(t, view)
			view.SetStreamHandler(gossip, func(s network.Stream) { _, _ = io.Copy(s, s); s.Close() })
			j.Handle(string(gossip), Guest, echo) // the joiner would let the host in
			pid := peerOf(t, joiner)

			to := target(t, host, h, transport)
			to.Invite = &invite
			c, err := j.Dial(timeout(t), to)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the host is identified", func() bool { return len(h.Connected()) == 1 && identified(h, pid) })
			if n := view.Network(); len(n.Peers())+len(n.Conns())+len(n.ConnsToPeer(pid)) != 0 || n.Connectedness(pid) != network.NotConnected {
				t.Error("the view shows a guest")
			}
			if _, err := view.NewStream(network.WithNoDial(t.Context(), "test"), pid, gossip); !errors.Is(err, network.ErrNoConn) {
				t.Errorf("stream to a guest: %v", err)
			}
			if _, err := view.NewStream(t.Context(), pid, gossip); !errors.Is(err, ErrNotMember) {
				t.Errorf("stream to a guest: %v", err)
			}
			if err := view.Connect(t.Context(), peer.AddrInfo{ID: pid}); !errors.Is(err, ErrNotMember) {
				t.Errorf("connect to a guest: %v", err)
			}
			mustBeReset(t, c, string(gossip))
			if got := w.heard(); len(got) != 0 {
				t.Errorf("the view tells of a guest: %v", got)
			}

			hr.add(joiner)
			jr.add(host)
			to.Invite = nil
			if c, err = j.Dial(timeout(t), to); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the view tells of the member", func() bool { return w.has("connected") && w.has("identified") })
			eventually(t, "the view shows the member, once", func() bool {
				n := view.Network()
				return len(n.Peers()) == 1 && len(n.ConnsToPeer(pid)) == 1 && n.Connectedness(pid) == network.Connected
			})
			var s network.Stream
			eventually(t, "a stream to the member is opened", func() bool {
				s, err = view.NewStream(t.Context(), pid, "/unknown/1", gossip)
				return err == nil
			})
			if s.Protocol() != gossip {
				t.Errorf("agreed on %q", s.Protocol())
			}
			s.Close()
			in, err := c.Open(timeout(t), string(gossip))
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, in)
			if err := view.Network().ClosePeer(pid); err != nil {
				t.Error(err)
			}
			eventually(t, "the view tells of the end", func() bool { return w.has("disconnected") })
			if err := view.Close(); err != nil {
				t.Error(err)
			}
			if err := view.Connect(timeout(t), peer.AddrInfo{ID: pid, Addrs: j.host.Addrs()}); err != nil {
				t.Errorf("the view connects to a member: %v", err)
			}
		})
	}
}

// identified reports whether libp2p has learned a peer's protocols.
func identified(h *Host, p peer.ID) bool {
	known, err := h.swarm.Peerstore().GetProtocols(p)
	return err == nil && len(known) > 0
}

// viewWatcher notes what a libp2p host tells of its peers.
type viewWatcher struct {
	mu     sync.Mutex
	events []string
}

func (w *viewWatcher) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, s)
}

func (w *viewWatcher) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.events...)
}

func (w *viewWatcher) has(s string) bool {
	for _, e := range w.heard() {
		if e == s {
			return true
		}
	}
	return false
}

func watchView(t *testing.T, view interface {
	Network() network.Network
	EventBus() event.Bus
}) *viewWatcher {
	t.Helper()
	w := &viewWatcher{}
	bundle := &network.NotifyBundle{
		ConnectedF:    func(network.Network, network.Conn) { w.note("connected") },
		DisconnectedF: func(network.Network, network.Conn) { w.note("disconnected") },
	}
	view.Network().Notify(bundle)
	sub, err := view.EventBus().Subscribe([]any{
		&event.EvtPeerIdentificationCompleted{}, &event.EvtPeerProtocolsUpdated{}, &event.EvtPeerConnectednessChanged{},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range sub.Out() {
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				w.note("identified")
			case event.EvtPeerProtocolsUpdated:
				w.note("updated")
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness != network.NotConnected {
					w.note("connectedness")
				}
			}
		}
	}()
	t.Cleanup(func() {
		view.Network().StopNotify(bundle)
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return w
}

// TestCloseWithUnreadSubscription closes a host whose events nobody reads.
func TestCloseWithUnreadSubscription(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	if _, err := a.MemberHost().EventBus().Subscribe(new(event.EvtPeerConnectednessChanged)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := a.Dial(timeout(t), target(t, berta, b, "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("Close hangs")
	}
	late, err := a.MemberHost().EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		t.Fatalf("subscribing to a closed host: %v; want a silent subscription", err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseWaitsForHandlers closes a host with a handler at work.
func TestCloseWaitsForHandlers(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	entered, left := make(chan struct{}), make(chan struct{})
	b.Handle("wait", Member, func(ctx context.Context, s *Stream) {
		close(entered)
		<-ctx.Done()
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("the stream is still open")
		}
		close(left)
	})
	c, err := a.Dial(timeout(t), target(t, berta, b, "quic"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Open(timeout(t), "wait")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	<-entered
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	default:
		t.Error("Close did not wait for the handler")
	}
	if _, err := c.Open(timeout(t), "wait"); !errors.Is(err, ErrNotConnected) {
		eventually(t, "the connection ends", func() bool {
			_, err := c.Open(timeout(t), "wait")
			return errors.Is(err, ErrNotConnected)
		})
	}
}

func TestUnknownProtocol(t *testing.T) {
	checkLeaks(t)
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	a, b := start(t, anna, r), start(t, berta, r)
	c, err := a.Dial(timeout(t), target(t, berta, b, "quic"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(timeout(t), "nowhere"); !errors.Is(err, ErrProtocol) {
		t.Errorf("%v, want %v", err, ErrProtocol)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, "echo"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := a.Open(timeout(t), newDevice(t, "carol").cert.ID, "echo"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("%v, want %v", err, ErrNotConnected)
	}
}
