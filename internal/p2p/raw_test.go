package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"
)

// The raw peers below speak TLS and framing by hand, so that a test can say what an honest host never would. Who has
// broken Ed25519 can take any transport key, so they may be given anybody's.

// rawConn is a TLS channel before any proof.
type rawConn struct {
	io.ReadWriteCloser
	exporter [32]byte
	quic     *quic.Conn
}

func tlsFor(t testing.TB, key ed25519.PrivateKey, curves []tls.CurveID) *tls.Config {
	t.Helper()
	priv, err := ic.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := libp2ptls.NewIdentity(priv)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _ := id.ConfigForPeer("")
	cfg.CurvePreferences = curves
	return cfg
}

func randomKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rawDial opens a TLS channel to a host, with any transport key.
func rawDial(t *testing.T, transport string, to Target, key ed25519.PrivateKey, curves []tls.CurveID) (*rawConn, error) {
	t.Helper()
	cfg := tlsFor(t, key, curves)
	addr, err := ma.NewMultiaddr(to.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if transport == "tcp" {
		c, err := manet.Dial(addr)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := multistream.SelectOneOf([]string{securityID}, c); err != nil {
			c.Close()
			return nil, err
		}
		cfg.NextProtos = []string{"/yamux/1.0.0"}
		tc := tls.Client(c, cfg)
		if err := tc.Handshake(); err != nil {
			c.Close()
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return &rawConn{ReadWriteCloser: tc, exporter: exportRaw(t, tc.ConnectionState())}, nil
	}
	_, host, err := manet.DialArgs(addr)
	if err != nil {
		t.Fatal(err)
	}
	qc, err := quic.DialAddr(timeout(t), host, cfg, &quic.Config{})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = qc.CloseWithError(0, "") })
	s, err := qc.OpenStreamSync(timeout(t))
	if err != nil {
		return nil, err
	}
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	return &rawConn{ReadWriteCloser: s, exporter: exportRaw(t, qc.ConnectionState().TLS), quic: qc}, nil
}

func exportRaw(t testing.TB, cs tls.ConnectionState) [32]byte {
	t.Helper()
	e, err := cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(e)
}

// received returns everything that the peer said until it hung up.
func (c *rawConn) received(t *testing.T) []byte {
	t.Helper()
	got, err := io.ReadAll(c)
	if isTimeout(err) {
		t.Fatal("the peer neither answered nor hung up")
	}
	if c.quic != nil { // nor on a stream of its own
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if s, err := c.quic.AcceptStream(ctx); err == nil {
			more, _ := io.ReadAll(s)
			got = append(got, more...)
			t.Error("the peer opened a stream before the proof")
		} else if ctx.Err() != nil {
			t.Error("the peer did not hang up")
		}
	}
	return got
}

// rawListen serves TLS channels with any transport key; serve gets each.
func rawListen(t *testing.T, transport string, key ed25519.PrivateKey, curves []tls.CurveID, serve func(*rawConn)) (addr string) {
	t.Helper()
	cfg := tlsFor(t, key, curves)
	done := make(chan struct{})
	if transport == "tcp" {
		cfg.NextProtos = []string{"/yamux/1.0.0"}
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serveRawTCP(t, c, cfg, serve)
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		a, err := manet.FromNetAddr(l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	l, err := tr.Listen(cfg, &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for {
			qc, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			if s, err := qc.AcceptStream(timeout(t)); err == nil {
				serve(&rawConn{ReadWriteCloser: s, exporter: exportRaw(t, qc.ConnectionState().TLS), quic: qc})
			}
		}
	}()
	t.Cleanup(func() { l.Close(); tr.Close(); socket.Close(); <-done })
	a, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return a.String() + "/quic-v1"
}

func serveRawTCP(t *testing.T, c net.Conn, cfg *tls.Config, serve func(*rawConn)) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	mux := multistream.NewMultistreamMuxer[string]()
	mux.AddHandler(securityID, nil)
	if _, _, err := mux.Negotiate(c); err != nil {
		return
	}
	tc := tls.Server(c, cfg)
	if err := tc.Handshake(); err != nil {
		return
	}
	serve(&rawConn{ReadWriteCloser: tc, exporter: exportRaw(t, tc.ConnectionState())})
}

// hangUp ends a raw channel as a host does that refuses.
func (c *rawConn) hangUp() {
	if c.quic != nil {
		_ = c.quic.CloseWithError(0, "")
		return
	}
	c.Close()
}

// refusals collects what a host reports.
type refusals chan Refusal

func (r refusals) into(cfg *Config) { cfg.OnRefused = func(x Refusal) { r <- x } }

// expect waits for a report that wraps a reason.
func (r refusals) expect(t *testing.T, reason error) Refusal {
	t.Helper()
	select {
	case got := <-r:
		if !errors.Is(got.Reason, reason) {
			t.Fatalf("refused because of %v, want %v", got.Reason, reason)
		}
		return got
	case <-time.After(15 * time.Second):
		t.Fatalf("nothing was refused; want %v", reason)
		return Refusal{}
	}
}

func newRefusals() refusals { return make(refusals, 1024) }
