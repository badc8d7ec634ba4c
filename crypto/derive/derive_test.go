package derive

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slowHKDF is RFC 5869 by its letter.
func slowHKDF(ikm, salt, info []byte, n int) []byte {
	if salt == nil {
		salt = make([]byte, sha256.Size)
	}
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	prk := mac(salt, ikm)
	var out, t []byte
	for i := byte(1); len(out) < n; i++ {
		t = mac(prk, t, info, []byte{i})
		out = append(out, t...)
	}
	return out[:n]
}

// The model is held to the RFC's own vectors, then this package to the model.
func TestModelAgainstRFC5869(t *testing.T) {
	for _, c := range []struct {
		name, ikm, salt, info, okm string
	}{
		{"case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
		{"case 3", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
	} {
		want := unhex(t, c.okm)
		if got := slowHKDF(unhex(t, c.ikm), unhex(t, c.salt), unhex(t, c.info), len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s: %x", c.name, got)
		}
	}
}

func TestKeyAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		ikm, salt := make([]byte, r.IntN(80)), make([]byte, r.IntN(80))
		for i := range ikm {
			ikm[i] = byte(r.Uint32())
		}
		for i := range salt {
			salt[i] = byte(r.Uint32())
		}
		n := 1 + r.IntN(500)
		number := r.Uint64()
		info := append([]byte("collab/v1/label\x00"), wire.Marshal([]any{number, salt, "text"})...)
		want := slowHKDF(ikm, salt, info, n)
		if got := Bytes(n, ikm, salt, "label", number, salt, "text"); !bytes.Equal(got, want) {
			t.Fatalf("%x; want %x", got, want)
		}
		if n >= KeySize {
			if got := Key(ikm, salt, "label", number, salt, "text"); !bytes.Equal(got[:], want[:KeySize]) {
				t.Fatalf("Key: %x; want %x", got, want[:KeySize])
			}
		}
	}
	if got := Bytes(8160, []byte{1}, nil, "label"); len(got) != 8160 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestEmptyContextIsAnEmptyArray(t *testing.T) {
	if got, want := Key([]byte{1}, nil, "x"), slowHKDF([]byte{1}, nil, []byte("collab/v1/x\x00\x80"), KeySize); !bytes.Equal(got[:], want) {
		t.Errorf("%x; want %x", got, want)
	}
}

func TestIDIsSHA256(t *testing.T) {
	if got, want := ID("kem", []byte("x")), sha256.Sum256([]byte("collab/v1/kem\x00x")); got != wire.ID(want) {
		t.Errorf("%v; want %x", got, want)
	}
	if got, want := ListID("doc", []byte{1}, "a"), sha256.Sum256([]byte("collab/v1/doc\x00\x82\x41\x01\x61a")); got != wire.ID(want) {
		t.Errorf("%v; want %x", got, want)
	}
}

// No two uses share an input: moving a byte between type and content, or between elements, changes the result.
func TestSeparation(t *testing.T) {
	ids := map[wire.ID]string{}
	for name, id := range map[string]wire.ID{
		"a, bc":         ID("a", []byte("bc")),
		"ab, c":         ID("ab", []byte("c")),
		"abc, nothing":  ID("abc", nil),
		"list abc":      ListID("a", "bc"),
		"list b, c":     ListID("a", "b", "c"),
		"list of list":  ListID("a", []any{"b", "c"}),
		"list bytes":    ListID("a", []byte("bc")),
		"empty list":    ListID("a"),
		"list of empty": ListID("a", ""),
	} {
		if other, dup := ids[id]; dup {
			t.Errorf("%s and %s are one", name, other)
		}
		ids[id] = name
	}
	keys := map[[32]byte]string{}
	for name, key := range map[string][32]byte{
		"plain":           Key([]byte("ikm"), nil, "a"),
		"other label":     Key([]byte("ikm"), nil, "b"),
		"other key":       Key([]byte("ikn"), nil, "a"),
		"salt":            Key([]byte("ikm"), []byte("s"), "a"),
		"context":         Key([]byte("ikm"), nil, "a", "c"),
		"other context":   Key([]byte("ikm"), nil, "a", "c", "d"),
		"joined context":  Key([]byte("ikm"), nil, "a", "cd"),
		"context as data": Key([]byte("ikm"), nil, "a", []byte("c")),
	} {
		if other, dup := keys[key]; dup {
			t.Errorf("%s and %s are one", name, other)
		}
		keys[key] = name
	}
}

func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/derive.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	ikm := bytes.Repeat([]byte{0x0b}, 32)
	key := Key(ikm, []byte("salt"), "label", uint64(7), []byte{1, 2}, "text")
	for name, got := range map[string][]byte{
		"id kem 010203":                         func() []byte { id := ID("kem", []byte{1, 2, 3}); return id[:] }(),
		"list id doc [h'0102', \"script\"]":     func() []byte { id := ListID("doc", []byte{1, 2}, "script"); return id[:] }(),
		"key salt label [7, h'0102', \"text\"]": key[:],
		"48 bytes, no salt, rev, []":            Bytes(48, ikm, nil, "rev"),
	} {
		if hex.EncodeToString(got) != want[name] {
			t.Errorf("%s: %x; want %s", name, got, want[name])
		}
	}
	if len(want) != 4 {
		t.Errorf("%d vectors; want 4", len(want))
	}
}
