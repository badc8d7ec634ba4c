package epoch

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

// person is a member with one device, with certificates that verify.
type person struct {
	cert   *identity.IdentityCert
	device *identity.DeviceCert
	keys   *identity.DeviceKeys
}

func newPerson(t *testing.T, name string) person {
	t.Helper()
	var a, b identity.Seed
	copy(a[:], "identity of "+name)
	copy(b[:], "device of "+name)
	ik, keys := identity.NewIdentityKey(a), devicekeys.Of(b)
	cert, err := identity.NewIdentityCert(ik, name, wire.ID{1}, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	device, err := identity.NewDeviceCert(ik, cert.Member(), keys, uint8(governance.Manager))
	if err != nil {
		t.Fatal(err)
	}
	return person{cert, device, keys}
}

// log is a project with its founder's view of the keys.
type log struct {
	t *testing.T
	*governance.Log
	root    *genesis.Root
	founder person
	keys    []IDKey
	raws    [][]byte
}

func (l *log) propose(kind governance.Kind, body any) {
	l.t.Helper()
	raw, _, err := l.Propose(governance.Author{Keys: l.founder.keys, Device: l.founder.device.ID}, kind, body)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.Add(raw); err != nil {
		l.t.Fatal(err)
	}
	l.raws = append(l.raws, raw)
}

// mint makes a key for all but one member, which hands on the one before.
func (l *log) mint(without identity.MemberID) governance.KeyEpoch {
	l.t.Helper()
	var to []Recipient
	for _, d := range l.State().Devices() {
		if d.Member != without {
			to = append(to, Recipient{Device: d.ID, KEM: d.KEM})
		}
	}
	d := l.founder.device.ID
	m, err := Mint(rand.Reader, l.root.Project, d, l.NextAseq(d), to, l.keys[max(0, len(l.keys)-1):])
	if err != nil {
		l.t.Fatal(err)
	}
	l.keys = append(l.keys, IDKey{ID: m.ID, Key: m.Key})
	return m.Object
}

// Scenario 39, as far as log and keys say it: a member is away while three are removed and the key is changed twenty times.
// The newest box is for the device, and its key opens all before it.
func TestScenario39AwayThroughRotations(t *testing.T) {
	scenario.Run(t, 39, "a member is away through 20 rotations and 3 removals: the newest key opens all earlier ones, the removed get none", func(t *testing.T) {
		founder, away := newPerson(t, "Ada"), newPerson(t, "Bea")
		root, err := genesis.Found(t.Context(), rand.Reader, time.Unix(1_800_000_000, 0), genesis.Founding{
			Title: "Film", Policy: genesis.DefaultPolicy(), Identity: founder.cert, Device: founder.device,
			Ceremony: genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}},
		})
		if err != nil {
			t.Fatal(err)
		}
		l := &log{t: t, Log: governance.NewLog(root), root: root, founder: founder}
		l.propose(governance.KindKeyEpoch, l.mint(identity.MemberID{}))
		gone := []person{newPerson(t, "Cy"), newPerson(t, "Di"), newPerson(t, "Ed")}
		for _, p := range append([]person{away}, gone...) {
			l.propose(governance.KindAdmit, governance.Admit{Role: governance.Editor, Identity: p.cert.Raw, Device: p.device.Raw})
		}
		before := len(l.raws)
		for k := range 20 {
			switch {
			case k%6 == 5:
				m := gone[k/6].cert.Member()
				object := l.mint(m)
				l.propose(governance.KindRevoke, governance.Revoke{Member: m, Reason: "test", Epoch: &object})
			default:
				l.propose(governance.KindCheckpoint, governance.Checkpoint{ // after which a device may mint again
					Number: l.State().Settled().Number + 1, Prev: prevOf(l.State()), State: l.State().Digest(), Time: uint64(k + 1),
				})
				l.propose(governance.KindKeyEpoch, l.mint(identity.MemberID{}))
			}
		}
		checkAway(t, l, away, gone, before)
	})
}

func prevOf(s *governance.State) []governance.EventID {
	if s.Settled().Number == 0 {
		return nil
	}
	return []governance.EventID{s.Settled().Event}
}

// checkAway catches up from what was held before, last event first, and opens every key.
func checkAway(t *testing.T, l *log, away person, gone []person, before int) {
	t.Helper()
	late := governance.NewLog(l.root)
	if _, errs := late.AddAll("peer", l.raws[:before]); errs != nil {
		t.Fatal(errs)
	}
	rest := slices.Clone(l.raws[before:])
	slices.Reverse(rest)
	if _, errs := late.AddAll("peer", rest); errs != nil || late.State().Digest() != l.State().Digest() {
		t.Fatalf("caught up: %v", errs)
	}
	e, ok := late.State().SendingEpoch()
	if !ok {
		t.Fatal("no key to send under")
	}
	for _, p := range gone {
		if _, err := Open(e.Object, p.device.ID, p.keys.KEM); err == nil {
			t.Error("somebody removed opens the newest key")
		}
	}
	key, err := Open(e.Object, away.device.ID, away.keys.KEM)
	if err != nil {
		t.Fatal(err)
	}
	held := map[ID][KeySize]byte{e.ID: key}
	for object, key := e.Object, key; ; {
		prev, err := OpenPrevious(object, key)
		if err != nil || len(prev) == 0 {
			break
		}
		held[prev[0].ID] = prev[0].Key
		x, ok := late.EpochObject(prev[0].ID)
		if !ok {
			t.Fatal("an epoch is missing")
		}
		object, key = x.Object, prev[0].Key
	}
	if len(held) != 21 {
		t.Fatalf("%d of 21 keys", len(held))
	}
	for _, k := range l.keys {
		if held[k.ID] != k.Key {
			t.Errorf("epoch %s is not opened", k.ID.Short())
		}
	}
}
