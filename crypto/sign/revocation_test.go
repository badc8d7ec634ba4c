package sign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/cloudflare/circl/sign/slhdsa"
)

func revocationKey(t *testing.T, b byte) *RevocationKey {
	t.Helper()
	k, err := NewRevocationKey([RevocationMaterialSize]byte(bytes.Repeat([]byte{b}, RevocationMaterialSize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRevocation(t *testing.T) {
	k, msg := revocationKey(t, 1), []byte("core of a self-revocation")
	sig, err := k.Sign(SelfRevoke, msg)
	if err != nil {
		t.Fatal(err)
	}
	if len(sig) != RevocationSignatureSize || len(k.Public()) != RevocationPublicKeySize {
		t.Fatalf("signature of %d bytes under a key of %d", len(sig), len(k.Public()))
	}
	if err := VerifyRevocation(k.Public(), SelfRevoke, msg, sig); err != nil {
		t.Fatal(err)
	}
	pub := slhdsa.PublicKey{ID: slhdsa.SHA2_128s}
	if err := pub.UnmarshalBinary(k.Public()); err != nil {
		t.Fatal(err)
	}
	if !slhdsa.Verify(&pub, slhdsa.NewMessage(signed(SelfRevoke, msg)), sig, []byte("collab/v1/self-revoke")) {
		t.Error("it is not SLH-DSA over the specified message and context")
	}
	flip := func(i int) []byte {
		bad := bytes.Clone(sig)
		bad[i] ^= 1
		return bad
	}
	other := revocationKey(t, 2)
	for _, c := range []struct {
		name   string
		public []byte
		typ    Type
		msg    []byte
		sig    []byte
		want   error
	}{
		{"another key", other.Public(), SelfRevoke, msg, sig, ErrSignature},
		{"another type", k.Public(), IdentityCert, msg, sig, ErrSignature},
		{"another message", k.Public(), SelfRevoke, []byte("x"), sig, ErrSignature},
		{"altered at its begin", k.Public(), SelfRevoke, msg, flip(0), ErrSignature},
		{"altered at its end", k.Public(), SelfRevoke, msg, flip(len(sig) - 1), ErrSignature},
		{"cut", k.Public(), SelfRevoke, msg, sig[:len(sig)-1], ErrSignature},
		{"longer", k.Public(), SelfRevoke, msg, append(bytes.Clone(sig), 0), ErrSignature},
		{"empty", k.Public(), SelfRevoke, msg, nil, ErrSignature},
		{"key too short", k.Public()[1:], SelfRevoke, msg, sig, ErrPublicKey},
		{"no key", nil, SelfRevoke, msg, sig, ErrPublicKey},
	} {
		if err := VerifyRevocation(c.public, c.typ, c.msg, c.sig); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
	changed := k.Public()
	clear(changed)
	if bytes.Equal(changed, k.Public()) {
		t.Error("the caller can change the key")
	}
}

func TestRevocationGolden(t *testing.T) {
	k := revocationKey(t, 1)
	sig, err := k.Sign(SelfRevoke, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(sig)
	raw, err := os.ReadFile("../../testdata/crypto/revocation.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Material, Type, Message, Public, SignatureSHA256 string }
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(k.Public()); got != want.Public {
		t.Errorf("public key %s; want %s", got, want.Public)
	}
	if got := hex.EncodeToString(sum[:]); got != want.SignatureSHA256 {
		t.Errorf("SHA-256 of the signature is %s; want %s", got, want.SignatureSHA256)
	}
}
