package genesis

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../testdata/genesis/vectors.json"

// golden is the content of the vector file.
type golden struct {
	Comment     string        `json:"comment"`
	HolderSeed  string        `json:"holder_seed"`
	HolderKey   string        `json:"holder_key"`
	RootPubHash string        `json:"root_pub_hash"`
	Project     string        `json:"project"` // of the root record "founding"
	RootCore    string        `json:"root_core"`
	Shares      []goldenShare `json:"shares"` // any two of "x = 1", "x = 2", "x = 3" rebuild holder_seed
	Roots       []goldenRoot  `json:"roots"`
}

type goldenShare struct {
	Name       string `json:"name"`
	Want       string `json:"want"` // "ok" or the class of failure
	Commitment string `json:"commitment,omitempty"`
	Raw        string `json:"raw"`
}

type goldenRoot struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Raw  string `json:"raw"`
}

// classes maps a failure class of a vector to the error that stands for it.
var classes = map[string]error{
	"ok": nil, "malformed": wire.ErrMalformed, "too-large": wire.ErrTooLarge, "version": wire.ErrVersion,
	"signature": sign.ErrSignature, "public-key": sign.ErrPublicKey, "rule": ErrRoot, "upgrade": ErrUpgradeRequired,
	"chain": ErrUnsupportedVersion, "corrupt": ErrShareCorrupt,
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var goldenSeed = identity.Seed(bytes.Repeat([]byte{0x5e}, 32))

// goldenShares are the shares of goldenSeed on the line y = seed + a x over GF(256), a = 1 for every byte: at x the
// value is seed xor x.
func goldenShares(member identity.MemberID) []shareRecord {
	out := make([]shareRecord, 3)
	for i := range out {
		x := byte(i + 1)
		out[i] = shareRecord{
			Head: wire.NewHead(), Magic: shareMagic, Ceremony: [16]byte{0xce}, Holder: member, RootVersion: 1, K: 2, M: 3, X: x,
			Salt:        [32]byte{0x5a, x},
			RootPubHash: rootPubHash(NewHolderKey(goldenSeed).Public()), Label: "shelf " + string('0'+rune(x)),
		}
		for j := range out[i].Y {
			out[i].Y[j] = goldenSeed[j] ^ x
		}
	}
	return out
}

// goldenCore is the core of the record "founding".
func goldenCore(f founder) rootCore {
	key := NewHolderKey(goldenSeed).Public()
	return rootCore{
		Head: wire.NewHead(), N: 1, Nonce: [16]byte{0x0c}, Title: "My film", Policy: DefaultPolicy(),
		Holders:   []holderRecord{{Member: f.id.Member(), Key: key.Bytes()}},
		ShareSets: []shareSetRecord{shareSetOf(goldenShares(f.id.Member()))},
		Founder:   &founderRecord{Identity: f.id.Raw, Device: f.device.Raw}, Reason: "founding",
	}
}

func signGolden(core rootCore) []byte {
	raw := wire.Marshal(core)
	return wire.Marshal(signedRoot{Core: raw, Now: []holderSig{
		{Member: core.Holders[0].Member, Sig: NewHolderKey(goldenSeed).Sign(sign.Root, raw)},
	}})
}

func writeGolden(t *testing.T) {
	t.Helper()
	f := newFounder(t, 1)
	key := NewHolderKey(goldenSeed).Public()
	core := goldenCore(f)
	g := golden{
		Comment:    "Made by go test ./genesis -run Golden -update; see genesis/SPEC.md.",
		HolderSeed: hex.EncodeToString(goldenSeed[:]), HolderKey: hex.EncodeToString(key.Bytes()),
		RootPubHash: rootPubHash(key).String(), RootCore: hex.EncodeToString(wire.Marshal(core)),
	}
	root := func(name, want string, raw []byte) {
		g.Roots = append(g.Roots, goldenRoot{Name: name, Want: want, Raw: hex.EncodeToString(raw)})
	}
	first := signGolden(core)
	r, err := ParseRoot(first)
	if err != nil {
		t.Fatal(err)
	}
	g.Project = r.Project.String()
	changed := func(change func(*rootCore)) []byte {
		c := goldenCore(f)
		change(&c)
		return signGolden(c)
	}
	prev := wire.ID(r.ID)
	root("founding", "ok", first)
	root("last bit of the signature", "signature", append(bytes.Clone(first[:len(first)-1]), first[len(first)-1]^1))
	root("threshold 2 of 1", "rule", changed(func(c *rootCore) { c.Policy.Threshold = 2 }))
	root("unknown feature", "upgrade", changed(func(c *rootCore) { c.Policy.Features = []uint32{1} }))
	root("small-order holder key", "public-key", changed(func(c *rootCore) {
		copy(c.Holders[0].Key[sign.PublicKeySize-32:], unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
	}))
	root("version 2, every field used", "chain", changed(func(c *rootCore) {
		c.N, c.Prev, c.Founder, c.Reason = 2, &prev, nil, "refresh"
		c.Frontier, c.Abandons, c.Heals = ids(2), ids(2), ids(2)
		c.ShareSets[0].PhraseBlob = []byte("sealed")
	}))
	share := func(name, want string, s shareRecord) {
		v := goldenShare{Name: name, Want: want, Raw: hex.EncodeToString(s.encode())}
		if want == "ok" {
			v.Commitment = s.commitment().String()
		}
		g.Shares = append(g.Shares, v)
	}
	shares := goldenShares(f.id.Member())
	share("x = 1", "ok", shares[0])
	share("x = 2", "ok", shares[1])
	share("x = 3", "ok", shares[2])
	zeroth := shares[0]
	zeroth.X = 0
	share("x = 0", "corrupt", zeroth)
	newer := shares[0]
	newer.V = 2
	share("version 2", "version", newer)
	goldenfile.Write(t, goldenPath, g)
}

func readGolden(t testing.TB) golden {
	t.Helper()
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	return g
}

func TestGoldenRoots(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	g := readGolden(t)
	for _, v := range g.Roots {
		t.Run(v.Name, func(t *testing.T) {
			want, known := classes[v.Want]
			r, err := ParseRoot(unhex(t, v.Raw))
			if !known || !errors.Is(err, want) {
				t.Fatalf("got %v, want %s", err, v.Want)
			}
			if err != nil {
				return
			}
			if r.Project.String() != g.Project || hex.EncodeToString(r.Holders[0].Key.Bytes()) != g.HolderKey {
				t.Error("another project or holder")
			}
			// The core is made anew: the encoder must give the same bytes for the same content.
			f := founder{id: r.Founder.Identity, device: r.Founder.Device}
			if got := hex.EncodeToString(wire.Marshal(goldenCore(f))); got != g.RootCore {
				t.Errorf("core is now %s", got)
			}
		})
	}
}

func TestGoldenShares(t *testing.T) {
	g := readGolden(t)
	root, err := ParseRoot(unhex(t, g.Roots[0].Raw))
	if err != nil {
		t.Fatal(err)
	}
	made := goldenShares(root.Founder.Identity.Member())
	var good []*shareRecord
	for i, v := range g.Shares {
		want, known := classes[v.Want]
		raw := unhex(t, v.Raw)
		share, err := ParseShare(raw)
		if !known || !errors.Is(err, want) || (err != nil && !errors.Is(err, ErrShareCorrupt)) {
			t.Errorf("%s: got %v, want %s", v.Name, err, v.Want)
		}
		if err != nil {
			continue
		}
		r := &share.secret.record
		if r.commitment().String() != v.Commitment || root.checkShare(r) != nil {
			t.Errorf("%s: commitment changed", v.Name)
		}
		if !bytes.Equal(made[i].encode(), raw) {
			t.Errorf("%s: encoding changed", v.Name)
		}
		good = append(good, r)
	}
	for _, pair := range [][]*shareRecord{{good[0], good[1]}, {good[0], good[2]}, {good[2], good[1]}} {
		key, err := rebuild(root, &root.ShareSets[0], pair)
		if err != nil || hex.EncodeToString(key.Public().Bytes()) != g.HolderKey {
			t.Errorf("shares %d and %d: %v", pair[0].X, pair[1].X, err)
		}
	}
	if rootPubHash(root.Holders[0].Key).String() != g.RootPubHash {
		t.Error("hash of the holder's key changed")
	}
}

func FuzzParseRoot(f *testing.F) {
	for _, v := range readGolden(f).Roots {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRoot(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "genesis: ") {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(r.Raw, raw) || r.N != 1 || len(raw) > MaxRoot || len(r.Title) > MaxTitle ||
			len(r.Holders) == 0 || len(r.Holders) > MaxHolders || r.Founder.Identity == nil || r.Founder.Device == nil {
			t.Fatal("accepted what it should not keep")
		}
	})
}

func FuzzParseShare(f *testing.F) {
	for _, v := range readGolden(f).Shares {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseShare(raw)
		if err != nil {
			if !errors.Is(err, ErrShareCorrupt) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if s.X == 0 || s.X > s.M || s.K < MinThreshold || s.K > s.M || s.M > MaxShares || len(raw) > MaxShare {
			t.Fatal("accepted a share that cannot be")
		}
		if !bytes.Equal(s.secret.record.encode(), raw) {
			t.Fatal("a share has two encodings")
		}
	})
}
