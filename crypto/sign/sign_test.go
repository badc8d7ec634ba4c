package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/studio-whip/collab/internal/testbed/goldenfile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// types is every kind of record that is signed.
var types = []Type{IdentityCert, DeviceCert, Root, Event, EventRoot, Envelope, Ephemeral, EpochBox, Snapshot, Address,
	TransportProof, InviteHost, InviteJoiner, InviteProof, TransferClaim, ShareRequest, SelfRevoke, ActProposal, ActVote}

func newKey(b byte) *PrivateKey {
	return NewPrivateKey([SeedSize]byte(bytes.Repeat([]byte{b}, SeedSize)), [SeedSize]byte(bytes.Repeat([]byte{b + 1}, SeedSize)))
}

// signed rebuilds the signed message by the letter of SPEC.md.
func signed(typ Type, msg []byte) []byte {
	var b bytes.Buffer
	b.WriteString("collab/v1/sig")
	b.WriteByte(0)
	b.Write([]byte{0x00, 0x01})
	b.WriteByte(byte(len(typ)))
	b.WriteString(string(typ))
	_ = binary.Write(&b, binary.BigEndian, uint32(len(msg)))
	b.Write(msg)
	return b.Bytes()
}

func TestSignAndVerify(t *testing.T) {
	k := newKey(1)
	p, err := ParsePublicKey(k.Public().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range types {
		for _, n := range []int{0, 1, 1000} {
			msg := bytes.Repeat([]byte{7}, n)
			sig := k.Sign(typ, msg)
			if len(sig) != SignatureSize {
				t.Fatalf("signature of %d bytes; want %d", len(sig), SignatureSize)
			}
			if err := p.Verify(typ, msg, sig); err != nil {
				t.Errorf("%s, %d bytes: %v", typ, n, err)
			}
		}
	}
}

func TestTypesDiffer(t *testing.T) {
	sorted := slices.Clone(types)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(types) {
		t.Fatal("two types have one name")
	}
	k, msg := newKey(1), []byte("one message")
	sig := k.Sign(Event, msg)
	for _, typ := range types {
		err := k.Public().Verify(typ, msg, sig)
		if typ == Event && err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if typ != Event && !errors.Is(err, ErrSignature) {
			t.Errorf("signature of an event stands for %s: %v", typ, err)
		}
	}
}

// Both halves are what other implementations understand, over the same message.
func TestHalves(t *testing.T) {
	k, msg := newKey(1), []byte("message")
	sig, pub := k.Sign(Event, msg), k.Public().Bytes()
	if !ed25519.Verify(pub[mldsa65.PublicKeySize:], signed(Event, msg), sig[mldsa65.SignatureSize:]) {
		t.Error("the standard library refuses the Ed25519 half")
	}
	pq := new(mldsa65.PublicKey)
	if err := pq.UnmarshalBinary(pub[:mldsa65.PublicKeySize]); err != nil {
		t.Fatal(err)
	}
	if !mldsa65.Verify(pq, signed(Event, msg), []byte("collab/v1/event"), sig[:mldsa65.SignatureSize]) {
		t.Error("ML-DSA-65 refuses its half under the context collab/v1/event")
	}
	if mldsa65.Verify(pq, signed(Event, msg), nil, sig[:mldsa65.SignatureSize]) {
		t.Error("the ML-DSA half verifies without a context")
	}
	if ed25519.Verify(pub[mldsa65.PublicKeySize:], msg, sig[mldsa65.SignatureSize:]) {
		t.Error("the Ed25519 half stands for the bare message")
	}
}

func TestVerifyRefuses(t *testing.T) {
	k, other, msg := newKey(1), newKey(3), []byte("message")
	sig := k.Sign(Event, msg)
	pq, ed := sig[:mldsa65.SignatureSize], sig[mldsa65.SignatureSize:]
	flip := func(i int) []byte {
		bad := bytes.Clone(sig)
		bad[i] ^= 1
		return bad
	}
	otherMessage, otherKey := k.Sign(Event, []byte("other")), other.Sign(Event, msg)
	for _, c := range []struct {
		name string
		sig  []byte
	}{
		{"empty", nil},
		{"ML-DSA half alone", pq},
		{"Ed25519 half alone", ed},
		{"halves swapped", slices.Concat(ed, pq)},
		{"Ed25519 half of zeros", slices.Concat(pq, make([]byte, len(ed)))},
		{"ML-DSA half of zeros", slices.Concat(make([]byte, len(pq)), ed)},
		{"Ed25519 half of another message", slices.Concat(pq, otherMessage[len(pq):])},
		{"ML-DSA half of another message", slices.Concat(otherMessage[:len(pq)], ed)},
		{"Ed25519 half of another key", slices.Concat(pq, otherKey[len(pq):])},
		{"ML-DSA half of another key", slices.Concat(otherKey[:len(pq)], ed)},
		{"ML-DSA half altered at its begin", flip(0)},
		{"ML-DSA half altered at its end", flip(len(pq) - 1)},
		{"Ed25519 point altered", flip(len(pq))},
		{"Ed25519 scalar altered", flip(len(pq) + 32)},
		{"one byte less", sig[:len(sig)-1]},
		{"one byte more", append(bytes.Clone(sig), 0)},
		{"Ed25519 scalar not reduced", slices.Concat(pq, ed[:32], addOrder(ed[32:]))},
		{"another message", otherMessage},
		{"another key", otherKey},
	} {
		if err := k.Public().Verify(Event, msg, c.sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v; want ErrSignature", c.name, err)
		}
	}
	if err := k.Public().Verify(Event, msg, sig); err != nil {
		t.Errorf("whole: %v", err)
	}
	if err := k.Public().Verify(Event, append(bytes.Clone(msg), 0), sig); !errors.Is(err, ErrSignature) {
		t.Errorf("longer message: %v", err)
	}
}

// addOrder adds the group's order to a scalar: RFC 8032 wants it refused, or one signature has two forms.
func addOrder(s []byte) []byte {
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	out, carry := make([]byte, 32), 0
	for i := range out {
		sum := int(s[i]) + int(order[i]) + carry
		out[i], carry = byte(sum), sum>>8
	}
	return out
}

// The ML-DSA half is hedged, so two signatures of one message differ, and both verify.
func TestHedged(t *testing.T) {
	k, msg := newKey(1), []byte("message")
	a, b := k.Sign(Event, msg), k.Sign(Event, msg)
	if bytes.Equal(a, b) {
		t.Error("two signatures are equal")
	}
	if err := errors.Join(k.Public().Verify(Event, msg, a), k.Public().Verify(Event, msg, b)); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	a, again, b := newKey(1), newKey(1), newKey(2)
	if !a.Public().Equal(again.Public()) || a.Public().Equal(b.Public()) || a.Public().Equal(nil) {
		t.Error("equal seeds must give equal keys, others not")
	}
	if bytes.Equal(a.Public().Bytes()[mldsa65.PublicKeySize:], b.Public().Bytes()[mldsa65.PublicKeySize:]) {
		t.Error("the Ed25519 seed does not matter")
	}
	raw := bytes.Clone(a.Public().Bytes())
	p, err := ParsePublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if !p.Equal(a.Public()) {
		t.Error("the parsed key changes with the caller's bytes")
	}
	for _, n := range []int{0, 32, mldsa65.PublicKeySize, PublicKeySize - 1, PublicKeySize + 1} {
		if _, err := ParsePublicKey(make([]byte, n)); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%d bytes: %v; want ErrPublicKey", n, err)
		}
	}
	var none *PublicKey
	if none.Equal(none) {
		t.Error("no key equals no key")
	}
}

// vector is one line of testdata/crypto/sign.json.
type vector struct {
	MLDSASeed, Ed25519Seed string
	PublicSHA256           string
	Type                   Type
	Message                string
	Signature              string
}

func TestGolden(t *testing.T) {
	const path = "../../testdata/crypto/sign.json"
	if *update {
		v := vector{MLDSASeed: strings.Repeat("01", 32), Ed25519Seed: strings.Repeat("02", 32), Type: Event, Message: "6d657373616765"}
		k := newKey(1)
		sum := sha256.Sum256(k.Public().Bytes())
		v.PublicSHA256 = hex.EncodeToString(sum[:])
		v.Signature = hex.EncodeToString(k.Sign(Event, []byte("message")))
		goldenfile.Write(t, path, []vector{v})
	}
	var vectors []vector
	goldenfile.Read(t, path, &vectors)
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i, v := range vectors {
		k := NewPrivateKey([32]byte(unhex(v.MLDSASeed)), [32]byte(unhex(v.Ed25519Seed)))
		if sum := sha256.Sum256(k.Public().Bytes()); hex.EncodeToString(sum[:]) != v.PublicSHA256 {
			t.Errorf("vector %d: SHA-256 of the public key is %x; want %s", i, sum, v.PublicSHA256)
		}
		if err := k.Public().Verify(v.Type, unhex(v.Message), unhex(v.Signature)); err != nil {
			t.Errorf("vector %d: %v", i, err)
		}
	}
}

func TestPrintsNoSecret(t *testing.T) {
	seed := [SeedSize]byte(bytes.Repeat([]byte{0xab}, SeedSize))
	k := NewPrivateKey(seed, seed)
	// The last 16 bytes of the material are in the public key.
	material := append(bytes.Repeat([]byte{0xab}, RevocationMaterialSize-16), make([]byte, 16)...)
	rev, err := NewRevocationKey([RevocationMaterialSize]byte(material))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Key *PrivateKey
		Rev RevocationKey
	}
	type inner struct {
		key   *PrivateKey
		value PrivateKey
		rev   *RevocationKey
		other RevocationKey
	}
	for _, v := range []any{k, *k, rev, *rev, holder{k, *rev}, []*PrivateKey{k}, inner{k, *k, rev, *rev}, &inner{k, *k, rev, *rev}} {
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

func FuzzVerify(f *testing.F) {
	k := newKey(1)
	f.Add([]byte("message"), k.Sign(Event, []byte("message")))
	f.Fuzz(func(t *testing.T, msg, sig []byte) {
		if err := k.Public().Verify(Envelope, msg, sig); !errors.Is(err, ErrSignature) {
			t.Fatalf("a signature that was never made: %v", err)
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(newKey(1).Public().Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePublicKey(raw)
		if err != nil {
			if !errors.Is(err, ErrPublicKey) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if !bytes.Equal(p.Bytes(), raw) {
			t.Fatal("encodes to other bytes")
		}
		if err := p.Verify(Event, []byte("x"), make([]byte, SignatureSize)); err == nil {
			t.Fatal("verifies zeros")
		}
	})
}
