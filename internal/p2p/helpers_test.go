package p2p

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

const (
	loopQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
	loopTCP  = "/ip4/127.0.0.1/tcp/0"
)

// device is a deterministic device for tests.
type device struct {
	keys *identity.DeviceKeys
	cert *identity.DeviceCert
}

func newDevice(t testing.TB, name string) device {
	t.Helper()
	ik := identity.NewIdentityKey(seedOf("identity " + name))
	keys := identity.NewDeviceKeys(seedOf("device "+name), kem.NewPrivateKey(seedOf("box "+name)))
	cert, err := identity.NewDeviceCert(ik, identity.MemberID(sha256.Sum256([]byte(name))), keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	return device{keys, cert}
}

func seedOf(name string) identity.Seed { return identity.Seed(sha256.Sum256([]byte(name))) }

// roster is a roster that a test changes.
type roster struct {
	mu      sync.Mutex
	devices map[[32]byte]*identity.DeviceCert
	invites map[wire.ID][32]byte
}

func newRoster(devices ...device) *roster {
	r := &roster{devices: map[[32]byte]*identity.DeviceCert{}, invites: map[wire.ID][32]byte{}}
	for _, d := range devices {
		r.add(d)
	}
	return r
}

func (r *roster) add(d device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.devices[d.cert.Peer] = d.cert
}

func (r *roster) remove(d device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, d.cert.Peer)
}

func (r *roster) host(invite InviteAuth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.invites[invite.Hash] = invite.Key
}

func (r *roster) end(invite InviteAuth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.invites, invite.Hash)
}

func (r *roster) DeviceByPeer(peer [32]byte) (*identity.DeviceCert, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.devices[peer]
	return c, ok
}

func (r *roster) InviteKey(invite wire.ID) ([32]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.invites[invite]
	return k, ok
}

func inviteOf(name string) InviteAuth {
	return InviteAuth{Hash: sha256.Sum256([]byte("hash " + name)), Key: sha256.Sum256([]byte("key " + name))}
}

// checkLeaks must be the first thing a test does.
func checkLeaks(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// start makes a listening host that answers "echo" to members and guests and "secret" to members.
func start(t *testing.T, d device, r Roster, edit ...func(*Config)) *Host {
	t.Helper()
	cfg := Config{Device: d.keys, Cert: d.cert, Roster: r, Listen: []string{loopQUIC, loopTCP}}
	for _, fn := range edit {
		fn(&cfg)
	}
	h, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	h.Handle("echo", Guest, echo)
	h.Handle("secret", Member, echo)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	return h
}

// only leaves a host one transport, for tests that count connections: a slow machine lets libp2p dial a second transport
// that it has learned of meanwhile, and keep both.
func only(transport string) func(*Config) {
	return func(cfg *Config) {
		cfg.Listen = []string{map[string]string{"quic": loopQUIC, "tcp": loopTCP}[transport]}
	}
}

func echo(_ context.Context, s *Stream) { _, _ = io.Copy(s, s) }

// target names a host's addresses of one transport, "quic" or "tcp".
func target(t *testing.T, d device, h *Host, transport string) Target {
	t.Helper()
	out := Target{Device: d.cert.ID, Peer: d.cert.Peer}
	for _, a := range h.Addrs() {
		if strings.Contains(a, transport) {
			out.Addrs = append(out.Addrs, a)
		}
	}
	if len(out.Addrs) == 0 {
		t.Fatalf("no %s address among %v", transport, h.Addrs())
	}
	return out
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// roundTrip sends bytes through the peer's echo and compares.
func roundTrip(t *testing.T, s *Stream) {
	t.Helper()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	msg := bytes.Repeat([]byte("over and back "), 5000)
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(msg)
		if err == nil {
			err = s.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, msg) {
		t.Fatalf("%d bytes came back of %d", len(got), len(msg))
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(15 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("timed out: %s", what)
		}
	}
}

func frameBytes(raw []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)
}
