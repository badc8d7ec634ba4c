package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/disk"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
)

func phrase(s string) PassFunc {
	return func(bool) ([]byte, error) { return []byte(s), nil }
}

// mustOpen opens the vault at path under the passphrase "correct horse".
func mustOpen(t *testing.T, path string) *Vault {
	t.Helper()
	v, err := Open(path, phrase("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func mustPut(t *testing.T, v *Vault, name, secret string) {
	t.Helper()
	if err := v.Put(t.Context(), name, []byte(secret)); err != nil {
		t.Fatal(err)
	}
}

func wantSecret(t *testing.T, v *Vault, name, secret string) {
	t.Helper()
	got, err := v.Get(t.Context(), name)
	if err != nil || string(got) != secret {
		t.Fatalf("Get(%s) = %q, %v; want %q", name, got, err, secret)
	}
}

// folder is a private one: the system's temporary folder may be writable for others.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConformance(t *testing.T) {
	cost.ForTests(t)
	t.Run("Passphrase", func(t *testing.T) {
		keystoretest.Run(t, func(t *testing.T) keystore.Store { return mustOpen(t, filepath.Join(folder(t), "vault")) })
	})
	t.Run("Key", func(t *testing.T) {
		keystoretest.Run(t, func(t *testing.T) keystore.Store {
			v, err := OpenKey(filepath.Join(folder(t), "vault"), [32]byte{1, 2, 3})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { v.Close() })
			return v
		})
	})
}

func TestSecretsSurviveReopening(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(folder(t), "deep", "er", "vault")
	var asked []bool
	pass := func(create bool) ([]byte, error) {
		asked = append(asked, create)
		return []byte("correct horse"), nil
	}
	v, err := Open(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, v, "a", "first")
	mustPut(t, v, "b", "second")
	mustPut(t, v, "a", "third")
	if err := v.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if g := v.Generation(); g != 5 {
		t.Errorf("generation %d after creation and four changes; want 5", g)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v, err = Open(path, pass)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	wantSecret(t, v, "a", "third")
	if _, err := v.Get(t.Context(), "b"); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("deleted secret: %v", err)
	}
	if g := v.Generation(); g != 5 {
		t.Errorf("generation %d after reopening; want 5", g)
	}
	if fmt.Sprint(asked) != "[true false]" {
		t.Errorf("passphrase asked for with create = %v; want [true false]", asked)
	}
}

func TestWrongPassphrase(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(folder(t), "vault")
	v := mustOpen(t, path)
	mustPut(t, v, "a", "kept")
	v.Close()
	for _, wrong := range []string{"incorrect horse", "", "correct horse "} {
		if _, err := Open(path, phrase(wrong)); !errors.Is(err, keystore.ErrWrongPassphrase) {
			t.Errorf("passphrase %q: %v; want ErrWrongPassphrase", wrong, err)
		}
	}
	if _, err := OpenKey(path, [32]byte{}); !errors.Is(err, keystore.ErrWrongPassphrase) {
		t.Errorf("key in place of a passphrase: %v", err)
	}
	gone := errors.New("the person went away")
	if _, err := Open(path, func(bool) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("refused passphrase: %v", err)
	}
	wantSecret(t, mustOpen(t, path), "a", "kept") // and none of the failures kept the lock
}

func TestEmptyPassphraseMakesNoVault(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(folder(t), "vault")
	if _, err := Open(path, phrase("")); !errors.Is(err, keystore.ErrWrongPassphrase) {
		t.Fatalf("Open: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a vault was made: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	path := filepath.Join(folder(t), "vault")
	v, err := OpenKey(path, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	if _, err := OpenKey(path, [32]byte{2}); !errors.Is(err, keystore.ErrWrongPassphrase) {
		t.Errorf("another key: %v", err)
	}
	if _, err := Open(path, phrase("correct horse")); !errors.Is(err, keystore.ErrWrongPassphrase) {
		t.Errorf("passphrase in place of a key: %v", err)
	}
}

func TestPassphraseIsWiped(t *testing.T) {
	cost.ForTests(t)
	secret := []byte("correct horse")
	v, err := Open(filepath.Join(folder(t), "vault"), func(bool) ([]byte, error) { return secret, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Error("the passphrase is still in memory")
	}
}

func TestInUse(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(folder(t), "vault")
	v := mustOpen(t, path)
	if _, err := Open(path, phrase("correct horse")); !errors.Is(err, keystore.ErrInUse) {
		t.Fatalf("second Open: %v; want ErrInUse", err)
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mustOpen(t, path)
}

func TestClosed(t *testing.T) {
	cost.ForTests(t)
	v := mustOpen(t, filepath.Join(folder(t), "vault"))
	v.Close()
	if _, err := v.Get(t.Context(), "a"); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := v.Put(t.Context(), "a", []byte("x")); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Put: %v", err)
	}
	if err := v.Delete(t.Context(), "a"); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Delete: %v", err)
	}
}

func TestBackupIsTheStateBefore(t *testing.T) {
	cost.ForTests(t)
	dir := folder(t)
	path := filepath.Join(dir, "vault")
	v := mustOpen(t, path)
	mustPut(t, v, "a", "old")
	mustPut(t, v, "a", "new")
	v.Close()
	if err := os.Rename(path+".bak", path); err != nil {
		t.Fatal(err)
	}
	v = mustOpen(t, path)
	wantSecret(t, v, "a", "old")
	if g := v.Generation(); g != 2 {
		t.Errorf("generation %d; want 2, one less than was written", g)
	}
}

// A vault that vanished must not come back empty.
func TestMissingVaultWithBackup(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(folder(t), "vault")
	v := mustOpen(t, path)
	mustPut(t, v, "a", "kept")
	v.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, phrase("correct horse")); !errors.Is(err, keystore.ErrDamaged) {
		t.Fatalf("Open: %v; want ErrDamaged", err)
	}
}

func TestWriteLeavesNothingBehind(t *testing.T) {
	cost.ForTests(t)
	dir := folder(t)
	path := filepath.Join(dir, "vault")
	if err := os.WriteFile(disk.Scratch(path), []byte("what a crash left"), 0o644); err != nil {
		t.Fatal(err)
	}
	v := mustOpen(t, path)
	mustPut(t, v, "a", "x")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		names = append(names, f.Name())
	}
	if got := strings.Join(names, " "); got != "vault vault.bak vault.lock" {
		t.Errorf("files: %s", got)
	}
}

// A write that fails leaves the old secrets, on the disk and in the open vault.
func TestFailedWrite(t *testing.T) {
	cost.ForTests(t)
	dir := folder(t)
	path := filepath.Join(dir, "vault")
	v := mustOpen(t, path)
	mustPut(t, v, "a", "old")
	// A folder that is not empty stands where the new file would be written.
	if err := os.MkdirAll(filepath.Join(disk.Scratch(path), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := v.Put(t.Context(), "a", []byte("new")); err == nil {
		t.Fatal("Put succeeded")
	}
	wantSecret(t, v, "a", "old")
	if err := os.RemoveAll(disk.Scratch(path)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, v, "b", "later")
	v.Close()
	v = mustOpen(t, path)
	wantSecret(t, v, "a", "old")
	wantSecret(t, v, "b", "later")
}

func TestFullVault(t *testing.T) {
	key := [32]byte{7}
	e := make(entries)
	for i := range MaxEntries {
		e[fmt.Sprintf("%0*d", keystore.MaxName, i)] = make([]byte, keystore.MaxSecret)
	}
	img, err := newImage(key, header{Generation: 1}, e)
	if err != nil {
		t.Fatalf("a vault of the largest size: %v", err)
	}
	if got, err := img.open(key); err != nil || len(got) != MaxEntries {
		t.Fatalf("it holds %d secrets, %v", len(got), err)
	}
	if len(img.raw) > maxFile {
		t.Fatalf("it has %d bytes and could not be read again", len(img.raw))
	}
	e["one more"] = []byte{1}
	if _, err := newImage(key, header{Generation: 1}, e); !errors.Is(err, keystore.ErrTooBig) {
		t.Fatalf("one secret more: %v; want ErrTooBig", err)
	}
}

func TestPrintsNoSecret(t *testing.T) {
	v, err := OpenKey(filepath.Join(folder(t), "vault"), [32]byte([]byte("hunter2 hunter2 hunter2 hunter2.")))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	key := v.key.Bytes()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		out := fmt.Sprintf(format, v)
		for _, leak := range []string{string(key), fmt.Sprintf("%x", key), strings.Trim(fmt.Sprint(key), "[]"), "hunter2"} {
			if strings.Contains(out, leak) {
				t.Errorf("%s shows the key: %s", format, out)
			}
		}
	}
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ask := func(create bool) ([]byte, error) { return []byte("read this from a person"), nil }
	vault, err := Open(filepath.Join(dir, "keys"), ask)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer vault.Close()
	fmt.Println(vault.Put(context.Background(), "seed", []byte("not really random")))
	// Output: <nil>
}
