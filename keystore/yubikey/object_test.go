package yubikey

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/mutant"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

// vectors are the public key and the sealed secret of the golden vector in testdata/keystore.
func vectors(t testing.TB) (key, sealed []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "keystore", "token.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Key    string `json:"public_key"`
		Sealed string `json:"sealed"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	key, keyErr := hex.DecodeString(v.Key)
	sealed, sealedErr := hex.DecodeString(v.Sealed)
	if err := errors.Join(keyErr, sealedErr); err != nil {
		t.Fatal(err)
	}
	return key, sealed
}

// encode makes a record as it lies within a certificate.
func encode(r record) []byte {
	r.Head, r.Magic = wire.NewHead(), recordMagic
	return wire.Marshal(r)
}

// The records on tokens that people carry are read for ever: their bytes are these, around what the golden vector holds.
func TestGoldenRecords(t *testing.T) {
	key, sealed := vectors(t)
	for _, c := range []struct {
		name string
		r    record
		want string // hex, with K and S for the key and the sealed secret
	}{
		{"key", record{Key: key}, "a40101020103" + "64636c626f" + "04" + "5904e1K"},
		{"secret", record{Name: "share", Sealed: sealed}, "a50101020103" + "64636c626f" + "05" + "657368617265" + "06" + "59" + hex.EncodeToString([]byte{byte(len(sealed) >> 8), byte(len(sealed))}) + "S"},
		{"free", record{}, "a30101020103" + "64636c626f"},
	} {
		want := strings.NewReplacer("K", hex.EncodeToString(key), "S", hex.EncodeToString(sealed)).Replace(c.want)
		if got := hex.EncodeToString(encode(c.r)); got != want {
			t.Errorf("%s: %s; want %s", c.name, got, want)
		}
		cert, err := c.r.certificate()
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseCertificate(cert)
		if err != nil || !bytes.Equal(encode(back), encode(c.r)) {
			t.Errorf("%s: through a certificate: %v", c.name, err)
		}
	}
}

// The largest secret under the longest name fits into what a token takes.
func TestLargestRecord(t *testing.T) {
	pq, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	half, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keystore.NewTokenKey(pq.Encapsulator(), half.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(nil, make([]byte, keystore.MaxTokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := record{Name: strings.Repeat("x", keystore.MaxName), Sealed: sealed}.certificate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseCertificate(cert); err != nil {
		t.Fatal(err)
	}
	t.Logf("certificate of %d bytes; a token takes about 3000, this package %d", len(cert.Raw), maxObject)
	if _, err := (record{Name: "x", Sealed: make([]byte, maxObject)}).certificate(); !errors.Is(err, keystore.ErrTooBig) {
		t.Errorf("a certificate that no token takes: %v; want ErrTooBig", err)
	}
}

func TestForeignCertificates(t *testing.T) {
	cert, err := record{}.certificate()
	if err != nil {
		t.Fatal(err)
	}
	cert.Extensions = nil
	if _, err := parseCertificate(cert); !errors.Is(err, errForeign) {
		t.Errorf("%v; want errForeign", err)
	}
}

func TestBadRecords(t *testing.T) {
	key, sealed := vectors(t)
	head := wire.NewHead()
	for name, c := range map[string]struct {
		r    record
		want error
	}{
		"magic":            {record{Head: head, Magic: "clbx"}, keystore.ErrDamaged},
		"version":          {record{Head: wire.Head{V: 2, Suite: head.Suite}, Magic: recordMagic}, wire.ErrVersion},
		"both":             {record{Head: head, Magic: recordMagic, Key: key, Name: "a", Sealed: sealed}, keystore.ErrDamaged},
		"short key":        {record{Head: head, Magic: recordMagic, Key: key[1:]}, keystore.ErrDamaged},
		"no name":          {record{Head: head, Magic: recordMagic, Sealed: sealed}, keystore.ErrDamaged},
		"bad name":         {record{Head: head, Magic: recordMagic, Name: "a b", Sealed: sealed}, keystore.ErrDamaged},
		"nothing sealed":   {record{Head: head, Magic: recordMagic, Name: "a"}, keystore.ErrDamaged},
		"something sealed": {record{Head: head, Magic: recordMagic, Name: "a", Sealed: []byte("x")}, keystore.ErrDamaged},
	} {
		if _, err := parseRecord(wire.Marshal(c.r)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
}

// checkRecord is what holds of any bytes that a token carries.
func checkRecord(t *testing.T, raw []byte) {
	t.Helper()
	r, err := parseRecord(raw)
	if err != nil {
		if !errors.Is(err, keystore.ErrDamaged) && !errors.Is(err, wire.ErrVersion) {
			t.Fatalf("untyped error: %v", err)
		}
		return
	}
	if len(raw) > maxRecord || !bytes.Equal(wire.Marshal(r), raw) {
		t.Fatal("too long, or encodes to other bytes")
	}
}

func FuzzRecord(f *testing.F) {
	key, sealed := vectors(f)
	f.Add(encode(record{Key: key}))
	f.Add(encode(record{Name: "share", Sealed: sealed}))
	f.Add(encode(record{}))
	f.Fuzz(checkRecord)
}

func TestScenario067HostileToken(t *testing.T) {
	scenario.Run(t, 67, "what a token carries, whole, cut anywhere, each byte flipped: no panic, typed errors, and what decodes "+
		"encodes to the same bytes", func(t *testing.T) {
		key, sealed := vectors(t)
		for _, whole := range [][]byte{encode(record{Key: key}), encode(record{Name: "share", Sealed: sealed}), encode(record{})} {
			for raw := range mutant.Of(whole) {
				checkRecord(t, raw)
			}
		}
	})
}
