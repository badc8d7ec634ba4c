package genesis

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// recordBy builds a version 1 record of several holders, changed by change and then signed by every holder's key.
func recordBy(t testing.TB, f founder, holders int, change func(*rootCore)) []byte {
	t.Helper()
	core := rootCore{
		Head: wire.NewHead(), N: 1, Title: "My film", Policy: DefaultPolicy(),
		Founder: &founderRecord{Identity: f.id.Raw, Device: f.device.Raw},
	}
	if holders > 1 {
		core.Policy.Threshold = 2
	}
	keys := map[identity.MemberID]*sign.PrivateKey{}
	for i := range holders {
		seed := identity.Seed{byte(i + 1)}
		member := identity.MemberID{byte(i + 1)}
		keys[member] = NewHolderKey(seed)
		core.Holders = append(core.Holders, holderRecord{Member: member, Key: keys[member].Public().Bytes()})
	}
	change(&core)
	raw := wire.Marshal(core)
	signed := signedRoot{Core: raw}
	for _, h := range core.Holders {
		if key := keys[h.Member]; key != nil {
			signed.Now = append(signed.Now, holderSig{Member: h.Member, Sig: key.Sign(sign.Root, raw)})
		}
	}
	return wire.Marshal(signed)
}

// sharesFor returns a share set of holder i+1 that breaks no rule.
func sharesFor(i int, core *rootCore) shareSetRecord {
	key, err := sign.ParsePublicKey(core.Holders[i].Key)
	if err != nil {
		panic(err)
	}
	return shareSetRecord{
		Member: core.Holders[i].Member, Ceremony: [16]byte{byte(i)}, K: 2, M: 3, RootPubHash: rootPubHash(key),
		Commitments: make([]wire.ID, 3),
	}
}

func ids(n int) []wire.ID {
	out := make([]wire.ID, n)
	for i := range out {
		out[i] = wire.ID{byte(i >> 8), byte(i)}
	}
	return out
}

func TestParseRootRules(t *testing.T) {
	f, eve := newFounder(t, 1), newFounder(t, 50)
	nothing := func(*rootCore) {}
	for _, tt := range []struct {
		name    string
		holders int
		change  func(*rootCore)
		want    error
	}{
		{"one holder", 1, nothing, nil},
		{"two holders", 2, nothing, nil},
		{"32 holders", MaxHolders, nothing, nil},
		{"33 holders", MaxHolders + 1, nothing, wire.ErrTooLarge},
		{"no holder", 0, nothing, wire.ErrTooLarge},
		{"3 of 3", 3, func(c *rootCore) { c.Policy.Threshold = 3 }, nil},
		{"4 of 3", 3, func(c *rootCore) { c.Policy.Threshold = 4 }, ErrRoot},
		{"1 of 3", 3, func(c *rootCore) { c.Policy.Threshold = 1 }, ErrRoot},
		{"2 of 1", 1, func(c *rootCore) { c.Policy.Threshold = 2 }, ErrRoot},
		{"0 of 1", 1, func(c *rootCore) { c.Policy.Threshold = 0 }, ErrRoot},
		{"holders not sorted", 3, func(c *rootCore) { slices.Reverse(c.Holders) }, wire.ErrMalformed},
		{"holder twice", 2, func(c *rootCore) { c.Holders[1] = c.Holders[0] }, wire.ErrMalformed},
		{"two holders, one key", 2, func(c *rootCore) { c.Holders[1].Key = c.Holders[0].Key }, ErrRoot},
		{"holder who did not sign", 2, func(c *rootCore) { c.Holders[1].Member = identity.MemberID{99} }, ErrRoot},
		{"another's key in a holder's place", 1, func(c *rootCore) { c.Holders[0].Key = f.id.IK.Bytes() }, sign.ErrSignature},

		{"title at the cap", 1, func(c *rootCore) { c.Title = strings.Repeat("x", MaxTitle) }, nil},
		{"title over the cap", 1, func(c *rootCore) { c.Title = strings.Repeat("x", MaxTitle+1) }, wire.ErrTooLarge},
		{"title with a line break", 1, func(c *rootCore) { c.Title = "a\nb" }, wire.ErrMalformed},
		{"reason at the cap", 1, func(c *rootCore) { c.Reason = strings.Repeat("x", MaxReason) }, nil},
		{"reason over the cap", 1, func(c *rootCore) { c.Reason = strings.Repeat("x", MaxReason+1) }, wire.ErrTooLarge},
		{"newer version of the format", 1, func(c *rootCore) { c.V = 2 }, wire.ErrVersion},
		{"another suite", 1, func(c *rootCore) { c.Suite = 3 }, wire.ErrVersion},

		{"version 0", 1, func(c *rootCore) { c.N = 0 }, ErrRoot},
		{"version 1 after another", 1, func(c *rootCore) { c.Prev = &wire.ID{1} }, ErrRoot},
		{"version 1 without a founder", 1, func(c *rootCore) { c.Founder = nil }, ErrRoot},
		{"version 2 with a founder", 1, func(c *rootCore) { c.N, c.Prev = 2, &wire.ID{1} }, ErrRoot},
		{"version 2", 1, func(c *rootCore) { c.N, c.Prev, c.Founder, c.Frontier = 2, &wire.ID{1}, nil, ids(MaxFrontier) }, ErrUnsupportedVersion},
		{"version 2 with all lists", 1, func(c *rootCore) {
			c.N, c.Prev, c.Founder, c.Abandons, c.Heals = 2, &wire.ID{1}, nil, ids(MaxAbandons), ids(MaxHeals)
		}, ErrUnsupportedVersion},
		{"frontier over the cap", 1, func(c *rootCore) { c.N, c.Prev, c.Founder, c.Frontier = 2, &wire.ID{1}, nil, ids(MaxFrontier+1) }, wire.ErrTooLarge},
		{"abandons over the cap", 1, func(c *rootCore) { c.N, c.Prev, c.Founder, c.Abandons = 2, &wire.ID{1}, nil, ids(MaxAbandons+1) }, wire.ErrTooLarge},
		{"heals over the cap", 1, func(c *rootCore) { c.N, c.Prev, c.Founder, c.Heals = 2, &wire.ID{1}, nil, ids(MaxHeals+1) }, wire.ErrTooLarge},
		{"frontier not sorted", 1, func(c *rootCore) {
			c.N, c.Prev, c.Founder, c.Frontier = 2, &wire.ID{1}, nil, []wire.ID{{2}, {1}}
		}, wire.ErrMalformed},
		{"version 1 with a frontier", 1, func(c *rootCore) { c.Frontier = ids(1) }, ErrRoot},
		{"version 1 that abandons", 1, func(c *rootCore) { c.Abandons = ids(1) }, ErrRoot},
		{"version 1 that heals", 1, func(c *rootCore) { c.Heals = ids(1) }, ErrRoot},

		{"founder's device of somebody else", 1, func(c *rootCore) { c.Founder.Device = eve.device.Raw }, identity.ErrMember},
		{"founder's certificate damaged", 1, func(c *rootCore) { c.Founder.Identity = c.Founder.Identity[1:] }, wire.ErrMalformed},
		{"founder's certificates exchanged", 1, func(c *rootCore) {
			c.Founder.Identity, c.Founder.Device = c.Founder.Device, c.Founder.Identity
		}, wire.ErrMalformed},

		{"share set", 1, func(c *rootCore) { c.ShareSets = []shareSetRecord{sharesFor(0, c)} }, nil},
		{"phrase blob at the cap", 1, func(c *rootCore) {
			c.ShareSets = []shareSetRecord{sharesFor(0, c)}
			c.ShareSets[0].PhraseBlob = make([]byte, MaxPhraseBlob)
		}, nil},
		{"phrase blob over the cap", 1, func(c *rootCore) {
			c.ShareSets = []shareSetRecord{sharesFor(0, c)}
			c.ShareSets[0].PhraseBlob = make([]byte, MaxPhraseBlob+1)
		}, wire.ErrTooLarge},
		{"two share sets", 2, func(c *rootCore) { c.ShareSets = []shareSetRecord{sharesFor(0, c), sharesFor(1, c)} }, nil},
		{"share sets not sorted", 2, func(c *rootCore) { c.ShareSets = []shareSetRecord{sharesFor(1, c), sharesFor(0, c)} }, wire.ErrMalformed},
		{"share set twice", 1, func(c *rootCore) { c.ShareSets = []shareSetRecord{sharesFor(0, c), sharesFor(0, c)} }, wire.ErrMalformed},
		{"share sets of one ceremony", 2, func(c *rootCore) {
			c.ShareSets = []shareSetRecord{sharesFor(0, c), sharesFor(1, c)}
			c.ShareSets[1].Ceremony = c.ShareSets[0].Ceremony
		}, ErrRoot},
		{"share set of nobody", 1, shareSetWith(func(s *shareSetRecord) { s.Member[5]++ }), ErrRoot},
		{"share set of another key", 1, shareSetWith(func(s *shareSetRecord) { s.RootPubHash[0]++ }), ErrRoot},
		{"k = 1", 1, shareSetWith(func(s *shareSetRecord) { s.K = 1 }), ErrRoot},
		{"k > m", 1, shareSetWith(func(s *shareSetRecord) { s.K = 4 }), ErrRoot},
		{"16 shares", 1, shareSetWith(func(s *shareSetRecord) { s.M, s.Commitments = 16, make([]wire.ID, 16) }), nil},
		{"17 shares", 1, shareSetWith(func(s *shareSetRecord) { s.M, s.Commitments = 17, make([]wire.ID, 17) }), ErrRoot},
		{"a commitment missing", 1, shareSetWith(func(s *shareSetRecord) { s.Commitments = s.Commitments[1:] }), ErrRoot},

		{"manager quorum 0", 1, func(c *rootCore) { c.Policy.ManagerQuorum = 0 }, ErrRoot},
		{"quarantine of 1/0", 1, func(c *rootCore) { c.Policy.QuarantineDen = 0 }, ErrRoot},
		{"quarantine of 3/2", 1, func(c *rootCore) { c.Policy.QuarantineNum = 3 }, ErrRoot},
		{"quarantine for two days", 1, func(c *rootCore) { c.Policy.QuarantineTTL = 2 * 86400 }, ErrRoot},
		{"quarantine for no time", 1, func(c *rootCore) { c.Policy.QuarantineTTL = 0 }, ErrRoot},
		{"1001 members", 1, func(c *rootCore) { c.Policy.MaxMembers = MaxMembers + 1 }, ErrRoot},
		{"no members", 1, func(c *rootCore) { c.Policy.MaxMembers = 0 }, ErrRoot},
		{"lowest suite 0", 1, func(c *rootCore) { c.Policy.MinSuite = 0 }, ErrRoot},
		{"a suite that this build lacks", 1, func(c *rootCore) { c.Policy.MinSuite = 2 }, ErrUpgradeRequired},
		{"a history policy that this build lacks", 1, func(c *rootCore) { c.Policy.History = 2 }, ErrUpgradeRequired},
		{"a feature that this build lacks", 1, func(c *rootCore) { c.Policy.Features = []uint32{7} }, ErrUpgradeRequired},
		{"features not sorted", 1, func(c *rootCore) { c.Policy.Features = []uint32{7, 7} }, wire.ErrMalformed},
		{"65 features", 1, func(c *rootCore) { c.Policy.Features = make([]uint32, MaxFeatures+1) }, wire.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := recordBy(t, f, tt.holders, tt.change)
			r, err := ParseRoot(raw)
			if !errors.Is(err, tt.want) || err != nil && !strings.HasPrefix(err.Error(), "genesis: ") {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (!bytes.Equal(r.Raw, raw) || len(r.Holders) != tt.holders) {
				t.Fatal("the record changed on its way")
			}
		})
	}
}

// shareSetWith adds a share set of the first holder with one thing wrong.
func shareSetWith(change func(*shareSetRecord)) func(*rootCore) {
	return func(c *rootCore) {
		set := sharesFor(0, c)
		change(&set)
		c.ShareSets = []shareSetRecord{set}
	}
}

func TestParseRootSignatures(t *testing.T) {
	f := newFounder(t, 1)
	good := recordBy(t, f, 3, func(*rootCore) {})
	for _, tt := range []struct {
		name   string
		change func(*signedRoot)
		want   error
	}{
		{"as it was", func(*signedRoot) {}, nil},
		{"one missing", func(s *signedRoot) { s.Now = s.Now[1:] }, ErrRoot},
		{"one twice", func(s *signedRoot) { s.Now[1] = s.Now[0] }, ErrRoot},
		{"one too many", func(s *signedRoot) { s.Now = append(s.Now, s.Now[0]) }, ErrRoot},
		{"exchanged", func(s *signedRoot) { s.Now[0].Sig, s.Now[1].Sig = s.Now[1].Sig, s.Now[0].Sig }, sign.ErrSignature},
		{"not in the holders' order", func(s *signedRoot) { s.Now[0], s.Now[1] = s.Now[1], s.Now[0] }, ErrRoot},
		{"a half stripped", func(s *signedRoot) { s.Now[2].Sig = s.Now[2].Sig[:3309] }, sign.ErrSignature},
		{"holders before version 1", func(s *signedRoot) { s.Before = s.Now[:1] }, ErrRoot},
		{"another core", func(s *signedRoot) { s.Core = recordCore(t, recordBy(t, f, 3, func(c *rootCore) { c.Title = "x" })) }, sign.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s signedRoot
			if err := wire.Unmarshal(good, &s, MaxRoot); err != nil {
				t.Fatal(err)
			}
			tt.change(&s)
			if _, err := ParseRoot(wire.Marshal(s)); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func recordCore(t testing.TB, raw []byte) []byte {
	t.Helper()
	var s signedRoot
	if err := wire.Unmarshal(raw, &s, MaxRoot); err != nil {
		t.Fatal(err)
	}
	return s.Core
}

func TestParseRootCapsWholeRecord(t *testing.T) {
	if _, err := ParseRoot(make([]byte, MaxRoot+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("whole record: %v", err)
	}
	big := wire.Marshal(signedRoot{Core: make([]byte, MaxRootCore+1)})
	if _, err := ParseRoot(big); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("core: %v", err)
	}
	good := recordBy(t, newFounder(t, 1), 1, func(*rootCore) {})
	for _, raw := range [][]byte{nil, {}, {0x83}, good[:1000], append(bytes.Clone(good), 0)} {
		if _, err := ParseRoot(raw); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%d bytes: %v", len(raw), err)
		}
	}
}

// The greatest record that the fields' caps allow fits into the caps of the whole.
func TestGreatestRootFits(t *testing.T) {
	raw := recordBy(t, newFounder(t, 1), MaxHolders, func(c *rootCore) {
		c.Title, c.Reason = strings.Repeat("x", MaxTitle), strings.Repeat("x", MaxReason)
		for i := range c.Holders {
			s := sharesFor(i, c)
			s.M, s.Commitments = MaxShares, make([]wire.ID, MaxShares)
			c.ShareSets = append(c.ShareSets, s)
		}
	})
	if _, err := ParseRoot(raw); err != nil {
		t.Fatal(err)
	}
}

// With several holders, the shares of whichever holder comes together rebuild his key.
func TestAuthorizeOneOfSeveralHolders(t *testing.T) {
	f := newFounder(t, 1)
	s, c := shelves(3)
	var records []shareRecord
	raw := recordBy(t, f, 2, func(core *rootCore) {
		seed := identity.Seed{2}
		ys, err := split(&seed, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		for i, y := range ys {
			records = append(records, shareRecord{
				Head: wire.NewHead(), Magic: shareMagic, Ceremony: [16]byte{7}, Holder: core.Holders[1].Member, RootVersion: 1,
				K: 2, M: 3, X: uint8(i + 1), Y: y, RootPubHash: rootPubHash(NewHolderKey(identity.Seed{2}).Public()),
			})
		}
		core.ShareSets = []shareSetRecord{sharesFor(0, core), shareSetOf(records)}
	})
	root, err := ParseRoot(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		s[i].shares[ShareRef{Project: root.Project, Ceremony: [16]byte{7}, X: byte(i + 1)}] = records[i].encode()
	}
	err = Authorize(t.Context(), root, c[1:], func(a *Authority) error {
		if a.Member() != root.Holders[1].Member {
			t.Error("another holder's key")
		}
		sig, err := a.Sign(sign.EventRoot, []byte("act"))
		if err != nil {
			return err
		}
		return root.Holders[1].Key.Verify(sign.EventRoot, []byte("act"), sig)
	})
	if err != nil {
		t.Fatal(err)
	}
	quorumError(t, authorize(t, root, c[2]), 1, 2)
}
