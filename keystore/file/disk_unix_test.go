//go:build unix

package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

func TestExposed(t *testing.T) {
	key := [32]byte{1}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir, path string) error
	}{
		{"readable for the group", func(_ *testing.T, _, path string) error { return os.Chmod(path, 0o640) }},
		{"readable for all", func(_ *testing.T, _, path string) error { return os.Chmod(path, 0o604) }},
		{"writable for all", func(_ *testing.T, _, path string) error { return os.Chmod(path, 0o602) }},
		{"folder writable for the group", func(_ *testing.T, dir, _ string) error { return os.Chmod(dir, 0o770) }},
		{"folder writable for all", func(_ *testing.T, dir, _ string) error { return os.Chmod(dir, 0o707) }},
		{"symbolic link", func(_ *testing.T, dir, path string) error {
			if err := os.Rename(path, filepath.Join(dir, "elsewhere")); err != nil {
				return err
			}
			return os.Symlink("elsewhere", path)
		}},
		{"folder in its place", func(_ *testing.T, _, path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t)
			path := filepath.Join(dir, "vault")
			v, err := OpenKey(path, key)
			if err != nil {
				t.Fatal(err)
			}
			v.Close()
			if err := c.spoil(t, dir, path); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKey(path, key); !errors.Is(err, keystore.ErrExposed) {
				t.Fatalf("OpenKey: %v; want ErrExposed", err)
			}
		})
	}
}

func TestNewVaultInOpenFolder(t *testing.T) {
	dir := folder(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vault")
	if _, err := OpenKey(path, [32]byte{}); !errors.Is(err, keystore.ErrExposed) {
		t.Fatalf("OpenKey: %v; want ErrExposed", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a vault was made: %v", err)
	}
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	v, err := OpenKey(path, [32]byte{})
	if err != nil {
		t.Fatalf("in a sticky folder, where nobody can replace it: %v", err)
	}
	v.Close()
}

// A file of another user is refused even if its mode is right. Only root can make one.
func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file away")
	}
	path := filepath.Join(folder(t), "vault")
	v, err := OpenKey(path, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(path, [32]byte{1}); !errors.Is(err, keystore.ErrExposed) {
		t.Fatalf("OpenKey: %v; want ErrExposed", err)
	}
}
