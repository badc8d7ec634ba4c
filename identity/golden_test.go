package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../testdata/identity/vectors.json"

// golden is the content of the vector file. Signatures are hedged, so records are kept whole and their cores are
// compared; everything else is computed anew.
type golden struct {
	Comment        string       `json:"comment"`
	Keys           goldenKeys   `json:"keys"`
	IDs            goldenIDs    `json:"ids"`
	IdentityCore   string       `json:"identity_core"` // of the certificate "first"
	DeviceCore     string       `json:"device_core"`   // of the certificate "device"
	IdentityCerts  []goldenCert `json:"identity_certs"`
	DeviceCerts    []goldenCert `json:"device_certs"`
	SuccessorsFrom string       `json:"successors_follow"`
}

type goldenKeys struct {
	IdentitySeed   string `json:"identity_seed"`
	DeviceSeed     string `json:"device_seed"`
	KEMSeed        string `json:"kem_seed"`
	RevocationSeed string `json:"revocation_seed"`
	IK             string `json:"identity_key"`
	DK             string `json:"device_key"`
	Peer           string `json:"peer_key"`
	KemID          string `json:"kem_id"`
	Revocation     string `json:"revocation_key"`
	RevCommit      string `json:"revocation_commit"`
}

type goldenIDs struct {
	Project     string   `json:"project"`
	Device      string   `json:"device"`
	ChainNo     uint32   `json:"chain_no"`
	Document    string   `json:"document"`
	ClientID    uint32   `json:"client_id"`
	ChainRoot   string   `json:"chain_root"`
	DocumentID  string   `json:"document_id"`
	PeerID      string   `json:"peer_id_bytes"`
	Fingerprint []string `json:"fingerprint"`
}

type goldenCert struct {
	Name string `json:"name"`
	Want string `json:"want"` // "ok" or the class of failure
	ID   string `json:"id,omitempty"`
	Raw  string `json:"raw"`
}

// classes maps a failure class of a vector to the error that stands for it.
var classes = map[string]error{
	"ok": nil, "malformed": wire.ErrMalformed, "too-large": wire.ErrTooLarge, "version": wire.ErrVersion,
	"signature": sign.ErrSignature, "public-key": sign.ErrPublicKey,
}

// computed fills in everything that is a function of the seeds.
func computed(t *testing.T, p *person) golden {
	t.Helper()
	seed := func(fill byte) string { return hex.EncodeToString(bytes.Repeat([]byte{fill}, 32)) }
	peer, device := p.keys.PeerPublic(), p.device.ID
	project, chainNo, doc := [32]byte{0xaa}, uint32(3), "Szene 1 \u2013 Stra\u00dfe"
	docID, root := DocumentID(project, doc), ChainRoot(project, device, chainNo)
	return golden{
		Comment: "Made by go test ./identity -run Golden -update; see identity/SPEC.md.",
		Keys: goldenKeys{
			IdentitySeed: seed(1), DeviceSeed: seed(2), KEMSeed: seed(4), RevocationSeed: seed(3),
			IK: hex.EncodeToString(p.ik.Public().Bytes()), DK: hex.EncodeToString(p.keys.DK.Public().Bytes()),
			Peer: hex.EncodeToString(peer[:]), KemID: KemID(p.keys.KEM.Public()).String(),
			Revocation: hex.EncodeToString(p.rev.Public()), RevCommit: RevocationCommit(p.rev.Public()).String(),
		},
		IDs: goldenIDs{
			Project: hex.EncodeToString(project[:]), Device: device.String(), ChainNo: chainNo, Document: doc,
			ClientID: ClientID(project, device, chainNo), ChainRoot: root.String(), DocumentID: hex.EncodeToString(docID[:]),
			PeerID: hex.EncodeToString(PeerIDBytes(peer)), Fingerprint: Fingerprint(p.cert.Member()),
		},
		IdentityCore: hex.EncodeToString(p.cert.core), DeviceCore: hex.EncodeToString(p.device.core),
		SuccessorsFrom: "first",
	}
}

// writeGolden makes the vector file.
func writeGolden(t *testing.T, p *person) {
	t.Helper()
	g := computed(t, p)
	newKey := NewIdentityKey(seedOf(4))
	flip := func(raw []byte, at int) []byte { b := bytes.Clone(raw); b[at] ^= 1; return b }
	small := unhex(t, badEd25519["small order, order 8"])
	id := func(name, want string, raw []byte) {
		c := goldenCert{Name: name, Want: want, Raw: hex.EncodeToString(raw)}
		if parsed, err := ParseIdentityCert(raw); err == nil {
			c.ID = parsed.ID.String()
		}
		g.IdentityCerts = append(g.IdentityCerts, c)
	}
	id("first", "ok", p.cert.Raw)
	id("successor by the previous key", "ok", p.successor(t, p.cert, newKey, nil, func(*identityCore) {}))
	id("successor by the revocation key", "ok", p.successor(t, p.cert, newKey, p.rev, func(*identityCore) {}))
	id("last bit of the signature", "signature", flip(p.cert.Raw, len(p.cert.Raw)-1))
	id("trailing byte", "malformed", append(bytes.Clone(p.cert.Raw), 0))
	id("small-order key", "public-key", resignIdentity(t, p.ik, p.cert.Raw, func(c *identityCore) { copy(c.IK[len(c.IK)-32:], small) }))
	id("version 2", "version", resignIdentity(t, p.ik, p.cert.Raw, func(c *identityCore) { c.V = 2 }))
	id("display too long", "too-large", resignIdentity(t, p.ik, p.cert.Raw, func(c *identityCore) { c.Display = strings.Repeat("x", 65) }))
	dev := func(name, want string, raw []byte) {
		c := goldenCert{Name: name, Want: want, Raw: hex.EncodeToString(raw)}
		if parsed, err := ParseDeviceCert(raw); err == nil {
			c.ID = parsed.ID.String()
		}
		g.DeviceCerts = append(g.DeviceCerts, c)
	}
	end := uint64(1_900_000_000)
	dev("device", "ok", p.device.Raw)
	dev("with an end", "ok", resignDevice(t, p, func(c *deviceCore) { c.NotAfter = &end }))
	dev("last bit of the transport key's signature", "signature", flip(p.device.Raw, len(p.device.Raw)-1))
	dev("small-order transport key", "public-key", resignDevice(t, p, func(c *deviceCore) { copy(c.Peer[:], small) }))
	dev("no role", "malformed", resignDevice(t, p, func(c *deviceCore) { c.MaxRole = 0 }))
	goldenfile.Write(t, goldenPath, g)
}

func readGolden(t testing.TB) golden {
	t.Helper()
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	return g
}

func TestGoldenKeysAndIDs(t *testing.T) {
	p := newPerson(t, 1)
	if *update {
		writeGolden(t, p)
	}
	want, got := readGolden(t), computed(t, p)
	got.IdentityCerts, got.DeviceCerts = want.IdentityCerts, want.DeviceCerts
	a, errA := json.Marshal(want)
	b, errB := json.Marshal(got)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("keys, ids or cores changed:\n got %.3000s\nwant %.3000s", b, a)
	}
}

func TestGoldenCertificates(t *testing.T) {
	g := readGolden(t)
	var first *IdentityCert
	for _, v := range g.IdentityCerts {
		t.Run(v.Name, func(t *testing.T) {
			want, known := classes[v.Want]
			c, err := ParseIdentityCert(unhex(t, v.Raw))
			if !known || !errors.Is(err, want) {
				t.Fatalf("got %v, want %s", err, v.Want)
			}
			if err != nil {
				return
			}
			if c.ID.String() != v.ID {
				t.Errorf("id %s, want %s", c.ID, v.ID)
			}
			if v.Name == g.SuccessorsFrom {
				first = c
			} else if err := c.VerifySuccessor(first); err != nil {
				t.Error(err)
			}
		})
	}
	for _, v := range g.DeviceCerts {
		t.Run(v.Name, func(t *testing.T) {
			want, known := classes[v.Want]
			c, err := ParseDeviceCert(unhex(t, v.Raw))
			if !known || !errors.Is(err, want) {
				t.Fatalf("got %v, want %s", err, v.Want)
			}
			if err != nil {
				return
			}
			if c.ID.String() != v.ID {
				t.Errorf("id %s, want %s", c.ID, v.ID)
			}
			if err := c.VerifyIdentity(first); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzParseIdentityCert(f *testing.F) {
	for _, v := range readGolden(f).IdentityCerts {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseIdentityCert(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "identity: ") {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(c.Raw, raw) || len(raw) > MaxIdentityCert || len(c.Display) > MaxDisplay || len(c.Attestation) > MaxAttestation {
			t.Fatal("accepted what it should not keep")
		}
	})
}

func FuzzParseDeviceCert(f *testing.F) {
	for _, v := range readGolden(f).DeviceCerts {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseDeviceCert(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "identity: ") {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(c.Raw, raw) || len(raw) > MaxDeviceCert || len(c.Attestation) > MaxAttestation || c.MaxRole == 0 {
			t.Fatal("accepted what it should not keep")
		}
	})
}
