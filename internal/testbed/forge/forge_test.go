package forge_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

// project founds one, of which seed's person is the founder.
func project(t *testing.T, seed byte) (*governance.Log, governance.Author) {
	t.Helper()
	fill := func(n byte) identity.Seed { return identity.Seed(bytes.Repeat([]byte{seed + n}, 32)) }
	ik, keys := identity.NewIdentityKey(fill(0)), devicekeys.Of(fill(1))
	person, err := identity.NewIdentityCert(ik, "Anna", wire.ID{1}, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	device, err := identity.NewDeviceCert(ik, person.Member(), keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	root, err := genesis.Found(t.Context(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: person, Device: device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return governance.NewLog(root), governance.Author{Keys: keys, Device: device.ID}
}

// An honest act is forged exactly as the library makes it, so that what a test changes is all that is wrong with it.
func TestSameAsProposed(t *testing.T) {
	log, anna := project(t, 1)
	kem, _ := log.State().Device(anna.Device)
	minted, err := epoch.Mint(rand.Reader, log.Root().Project, anna.Device, 1, []epoch.Recipient{{Device: anna.Device, KEM: kem.KEM}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	acts := []struct {
		kind governance.Kind
		body any
	}{
		{governance.KindKeyEpoch, minted.Object},
		{governance.KindChainOpen, governance.ChainOpen{ChainNo: 1}},
		{governance.KindChainOpen, governance.ChainOpen{ChainNo: 2}},
	}
	for _, a := range acts {
		raw, id, err := log.Propose(anna, a.kind, a.body)
		if err != nil {
			t.Fatal(err)
		}
		forged, forgedID := forge.Act{On: log, Author: anna, Kind: a.kind, Body: a.body}.Sign()
		if forgedID != id {
			t.Fatalf("%v: the forged event is another one", a.kind)
		}
		if _, err := governance.ParseEvent(forged); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Add(raw); err != nil {
			t.Fatal(err)
		}
	}
	raw, _ := forge.Act{On: log, Author: anna, Kind: 4711, Body: "anything", Edit: func(c *forge.Core) { c.Depth += 7 }}.Sign()
	if _, err := log.Add(raw); !errors.Is(err, governance.ErrEvent) {
		t.Errorf("a lie about depth: %v", err)
	}
}
