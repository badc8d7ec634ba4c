package file

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/testbed/mutant"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a vault file with two secrets under [32]byte{1}.
func sample(t testing.TB) []byte {
	t.Helper()
	h := header{Head: wire.NewHead(), Magic: magic, Generation: 3, Salt: [16]byte{9}}
	key, err := keySource{newSecret(1)}.key(&h, false)
	if err != nil {
		t.Fatal(err)
	}
	img, err := newImage(key, h, entries{"a": []byte("first"), "b": []byte("second")})
	if err != nil {
		t.Fatal(err)
	}
	return img.raw
}

func openBytes(t testing.TB, dir string, raw []byte) error {
	t.Helper()
	path := filepath.Join(dir, "vault")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := OpenKey(path, [32]byte{1})
	if err == nil {
		v.Close()
	}
	return err
}

// Every truncation and every flipped bit is told as damage, never as a wrong passphrase and never opened.
func TestDamage(t *testing.T) {
	raw, dir := sample(t), folder(t)
	if err := openBytes(t, dir, raw); err != nil {
		t.Fatalf("whole: %v", err)
	}
	for n := range raw {
		if err := openBytes(t, dir, raw[:n]); !errors.Is(err, keystore.ErrDamaged) {
			t.Fatalf("first %d bytes of %d: %v; want ErrDamaged", n, len(raw), err)
		}
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if err := openBytes(t, dir, bad); !errors.Is(err, keystore.ErrDamaged) {
			t.Fatalf("byte %d of %d altered: %v; want ErrDamaged", i, len(raw), err)
		}
	}
	for _, foreign := range []string{"", "\x00", "SQLite format 3\x00", strings.Repeat("x", 5000)} {
		err := openBytes(t, dir, []byte(foreign))
		if !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("foreign file of %d bytes: %v; want ErrDamaged", len(foreign), err)
		} else if !strings.Contains(err.Error(), ".bak") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
	if err := openBytes(t, dir, make([]byte, maxFile+1)); !errors.Is(err, keystore.ErrDamaged) {
		t.Errorf("huge file: %v; want ErrDamaged", err)
	}
}

// forge makes a file with a right checksum, as somebody without the key can.
func forge(t *testing.T, change func(h *header, sealed *[]byte)) []byte {
	t.Helper()
	img, err := parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	h, sealed := img.header, bytes.Clone(img.sealed)
	change(&h, &sealed)
	c := container{Header: wire.Marshal(h), Sealed: sealed}
	c.Sum = c.sum()
	return wire.Marshal(c)
}

func TestForgery(t *testing.T) {
	dir := folder(t)
	for _, c := range []struct {
		name   string
		change func(h *header, sealed *[]byte)
		want   error
	}{
		{"nothing", func(*header, *[]byte) {}, nil},
		{"generation", func(h *header, _ *[]byte) { h.Generation++ }, keystore.ErrWrongPassphrase},
		{"salt", func(h *header, _ *[]byte) { h.Salt[3]++ }, keystore.ErrWrongPassphrase},
		{"content", func(_ *header, s *[]byte) { (*s)[len(*s)-1]++ }, keystore.ErrWrongPassphrase},
		{"no content", func(_ *header, s *[]byte) { *s = nil }, keystore.ErrWrongPassphrase},
		{"magic", func(h *header, _ *[]byte) { h.Magic = "clbb" }, keystore.ErrDamaged},
		{"version", func(h *header, _ *[]byte) { h.V = 2 }, wire.ErrVersion},
		{"suite", func(h *header, _ *[]byte) { h.Suite = 2 }, wire.ErrVersion},
		{"stretching", func(h *header, _ *[]byte) { h.KDF = &seal.Cost{Passes: 3, Memory: 256 << 10, Threads: 4} },
			keystore.ErrWrongPassphrase},
	} {
		if err := openBytes(t, dir, forge(t, c.change)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
}

// A hostile header must not make the machine work or allocate: the passphrase is not even asked for.
func TestCostBounds(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "vault")
	for _, c := range []seal.Cost{
		{Passes: 3, Memory: seal.MaxMemory + 1, Threads: 4},
		{Passes: 3, Memory: 1<<32 - 1, Threads: 4},
		{Passes: seal.MaxPasses + 1, Memory: seal.MinMemory, Threads: 4},
		{Passes: 1<<32 - 1, Memory: seal.MinMemory, Threads: 4},
		{Passes: 3, Memory: seal.MinMemory, Threads: seal.MaxThreads + 1},
		{Passes: 0, Memory: seal.MinMemory, Threads: 4},
		{Passes: 3, Memory: seal.MinMemory, Threads: 0},
		{Passes: 3, Memory: seal.MinMemory - 1, Threads: 4},
		{Passes: 1, Memory: 64, Threads: 1},
	} {
		raw := forge(t, func(h *header, _ *[]byte) { h.KDF = &c })
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, func(bool) ([]byte, error) {
			t.Errorf("%v: the passphrase was asked for", c)
			return []byte("x"), nil
		})
		if !errors.Is(err, keystore.ErrDamaged) || !errors.Is(err, seal.ErrCost) {
			t.Errorf("%v: %v; want ErrDamaged and seal.ErrCost", c, err)
		}
	}
}

// golden is a vault under the passphrase "correct horse" at the tests' cost, with seed = 32 times 0x42.
func TestGolden(t *testing.T) {
	cost.ForTests(t)
	golden := filepath.Join("..", "..", "testdata", "keystore", "vault.hex")
	path := filepath.Join(folder(t), "vault")
	secret := strings.Repeat("\x42", 32)
	if *update {
		v := mustOpen(t, path)
		mustPut(t, v, "seed", secret)
		v.Close()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(hex.EncodeToString(raw)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	v := mustOpen(t, path)
	wantSecret(t, v, "seed", secret)
	if g := v.Generation(); g != 2 {
		t.Errorf("generation %d; want 2", g)
	}
}

// checkParsed is what holds of any bytes that are read as a vault; key and header are those of the only vault that was
// ever sealed under key.
func checkParsed(t *testing.T, raw []byte, key [seal.KeySize]byte, header []byte) (taken bool) {
	t.Helper()
	img, err := parse(raw)
	if err != nil {
		if !errors.Is(err, keystore.ErrDamaged) && !errors.Is(err, wire.ErrVersion) {
			t.Fatalf("untyped error %v", err)
		}
		return false
	}
	again := container{Header: wire.Marshal(img.header), Sealed: img.sealed}
	again.Sum = again.sum()
	if !bytes.Equal(wire.Marshal(again), raw) {
		t.Fatal("encodes to other bytes")
	}
	if _, err := img.open(key); err == nil && !bytes.Equal(again.Header, header) {
		t.Fatal("a header that was never sealed opens")
	}
	return true
}

func sampleKey(t testing.TB) [seal.KeySize]byte {
	t.Helper()
	key, err := keySource{newSecret(1)}.key(&header{Salt: [16]byte{9}}, false)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func FuzzParse(f *testing.F) {
	whole := sample(f)
	f.Add(whole)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) { checkParsed(t, raw, sampleKey(t), parsedHeader(t, whole)) })
}

func TestScenario067HostileVault(t *testing.T) {
	scenario.Run(t, 67, "a vault file, whole, cut anywhere, each byte flipped: no panic, typed errors, and what decodes encodes to "+
		"the same bytes", func(t *testing.T) {
		whole, taken := sample(t), 0
		for raw := range mutant.Of(whole) {
			if checkParsed(t, raw, sampleKey(t), parsedHeader(t, whole)) {
				taken++
			}
		}
		if taken != 1 { // the checksum finds every single change
			t.Errorf("%d variants of a vault were taken; want the vault alone", taken)
		}
	})
}

func parsedHeader(t *testing.T, raw []byte) []byte {
	t.Helper()
	var c container
	if err := wire.Unmarshal(raw, &c, maxFile); err != nil {
		t.Fatal(err)
	}
	return c.Header
}

func newSecret(first byte) *secmem.Bytes {
	b := make([]byte, 32)
	b[0] = first
	return secmem.New(b)
}
