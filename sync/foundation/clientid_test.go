package foundation

import (
	"crypto/ed25519"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// deviceCore is the signed part of a device certificate, by the numbers of identity/SPEC.md.
type deviceCore struct {
	wire.Head
	Member      identity.MemberID `cbor:"3,keyasint"`
	DK          []byte            `cbor:"4,keyasint"`
	KEM         []byte            `cbor:"5,keyasint"`
	Peer        [32]byte          `cbor:"6,keyasint"`
	MaxRole     uint8             `cbor:"7,keyasint"`
	NotAfter    *uint64           `cbor:"8,keyasint,omitempty"`
	Attestation []byte            `cbor:"9,keyasint,omitempty"`
}

// grind returns the core of a device certificate with one of so many attestations, and the client ID of that device's
// chain 0.
func grind(project [32]byte, of *identity.DeviceCert) func(attestation uint32) (core []byte, client uint32) {
	core := wire.Marshal(deviceCore{
		Head: wire.NewHead(), Member: of.Member, DK: of.DK.Bytes(), KEM: of.KEM.Bytes(), Peer: of.Peer, MaxRole: of.MaxRole,
		Attestation: make([]byte, 4), // the last bytes of the encoding
	})
	return func(attestation uint32) ([]byte, uint32) {
		binary.BigEndian.PutUint32(core[len(core)-4:], attestation)
		return core, identity.ClientID(project, identity.DeviceID(derive.ID(string(sign.DeviceCert), core)), 0)
	}
}

// collide gives two people devices whose chains 0 have one client ID in a project: what somebody does who has ground for it.
func collide(t testing.TB, project [32]byte, a, b string) {
	t.Helper()
	const tries = 1 << 18 // each; 16 pairs are to be expected
	ofA, ofB := grind(project, selfOf(t, a).Device), grind(project, selfOf(t, b).Device)
	at := make(map[uint32]uint32, tries)
	for k := range uint32(tries) {
		_, c := ofA(k)
		at[c] = k
	}
	for k := range uint32(tries) {
		core, c := ofB(k)
		if i, ok := at[c]; ok {
			certify(t, b, core)
			core, _ = ofA(i)
			certify(t, a, core)
			return
		}
	}
	t.Fatal("no two certificates with one client ID were found")
}

// certify makes a core the certificate of the person's device.
func certify(t testing.TB, name string, core []byte) {
	t.Helper()
	self := selfOf(t, name)
	ik := identity.NewIdentityKey(seedOf(name, 1))
	id := derive.ID(string(sign.DeviceCert), core)
	var err error
	self.Device, err = identity.ParseDeviceCert(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{
		ik.Sign(sign.DeviceCert, core), self.Keys.DK.Sign(sign.DeviceCert, core),
		ed25519.Sign(self.Keys.Peer.Key(), append(derive.Domain("peer-binding"), id[:]...)),
	}}))
	must(t, err)
	people.Store(name, self)
}

// Scenario 93: two devices write under one client ID, and neither knows of the other.
func TestScenario93OneClientIDInAPartition(t *testing.T) {
	scenario.Run(t, 93, "two people are admitted on two sides of a partition, their chains ground to one client ID, and both write: none owns it, both go on under another chain and issue their own edits anew, nothing is lost, all show the same", func(t *testing.T) {
		anna := newNode(t, "anna").found()
		dora := anna.join(newNode(t, "dora"))
		_, err := anna.p.Propose(t.Context(), governance.KindRoleGrant, governance.RoleGrant{Member: dora.self.Identity.Member(), Role: governance.Manager})
		must(t, err)
		eventually(t, "dora may invite", func() bool { return dora.p.State().Role(dora.self.Identity.Member()) == governance.Manager })
		anna.write("script", "Title. ")
		must(t, dora.f.Sync(t.Context(), anna.device()))
		anna.apart(dora)

		collide(t, [32]byte(anna.p.ID()), "gina", "hugo")
		gina := anna.join(newNode(t, "gina"))
		hugo := dora.join(newNode(t, "hugo"))
		for k, r := range []*room{gina, hugo} {
			must(t, r.f.Sync(t.Context(), []*room{anna, dora}[k].device()))
			c, ok := r.p.State().Chain(r.device(), 0)
			if !ok || !c.Owned {
				t.Fatalf("%s has no chain: %+v", r.name, c)
			}
		}
		gina.write("script", "Gina's scene. ")
		hugo.write("script", "Hugo's scene. ")
		must(t, anna.f.Sync(t.Context(), gina.device()))
		must(t, dora.f.Sync(t.Context(), hugo.device()))
		for r, want := range map[*room]string{anna: "Gina's", dora: "Hugo's"} {
			if got := r.text("script"); !strings.Contains(got, want) {
				t.Fatalf("%s shows %q", r.name, got)
			}
		}

		rooms := []*room{anna, dora, gina, hugo}
		for i, a := range rooms {
			for _, b := range rooms[i+1:] {
				if !a.sees(b.node) {
					a.meet(b)
				}
			}
		}
		eventually(t, "both own another chain", func() bool {
			for _, r := range rooms {
				for _, d := range []*room{gina, hugo} {
					ground, _ := r.p.State().Chain(d.device(), 0)
					next, opened := r.p.State().Chain(d.device(), 1)
					if ground.Owned || !opened || !next.Owned {
						return false
					}
				}
			}
			return true
		})
		eventually(t, "all show both", func() bool {
			for _, a := range rooms {
				for _, b := range rooms {
					if a != b {
						must(t, a.f.Sync(t.Context(), b.device()))
					}
				}
			}
			for _, r := range rooms {
				if got := r.text("script"); strings.Count(got, "Gina's scene. ") != 1 || strings.Count(got, "Hugo's scene. ") != 1 {
					return false
				}
			}
			return true
		})
		equal(t, []string{"script"}, rooms...)
		for _, r := range rooms[1:] {
			if r.p.State().Digest() != anna.p.State().Digest() {
				t.Errorf("%s has another state", r.name)
			}
		}
		gina.write("script", "More by Gina. ")
		must(t, hugo.f.Sync(t.Context(), gina.device()))
		if got := hugo.text("script"); !strings.Contains(got, "More by Gina. ") {
			t.Errorf("afterwards hugo shows %q", got)
		}
	})
}
