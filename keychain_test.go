package collab

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/testbed/secretservice"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestScenario65NoKeychain opens nodes, new ones and one that was made before, where the keychain cannot be used.
func TestScenario65NoKeychain(t *testing.T) {
	scenario.Run(t, 65, "keychain absent, locked, without a collection, out of reach, or silent: typed errors at Open and Solo, "+
		"no file is made or changed", func(t *testing.T) {
		secretservice.Need(t)
		const password = "test-only-password\n"
		for _, c := range []struct {
			name  string
			start func(t *testing.T) string // returns the bus's address
			want  error
		}{
			{"absent", func(t *testing.T) string { return "unix:path=" + filepath.Join(t.TempDir(), "nobody") }, keystore.ErrUnavailable},
			{"locked", func(t *testing.T) string {
				s := secretservice.Start(t, password)
				s.WaitUnlocked(t)
				s.Lock(t)
				return s.Address
			}, keystore.ErrLocked},
			{"no collection", func(t *testing.T) string { return secretservice.Start(t, "").Address }, keystore.ErrUnavailable},
			{"out of reach", func(t *testing.T) string { return secretservice.StartDenied(t, password).Address }, keystore.ErrDenied},
			{"silent", func(t *testing.T) string {
				s := secretservice.Start(t, password)
				s.WaitUnlocked(t)
				s.Pause(t)
				return s.Address
			}, keystore.ErrTimeout},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Setenv("DBUS_SESSION_BUS_ADDRESS", c.start(t))
				wantNoNode(t, c.want)
			})
		}
	})
}

// wantNoNode makes sure that nothing opens and nothing changes.
func wantNoNode(t *testing.T, want error) {
	t.Helper()
	parent := t.TempDir()
	fresh, made := filepath.Join(parent, "fresh"), filepath.Join(parent, "made")
	n, err := Open(t.Context(), WithDir(made), WithName("Ada"), WithKeyStore(memory.New()), WithListen("/ip4/127.0.0.1/udp/0/quic-v1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, parent)
	for _, dir := range []string{fresh, made} {
		n, err := Open(t.Context(), WithDir(dir), WithName("Ada"))
		if err == nil {
			n.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("Open(%s): %v; want %v", filepath.Base(dir), err, want)
		}
	}
	if _, err := Solo(FileCustodian(filepath.Join(parent, "stick")), nil, filepath.Join(parent, "recovery")); !errors.Is(err, want) {
		t.Errorf("Solo: %v; want %v", err, want)
	}
	if after := contents(t, parent); !maps.Equal(before, after) {
		t.Errorf("files before: %d, after: %d, or their content changed", len(before), len(after))
	}
}

// contents are the hashes of all files and folders below dir.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out[path] = [32]byte{}
			return err
		}
		raw, err := os.ReadFile(path)
		out[path] = sha256.Sum256(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
