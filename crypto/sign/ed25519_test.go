package sign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"

	"filippo.io/edwards25519"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// smallOrder returns the encodings of the eight points of small order, as multiples of one of order 8.
func smallOrder(t *testing.T) [][]byte {
	t.Helper()
	g, err := new(edwards25519.Point).SetBytes(unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for p := edwards25519.NewIdentityPoint(); ; p.Add(p, g) {
		if len(out) > 0 && p.Equal(edwards25519.NewIdentityPoint()) == 1 {
			break
		}
		out = append(out, p.Bytes())
	}
	if len(out) != 8 {
		t.Fatalf("%d points of small order; want 8", len(out))
	}
	return out
}

// nonCanonical returns every encoding of a y of p or more, with either sign, that decodes to a point, and the two of
// points with x = 0 whose sign is set.
func nonCanonical(t *testing.T) [][]byte {
	t.Helper()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	var out [][]byte
	try := func(y *big.Int, sign byte) {
		enc := make([]byte, 32)
		for i, b := range y.FillBytes(make([]byte, 32)) {
			enc[31-i] = b
		}
		enc[31] |= sign << 7
		if _, err := new(edwards25519.Point).SetBytes(enc); err == nil {
			out = append(out, enc)
		}
	}
	for k := range int64(19) {
		for sign := range byte(2) {
			try(new(big.Int).Add(p, big.NewInt(k)), sign)
		}
	}
	try(big.NewInt(1), 1)
	try(new(big.Int).Sub(p, big.NewInt(1)), 1)
	return out
}

func TestSmallOrderKeysAreRefused(t *testing.T) {
	for _, key := range smallOrder(t) {
		if err := CheckEd25519(key); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%x: %v; want ErrPublicKey", key, err)
		}
		raw := append(bytes.Clone(newKey(1).Public().Bytes()[:PublicKeySize-32]), key...)
		if _, err := ParsePublicKey(raw); !errors.Is(err, ErrPublicKey) {
			t.Errorf("composite key with %x: %v; want ErrPublicKey", key, err)
		}
	}
}

// What the check is for: under the identity as key, one signature made without any key verifies every message.
func TestWhySmallOrderKeysAreRefused(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	s := make([]byte, 32)
	s[0] = 1
	r := edwards25519.NewGeneratorPoint().Bytes() // s·B = R holds for s = 1
	for _, msg := range []string{"one", "another"} {
		if !ed25519.Verify(identity, []byte(msg), append(bytes.Clone(r), s...)) {
			t.Fatalf("the standard library no longer accepts %q under the identity", msg)
		}
	}
}

func TestNonCanonicalKeysAreRefused(t *testing.T) {
	all := nonCanonical(t)
	if len(all) < 20 {
		t.Fatalf("only %d encodings to test", len(all))
	}
	for _, key := range all {
		if err := CheckEd25519(key); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%x: %v; want ErrPublicKey", key, err)
		}
	}
}

func TestCheckEd25519(t *testing.T) {
	for i := range byte(50) {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{i}, 32)).Public().(ed25519.PublicKey)
		if err := CheckEd25519(key); err != nil {
			t.Errorf("key of seed %d: %v", i, err)
		}
	}
	raw, err := os.ReadFile("../../testdata/crypto/ed25519-keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Key, Result string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	results := map[string]error{"ok": nil, "unusable": ErrPublicKey}
	for _, v := range vectors {
		want, known := results[v.Result]
		if !known {
			t.Fatalf("%s: unknown result %q", v.Name, v.Result)
		}
		if err := CheckEd25519(unhex(t, v.Key)); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %s", v.Name, err, v.Result)
		}
	}
	if len(vectors) < 10 {
		t.Errorf("only %d vectors", len(vectors))
	}
}
