package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// seedOf is a fixed seed for tests.
func seedOf(fill byte) Seed { return Seed(bytes.Repeat([]byte{fill}, 32)) }

var testTime = time.Unix(1_800_000_000, 0)

// person is a member with one device, made of fixed seeds.
type person struct {
	ik     *sign.PrivateKey
	rev    *sign.RevocationKey
	cert   *IdentityCert
	keys   *DeviceKeys
	device *DeviceCert
}

func newPerson(t testing.TB, fill byte) *person {
	t.Helper()
	rev, err := NewRevocationKey(seedOf(fill + 2))
	if err != nil {
		t.Fatal(err)
	}
	p := &person{ik: NewIdentityKey(seedOf(fill)), rev: rev, keys: NewDeviceKeys(seedOf(fill+1), kem.NewPrivateKey(seedOf(fill+3)))}
	p.cert, err = NewIdentityCert(p.ik, "Ada", RevocationCommit(rev.Public()), testTime)
	if err != nil {
		t.Fatal(err)
	}
	p.device, err = NewDeviceCert(p.ik, p.cert.Member(), p.keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCertificatesRoundTrip(t *testing.T) {
	p := newPerson(t, 1)
	id, err := ParseIdentityCert(p.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != p.cert.ID || id.Display != "Ada" || id.Created != uint64(testTime.Unix()) || id.Seq != 0 ||
		id.Prev != nil || id.Member() != MemberID(id.ID) || !id.IK.Equal(p.ik.Public()) {
		t.Fatalf("identity certificate changed on its way: %+v", id)
	}
	if id.RevCommit != RevocationCommit(p.rev.Public()) {
		t.Fatal("the certificate does not commit to the revocation key")
	}
	dev, err := ParseDeviceCert(p.device.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if dev.ID != p.device.ID || dev.Member != id.Member() || dev.Peer != p.keys.PeerPublic() || dev.MaxRole != 30 ||
		dev.NotAfter != nil || !bytes.Equal(dev.KEM.Bytes(), p.keys.KEM.Public().Bytes()) {
		t.Fatalf("device certificate changed on its way: %+v", dev)
	}
	if err := dev.VerifyIdentity(id); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateDoesNotAliasItsInput(t *testing.T) {
	p := newPerson(t, 1)
	raw := bytes.Clone(p.cert.Raw)
	id, err := ParseIdentityCert(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if !bytes.Equal(id.Raw, p.cert.Raw) {
		t.Fatal("the certificate shares memory with the caller's buffer")
	}
}

func TestVerifyIdentityNamesTheRightMember(t *testing.T) {
	ada, eve := newPerson(t, 1), newPerson(t, 10)
	if err := ada.device.VerifyIdentity(eve.cert); !errors.Is(err, ErrMember) {
		t.Fatalf("Ada's device under Eve's identity: %v", err)
	}
	// Eve signs a certificate that claims Ada as its member.
	forged, err := NewDeviceCert(eve.ik, ada.cert.Member(), eve.keys, 30)
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.VerifyIdentity(ada.cert); !errors.Is(err, sign.ErrSignature) {
		t.Fatalf("device that Eve signed for Ada: %v", err)
	}
}

func TestDisplayName(t *testing.T) {
	ik := NewIdentityKey(seedOf(1))
	for _, tt := range []struct {
		name, display string
		want          error
	}{
		{"64 bytes", strings.Repeat("x", MaxDisplay), nil},
		{"65 bytes", strings.Repeat("x", MaxDisplay+1), wire.ErrTooLarge},
		{"empty", "", nil},
		{"decomposed letters are composed", "e\u0301", nil},
		{"line break", "a\nb", wire.ErrMalformed},
		{"not UTF-8", "\xff", wire.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewIdentityCert(ik, tt.display, wire.ID{1}, testTime)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && c.Display != wire.NFC(tt.display) {
				t.Fatalf("display name became %q", c.Display)
			}
		})
	}
}

func TestKeysDependOnEverySeedAlone(t *testing.T) {
	first := kem.NewPrivateKey(seedOf(9))
	a, again, b := NewDeviceKeys(seedOf(1), first), NewDeviceKeys(seedOf(1), first), NewDeviceKeys(seedOf(2), first)
	if !a.DK.Public().Equal(again.DK.Public()) || !a.Peer.Key().Equal(again.Peer.Key()) {
		t.Fatal("equal seeds gave different keys")
	}
	if a.DK.Public().Equal(b.DK.Public()) || a.Peer.Key().Equal(b.Peer.Key()) {
		t.Fatal("different seeds share a key")
	}
	if NewIdentityKey(seedOf(1)).Public().Equal(a.DK.Public()) {
		t.Fatal("identity key and device key of one seed are the same")
	}
	dkEd := a.DK.Public().Bytes()[sign.PublicKeySize-ed25519.PublicKeySize:]
	peer := a.PeerPublic()
	if bytes.Equal(dkEd, peer[:]) {
		t.Fatal("the transport key is the device key's Ed25519 half")
	}
}

func TestIdentifiers(t *testing.T) {
	project, device := [32]byte{1}, DeviceID{2}
	seen := map[uint32]bool{}
	for no := range uint32(4) {
		seen[ClientID(project, device, no)] = true
		seen[ClientID([32]byte{9}, device, no)] = true
		seen[ClientID(project, DeviceID{9}, no)] = true
	}
	if len(seen) != 12 {
		t.Fatalf("%d different client IDs, want 12", len(seen))
	}
	if DocumentID(project, "e\u0301") != DocumentID(project, "\u00e9") {
		t.Fatal("one name in two Unicode forms names two documents")
	}
	if DocumentID(project, "a") == DocumentID([32]byte{9}, "a") {
		t.Fatal("two projects share a document id")
	}
	if ChainRoot(project, device, 0) == ChainRoot(project, device, 1) {
		t.Fatal("two chains share their root")
	}
	peer := PeerIDBytes([32]byte{0xaa})
	if len(peer) != 38 || !bytes.HasPrefix(peer, []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20, 0xaa}) {
		t.Fatalf("peer id bytes %x", peer)
	}
	if words := Fingerprint(MemberID{1, 2, 3}); len(words) != 6 {
		t.Fatalf("fingerprint has %d words", len(words))
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	seed := seedOf(0xab)
	keys := NewDeviceKeys(seed, kem.NewPrivateKey(seed))
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	secrets := []string{"abababab", "171 171", "171, 171", "0xab", fmt.Sprintf("%x", []byte(keys.Peer.Key().Seed()))[:16]}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%t"} {
		for _, v := range []any{seed, &seed, keys, *keys, struct{ S Seed }{seed}, []Seed{seed}} {
			checkRedacted(t, verb, fmt.Sprintf(verb, v), secrets)
		}
	}
	for _, v := range []any{seed, &seed, keys, *keys, map[string]any{"s": seed}} {
		checkRedacted(t, "json", asJSON(v), secrets)
	}
	seed.Wipe()
	if !seed.IsZero() {
		t.Fatal("a wiped seed still holds bytes")
	}
}

func checkRedacted(t *testing.T, how, out string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(out, s) {
			t.Errorf("%s shows a secret", how)
		}
	}
	if !strings.Contains(out, "[redacted]") {
		t.Errorf("%s prints %q", how, out)
	}
}

func TestNewSeedReportsShortRandomness(t *testing.T) {
	if _, err := NewSeed(strings.NewReader("short")); err == nil || !strings.HasPrefix(err.Error(), "identity:") {
		t.Fatalf("got %v", err)
	}
}
