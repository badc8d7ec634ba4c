package epoch

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
)

var project = genesis.ProjectID{0xaa}

// device is a device with its keys, made of a fixed seed.
type device struct {
	id   identity.DeviceID
	keys *identity.DeviceKeys
}

func deviceOf(n int) device {
	var seed identity.Seed
	copy(seed[:], fmt.Sprintf("epoch device %d", n))
	return device{id: identity.DeviceID{byte(n >> 8), byte(n)}, keys: devicekeys.Of(seed)}
}

func (d device) recipient() Recipient { return Recipient{Device: d.id, KEM: d.keys.KEM.Public()} }

func (d device) author() governance.Author { return governance.Author{Keys: d.keys, Device: d.id} }

func mint(t testing.TB, prev []IDKey, to ...device) *Minted {
	t.Helper()
	var r []Recipient
	for _, d := range to {
		r = append(r, d.recipient())
	}
	m, err := Mint(rand.Reader, project, to[0].id, 7, r, prev)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMintAndOpen(t *testing.T) {
	a, b, stranger := deviceOf(1), deviceOf(2), deviceOf(3)
	m := mint(t, nil, a, b)
	for _, d := range []device{a, b} {
		key, err := Open(&m.Object, d.id, d.keys.KEM)
		if err != nil || key != m.Key {
			t.Errorf("device %s: %v", d.id.Short(), err)
		}
	}
	if _, err := Open(&m.Object, stranger.id, stranger.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := Open(&m.Object, a.id, b.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("another device's key: %v", err)
	}
	core, err := m.Object.Decode()
	if err != nil || core.Device != a.id || core.Aseq != 7 || core.Project != project || len(core.Prev) != 0 {
		t.Fatalf("core %+v, %v", core, err)
	}
	if _, err := OpenPrevious(&m.Object, m.Key); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("earlier keys of the first epoch: %v", err)
	}
	if again := mint(t, nil, a, b); again.Key == m.Key || again.ID == m.ID {
		t.Error("two mints drew one key")
	}
}

func TestTamperedObjects(t *testing.T) {
	a := deviceOf(1)
	m, other := mint(t, nil, a), mint(t, nil, a)
	clone := func() governance.KeyEpoch {
		o := m.Object
		o.Boxes = slices.Clone(o.Boxes)
		o.Boxes[0].Box = bytes.Clone(o.Boxes[0].Box)
		return o
	}
	altered := clone()
	altered.Boxes[0].Box[900] ^= 1
	if _, err := Open(&altered, a.id, a.keys.KEM); !errors.Is(err, ErrOpen) {
		t.Errorf("altered box: %v", err)
	}
	moved := clone()
	moved.Boxes[0].Box = other.Object.Boxes[0].Box
	if _, err := Open(&moved, a.id, a.keys.KEM); !errors.Is(err, ErrOpen) {
		t.Errorf("box of another epoch: %v", err)
	}
	if err := Check(&m.Object, other.Key); !errors.Is(err, ErrCommit) {
		t.Errorf("key of another epoch: %v", err)
	}
	// The minter seals a key that the core does not commit to.
	lie := clone()
	box, err := sealTo(rand.Reader, IDKey{m.ID, other.Key}, a.recipient())
	if err != nil {
		t.Fatal(err)
	}
	lie.Boxes[0] = box
	if key, err := Open(&lie, a.id, a.keys.KEM); !errors.Is(err, ErrCommit) || key != [KeySize]byte{} {
		t.Errorf("another key in the box: %v", err)
	}
}

// A member who was offline through rotations opens the newest epoch and reads all of the past.
func TestKeysOfEarlierEpochs(t *testing.T) {
	a, b := deviceOf(1), deviceOf(2)
	var all []*Minted
	for n := range 5 {
		var prev []IDKey
		if n > 0 {
			prev = []IDKey{all[n-1].IDKey}
		}
		if n == 4 { // after a fork of epochs
			prev = append(prev, all[1].IDKey)
		}
		all = append(all, mint(t, prev, a, b))
	}
	key, err := Open(&all[4].Object, b.id, b.keys.KEM)
	if err != nil {
		t.Fatal(err)
	}
	got, queue := map[ID][KeySize]byte{}, []IDKey{{all[4].ID, key}}
	for ; len(queue) > 0; queue = queue[1:] {
		k := queue[0]
		got[k.ID] = k.Key
		at := slices.IndexFunc(all, func(m *Minted) bool { return m.ID == k.ID })
		if err := Check(&all[at].Object, k.Key); err != nil {
			t.Fatal(err)
		}
		prev, err := OpenPrevious(&all[at].Object, k.Key)
		if err != nil && !errors.Is(err, ErrNoPrevious) {
			t.Fatal(err)
		}
		queue = append(queue, prev...)
	}
	for _, m := range all {
		if got[m.ID] != m.Key {
			t.Errorf("epoch %s is not reached", m.ID.Short())
		}
	}
	if _, err := OpenPrevious(&all[4].Object, all[3].Key); !errors.Is(err, ErrCommit) {
		t.Errorf("with an older key: %v", err)
	}
	broken := all[4].Object
	broken.EncPrev = bytes.Clone(broken.EncPrev)
	broken.EncPrev[30] ^= 1
	if _, err := OpenPrevious(&broken, all[4].Key); !errors.Is(err, ErrOpen) {
		t.Errorf("altered earlier keys: %v", err)
	}
}

// Who was removed opens nothing of the new epoch, whatever he holds of the old one.
func TestRemovedCannotOpen(t *testing.T) {
	a, removed := deviceOf(1), deviceOf(2)
	before := mint(t, nil, a, removed)
	after := mint(t, []IDKey{before.IDKey}, a)
	if _, err := Open(&after.Object, removed.id, removed.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("the removed opens the new epoch: %v", err)
	}
	if _, err := OpenPrevious(&after.Object, before.Key); !errors.Is(err, ErrCommit) {
		t.Errorf("the old key opens what the new one seals: %v", err)
	}
	raw := wire.Marshal(after.Object)
	if bytes.Contains(raw, before.Key[:]) || bytes.Contains(raw, after.Key[:]) {
		t.Error("the object shows a key")
	}
}

func TestManyDevices(t *testing.T) {
	var devices []device
	var r []Recipient
	for n := range governance.MaxInlineBoxes + 3 {
		devices = append(devices, deviceOf(n))
		r = append(r, devices[n].recipient())
	}
	slices.Reverse(r)
	m, err := Mint(rand.Reader, project, devices[0].id, 1, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Object.Boxes) != governance.MaxInlineBoxes || m.Blob == nil {
		t.Fatalf("%d boxes inline, blob of %d bytes", len(m.Object.Boxes), len(m.Blob))
	}
	last := devices[len(devices)-1]
	if _, err := Open(&m.Object, last.id, last.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("inline: %v", err)
	}
	if key, err := OpenBlob(&m.Object, m.Blob, last.id, last.keys.KEM); err != nil || key != m.Key {
		t.Errorf("from the blob: %v", err)
	}
	bad := bytes.Clone(m.Blob)
	bad[40] ^= 1
	if _, err := OpenBlob(&m.Object, bad, last.id, last.keys.KEM); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("altered blob: %v", err)
	}
	if _, err := Mint(rand.Reader, project, devices[0].id, 1, r, make([]IDKey, governance.MaxPrevEpochs+1)); err == nil {
		t.Error("more earlier epochs than fit are taken")
	}
}

func TestBox(t *testing.T) {
	giver, to, other := deviceOf(1), deviceOf(2), deviceOf(3)
	m, foreign := mint(t, nil, giver), mint(t, nil, giver)
	raw, err := SealBox(rand.Reader, m.IDKey, to.recipient(), giver.author())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBox(raw)
	if err != nil || b.Epoch != m.ID || b.Device != to.id || b.Giver != giver.id {
		t.Fatalf("%+v, %v", b, err)
	}
	pub := giver.keys.DK.Public()
	if key, err := b.Open(&m.Object, pub, to.id, to.keys.KEM); err != nil || key != m.Key {
		t.Errorf("the receiver: %v", err)
	}
	if _, err := b.Open(&m.Object, other.keys.DK.Public(), to.id, to.keys.KEM); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("another giver: %v", err)
	}
	if _, err := b.Open(&m.Object, pub, other.id, other.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("another receiver: %v", err)
	}
	if _, err := b.Open(&foreign.Object, pub, to.id, to.keys.KEM); !errors.Is(err, ErrNoBox) {
		t.Errorf("another epoch: %v", err)
	}
	lie, err := SealBox(rand.Reader, IDKey{m.ID, foreign.Key}, to.recipient(), giver.author())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ParseBox(lie); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(&m.Object, pub, to.id, to.keys.KEM); !errors.Is(err, ErrCommit) {
		t.Errorf("a key that the epoch does not commit to: %v", err)
	}
}

// One ciphertext has one meaning: every part of its place changes the key.
func TestContentKeysDiffer(t *testing.T) {
	base := [KeySize]byte{1}
	seen := map[[KeySize]byte]string{}
	for name, k := range map[string][KeySize]byte{
		"base":     ContentKey(base, ID{1}, identity.DeviceID{1}, 1, [16]byte{1}),
		"key":      ContentKey([KeySize]byte{2}, ID{1}, identity.DeviceID{1}, 1, [16]byte{1}),
		"epoch":    ContentKey(base, ID{2}, identity.DeviceID{1}, 1, [16]byte{1}),
		"device":   ContentKey(base, ID{1}, identity.DeviceID{2}, 1, [16]byte{1}),
		"chain":    ContentKey(base, ID{1}, identity.DeviceID{1}, 2, [16]byte{1}),
		"document": ContentKey(base, ID{1}, identity.DeviceID{1}, 1, [16]byte{2}),
	} {
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s share a key", name, other)
		}
		seen[k] = name
	}
}

func TestKeysPrintRedacted(t *testing.T) {
	m := mint(t, nil, deviceOf(1))
	asJSON, err := json.Marshal(m.IDKey)
	if err != nil {
		t.Fatal(err)
	}
	secret := []string{fmt.Sprintf("%x", m.Key[:4]), fmt.Sprintf("%v", m.Key[:3])[1:8], fmt.Sprintf("%d, %d", m.Key[0], m.Key[1])}
	for _, out := range []string{
		fmt.Sprintf("%v", m.IDKey), fmt.Sprintf("%+v", m.IDKey), fmt.Sprintf("%#v", m.IDKey), fmt.Sprintf("%x", m.IDKey),
		fmt.Sprintf("%d", []IDKey{m.IDKey}), string(asJSON),
	} {
		for _, s := range secret {
			if strings.Contains(out, s) {
				t.Errorf("%q shows a key", out)
			}
		}
	}
}

func TestMintReportsShortRandomness(t *testing.T) {
	for _, n := range []int{0, 40} {
		_, err := Mint(bytes.NewReader(make([]byte, n)), project, identity.DeviceID{1}, 1, nil, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "epoch:") {
			t.Errorf("%d bytes of randomness: %v", n, err)
		}
	}
}
