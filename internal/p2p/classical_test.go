package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	ic "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// TestStockPeers connects to and from libp2p hosts that do not speak our protocols. They have a member's transport
// key, so that nothing but the protocol stands in their way.
func TestStockPeers(t *testing.T) {
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	key, err := ic.UnmarshalEd25519PrivateKey(berta.keys.Peer.Key())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		transport string
		opt       libp2p.Option
	}{
		{"noise", "tcp", libp2p.Security(noise.ID, noise.New)},
		{"TLS", "tcp", libp2p.Security(libp2ptls.ID, libp2ptls.New)},
		{"QUIC", "quic", libp2p.DefaultSecurity},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkLeaks(t)
			stock, err := libp2p.New(tc.opt, libp2p.Identity(key), libp2p.ListenAddrStrings(loopQUIC, loopTCP), libp2p.DisableMetrics())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stock.Close() })
			seen := newRefusals()
			a := start(t, anna, newRoster(anna, berta), seen.into)

			out := Target{Device: berta.cert.ID, Peer: berta.cert.Peer}
			for _, addr := range stock.Addrs() {
				if s := addr.String(); strings.Contains(s, tc.transport) {
					out.Addrs = append(out.Addrs, s)
				}
			}
			if _, err := a.Dial(timeout(t), out); !errors.Is(err, ErrRefused) {
				t.Errorf("our dial: %v, want %v", err, ErrRefused)
			}

			eventually(t, "our dial is forgotten", func() bool { return len(stock.Network().Conns()) == 0 })
			in := peer.AddrInfo{ID: a.host.ID()}
			for _, s := range target(t, anna, a, tc.transport).Addrs {
				addr, err := ma.NewMultiaddr(s)
				if err != nil {
					t.Fatal(err)
				}
				in.Addrs = append(in.Addrs, addr)
			}
			err = stock.Connect(timeout(t), in)
			if tc.transport == "quic" { // it sees a finished QUIC handshake, and then the end of it
				seen.expect(t, errFrameLength)
				eventually(t, "the stock host is disconnected", func() bool { return len(stock.Network().Conns()) == 0 })
			} else if err == nil {
				t.Error("the stock host connected")
			}
			if n := len(a.swarm.Conns()); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

var classicalOnly = []tls.CurveID{tls.X25519, tls.CurveP256}

func TestScenario66ClassicalPeers(t *testing.T) {
	scenario.Run(t, 66, "TLS and QUIC handshakes without X25519MLKEM768: refused, the refusal is told", func(t *testing.T) {
		anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
		for _, transport := range transports {
			t.Run("client/"+transport, func(t *testing.T) {
				checkLeaks(t)
				seen := newRefusals()
				h := start(t, anna, newRoster(anna, berta), seen.into)
				c, err := rawDial(t, transport, target(t, anna, h, transport), berta.keys.Peer.Key(), classicalOnly)
				if transport == "tcp" {
					if err == nil {
						t.Fatal("the handshake succeeded")
					}
				} else if err == nil { // QUIC's handshake may finish; nothing may follow
					_, _ = c.Write(frameBytes(berta.prover(nil).dialerFrame(c.exporter, anna.cert.Peer, anna.cert.ID, member)))
					if got := c.received(t); len(got) != 0 {
						t.Errorf("received %d bytes", len(got))
					}
					seen.expect(t, ErrNotPostQuantum)
				}
				if n := len(h.swarm.Conns()); n != 0 {
					t.Errorf("%d connections", n)
				}
			})
			t.Run("server/"+transport, func(t *testing.T) {
				checkLeaks(t)
				addr := rawListen(t, transport, berta.keys.Peer.Key(), classicalOnly, func(c *rawConn) {
					if raw, err := io.ReadAll(c); len(raw) > 0 {
						t.Errorf("we sent %d bytes over a classical channel, %v", len(raw), err)
					}
				})
				a := start(t, anna, newRoster(anna, berta))
				_, err := a.Dial(timeout(t), Target{Device: berta.cert.ID, Peer: berta.cert.Peer, Addrs: []string{addr}})
				if !errors.Is(err, ErrNotPostQuantum) {
					t.Fatalf("%v, want %v", err, ErrNotPostQuantum)
				}
			})
		}
	})
}

// childEnv makes the test binary run only [TestHybridSwitchedOff]'s other half, against the listener that it names.
const childEnv = "COLLAB_P2P_TEST_LISTENER"

// TestHybridSwitchedOff runs this test again in a process in which the environment takes the hybrid group away, and
// connects both ways between the two processes and within the crippled one. Nothing may fall back.
func TestHybridSwitchedOff(t *testing.T) {
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	r := newRoster(anna, berta)
	if os.Getenv(childEnv) != "" {
		crippled(t, anna, berta, r)
		return
	}
	checkLeaks(t)
	if !hybridAvailable() {
		t.Skip("GODEBUG switches the hybrid group off for the whole run")
	}
	h := start(t, anna, r)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHybridSwitchedOff$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=tlsmlkem=0", childEnv+"="+strings.Join(h.Addrs(), ","))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1)
	addrs := make(chan string, 1)
	go func() {
		var all strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := stdout.Read(buf)
			all.Write(buf[:n])
			if _, rest, ok := strings.Cut(all.String(), "listening on <"); ok {
				if list, _, ok := strings.Cut(rest, ">"); ok {
					select {
					case addrs <- list:
					default:
					}
				}
			}
			if err != nil {
				out <- all.String()
				return
			}
		}
	}()
	select {
	case list := <-addrs:
		for _, addr := range strings.Split(list, ",") {
			_, err := h.Dial(timeout(t), Target{Device: berta.cert.ID, Peer: berta.cert.Peer, Addrs: []string{addr}})
			if !errors.Is(err, ErrNotPostQuantum) {
				t.Errorf("dialing the crippled process at %s: %v", addr, err)
			}
			h.host.Peerstore().ClearAddrs(peerOf(t, berta))
		}
	case <-ctx.Done():
		t.Error("the crippled process does not listen")
	}
	stdin.Close()
	text := <-out
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !strings.Contains(text, "--- PASS: TestHybridSwitchedOff") {
		t.Fatalf("the other half did not run:\n%s", text)
	}
	if n := len(h.Connected()); n != 0 {
		t.Errorf("%d devices are connected", n)
	}
}

// crippled is the half that runs without the hybrid group.
func crippled(t *testing.T, anna, berta device, r *roster) {
	if hybridAvailable() {
		t.Fatal("GODEBUG does not switch the hybrid group off any more; this test tests nothing")
	}
	b := start(t, berta, r)
	for _, addr := range strings.Split(os.Getenv(childEnv), ",") {
		_, err := b.Dial(timeout(t), Target{Device: anna.cert.ID, Peer: anna.cert.Peer, Addrs: []string{addr}})
		if !errors.Is(err, ErrNotPostQuantum) || !strings.Contains(err.Error(), "GODEBUG") {
			t.Errorf("dialing %s without the hybrid group: %v", addr, err)
		}
		b.host.Peerstore().ClearAddrs(peerOf(t, anna))
	}
	carol := newDevice(t, "carol")
	r.add(carol)
	c := start(t, carol, r)
	for _, transport := range transports {
		if _, err := b.Dial(timeout(t), target(t, carol, c, transport)); !errors.Is(err, ErrNotPostQuantum) {
			t.Errorf("two processes without the hybrid group, over %s: %v", transport, err)
		}
		b.host.Peerstore().ClearAddrs(peerOf(t, carol))
	}
	if n := len(b.swarm.Conns()) + len(c.swarm.Conns()); n != 0 {
		t.Errorf("%d connections", n)
	}
	os.Stdout.WriteString("listening on <" + strings.Join(b.Addrs(), ",") + ">\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other process has dialed us
}

func peerOf(t *testing.T, d device) peer.ID {
	t.Helper()
	p, err := peerIDOf(d.cert.Peer)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
