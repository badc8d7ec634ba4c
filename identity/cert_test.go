package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// Encodings of Ed25519 keys that verify anything or have two encodings, and one that is no point at all.
var badEd25519 = map[string]string{
	"small order, the identity":  "0100000000000000000000000000000000000000000000000000000000000000",
	"small order, order 2":       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"small order, order 8":       "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"not canonical, p + 1":       "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"not canonical, sign of x=0": "0100000000000000000000000000000000000000000000000000000000000080",
	"not a point":                "0200000000000000000000000000000000000000000000000000000000000000",
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resignIdentity changes a first certificate's core and signs it anew.
func resignIdentity(t testing.TB, ik *sign.PrivateKey, raw []byte, change func(*identityCore)) []byte {
	t.Helper()
	var signed wire.Signed
	var core identityCore
	if err := errors.Join(wire.Unmarshal(raw, &signed, MaxIdentityCert), wire.Unmarshal(signed.Core, &core, MaxIdentityCert)); err != nil {
		t.Fatal(err)
	}
	change(&core)
	signed.Core = wire.Marshal(core)
	signed.Sigs[0] = ik.Sign(sign.IdentityCert, signed.Core)
	return wire.Marshal(signed)
}

// resignDevice changes a device certificate's core and signs it anew with all three keys.
func resignDevice(t testing.TB, p *person, change func(*deviceCore)) []byte {
	t.Helper()
	var signed wire.Signed
	var core deviceCore
	if err := errors.Join(wire.Unmarshal(p.device.Raw, &signed, MaxDeviceCert), wire.Unmarshal(signed.Core, &core, MaxDeviceCert)); err != nil {
		t.Fatal(err)
	}
	change(&core)
	signed.Core = wire.Marshal(core)
	id := DeviceID(derive.ID(string(sign.DeviceCert), signed.Core))
	signed.Sigs = [][]byte{
		p.ik.Sign(sign.DeviceCert, signed.Core), p.keys.DK.Sign(sign.DeviceCert, signed.Core),
		ed25519.Sign(p.keys.Peer.Key(), peerBinding(id)),
	}
	return wire.Marshal(signed)
}

func TestParseIdentityCertRefuses(t *testing.T) {
	p := newPerson(t, 1)
	zero := wire.ID{}
	for _, tt := range []struct {
		name   string
		change func(*identityCore)
		want   error
	}{
		{"as it was", func(*identityCore) {}, nil},
		{"attestation at the cap", func(c *identityCore) { c.Attestation = make([]byte, MaxAttestation) }, nil},
		{"attestation over the cap", func(c *identityCore) { c.Attestation = make([]byte, MaxAttestation+1) }, wire.ErrTooLarge},
		{"display over the cap", func(c *identityCore) { c.Display = strings.Repeat("x", MaxDisplay+1) }, wire.ErrTooLarge},
		{"display not in normal form C", func(c *identityCore) { c.Display = "e\u0301" }, wire.ErrMalformed},
		{"newer version", func(c *identityCore) { c.V = 2 }, wire.ErrVersion},
		{"another suite", func(c *identityCore) { c.Suite = 2 }, wire.ErrVersion},
		{"unknown revocation algorithm", func(c *identityCore) { c.RevAlg = 2 }, wire.ErrVersion},
		{"first with a previous one", func(c *identityCore) { c.Prev = &zero }, wire.ErrMalformed},
		{"second without a previous one", func(c *identityCore) { c.Seq = 1 }, wire.ErrMalformed},
		{"second with one signature", func(c *identityCore) { c.Seq, c.Prev = 1, &zero }, wire.ErrMalformed},
		{"another's key", func(c *identityCore) { c.IK = p.keys.DK.Public().Bytes() }, sign.ErrSignature},
		{"short key", func(c *identityCore) { c.IK = c.IK[1:] }, sign.ErrPublicKey},
		{"no key", func(c *identityCore) { c.IK = nil }, sign.ErrPublicKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseIdentityCert(resignIdentity(t, p.ik, p.cert.Raw, tt.change))
			if !errors.Is(err, tt.want) || err != nil && !strings.HasPrefix(err.Error(), "identity: ") {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestParseDeviceCertRefuses(t *testing.T) {
	p := newPerson(t, 1)
	eve := newPerson(t, 20)
	never := uint64(1 << 40)
	for _, tt := range []struct {
		name   string
		change func(*deviceCore)
		want   error
	}{
		{"as it was", func(*deviceCore) {}, nil},
		{"with an end", func(c *deviceCore) { c.NotAfter = &never }, nil},
		{"attestation at the cap", func(c *deviceCore) { c.Attestation = make([]byte, MaxAttestation) }, nil},
		{"attestation over the cap", func(c *deviceCore) { c.Attestation = make([]byte, MaxAttestation+1) }, wire.ErrTooLarge},
		{"newer version", func(c *deviceCore) { c.V = 2 }, wire.ErrVersion},
		{"another suite", func(c *deviceCore) { c.Suite = 2 }, wire.ErrVersion},
		{"no member", func(c *deviceCore) { c.Member = MemberID{} }, wire.ErrMalformed},
		{"no role", func(c *deviceCore) { c.MaxRole = 0 }, wire.ErrMalformed},
		{"another's device key", func(c *deviceCore) { c.DK = eve.keys.DK.Public().Bytes() }, sign.ErrSignature},
		{"another's transport key", func(c *deviceCore) { c.Peer = eve.keys.PeerPublic() }, sign.ErrSignature},
		{"short KEM key", func(c *deviceCore) { c.KEM = c.KEM[1:] }, nil}, // checked below: another room's error
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseDeviceCert(resignDevice(t, p, tt.change))
			if tt.name == "short KEM key" {
				if err == nil || !strings.Contains(err.Error(), "kem: ") {
					t.Fatalf("got %v", err)
				}
				return
			}
			if !errors.Is(err, tt.want) || err != nil && !strings.HasPrefix(err.Error(), "identity: ") {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// Nobody claims another's peer ID: the transport key signs the id of the one certificate that names it.
func TestPeerBindingCannotBeMoved(t *testing.T) {
	p := newPerson(t, 1)
	other, err := NewDeviceCert(p.ik, p.cert.Member(), p.keys, 10) // same keys, another certificate
	if err != nil {
		t.Fatal(err)
	}
	var a, b wire.Signed
	if err := errors.Join(wire.Unmarshal(p.device.Raw, &a, MaxDeviceCert), wire.Unmarshal(other.Raw, &b, MaxDeviceCert)); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"identity key's", "device key's", "transport key's"} {
		moved := wire.Signed{Core: a.Core, Sigs: bytes2(a.Sigs)}
		moved.Sigs[i] = b.Sigs[i]
		c, err := ParseDeviceCert(wire.Marshal(moved))
		if err == nil {
			err = c.VerifyIdentity(p.cert)
		}
		if !errors.Is(err, sign.ErrSignature) {
			t.Errorf("%s signature of another certificate: %v", name, err)
		}
	}
}

func bytes2(s [][]byte) [][]byte { return append([][]byte(nil), s...) }

// Scenario 78: Ed25519 keys that verify anything are refused where they are first read.
func TestScenario78UnusableEd25519Keys(t *testing.T) {
	scenario.Run(t, 78, "a small-order or non-canonical Ed25519 key in an identity or device certificate: refused where first read", func(t *testing.T) {
		p := newPerson(t, 1)
		for name, s := range badEd25519 {
			bad := unhex(t, s)
			spoil := func(key []byte) []byte { return append(bytes.Clone(key[:len(key)-len(bad)]), bad...) }
			t.Run(name, func(t *testing.T) {
				raw := resignIdentity(t, p.ik, p.cert.Raw, func(c *identityCore) { c.IK = spoil(c.IK) })
				if _, err := ParseIdentityCert(raw); !errors.Is(err, sign.ErrPublicKey) {
					t.Errorf("identity key: %v", err)
				}
				raw = resignDevice(t, p, func(c *deviceCore) { c.DK = spoil(c.DK) })
				if _, err := ParseDeviceCert(raw); !errors.Is(err, sign.ErrPublicKey) {
					t.Errorf("device key: %v", err)
				}
				raw = resignDevice(t, p, func(c *deviceCore) { copy(c.Peer[:], bad) })
				if _, err := ParseDeviceCert(raw); !errors.Is(err, sign.ErrPublicKey) {
					t.Errorf("transport key: %v", err)
				}
			})
		}
	})
}

// Either half of the composite signature alone is worth nothing.
func TestStrippedHalves(t *testing.T) {
	p := newPerson(t, 1)
	var signed wire.Signed
	if err := wire.Unmarshal(p.cert.Raw, &signed, MaxIdentityCert); err != nil {
		t.Fatal(err)
	}
	sig := signed.Sigs[0]
	pq := len(sig) - ed25519.SignatureSize
	for name, changed := range map[string][]byte{
		"ML-DSA half zeroed":  append(make([]byte, pq), sig[pq:]...),
		"Ed25519 half zeroed": append(bytes.Clone(sig[:pq]), make([]byte, ed25519.SignatureSize)...),
		"ML-DSA half only":    sig[:pq],
		"Ed25519 half only":   sig[pq:],
		"nothing":             {},
	} {
		signed.Sigs = [][]byte{changed}
		if _, err := ParseIdentityCert(wire.Marshal(signed)); !errors.Is(err, sign.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseCapsWholeRecords(t *testing.T) {
	if _, err := ParseIdentityCert(make([]byte, MaxIdentityCert+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("identity certificate: %v", err)
	}
	if _, err := ParseDeviceCert(make([]byte, MaxDeviceCert+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("device certificate: %v", err)
	}
	p := newPerson(t, 1)
	for _, raw := range [][]byte{nil, {}, {0x80}, p.cert.Raw[:100], append(bytes.Clone(p.cert.Raw), 0), p.device.Raw} {
		if _, err := ParseIdentityCert(raw); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(raw), err)
		}
	}
	for _, raw := range [][]byte{nil, {}, {0x80}, p.device.Raw[:100], append(bytes.Clone(p.device.Raw), 0), p.cert.Raw} {
		if _, err := ParseDeviceCert(raw); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(raw), err)
		}
	}
}

// The greatest certificates that the fields' caps allow fit into the caps of whole records.
func TestGreatestCertificatesFit(t *testing.T) {
	p := newPerson(t, 1)
	next := p.successor(t, p.cert, newPerson(t, 40).ik, p.rev, func(c *identityCore) {
		c.Display, c.Attestation = strings.Repeat("x", MaxDisplay), make([]byte, MaxAttestation)
	})
	if _, err := ParseIdentityCert(next); err != nil {
		t.Error(err)
	}
	never := ^uint64(0)
	raw := resignDevice(t, p, func(c *deviceCore) { c.NotAfter, c.Attestation = &never, make([]byte, MaxAttestation) })
	if _, err := ParseDeviceCert(raw); err != nil {
		t.Error(err)
	}
}

// successor makes the certificate after prev, signed by the new key and by the revocation key or, if that is nil, by
// the person's present key.
func (p *person) successor(t testing.TB, prev *IdentityCert, ik *sign.PrivateKey, rev *sign.RevocationKey, change func(*identityCore)) []byte {
	t.Helper()
	c := identityCore{
		Head: wire.NewHead(), IK: ik.Public().Bytes(), RevAlg: RevocationAlg1, RevCommit: prev.RevCommit,
		Display: prev.Display, Created: prev.Created + 1, Seq: prev.Seq + 1, Prev: &prev.ID,
	}
	change(&c)
	core := wire.Marshal(c)
	sigs := [][]byte{ik.Sign(sign.IdentityCert, core)}
	if rev == nil {
		sigs = append(sigs, p.ik.Sign(sign.IdentityCert, core))
	} else {
		sig, err := rev.Sign(sign.IdentityCert, core)
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, rev.Public(), sig)
	}
	return wire.Marshal(wire.Signed{Core: core, Sigs: sigs})
}

func TestSuccession(t *testing.T) {
	p, eve := newPerson(t, 1), newPerson(t, 40)
	newKey := NewIdentityKey(seedOf(99))
	for _, tt := range []struct {
		name   string
		by     *person
		rev    *sign.RevocationKey
		change func(*identityCore)
		want   error
	}{
		{"by the previous key", p, nil, func(*identityCore) {}, nil},
		{"by the revocation key", p, p.rev, func(*identityCore) {}, nil},
		{"revocation key replaced by itself", p, p.rev, func(c *identityCore) { c.RevCommit = RevocationCommit(eve.rev.Public()) }, nil},
		{"revocation key replaced by the previous key", p, nil, func(c *identityCore) { c.RevCommit = RevocationCommit(eve.rev.Public()) }, ErrSuccession},
		{"by a stranger's key", eve, nil, func(*identityCore) {}, sign.ErrSignature},
		{"by a stranger's revocation key", p, eve.rev, func(*identityCore) {}, ErrSuccession},
		{"a number skipped", p, nil, func(c *identityCore) { c.Seq++ }, ErrSuccession},
		{"after another certificate", p, nil, func(c *identityCore) { c.Prev = &wire.ID{7} }, ErrSuccession},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next, err := ParseIdentityCert(tt.by.successor(t, p.cert, newKey, tt.rev, tt.change))
			if err != nil {
				t.Fatal(err)
			}
			if !next.Member().IsZero() {
				t.Fatal("a successor belongs to a member before it was verified")
			}
			if err := next.VerifySuccessor(p.cert); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if (next.Member() == p.cert.Member()) != (tt.want == nil) {
				t.Fatalf("member %s", next.Member().Short())
			}
		})
	}
}

func TestSuccessorOfUnverifiedCertificate(t *testing.T) {
	p := newPerson(t, 1)
	second, err := ParseIdentityCert(p.successor(t, p.cert, p.ik, nil, func(*identityCore) {}))
	if err != nil {
		t.Fatal(err)
	}
	third, err := ParseIdentityCert(p.successor(t, second, p.ik, nil, func(*identityCore) {}))
	if err != nil {
		t.Fatal(err)
	}
	if err := third.VerifySuccessor(second); !errors.Is(err, ErrSuccession) {
		t.Fatalf("chain without a verified beginning: %v", err)
	}
	if err := p.device.VerifyIdentity(second); !errors.Is(err, ErrMember) {
		t.Fatalf("device under an unverified successor: %v", err)
	}
	if err := errors.Join(second.VerifySuccessor(p.cert), third.VerifySuccessor(second), p.device.VerifyIdentity(third)); err != nil {
		t.Fatal(err)
	}
}
