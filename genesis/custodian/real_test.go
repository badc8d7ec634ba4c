package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/secretservice"
	"github.com/studio-whip/collab/keystore/osring"
)

// The ceremony of one person with the real parts: a Secret Service, a token (a card in software behind a real card
// reader service with -tags piv, else one in memory) and a phrase.

const (
	realChild   = "COLLAB_REAL_FACTORS" // set in the child, whose only keychain is the private one
	realProfile = "ceremony-of-this-module"
)

func TestRealFactors(t *testing.T) {
	secretservice.Need(t)
	startToken(t)
	s := secretservice.Start(t, "test-only-password\n")
	s.WaitUnlocked(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRealFactorsChild$", "-test.v")
	cmd.Env = append(os.Environ(), realChild+"=1", "DBUS_SESSION_BUS_ADDRESS="+s.Address)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRealFactorsChild")) {
		t.Fatalf("the ceremony: %v", err)
	}
}

func TestRealFactorsChild(t *testing.T) {
	if os.Getenv(realChild) == "" {
		return
	}
	cost.ForTests(t)
	ring, err := osring.Open(realProfile)
	if err != nil {
		t.Fatal(err)
	}
	device := realToken(t)
	here, p := t.TempDir(), new(person)
	place := here
	open := map[string]func() genesis.Custodian{
		"keychain": func() genesis.Custodian { return KeyStore(ring) },
		"token":    func() genesis.Custodian { return Token(device, "4242", pin(testPIN, nil)) },
		"phrase":   func() genesis.Custodian { return Phrase(p.ask, filepath.Join(place, "recovery")) },
	}
	ceremony, err := Solo(open["keychain"](), open["token"](), open["phrase"]())
	if err != nil {
		t.Fatal(err)
	}
	f := founding(t)
	f.Ceremony, f.Journal = ceremony, Journal(ring)
	root, err := genesis.Found(t.Context(), rand.Reader, testTime, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Elsewhere", func(t *testing.T) {
		place = t.TempDir()
		copyFile(t, filepath.Join(here, "recovery"), filepath.Join(place, "recovery"))
		eachSubset(t, root, open)
	})
	place = here
	t.Run("Refresh", func(t *testing.T) {
		res, err := genesis.Refresh(t.Context(), rand.Reader, genesis.Change{
			Root: root, From: ceremony.Custodians, Next: ceremony, Now: testTime, Journal: f.Journal,
			Store: func(context.Context, *genesis.Root) error { return nil },
		})
		if err != nil || len(res.Left) > 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		for _, h := range genesis.CheckShares(t.Context(), res.Root, ceremony.Custodians) {
			if h.Err != nil {
				t.Errorf("drill at %s: %v", h.Custodian, h.Err)
			}
		}
		for _, h := range genesis.CheckShares(t.Context(), root, ceremony.Custodians) {
			if !errors.Is(h.Err, genesis.ErrNoShare) {
				t.Errorf("an old share is still at %s: %v", h.Custodian, h.Err)
			}
		}
	})
	if !strings.Contains(p.paper, " ") {
		t.Error("nobody was shown a phrase")
	}
}
