package epoch

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

var vectorFile = filepath.Join("..", "..", "testdata", "governance", "epoch.json")

// vectors are two epochs, the second of which hands on the key of the first, for the devices of deviceOf(1) and (2),
// and a box of the second for deviceOf(3) by deviceOf(1). Everything is hex.
type vectors struct {
	Comment             string
	First, Second       string // epoch objects
	FirstID, SecondID   string
	FirstKey, SecondKey string
	Box                 string
	ContentKey          string // of the second epoch, deviceOf(2), chain 3, document 04…
}

func writeVectors(t *testing.T) {
	a, b, c := deviceOf(1), deviceOf(2), deviceOf(3)
	first := mint(t, nil, a, b)
	second := mint(t, []IDKey{first.IDKey}, a, b)
	box, err := SealBox(rand.Reader, second.IDKey, c.recipient(), a.author())
	if err != nil {
		t.Fatal(err)
	}
	content := ContentKey(second.Key, second.ID, b.id, 3, [16]byte{4})
	goldenfile.Write(t, vectorFile, vectors{
		Comment: "Epoch objects and a box; device keys come from the seeds of epoch_test.go. Writing anew changes every value.",
		First:   hex.EncodeToString(wire.Marshal(first.Object)), Second: hex.EncodeToString(wire.Marshal(second.Object)),
		FirstID: first.ID.String(), SecondID: second.ID.String(), FirstKey: hex.EncodeToString(first.Key[:]),
		SecondKey: hex.EncodeToString(second.Key[:]), Box: hex.EncodeToString(box), ContentKey: hex.EncodeToString(content[:]),
	})
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var v vectors
	goldenfile.Read(t, vectorFile, &v)
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readObject(t testing.TB, s string) *governance.KeyEpoch {
	t.Helper()
	var k governance.KeyEpoch
	raw := unhex(t, s)
	if err := wire.Unmarshal(raw, &k, governance.MaxEventCore); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wire.Marshal(k), raw) {
		t.Fatal("an epoch object encoded again differs")
	}
	return &k
}

// What was minted and given once still opens.
func TestGoldenEpochs(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	v := readVectors(t)
	first, second := readObject(t, v.First), readObject(t, v.Second)
	if first.ID().String() != v.FirstID || second.ID().String() != v.SecondID {
		t.Errorf("ids %s and %s", first.ID(), second.ID())
	}
	b, c := deviceOf(2), deviceOf(3)
	key, err := Open(second, b.id, b.keys.KEM)
	if err != nil || hex.EncodeToString(key[:]) != v.SecondKey {
		t.Fatalf("second epoch: %v", err)
	}
	prev, err := OpenPrevious(second, key)
	if err != nil || len(prev) != 1 || prev[0].ID != first.ID() || hex.EncodeToString(prev[0].Key[:]) != v.FirstKey {
		t.Fatalf("earlier keys: %v", err)
	}
	if err := Check(first, prev[0].Key); err != nil {
		t.Error(err)
	}
	box, err := ParseBox(unhex(t, v.Box))
	if err != nil {
		t.Fatal(err)
	}
	given, err := box.Open(second, deviceOf(1).keys.DK.Public(), c.id, c.keys.KEM)
	if err != nil || given != key {
		t.Errorf("box: %v", err)
	}
	content := ContentKey(key, second.ID(), b.id, 3, [16]byte{4})
	if hex.EncodeToString(content[:]) != v.ContentKey {
		t.Error("content key differs")
	}
	core, err := second.Decode()
	if err != nil {
		t.Fatal(err)
	}
	r := []governance.RosterEntry{}
	for _, d := range []device{deviceOf(2), deviceOf(1)} {
		r = append(r, governance.RosterEntry{Device: d.id, KemID: identity.KemID(d.keys.KEM.Public())})
	}
	if core.Roster != governance.RosterHash(r) {
		t.Error("roster hash differs")
	}
}

// FuzzParseBox: whatever parses neither panics when opened nor opens.
func FuzzParseBox(f *testing.F) {
	v := readVectors(f)
	good := unhex(f, v.Box)
	f.Add(good)
	f.Add(good[:len(good)-1])
	object := readObject(f, v.Second)
	giver, c := deviceOf(1), deviceOf(3)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBox(raw)
		if err != nil {
			return
		}
		if again := wire.Marshal(wire.Signed{Core: b.core, Sigs: [][]byte{b.sig}}); !bytes.Equal(again, raw) {
			t.Fatal("encoded again it differs")
		}
		if _, err := b.Open(object, giver.keys.DK.Public(), c.id, c.keys.KEM); err == nil && !bytes.Equal(raw, good) {
			t.Fatal("a forged box opens")
		}
	})
}

// FuzzOpen: no object, whatever its bytes, makes opening panic or yields a key that it does not commit to.
func FuzzOpen(f *testing.F) {
	v := readVectors(f)
	f.Add(unhex(f, v.First), unhex(f, v.SecondKey))
	f.Add(unhex(f, v.Second), unhex(f, v.SecondKey))
	b := deviceOf(2)
	f.Fuzz(func(t *testing.T, raw, blob []byte) {
		var k governance.KeyEpoch
		if wire.Unmarshal(raw, &k, governance.MaxEventCore) != nil {
			return
		}
		if key, err := Open(&k, b.id, b.keys.KEM); err == nil && Check(&k, key) != nil {
			t.Fatal("a key that the object does not commit to")
		}
		_, _ = OpenBlob(&k, blob, b.id, b.keys.KEM)
		if len(blob) == KeySize {
			_, _ = OpenPrevious(&k, [KeySize]byte(blob))
		}
	})
}
