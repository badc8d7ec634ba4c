package keystore

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/hex"
	"errors"
	"flag"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/testbed/mutant"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

var goldenPath = filepath.Join("..", "testdata", "keystore", "token.json")

// vector is a secret that was sealed to a token, with both halves of the token's private key.
type vector struct {
	Comment string `json:"comment"`
	PQSeed  string `json:"mlkem768_seed"`
	Scalar  string `json:"p256_scalar"`
	Public  string `json:"public_key"`
	ID      string `json:"fingerprint"`
	Purpose string `json:"purpose"`
	Secret  string `json:"secret"`
	Sealed  string `json:"sealed"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// halves makes the private key of a vector.
func (v *vector) halves(t testing.TB) (*mlkem.DecapsulationKey768, *ecdh.PrivateKey) {
	t.Helper()
	pq, err := mlkem.NewDecapsulationKey768(unhex(t, v.PQSeed))
	if err != nil {
		t.Fatal(err)
	}
	half, err := ecdh.P256().NewPrivateKey(unhex(t, v.Scalar))
	if err != nil {
		t.Fatal(err)
	}
	return pq, half
}

func golden(t testing.TB) *vector {
	t.Helper()
	v := new(vector)
	goldenfile.Read(t, goldenPath, v)
	return v
}

// What was sealed to a token years ago opens, and the key of a token has the same fingerprint as then.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	v := golden(t)
	pq, half := v.halves(t)
	key, err := NewTokenKey(pq.Encapsulator(), half.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(key.Bytes()); got != v.Public {
		t.Errorf("public key %s", got)
	}
	if got := key.ID().String(); got != v.ID {
		t.Errorf("fingerprint %s; want %s", got, v.ID)
	}
	got, err := OpenSealed(pq, half, unhex(t, v.Purpose), unhex(t, v.Sealed))
	if err != nil || hex.EncodeToString(got) != v.Secret {
		t.Errorf("opened %x, %v; want %s", got, err, v.Secret)
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	v := &vector{
		Comment: "Made by go test ./keystore -run Golden -update; see keystore/SPEC.md. The seal is random.",
		PQSeed:  hex.EncodeToString(bytes.Repeat([]byte{1}, mlkem.SeedSize)),
		Scalar:  hex.EncodeToString(bytes.Repeat([]byte{2}, 32)),
		Purpose: hex.EncodeToString([]byte("purpose")),
		Secret:  hex.EncodeToString(bytes.Repeat([]byte{3}, 33)),
	}
	pq, half := v.halves(t)
	key, err := NewTokenKey(pq.Encapsulator(), half.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(unhex(t, v.Purpose), unhex(t, v.Secret))
	if err != nil {
		t.Fatal(err)
	}
	v.Public, v.ID, v.Sealed = hex.EncodeToString(key.Bytes()), key.ID().String(), hex.EncodeToString(sealed)
	goldenfile.Write(t, goldenPath, v)
}

// checkSealed is what holds of any bytes that are read as a secret sealed to a token.
func checkSealed(t *testing.T, raw []byte) {
	t.Helper()
	r, err := parseSealed(raw)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, wire.ErrVersion) {
			t.Fatalf("untyped error: %v", err)
		}
		return
	}
	if len(raw) > MaxTokenSealed {
		t.Fatalf("%d bytes were taken", len(raw))
	}
	if !bytes.Equal(wire.Marshal(r), raw) {
		t.Fatal("encodes to other bytes")
	}
}

// checkTokenKey is what holds of any bytes that are read as a token's public key.
func checkTokenKey(t *testing.T, raw []byte) {
	t.Helper()
	key, err := ParseTokenKey(raw)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("untyped error: %v", err)
		}
		return
	}
	if !bytes.Equal(key.Bytes(), raw) {
		t.Fatal("encodes to other bytes")
	}
}

func FuzzSealed(f *testing.F) {
	f.Add(unhex(f, golden(f).Sealed))
	f.Add([]byte{})
	f.Add(wire.Marshal(sealedRecord{Head: wire.NewHead(), Magic: sealedMagic, Sealed: make([]byte, sealOverhead+1)}))
	f.Fuzz(checkSealed)
}

func FuzzTokenKey(f *testing.F) {
	f.Add(unhex(f, golden(f).Public))
	f.Add([]byte{})
	f.Add(make([]byte, TokenKeySize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkTokenKey(t, raw)
		key, err := ParseTokenKey(raw)
		if err != nil {
			return
		}
		if sealed, err := key.Seal(nil, []byte("x")); err != nil {
			t.Fatalf("a key that cannot seal: %v", err)
		} else if to, err := SealedTo(sealed); err != nil || to != key.ID() {
			t.Fatalf("sealed to %v, %v", to, err)
		}
	})
}

func TestScenario067HostileTokenRecords(t *testing.T) {
	scenario.Run(t, 67, "a secret sealed to a token and a token's public key, whole, cut anywhere, each byte flipped: "+
		"no panic, typed errors, and what decodes encodes to the same bytes", func(t *testing.T) {
		v := golden(t)
		for raw := range mutant.Of(unhex(t, v.Sealed)) {
			checkSealed(t, raw)
		}
		for raw := range mutant.Of(unhex(t, v.Public)) {
			checkTokenKey(t, raw)
		}
	})
}
