package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/journal/snapshot.json"

// golden is the vector file. The signature is hedged, so the record is kept as it was made once; its core is made anew
// and compared.
type golden struct {
	Comment    string            `json:"comment"`
	DeviceSeed string            `json:"device_seed"`
	Core       string            `json:"core"`
	Raw        string            `json:"raw"`
	Structure  string            `json:"structure"` // of the document inside, SPEC.md 6
	Refused    map[string]vector `json:"refused"`
}

type vector struct {
	Error string `json:"error"`
	Raw   string `json:"raw"`
}

var goldenErrors = map[string]error{
	"malformed": wire.ErrMalformed, "version": wire.ErrVersion, "too large": wire.ErrTooLarge, "signature": sign.ErrSignature,
	"snapshot": ErrSnapshot,
}

func goldenKeys() *identity.DeviceKeys {
	return devicekeys.Of(identity.Seed(bytes.Repeat([]byte{1}, 32)))
}

func goldenCore(t testing.TB) snapshotCore {
	t.Helper()
	d := crdt.New(crdt.WithClientID(0x01020304))
	err := d.Update(func(tx *crdt.Txn) error {
		if err := d.Text("body").Insert(tx, 0, "INT. HOUSE"); err != nil {
			return err
		}
		if err := d.Map("meta").Set(tx, "title", "é"); err != nil {
			return err
		}
		return d.Text("body").Delete(tx, 4, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	state, err := d.EncodeUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshotCore{
		Head: wire.NewHead(), Project: genesis.ProjectID{0xaa}, Doc: DocID{0xbb},
		Frontier: []place{
			{Device: identity.DeviceID{1}, ChainNo: 0, Seq: 7, ID: wire.ID{0xc0}},
			{Device: identity.DeviceID{1}, ChainNo: 2, Seq: 1 << 40, ID: wire.ID{0xc1}},
		},
		Heads: []governance.EventID{{0xd0}, {0xd1}}, Epoch: governance.EpochID{0xe0}, Nonce: [seal.NonceSize]byte{0xf0}, state: state,
	}
}

// goldenEpoch is the epoch's key, goldenGiver the device that serves the snapshot.
var (
	goldenEpoch = [32]byte(bytes.Repeat([]byte{2}, 32))
	goldenGiver = identity.DeviceID{1}
)

// sealedCore is the core with its document sealed.
func sealedCore(t testing.TB, change ...func(*snapshotCore)) snapshotCore {
	t.Helper()
	c := goldenCore(t)
	for _, fn := range change {
		fn(&c)
	}
	c.seal(goldenEpoch, goldenGiver)
	return c
}

func makeGolden(t *testing.T) golden {
	dk := goldenKeys().DK
	c := sealedCore(t)
	raw := signSnapshot(dk, c)
	signed := func(change func(*snapshotCore)) string {
		core := wire.Marshal(sealedCore(t, change))
		return hex.EncodeToString(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{dk.Sign(sign.Snapshot, core)}}))
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	otherType := wire.Marshal(wire.Signed{Core: wire.Marshal(c), Sigs: [][]byte{dk.Sign(sign.Envelope, wire.Marshal(c))}})
	s, err := structure(docOf(t, c.state))
	if err != nil {
		t.Fatal(err)
	}
	return golden{
		Comment:    "A snapshot and records that must be refused; hex. Written by go test ./sync/journal -run Golden -update",
		DeviceSeed: hex.EncodeToString(bytes.Repeat([]byte{1}, 32)), Core: hex.EncodeToString(wire.Marshal(c)),
		Raw: hex.EncodeToString(raw), Structure: s.String(),
		Refused: map[string]vector{
			"altered signature":         {"signature", hex.EncodeToString(flipped)},
			"signed as another type":    {"signature", hex.EncodeToString(otherType)},
			"truncated":                 {"malformed", hex.EncodeToString(raw[:len(raw)-1])},
			"trailing byte":             {"malformed", hex.EncodeToString(append(bytes.Clone(raw), 0))},
			"no signature":              {"malformed", hex.EncodeToString(wire.Marshal(wire.Signed{Core: wire.Marshal(c)}))},
			"newer version":             {"version", signed(func(c *snapshotCore) { c.V = 2 })},
			"frontier not ascending":    {"malformed", signed(func(c *snapshotCore) { c.Frontier[0].ChainNo = 3 })},
			"frontier with a repeat":    {"malformed", signed(func(c *snapshotCore) { c.Frontier[1] = c.Frontier[0] })},
			"frontier of nothing":       {"malformed", signed(func(c *snapshotCore) { c.Frontier[0].Seq = 0 })},
			"heads not ascending":       {"malformed", signed(func(c *snapshotCore) { c.Heads[0] = governance.EventID{0xff} })},
			"document is no Yjs update": {"snapshot", signed(func(c *snapshotCore) { c.state = []byte{1, 2} })},
			"sealed for another device": {"snapshot", sealedElsewhere(t, dk)},
		},
	}
}

// sealedElsewhere is a snapshot that a device passes on as its own.
func sealedElsewhere(t *testing.T, dk *sign.PrivateKey) string {
	c := goldenCore(t)
	c.seal(goldenEpoch, identity.DeviceID{9})
	return hex.EncodeToString(signSnapshot(dk, c))
}

func TestGolden(t *testing.T) {
	if *update {
		goldenfile.Write(t, goldenPath, makeGolden(t))
	}
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	dk := goldenKeys().DK.Public()
	want := sealedCore(t)
	c, err := parseSnapshot(unhex(t, g.Raw), dk)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(wire.Marshal(*c)); got != g.Core || got != hex.EncodeToString(wire.Marshal(want)) {
		t.Errorf("core %s", got)
	}
	if err := c.open(goldenEpoch, goldenGiver); err != nil {
		t.Fatal(err)
	}
	if s, err := structure(docOf(t, c.state)); err != nil || s.String() != g.Structure {
		t.Errorf("structure %v, %v", s, err)
	}
	if len(g.Refused) == 0 {
		t.Error("no refused records")
	}
	for name, v := range g.Refused {
		c, err := parseSnapshot(unhex(t, v.Raw), dk)
		if err == nil {
			err = c.open(goldenEpoch, goldenGiver)
		}
		if !errors.Is(err, goldenErrors[v.Error]) || !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v, want %s", name, err, v.Error)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzSnapshot(f *testing.F) {
	f.Add(signSnapshot(goldenKeys().DK, sealedCore(f)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseSnapshot(raw, nil)
		if err != nil {
			return
		}
		var signed wire.Signed
		if err := wire.Unmarshal(raw, &signed, MaxSnapshot); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(wire.Marshal(*c), signed.Core) {
			t.Fatal("another encoding was accepted")
		}
		if c.open(goldenEpoch, goldenGiver) == nil {
			again := *c
			if again.seal(goldenEpoch, goldenGiver); !bytes.Equal(again.State, c.State) {
				t.Fatal("another sealing was accepted")
			}
		}
	})
}
