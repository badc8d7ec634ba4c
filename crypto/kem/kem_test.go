package kem

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(b byte) *PrivateKey {
	return NewPrivateKey([SeedSize]byte(bytes.Repeat([]byte{b}, SeedSize)))
}

func mustSeal(t *testing.T, p *PublicKey, info, aad, secret []byte) []byte {
	t.Helper()
	sealed, err := p.Seal(rand.Reader, info, aad, secret)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealAndOpen(t *testing.T) {
	k := newKey(1)
	for _, n := range []int{0, 1, 32, 1000, MaxSecretSize} {
		secret := bytes.Repeat([]byte{7}, n)
		sealed := mustSeal(t, k.Public(), []byte("info"), []byte("aad"), secret)
		if len(sealed) != n+Overhead {
			t.Errorf("%d bytes sealed have %d; want %d", n, len(sealed), n+Overhead)
		}
		got, err := k.Open([]byte("info"), []byte("aad"), sealed)
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := k.Public().Seal(rand.Reader, nil, nil, make([]byte, MaxSecretSize+1)); err == nil {
		t.Error("a secret that is too long was sealed")
	}
}

// A wiped key opens nothing, whoever still has it, and still says what it was.
func TestWipe(t *testing.T) {
	k := newKey(1)
	sealed := mustSeal(t, k.Public(), nil, nil, []byte("secret"))
	seed := (*k.secret.Get()).seed.Bytes()
	k.Wipe()
	k.Wipe()
	if !bytes.Equal(seed, make([]byte, SeedSize)) {
		t.Errorf("the memory holds %x", seed)
	}
	if got, err := k.Open(nil, nil, sealed); !errors.Is(err, ErrWiped) || got != nil {
		t.Errorf("%q, %v", got, err)
	}
	if !bytes.Equal(k.Public().Bytes(), newKey(1).Public().Bytes()) {
		t.Error("it names another public key")
	}
}

func TestOpenRefuses(t *testing.T) {
	k, other := newKey(1), newKey(2)
	sealed := mustSeal(t, k.Public(), []byte("info"), []byte("aad"), []byte("secret"))
	alter := func(i int) []byte {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		return bad
	}
	for _, c := range []struct {
		name      string
		key       *PrivateKey
		info, aad string
		sealed    []byte
	}{
		{"another key", other, "info", "aad", sealed},
		{"another purpose", k, "inf", "aad", sealed},
		{"no purpose", k, "", "aad", sealed},
		{"another place", k, "info", "aae", sealed},
		{"purpose and place swapped", k, "aad", "info", sealed},
		{"ML-KEM ciphertext altered", k, "info", "aad", alter(0)},
		{"ML-KEM ciphertext altered at its end", k, "info", "aad", alter(1087)},
		{"X25519 share altered", k, "info", "aad", alter(1088)},
		{"secret altered", k, "info", "aad", alter(CiphertextSize)},
		{"tag altered", k, "info", "aad", alter(len(sealed) - 1)},
		{"cut", k, "info", "aad", sealed[:len(sealed)-1]},
		{"one byte more", k, "info", "aad", append(bytes.Clone(sealed), 0)},
		{"ciphertext of the KEM alone", k, "info", "aad", sealed[:CiphertextSize]},
		{"empty", k, "info", "aad", nil},
		{"too long", k, "info", "aad", make([]byte, Overhead+MaxSecretSize+1)},
		{"zeros", k, "info", "aad", make([]byte, Overhead+6)},
	} {
		if got, err := c.key.Open([]byte(c.info), []byte(c.aad), c.sealed); !errors.Is(err, ErrOpen) || got != nil {
			t.Errorf("%s: %q, %v; want ErrOpen", c.name, got, err)
		}
	}
}

func TestParsePublicKey(t *testing.T) {
	k := newKey(1)
	raw := bytes.Clone(k.Public().Bytes())
	p, err := ParsePublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw) // the key keeps a copy
	sealed := mustSeal(t, p, nil, nil, []byte("secret"))
	if got, err := k.Open(nil, nil, sealed); err != nil || string(got) != "secret" {
		t.Errorf("through the parsed key: %q, %v", got, err)
	}
	if !bytes.Equal(p.Bytes(), k.Public().Bytes()) {
		t.Error("encoding differs")
	}
	for _, n := range []int{0, 32, PublicKeySize - 1, PublicKeySize + 1} {
		if _, err := ParsePublicKey(make([]byte, n)); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%d bytes: %v; want ErrPublicKey", n, err)
		}
	}
	// FIPS 203 wants the coefficients of an ML-KEM key reduced.
	if _, err := ParsePublicKey(bytes.Repeat([]byte{0xff}, PublicKeySize)); !errors.Is(err, ErrPublicKey) {
		t.Errorf("coefficients out of range: %v; want ErrPublicKey", err)
	}
}

// An X25519 share of small order makes that half worthless; it must not make the secret known, and must not panic.
func TestSmallOrderX25519(t *testing.T) {
	k := newKey(1)
	raw := bytes.Clone(k.Public().Bytes())
	clear(raw[PublicKeySize-32:])
	p, err := ParsePublicKey(raw)
	if err != nil {
		return // refused, as good
	}
	sealed, err := p.Seal(rand.Reader, nil, nil, []byte("secret"))
	if err != nil {
		return
	}
	if got, err := k.Open(nil, nil, sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("opened %q, %v", got, err)
	}
}

func TestRandomFails(t *testing.T) {
	broken := errors.New("no entropy")
	if _, err := newKey(1).Public().Seal(iotest.ErrReader(broken), nil, nil, []byte("x")); err == nil {
		t.Error("sealed without randomness")
	}
	k := newKey(1).Public()
	a, b := mustSeal(t, k, nil, nil, []byte("x")), mustSeal(t, k, nil, nil, []byte("x"))
	if bytes.Equal(a, b) {
		t.Error("two seals are equal")
	}
	fixed := func() []byte {
		sealed, err := k.Seal(mathrand.NewChaCha8([32]byte{1}), nil, nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	if !bytes.Equal(fixed(), fixed()) {
		t.Error("the same randomness gave two results: some came from elsewhere")
	}
}

// stdKeys returns the standard library's keys of the same seed.
func stdKeys(t *testing.T, seed []byte) (hpke.PrivateKey, hpke.PublicKey) {
	t.Helper()
	priv, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return priv, priv.PublicKey()
}

// What the standard library's independent HPKE seals opens here, and the other way round.
func TestAgainstStandardLibrary(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for range 20 {
		seed := bytesOf(SeedSize)
		k := NewPrivateKey([SeedSize]byte(seed))
		priv, pub := stdKeys(t, seed)
		if !bytes.Equal(k.Public().Bytes(), pub.Bytes()) {
			t.Fatal("one seed, two public keys")
		}
		info, aad, secret := bytesOf(r.IntN(50)), bytesOf(r.IntN(50)), bytesOf(r.IntN(100))

		sealed := mustSeal(t, k.Public(), info, aad, secret)
		recipient, err := hpke.NewRecipient(sealed[:CiphertextSize], priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := recipient.Open(aad, sealed[CiphertextSize:]); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("sealed here, opened there: %v", err)
		}

		enc, sender, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
		if err != nil {
			t.Fatal(err)
		}
		ct, err := sender.Seal(aad, secret)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(info, aad, slices.Concat(enc, ct)); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("sealed there, opened here: %v", err)
		}
	}
}

// The published vector of the suite: X-Wing, HKDF-SHA256, ChaCha20-Poly1305.
func TestPublishedVector(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/hpke-xwing.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Seed, Public, Info, AAD, Enc, Ciphertext, Plaintext string }
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	k := NewPrivateKey([SeedSize]byte(unhex(t, v.Seed)))
	if !bytes.Equal(k.Public().Bytes(), unhex(t, v.Public)) {
		t.Error("public key differs")
	}
	got, err := k.Open(unhex(t, v.Info), unhex(t, v.AAD), unhex(t, v.Enc+v.Ciphertext))
	if err != nil || !bytes.Equal(got, unhex(t, v.Plaintext)) {
		t.Errorf("opened %x, %v; want %s", got, err, v.Plaintext)
	}
}

// golden pins what this package itself makes of fixed inputs.
func TestGolden(t *testing.T) {
	k := newKey(1)
	sealed, err := k.Public().Seal(mathrand.NewChaCha8([32]byte{1}), []byte("info"), []byte("aad"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"public": fmt.Sprintf("%x", sha256.Sum256(k.Public().Bytes())),
		"sealed": fmt.Sprintf("%x", sha256.Sum256(sealed)),
	}
	raw, err := os.ReadFile("../../testdata/crypto/kem.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for name, sum := range got {
		if want[name] != sum {
			t.Errorf("SHA-256 of %s is %s; want %s", name, sum, want[name])
		}
	}
}

func TestPrintsNoSecret(t *testing.T) {
	k := newKey(0xab)
	type holder struct {
		Key   *PrivateKey
		Value PrivateKey
	}
	type inner struct {
		key   *PrivateKey
		value PrivateKey
	}
	for _, v := range []any{k, *k, holder{k, *k}, []*PrivateKey{k}, inner{k, *k}, &inner{k, *k}} {
		_, hidesAll := v.(fmt.Formatter)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out := strings.ToLower(fmt.Sprintf(format, v))
			if strings.Contains(out, "abab") || strings.Contains(out, "171 171") || strings.Contains(out, "0xab, 0xab") {
				t.Errorf("%T with %s shows the seed: %.100s", v, format, out)
			}
			if hidesAll && out != "[redacted]" {
				t.Errorf("%T with %s: %.100s; want [redacted]", v, format, out)
			}
		}
		out, err := json.Marshal(v)
		if err != nil || len(out) > 100 || hidesAll && string(out) != `"[redacted]"` {
			t.Errorf("%T as JSON: %.100s, %v", v, out, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := newKey(1)
	// The same in every process that fuzzes.
	sealed, err := k.Public().Seal(mathrand.NewChaCha8([32]byte{1}), nil, nil, []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := k.Open(nil, nil, raw); err == nil && (!bytes.Equal(raw, sealed) || string(got) != "secret") {
			t.Fatal("opened what was not sealed")
		} else if err != nil && !errors.Is(err, ErrOpen) {
			t.Fatalf("untyped error: %v", err)
		}
	})
}
