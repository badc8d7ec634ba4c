package genesis

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

const chainGoldenPath = "../testdata/genesis/chain.json"

// chainGolden is the content of the vector file of what moves a root.
type chainGolden struct {
	Comment   string       `json:"comment"`
	First     string       `json:"first"`   // version 1, held by two
	RootID    string       `json:"root_id"` // of the record "version 2, every field used"
	Core      string       `json:"core"`    // its signed part
	Next      []goldenRoot `json:"next"`    // after First
	Proposals []goldenRoot `json:"proposals"`
	Offers    []goldenRoot `json:"offers"`
}

// goldenNextCore is the core of the record "version 2, every field used".
func goldenNextCore(first *Root, holders []person) rootCore {
	prev := wire.ID(first.ID)
	c := rootCore{
		Head: wire.NewHead(), N: 2, Prev: &prev, Nonce: [16]byte{0x0d}, Title: "Our film", Policy: first.Policy,
		Frontier: ids(2), Abandons: ids(2), Heals: ids(2), Reason: "a team",
	}
	for _, p := range holders {
		c.Holders = append(c.Holders, holderRecord{Member: p.member, Key: p.key.Public().Bytes()})
	}
	set := sharesFor(0, &c)
	set.PhraseBlob = []byte("sealed")
	c.ShareSets = []shareSetRecord{set}
	return c
}

func writeChainGolden(t *testing.T) {
	t.Helper()
	first := firstRoot(t, 2)
	old, now := people(1, 2), people(2, 3, 4)
	full := func(c *rootCore) { *c = goldenNextCore(first, now) }
	g := chainGolden{
		Comment: "Made by go test ./genesis -run Golden -update; see genesis/SPEC.md.", First: hex.EncodeToString(first.Raw),
	}
	add := func(name, want string, raw []byte) {
		g.Next = append(g.Next, goldenRoot{Name: name, Want: want, Raw: hex.EncodeToString(raw)})
	}
	good := record(first, old, now, full)
	r, err := ParseNext(first, good)
	if err != nil {
		t.Fatal(err)
	}
	g.RootID, g.Core = r.ID.String(), hex.EncodeToString(recordCore(t, good))
	add("version 2, every field used", "ok", good)
	add("one of two holders before", "rule", record(first, old[:1], now, full))
	add("a new holder did not sign", "rule", record(first, old, now, full, func(s *signedRoot) { s.Now = s.Now[1:] }))
	add("no ML-DSA half", "signature", record(first, old, now, full, func(s *signedRoot) {
		s.Before[0].Sig = s.Before[0].Sig[sign.SignatureSize-64:]
	}))
	add("threshold above the holders", "rule", record(first, old, now, func(c *rootCore) { full(c); c.Policy.Threshold = 4 }))
	add("suite below the floor", "downgrade", record(first, old, now, func(c *rootCore) { full(c); c.Policy.MinSuite = 0 }))
	add("unknown feature", "upgrade", record(first, old, now, func(c *rootCore) { full(c); c.Policy.Features = []uint32{1} }))
	add("after another record", "rule", record(first, old, now, func(c *rootCore) { full(c); c.Prev = &wire.ID{7} }))
	signed, _, err := decodeRoot(good)
	if err != nil {
		t.Fatal(err)
	}
	prop := func(name, want string, rec proposalRecord) {
		g.Proposals = append(g.Proposals, goldenRoot{Name: name, Want: want, Raw: hex.EncodeToString(wire.Marshal(rec))})
	}
	prop("nobody has signed", "ok", proposalRecord{Core: signed.Core, Expires: 1_800_000_000})
	prop("some have signed", "ok", proposalRecord{Core: signed.Core, Expires: 1_800_000_000, Before: signed.Before[:1], Now: signed.Now[1:]})
	prop("signatures not sorted", "malformed", proposalRecord{Core: signed.Core, Before: []holderSig{signed.Before[1], signed.Before[0]}})
	prop("another's signature", "signature", proposalRecord{Core: signed.Core, Now: []holderSig{{Member: now[0].member, Sig: signed.Now[1].Sig}}})
	offer := Offer{Member: r.Holders[0].Member, Key: r.Holders[0].Key, Shares: &r.ShareSets[0]}
	off := func(name, want string, raw []byte) {
		g.Offers = append(g.Offers, goldenRoot{Name: name, Want: want, Raw: hex.EncodeToString(raw)})
	}
	off("with shares", "ok", offer.Encode())
	off("without shares", "ok", (&Offer{Member: offer.Member, Key: offer.Key}).Encode())
	off("shares of another key", "rule", (&Offer{Member: offer.Member, Key: now[2].key.Public(), Shares: offer.Shares}).Encode())
	goldenfile.Write(t, chainGoldenPath, g)
}

func readChainGolden(t testing.TB) (chainGolden, *Root) {
	t.Helper()
	var g chainGolden
	goldenfile.Read(t, chainGoldenPath, &g)
	first, err := ParseRoot(unhex(t, g.First))
	if err != nil {
		t.Fatal(err)
	}
	return g, first
}

func checkClass(t *testing.T, v goldenRoot, err error) {
	t.Helper()
	want, known := classes[v.Want]
	if v.Want == "downgrade" {
		want, known = ErrDowngrade, true
	}
	if !known || !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %s", v.Name, err, v.Want)
	}
}

func TestGoldenChain(t *testing.T) {
	if *update {
		writeChainGolden(t)
	}
	g, first := readChainGolden(t)
	for _, v := range g.Next {
		r, err := ParseNext(first, unhex(t, v.Raw))
		checkClass(t, v, err)
		if err == nil && r.ID.String() != g.RootID {
			t.Errorf("id is now %s", r.ID)
		}
	}
	if got := hex.EncodeToString(wire.Marshal(goldenNextCore(first, people(2, 3, 4)))); got != g.Core {
		t.Errorf("core is now %s", got)
	}
	for _, v := range g.Proposals {
		raw := unhex(t, v.Raw)
		p, err := ParseProposal(first, raw)
		checkClass(t, v, err)
		if err == nil && !bytes.Equal(p.Encode(), raw) {
			t.Errorf("%s: encoding changed", v.Name)
		}
	}
	for _, v := range g.Offers {
		raw := unhex(t, v.Raw)
		o, err := ParseOffer(raw)
		checkClass(t, v, err)
		if err == nil && !bytes.Equal(o.Encode(), raw) {
			t.Errorf("%s: encoding changed", v.Name)
		}
	}
}

// FuzzChain adds whatever comes to a chain whose holders' keys it does not have: version 1 stays, nothing but the golden
// record is taken, and what is held stays within bounds.
func FuzzChain(f *testing.F) {
	g, first := readChainGolden(f)
	for _, v := range g.Next {
		f.Add(unhex(f, v.Raw))
	}
	f.Add(first.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := NewChain(first)
		res, err := c.Add(raw)
		if err != nil && !strings.HasPrefix(err.Error(), "genesis: ") {
			t.Fatalf("untyped error %v", err)
		}
		for _, r := range res.Added {
			if r.N != 2 || r.Prev != first.ID || !bytes.Equal(r.Raw, raw) {
				t.Fatal("took what does not follow")
			}
		}
		if len(c.ahead) > 1 || c.bytes > len(raw) || len(c.links) > 2 || c.view.Versions[0] != first {
			t.Fatal("keeps what it should not")
		}
		if r, err := ParsePinned(first.Project, first.ID, raw); err == nil {
			t.Fatalf("version %d is taken for version 1", r.N)
		}
	})
}

func FuzzParseProposal(f *testing.F) {
	g, first := readChainGolden(f)
	for _, v := range g.Proposals {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParseProposal(first, raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "genesis: ") {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		id, prev, err := PeekProposal(raw)
		if err != nil || id != p.ID || prev != first.ID || !bytes.Equal(p.Encode(), raw) {
			t.Fatalf("read in two ways: %v", err)
		}
	})
}

func FuzzParseOffer(f *testing.F) {
	g, _ := readChainGolden(f)
	for _, v := range g.Offers {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := ParseOffer(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "genesis: ") {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(o.Encode(), raw) {
			t.Fatal("an offer has two encodings")
		}
	})
}
