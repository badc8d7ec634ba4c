package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"testing/iotest"

	"github.com/studio-whip/collab/internal/cost"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The AEAD vector of draft-irtf-cfrg-xchacha, appendix A.3.1.
func TestXChaChaVector(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/xchacha20poly1305.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Key, Nonce, AAD, Plaintext, Ciphertext string }
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	key, nonce := [KeySize]byte(unhex(t, v.Key)), [NonceSize]byte(unhex(t, v.Nonce))
	if got := Seal(key, nonce, unhex(t, v.AAD), []byte(v.Plaintext)); hex.EncodeToString(got) != v.Ciphertext {
		t.Errorf("sealed %x; want %s", got, v.Ciphertext)
	}
	if got, err := Open(key, nonce, unhex(t, v.AAD), unhex(t, v.Ciphertext)); err != nil || string(got) != v.Plaintext {
		t.Errorf("opened %q, %v", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	key, nonce := [KeySize]byte{1}, [NonceSize]byte{2}
	sealed := Seal(key, nonce, []byte("aad"), []byte("secret"))
	if len(sealed) != len("secret")+Overhead {
		t.Errorf("sealed to %d bytes", len(sealed))
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if got, err := Open(key, nonce, []byte("aad"), bad); !errors.Is(err, ErrOpen) || got != nil {
			t.Errorf("byte %d altered: %q, %v; want ErrOpen", i, got, err)
		}
		if _, err := Open(key, nonce, []byte("aad"), sealed[:i]); !errors.Is(err, ErrOpen) {
			t.Errorf("cut to %d bytes: %v; want ErrOpen", i, err)
		}
	}
	for _, c := range []struct {
		name  string
		key   [KeySize]byte
		nonce [NonceSize]byte
		aad   string
	}{
		{"another key", [KeySize]byte{2}, nonce, "aad"},
		{"another nonce", key, [NonceSize]byte{3}, "aad"},
		{"another place", key, nonce, "aae"},
		{"no place", key, nonce, ""},
	} {
		if _, err := Open(c.key, c.nonce, []byte(c.aad), sealed); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v; want ErrOpen", c.name, err)
		}
	}
}

func TestRandom(t *testing.T) {
	key := [KeySize]byte{1}
	for _, n := range []int{0, 1, 32, 5000} {
		plain := bytes.Repeat([]byte{7}, n)
		sealed, err := Random(rand.Reader, key, []byte("aad"), plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != NonceSize+n+Overhead {
			t.Errorf("%d bytes sealed have %d", n, len(sealed))
		}
		if got, err := OpenRandom(key, []byte("aad"), sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v", n, err)
		}
		again, err := Random(rand.Reader, key, []byte("aad"), plain)
		if err != nil || bytes.Equal(again[:NonceSize], sealed[:NonceSize]) {
			t.Errorf("the same nonce twice, or %v", err)
		}
		for cut := range min(len(sealed), NonceSize+Overhead+2) {
			if _, err := OpenRandom(key, []byte("aad"), sealed[:cut]); cut < len(sealed) && !errors.Is(err, ErrOpen) {
				t.Errorf("cut to %d: %v; want ErrOpen", cut, err)
			}
		}
	}
	broken := errors.New("no entropy")
	if _, err := Random(iotest.ErrReader(broken), key, nil, nil); !errors.Is(err, broken) {
		t.Errorf("without randomness: %v", err)
	}
	if _, err := Random(bytes.NewReader(make([]byte, NonceSize-1)), key, nil, nil); err == nil {
		t.Error("sealed with too little randomness")
	}
}

// Keys that another implementation of Argon2id gives.
func TestStretchVectors(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/argon2id.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Passphrase, Salt string
		Passes, Memory   uint32
		Threads          uint8
		Key              string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 3 {
		t.Fatalf("%d vectors; want 3", len(vectors))
	}
	for _, v := range vectors {
		c := Cost{Passes: v.Passes, Memory: v.Memory, Threads: v.Threads}
		got := c.Stretch([]byte(v.Passphrase), [SaltSize]byte(unhex(t, v.Salt)))
		if hex.EncodeToString(got[:]) != v.Key {
			t.Errorf("%+v: %x; want %s", c, got, v.Key)
		}
	}
}

func TestCostBounds(t *testing.T) {
	if c := DefaultCost(); c != (Cost{Passes: 3, Memory: 256 << 10, Threads: 4}) || c.Check() != nil {
		t.Errorf("default cost %+v, %v", c, c.Check())
	}
	for _, c := range []struct {
		cost Cost
		want error
	}{
		{Cost{Passes: 1, Memory: MinMemory, Threads: 1}, nil},
		{Cost{Passes: MaxPasses, Memory: MaxMemory, Threads: MaxThreads}, nil},
		{Cost{Passes: 0, Memory: MinMemory, Threads: 1}, ErrCost},
		{Cost{Passes: MaxPasses + 1, Memory: MinMemory, Threads: 1}, ErrCost},
		{Cost{Passes: 1, Memory: MinMemory - 1, Threads: 1}, ErrCost},
		{Cost{Passes: 1, Memory: MaxMemory + 1, Threads: 1}, ErrCost},
		{Cost{Passes: 1, Memory: MinMemory, Threads: 0}, ErrCost},
		{Cost{Passes: 1, Memory: MinMemory, Threads: MaxThreads + 1}, ErrCost},
		{Cost{}, ErrCost},
	} {
		if err := c.cost.Check(); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v; want %v", c.cost, err, c.want)
		}
	}
}

// The tests' cost is written and read while such a test runs, and neither before nor after.
func TestCheapCost(t *testing.T) {
	if cost.MinMemory() != MinMemory {
		t.Errorf("least memory %d KiB; documented are %d", cost.MinMemory(), MinMemory)
	}
	var cheap Cost
	t.Run("within", func(t *testing.T) {
		cost.ForTests(t)
		cheap = DefaultCost()
		if err := cheap.Check(); err != nil {
			t.Errorf("%+v: %v", cheap, err)
		}
		if cheap.Memory >= MinMemory {
			t.Errorf("%+v is not cheap", cheap)
		}
		if err := (Cost{Passes: 1, Memory: MaxMemory + 1, Threads: 1}).Check(); !errors.Is(err, ErrCost) {
			t.Errorf("upper bound: %v", err)
		}
	})
	if err := cheap.Check(); !errors.Is(err, ErrCost) {
		t.Errorf("%+v outside of such a test: %v; want ErrCost", cheap, err)
	}
}

func FuzzOpenRandom(f *testing.F) {
	key := [KeySize]byte{1}
	sealed, err := Random(bytes.NewReader(make([]byte, NonceSize)), key, nil, []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := OpenRandom(key, nil, raw)
		if err == nil && (!bytes.Equal(raw, sealed) || string(got) != "secret") {
			t.Fatal("opened what was not sealed")
		}
		if err != nil && !errors.Is(err, ErrOpen) {
			t.Fatalf("untyped error: %v", err)
		}
	})
}
