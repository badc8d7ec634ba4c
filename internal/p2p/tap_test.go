package p2p

import (
	"bytes"
	"sync"
	"testing"
)

// record keeps what a tap sees.
type record struct {
	mu   sync.Mutex
	seen map[Layer][]byte
}

func newRecord() *record { return &record{seen: map[Layer][]byte{}} }

func (r *record) tap(l Layer, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[l] = append(r.seen[l], b...)
}

func (r *record) of(l Layer) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.seen[l])
}

// A tap that sees nothing would let every test that looks for plaintext pass: what goes through a stream is seen inside,
// and enough bytes on the wire to carry it, in both directions.
func TestTapSeesAllLayers(t *testing.T) {
	for _, transport := range []string{"quic", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			a, b := newDevice(t, "a"), newDevice(t, "b")
			r := newRoster(a, b)
			heard := map[string]*record{"dialer": newRecord(), "listener": newRecord()}
			listener := start(t, a, r, func(c *Config) { c.Tap = heard["listener"].tap })
			dialer := start(t, b, r, func(c *Config) { c.Tap = heard["dialer"].tap })
			conn, err := dialer.Dial(timeout(t), target(t, a, listener, transport))
			if err != nil {
				t.Fatal(err)
			}
			s, err := conn.Open(timeout(t), "echo")
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, s)
			for who, rec := range heard {
				inside, wire := rec.of(Inside), rec.of(Wire)
				// What roundTrip sends passes twice: over and back.
				if n := bytes.Count(inside, []byte("over and back ")); n < 9000 {
					t.Errorf("%s: %d of about 10000 pieces seen inside", who, n)
				}
				if len(wire) < 2*70_000 {
					t.Errorf("%s: only %d bytes seen on the wire", who, len(wire))
				}
				if bytes.Contains(wire, []byte("over and back")) {
					t.Errorf("%s: plaintext on the wire", who)
				}
			}
		})
	}
}
