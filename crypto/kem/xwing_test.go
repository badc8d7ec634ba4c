package kem

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/cloudflare/circl/kem/xwing"
)

// decapsulate is X-Wing by the letter of its specification over the standard library's primitives: an independent
// opinion on the version of X-Wing that is in use.
func decapsulate(t *testing.T, seed, ct []byte) []byte {
	t.Helper()
	expanded := sha3.SumSHAKE256(seed, 96)
	dk, err := mlkem.NewDecapsulationKey768(expanded[:64])
	if err != nil {
		t.Fatal(err)
	}
	ssM, err := dk.Decapsulate(ct[:mlkem.CiphertextSize768])
	if err != nil {
		t.Fatal(err)
	}
	skX, err := ecdh.X25519().NewPrivateKey(expanded[64:])
	if err != nil {
		t.Fatal(err)
	}
	ctX, err := ecdh.X25519().NewPublicKey(ct[mlkem.CiphertextSize768:])
	if err != nil {
		t.Fatal(err)
	}
	ssX, err := skX.ECDH(ctX)
	if err != nil {
		t.Fatal(err)
	}
	h := sha3.New256()
	for _, part := range [][]byte{ssM, ssX, ctX.Bytes(), skX.PublicKey().Bytes(), []byte(`\.//^\`)} {
		h.Write(part)
	}
	return h.Sum(nil)
}

// The vectors of draft-connolly-cfrg-xwing-kem, whose seeds are drawn from SHAKE128 of nothing.
func TestXWingVectors(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/xwing.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Seed, PublicSHA256, EncapsulationSeed, CiphertextSHA256, SharedSecret string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 3 {
		t.Fatalf("%d vectors; want 3", len(vectors))
	}
	draw := sha3.NewSHAKE128()
	for i, v := range vectors {
		seed, eseed := make([]byte, xwing.SeedSize), make([]byte, xwing.EncapsulationSeedSize)
		draw.Read(seed)
		draw.Read(eseed)
		if hex.EncodeToString(seed) != v.Seed || hex.EncodeToString(eseed) != v.EncapsulationSeed {
			t.Errorf("vector %d: seeds %x, %x are not the draft's", i, seed, eseed)
		}
		k := NewPrivateKey([SeedSize]byte(seed))
		if got := sha256.Sum256(k.Public().Bytes()); hex.EncodeToString(got[:]) != v.PublicSHA256 {
			t.Errorf("vector %d: SHA-256 of the public key is %x", i, got)
		}
		ss, ct, err := xwing.Encapsulate(k.Public().Bytes(), eseed)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(ct); hex.EncodeToString(got[:]) != v.CiphertextSHA256 {
			t.Errorf("vector %d: SHA-256 of the ciphertext is %x", i, got)
		}
		if hex.EncodeToString(ss) != v.SharedSecret {
			t.Errorf("vector %d: shared secret %x; want %s", i, ss, v.SharedSecret)
		}
		if got := decapsulate(t, seed, ct); !bytes.Equal(got, ss) {
			t.Errorf("vector %d: the standard library's primitives give %x", i, got)
		}
	}
}
