package invite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

var testTime = time.Unix(1_800_000_000, 0)

// person is somebody with one device, made of fixed seeds.
type person struct {
	id     *identity.IdentityCert
	device *identity.DeviceCert
	keys   *identity.DeviceKeys
}

func newPerson(t testing.TB, fill byte) *person {
	t.Helper()
	seed := func(n byte) identity.Seed { return identity.Seed(bytes.Repeat([]byte{fill, n}, 16)) }
	ik := identity.NewIdentityKey(seed(1))
	id, err := identity.NewIdentityCert(ik, "Person", wire.ID{fill}, testTime)
	if err != nil {
		t.Fatal(err)
	}
	keys := devicekeys.Of(seed(2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	return &person{id: id, device: device, keys: keys}
}

// stream is a deterministic source of randomness.
type stream struct {
	seed byte
	n    uint64
	rest []byte
}

func newRandom(seed byte) io.Reader { return &stream{seed: seed} }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		if len(s.rest) == 0 {
			block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{s.seed}, s.n))
			s.n, s.rest = s.n+1, block[:]
		}
		p[i], s.rest = s.rest[0], s.rest[1:]
	}
	return len(p), nil
}

func newRoot(t testing.TB, founder *person, title string) *genesis.Root {
	t.Helper()
	root, err := genesis.Found(context.Background(), newRandom(1), testTime, genesis.Founding{
		Title: title, Policy: genesis.DefaultPolicy(), Identity: founder.id, Device: founder.device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// world is a project with a host, an invite to it, and the people whom the tests need.
type world struct {
	host, joiner, other *person
	root                *genesis.Root
	code                *Code
	terms               *Terms
	exporter            [32]byte

	mu       sync.Mutex
	requests []Request
	answer   Admission
	ended    error
}

var worldOnce = sync.OnceValue(func() *world {
	t := new(testing.T)
	w := &world{host: newPerson(t, 1), joiner: newPerson(t, 2), other: newPerson(t, 3)}
	w.root = newRoot(t, w.host, "My film")
	return w
})

// newWorld returns a world with an unused invite. The people and the root are the same each time.
func newWorld(t testing.TB) *world {
	base := worldOnce()
	w := &world{host: base.host, joiner: base.joiner, other: base.other, root: base.root, exporter: [32]byte{7}}
	secret, err := NewSecret(newRandom(2))
	if err != nil {
		t.Fatal(err)
	}
	hosts := []Host{
		{Device: w.host.device.ID, Peer: w.host.device.Peer, KemID: identity.KemID(w.host.device.KEM), Addrs: []string{"/ip4/127.0.0.1/udp/4001/quic-v1"}},
		{Device: w.other.device.ID, Peer: w.other.device.Peer, KemID: identity.KemID(w.other.device.KEM)},
	}
	w.code = &Code{
		Project: w.root.Project, RootVersion: w.root.N, Root: w.root.ID, Invite: [16]byte{5},
		Hosts: hosts, KEM: w.host.device.KEM.Bytes(), Secret: secret,
	}
	w.terms = w.termsOf(w.host)
	w.answer = Admission{
		Result: Admitted, Admit: []byte("the event"), Heads: []wire.ID{{1}}, Boxes: [][]byte{wire.Marshal(wire.Signed{Core: []byte("box"), Sigs: [][]byte{{1}}})},
	}
	return w
}

func (w *world) termsOf(host *person) *Terms {
	return &Terms{
		Project: w.code.Project, RootVersion: w.code.RootVersion, Root: w.code.Root, Invite: w.code.Invite,
		Hosts: w.code.Hosts, ProofHash: ProofHash(ProofKey(w.code.Secret).Public()), MAC: MACKey(w.code.Secret),
		KEM: host.keys.KEM, Records: [][]byte{w.root.Raw},
		Ended: func() error { return w.ended },
		Admit: func(_ context.Context, r Request) (Admission, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.requests = append(w.requests, r)
			return w.answer, nil
		},
	}
}

func (w *world) server() Server {
	hash := Hash(w.terms.Invite)
	return Server{
		Exporter: w.exporter, Remote: w.joiner.device, Identity: w.host.id, Device: w.host.device, Keys: w.host.keys,
		Channel: hash,
		Lookup:  func(h wire.ID) (*Terms, bool) { return w.terms, h == hash },
	}
}

func (w *world) guest() Joiner {
	return Joiner{
		Exporter: w.exporter, Remote: w.host.device, Code: w.code,
		Identity: w.joiner.id, Device: w.joiner.device, Keys: w.joiner.keys,
	}
}

func (w *world) admitted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}
