package collab

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/membership"
)

// A program that was closed for a month gives its device a new key when it is opened, and forgets the old one as soon as that is
// settled. Somebody who takes the directory then, with the key that opens it, opens nothing that was sealed to the old key: not with
// the device's seed, and not with what the vault keeps beside its newest state. Work goes on.
func TestDeviceKeyIsReplaced(t *testing.T) {
	var later atomic.Int64
	clock := WithClock(func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	policy := WithCheckpoints(membership.CheckpointPolicy{Events: 1, Pause: time.Nanosecond})
	dir, keys := t.TempDir(), memory.New()
	openAda := func() *player { return openPlayer(t, "Ada", clock, policy, WithDir(dir), WithKeyStore(keys)) }
	ada, bob := openAda(), newPlayer(t, "Bob", clock, policy)
	ada.found(t)
	bob.join(t, ada)
	ada.write(t, "One. ")
	agree(t, ada, bob)
	id, first := ada.s.ID(), ada.self.Device.KEM
	if err := ada.Node.Close(); err != nil {
		t.Fatal(err)
	}
	stolen := vaultOf(t, dir, keys)
	if opened, boxes := stolen.open(t, bob); boxes == 0 || opened != boxes {
		t.Fatalf("before, a thief opens %d of %d boxes: the test shows nothing", opened, boxes)
	}

	later.Store(int64(31 * 24 * time.Hour))
	ada = openAda()
	var err error
	if ada.s, err = ada.OpenProject(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ada.open(t)
	until(t, "the old key is gone", func() bool { return ada.home.boxKeys.First() == nil })
	until(t, "Bob has heard of the new one", func() bool {
		d, _ := bob.s.membership.State().Device(ada.self.Device.ID)
		return d.KemID != identity.KemID(first)
	})
	bob.write(t, "Two. ")
	agree(t, ada, bob)
	if err := ada.Node.Close(); err != nil {
		t.Fatal(err)
	}
	stolen = vaultOf(t, dir, keys)
	if opened, boxes := stolen.open(t, bob); boxes == 0 || opened != 0 {
		t.Errorf("after, a thief opens %d of %d boxes", opened, boxes)
	}

	ada = openAda()
	if ada.s, err = ada.OpenProject(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ada.open(t)
	ada.write(t, "Three. ")
	agree(t, ada, bob)
	n := 0
	ada.s.membership.View(func(log *governance.Log) {
		for e := range log.All() {
			if e.Kind == governance.KindKeyUpdate && e.Device == ada.self.Device.ID {
				n++
			}
		}
	})
	if n != 1 {
		t.Errorf("%d updates in one month", n)
	}
}

// stolenVault is all that could open boxes in a stolen directory: seeds, from everything that its vault has, newest state and the one before.
type stolenVault struct{ seeds [][32]byte }

func vaultOf(t *testing.T, dir string, keys KeyStore) *stolenVault {
	t.Helper()
	at := filepath.Join(t.TempDir(), "stolen")
	if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vault", "vault.bak", "node"} {
		if err := os.Chmod(filepath.Join(at, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := &stolenVault{}
	for _, name := range []string{"vault", "vault.bak"} {
		if name == "vault.bak" {
			if err := os.Rename(filepath.Join(at, name), filepath.Join(at, "vault")); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := newConfig([]Option{WithDir(at), WithKeyStore(keys)})
		if err != nil {
			t.Fatal(err)
		}
		h, err := openHome(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		projects, err := h.projects()
		if err != nil || len(projects) != 1 {
			t.Fatal(projects, err)
		}
		ofProject := "kem-" + projects[0].ID.String() // there from the first update on
		for _, item := range []string{vaultDevice, vaultIdentity, "kem-first", ofProject} {
			if raw, err := h.vault.Get(t.Context(), item); err == nil {
				l.take(raw)
			} else if item != ofProject {
				t.Fatal(item, err)
			}
		}
		if err := h.close(); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// take takes every 32 bytes of what the vault has for a seed, and what an older version derived of one.
func (l *stolenVault) take(raw []byte) {
	for i := range len(raw) - 31 {
		seed := [32]byte(raw[i : i+32])
		l.seeds = append(l.seeds, seed)
		if len(raw) == 32 {
			l.seeds = append(l.seeds, derive.Key(seed[:], nil, "kem"))
		}
	}
}

// open opens the boxes to the device's first key that a member has seen.
func (l *stolenVault) open(t *testing.T, witness *player) (opened, boxes int) {
	t.Helper()
	for _, e := range witness.s.membership.State().Epochs() {
		for _, b := range e.Object.Boxes {
			d, ok := witness.s.membership.State().Device(b.Device)
			if !ok || d.ID == witness.self.Device.ID || b.KemID != identity.KemID(d.Cert.KEM) {
				continue
			}
			boxes++
			for _, seed := range l.seeds {
				if _, err := epoch.Open(e.Object, b.Device, kem.NewPrivateKey(seed)); err == nil {
					opened++
					break
				}
			}
		}
	}
	return opened, boxes
}
