package p2p_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/wire"
)

// everybody is a roster of certificates.
type everybody []*identity.DeviceCert

func (r everybody) DeviceByPeer(peer [32]byte) (*identity.DeviceCert, bool) {
	for _, c := range r {
		if c.Peer == peer {
			return c, true
		}
	}
	return nil, false
}

func (everybody) InviteKey(wire.ID) ([32]byte, bool) { return [32]byte{}, false }

func newDevice() (*identity.DeviceKeys, *identity.DeviceCert) {
	var seeds [3]identity.Seed
	for i := range seeds {
		var err error
		if seeds[i], err = identity.NewSeed(rand.Reader); err != nil {
			log.Fatal(err)
		}
	}
	keys := identity.NewDeviceKeys(seeds[1], kem.NewPrivateKey(seeds[2]))
	cert, err := identity.NewDeviceCert(identity.NewIdentityKey(seeds[0]), identity.MemberID{1}, keys, 30)
	if err != nil {
		log.Fatal(err)
	}
	return keys, cert
}

func ExampleNew() {
	ctx := context.Background()
	annaKeys, anna := newDevice()
	bertaKeys, berta := newDevice()
	roster := everybody{anna, berta}

	server, err := p2p.New(ctx, p2p.Config{
		Device: annaKeys, Cert: anna, Roster: roster, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handle("/greet/1", p2p.Member, func(_ context.Context, s *p2p.Stream) {
		fmt.Fprintf(s, "good day, %s", s.Class())
	})
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}

	client, err := p2p.New(ctx, p2p.Config{Device: bertaKeys, Cert: berta, Roster: roster})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	conn, err := client.Dial(ctx, p2p.Target{Device: anna.ID, Peer: anna.Peer, Addrs: server.Addrs()})
	if err != nil {
		log.Fatal(err)
	}
	s, err := conn.Open(ctx, "/greet/1")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	answer, err := io.ReadAll(s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer))
	// Output: good day, member
}
