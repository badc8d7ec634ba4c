package genesis

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// person is a root holder made of a fixed seed.
type person struct {
	member identity.MemberID
	key    *sign.PrivateKey
}

func newPerson(n byte) person {
	return person{identity.MemberID{n}, NewHolderKey(identity.Seed{n})}
}

// people are holders with the numbers given.
func people(ns ...byte) []person {
	out := make([]person, len(ns))
	for i, n := range ns {
		out[i] = newPerson(n)
	}
	return out
}

// firstRoot is a version 1 held by people 1 to n.
func firstRoot(t testing.TB, n int) *Root {
	t.Helper()
	root, err := ParseRoot(recordBy(t, newFounder(t, 1), n, func(*rootCore) {}))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// record signs the core of a version after parent: before by some of parent's holders, and by all of the new ones, then
// lets spoil change the signed record.
func record(parent *Root, before, now []person, change func(*rootCore), spoil ...func(*signedRoot)) []byte {
	prev := wire.ID(parent.ID)
	core := rootCore{Head: wire.NewHead(), N: parent.N + 1, Prev: &prev, Title: parent.Title, Policy: parent.Policy}
	core.Policy.Threshold = uint8(min(len(now), 2))
	for _, p := range now {
		core.Holders = append(core.Holders, holderRecord{Member: p.member, Key: p.key.Public().Bytes()})
	}
	change(&core)
	raw := wire.Marshal(core)
	signed := signedRoot{Core: raw}
	for _, p := range before {
		signed.Before = append(signed.Before, holderSig{Member: p.member, Sig: p.key.Sign(sign.Root, raw)})
	}
	for _, p := range now {
		signed.Now = append(signed.Now, holderSig{Member: p.member, Sig: p.key.Sign(sign.Root, raw)})
	}
	for _, s := range spoil {
		s(&signed)
	}
	return wire.Marshal(signed)
}

// nonce makes a record differ from others.
func nonce(n byte) func(*rootCore) { return func(c *rootCore) { c.Nonce = [16]byte{n} } }

func next(t testing.TB, parent *Root, before, now []person, change func(*rootCore)) *Root {
	t.Helper()
	r, err := ParseNext(parent, record(parent, before, now, change))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// add adds records and fails the test if one is refused.
func add(t testing.TB, c *Chain, roots ...*Root) {
	t.Helper()
	for _, r := range roots {
		if _, err := c.Add(r.Raw); err != nil {
			t.Fatalf("version %d: %v", r.N, err)
		}
	}
}

// at fails the test unless the chain's current record is this one.
func at(t testing.TB, c *Chain, want *Root) {
	t.Helper()
	v := c.View()
	if got := v.Current(); got.ID != want.ID {
		t.Fatalf("version %d, %s is in force, want version %d, %s", got.N, got.ID.Short(), want.N, want.ID.Short())
	}
}

// ledger is a Ledger in memory.
type ledger struct{ signed map[RootID][]RootID }

func (l *ledger) Note(s Signing) error {
	if err := s.Allowed(l.signed[s.Prev]); err != nil {
		return err
	}
	if l.signed == nil {
		l.signed = map[RootID][]RootID{}
	}
	l.signed[s.Prev] = append(l.signed[s.Prev], s.ID)
	return nil
}

// A team's root: 2 of people 1 to 3, with 4 and 5 as strangers.
func TestParseNextRules(t *testing.T) {
	root := firstRoot(t, 3)
	p := people(1, 2, 3, 4, 5)
	old, fresh := p[:2], people(2, 3, 4)
	same := func(*rootCore) {}
	stolen := person{p[1].member, p[0].key}
	for _, tt := range []struct {
		name        string
		before, now []person
		change      func(*rootCore)
		spoil       func(*signedRoot)
		want        error
	}{
		{"two of three sign", old, fresh, same, nil, nil},
		{"all three sign", p[:3], fresh, same, nil, nil},
		{"to one holder", old, p[4:5], same, nil, nil},
		{"one of three signs", p[:1], fresh, same, nil, ErrRoot},
		{"nobody signs", nil, fresh, same, nil, ErrRoot},
		{"one signs twice", []person{p[0], p[0]}, fresh, same, nil, wire.ErrMalformed},
		{"one signs in another's name", []person{p[0], stolen}, fresh, same, nil, sign.ErrSignature},
		{"a stranger signs with one", []person{p[0], p[3]}, fresh, same, nil, ErrRoot},
		{"a wrong signature beside enough", []person{p[0], p[1], {p[2].member, p[3].key}}, fresh, same, nil, sign.ErrSignature},
		{"signatures not sorted", []person{p[1], p[0]}, fresh, same, nil, wire.ErrMalformed},
		{"new holder did not sign", old, fresh, same, func(s *signedRoot) { s.Now = s.Now[:2] }, ErrRoot},
		{"another signs for the new holder", old, []person{p[1], p[2], {p[3].member, p[3].key}}, same,
			func(s *signedRoot) { s.Now[2].Sig = s.Now[1].Sig }, sign.ErrSignature},
		{"new holder signed another core", old, fresh, same,
			func(s *signedRoot) { s.Now[2].Sig = p[3].key.Sign(sign.Root, []byte("x")) }, sign.ErrSignature},
		{"new holder's signature is of another type", old, fresh, same,
			func(s *signedRoot) { s.Now[2].Sig = p[3].key.Sign(sign.EventRoot, s.Core) }, sign.ErrSignature},
		{"t_new > n_new", old, fresh, func(c *rootCore) { c.Policy.Threshold = 4 }, nil, ErrRoot},
		{"t_new = 1 of several", old, fresh, func(c *rootCore) { c.Policy.Threshold = 1 }, nil, ErrRoot},
		{"t_new = 2 of one", old, p[4:5], func(c *rootCore) { c.Policy.Threshold = 2 }, nil, ErrRoot},
		{"no holders", old, nil, same, nil, wire.ErrTooLarge},
		{"two holders, one key", old, []person{p[1], {p[3].member, p[1].key}}, same, nil, ErrRoot},
		{"a version is skipped", old, fresh, func(c *rootCore) { c.N = 3 }, nil, ErrRoot},
		{"the same number again", old, fresh, func(c *rootCore) { c.N = 1; c.Prev = nil }, nil, ErrRoot},
		{"it follows another record", old, fresh, func(c *rootCore) { c.Prev = &wire.ID{1} }, nil, ErrRoot},
		{"a founder", old, fresh, func(c *rootCore) { c.Founder = &founderRecord{} }, nil, ErrRoot},
		{"suite 0", old, fresh, func(c *rootCore) { c.Policy.MinSuite = 0 }, nil, ErrDowngrade},
		{"a suite of the future", old, fresh, func(c *rootCore) { c.Policy.MinSuite = 2 }, nil, ErrUpgradeRequired},
		{"the post-quantum half is stripped before", old, fresh, same, func(s *signedRoot) {
			s.Before[0].Sig = s.Before[0].Sig[sign.SignatureSize-64:]
		}, sign.ErrSignature},
		{"the post-quantum half is emptied", old, fresh, same, func(s *signedRoot) { clear(s.Now[0].Sig[:sign.SignatureSize-64]) }, sign.ErrSignature},
		{"the classical half is emptied", old, fresh, same, func(s *signedRoot) { clear(s.Before[1].Sig[sign.SignatureSize-64:]) }, sign.ErrSignature},
		{"two halves of two signers", old, fresh, same, func(s *signedRoot) {
			copy(s.Before[0].Sig[sign.SignatureSize-64:], s.Before[1].Sig[sign.SignatureSize-64:])
		}, sign.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var spoil []func(*signedRoot)
			if tt.spoil != nil {
				spoil = append(spoil, tt.spoil)
			}
			raw := record(root, tt.before, tt.now, tt.change, spoil...)
			r, err := ParseNext(root, raw)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			c := NewChain(root)
			_, err = c.Add(raw)
			if tt.want == nil {
				at(t, c, r)
				return
			}
			if tt.want != ErrUpgradeRequired && err == nil && len(c.ahead) == 0 {
				t.Error("the chain took it")
			}
			at(t, c, root)
		})
	}
}

// A policy may lower the suite, but never below what the verifier takes part in itself.
func TestSuiteFloorIsTheVerifiersOwn(t *testing.T) {
	for _, tt := range []struct {
		min, floor uint16
		want       error
	}{{1, 1, nil}, {2, 1, nil}, {1, 2, ErrDowngrade}, {0, 1, ErrDowngrade}} {
		p := Policy{MinSuite: tt.min}
		if err := p.checkFloor(tt.floor); !errors.Is(err, tt.want) {
			t.Errorf("suite %d at floor %d: %v", tt.min, tt.floor, err)
		}
	}
}

// Records of one chain in every order of arrival: one outcome.
func TestChainInAnyOrder(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1, 2, 3, 4)
	v2 := next(t, first, p[:1], p[:3], nonce(0))
	v3 := next(t, v2, p[1:3], p[1:4], nonce(0))
	v4 := next(t, v3, p[2:4], p[3:4], nonce(0))
	var permute func(left, taken []*Root)
	permute = func(left, taken []*Root) {
		if len(left) == 0 {
			c := NewChain(first)
			for i, r := range taken {
				res, err := c.Add(r.Raw)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 && r == v4 && (!res.Held || *c.View().Gap != Gap{Have: 1, Missing: 3, Newest: 4}) {
					t.Errorf("version 4 first: %+v, gap %+v", res, c.View().Gap)
				}
				if res, err := c.Add(r.Raw); err != nil || len(res.Added) > 0 {
					t.Errorf("once more: %+v, %v", res, err)
				}
			}
			at(t, c, v4)
			if v := c.View(); v.Gap != nil || v.Fork != nil || len(v.Late) > 0 || len(v.Versions) != 4 {
				t.Errorf("%+v", v)
			}
		}
		for i := range left {
			rest := slices.Delete(slices.Clone(left), i, i+1)
			permute(rest, append(slices.Clone(taken), left[i]))
		}
	}
	permute([]*Root{v2, v3, v4}, nil)
}

func TestForkSuspendsUntilSettled(t *testing.T) {
	first := firstRoot(t, 3)
	p := people(1, 2, 3)
	a := next(t, first, p[:2], p[:2], nonce(1))
	b := next(t, first, p[1:], p[1:], nonce(2))
	a3 := next(t, a, p[:2], p[:2], nonce(3))
	c := NewChain(first)
	add(t, c, a, a3)
	at(t, c, a3)
	add(t, c, b)
	at(t, c, first)
	want := []RootID{a.ID, b.ID}
	slices.SortFunc(want, func(x, y RootID) int { return bytes.Compare(x[:], y[:]) })
	if f := c.View().Fork; f == nil || f.Version != 2 || !slices.Equal(f.Records, want) {
		t.Fatalf("fork %+v", f)
	}
	if err := c.Settle(a.ID); err != nil {
		t.Fatal(err)
	}
	at(t, c, a3)
	if v := c.View(); v.Fork != nil || v.Settled != 2 || !slices.Equal(v.Late, []LateFork{{2, a.ID, b.ID}}) {
		t.Fatalf("%+v", v)
	}
	if err := c.Settle(b.ID); !errors.Is(err, ErrPinned) {
		t.Fatalf("settled twice: %v", err)
	}
	if err := c.Repin(b.ID); err != nil {
		t.Fatal(err)
	}
	at(t, c, b)
	if err := c.Repin(RootID{7}); !errors.Is(err, ErrUnknownRoot) {
		t.Fatal(err)
	}
}

// A pin from an invite code comes before the records do.
func TestPinBeforeItsRecord(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1, 2, 3)
	v2, rival := next(t, first, p[:1], p[1:2], nonce(1)), next(t, first, p[:1], p[2:3], nonce(2))
	v3 := next(t, v2, p[1:2], p[:1], nonce(3))
	for _, order := range [][]*Root{{rival, v2, v3}, {v3, rival, v2}, {v2, v3, rival}} {
		c := NewChain(first)
		if err := c.Settle(v3.ID); err != nil {
			t.Fatal(err)
		}
		add(t, c, order...)
		at(t, c, v3)
		if v := c.View(); v.Settled != 3 || len(v.Late) != 1 || v.Late[0].Rival != rival.ID {
			t.Fatalf("%+v", v)
		}
		if err := c.Settle(v2.ID); err != nil || c.Pin() != v3.ID {
			t.Fatalf("an earlier version moves the pin: %v", err)
		}
	}
}

func TestUpgradeStopsTheChain(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1)
	c := NewChain(first)
	if _, err := c.Add(record(first, p, p, func(c *rootCore) { c.Policy.Features = []uint32{9} })); err != nil {
		t.Fatal(err)
	}
	at(t, c, first)
	if v := c.View(); !errors.Is(v.Upgrade, ErrUpgradeRequired) {
		t.Fatalf("%+v", v)
	}
	// Nobody can stop a project who may not sign for it.
	c = NewChain(first)
	eve := people(9)
	if _, err := c.Add(record(first, eve, p, func(c *rootCore) { c.Policy.Features = []uint32{9} })); !errors.Is(err, ErrRoot) {
		t.Fatal(err)
	}
	if v := c.View(); v.Upgrade != nil {
		t.Fatalf("%+v", v)
	}
}

func TestChainIsBounded(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1)
	c := NewChain(first)
	for i := range maxAhead + 10 {
		raw := record(first, p, p, func(c *rootCore) { c.N, c.Prev = uint32(3+i), &wire.ID{byte(i + 1)} })
		if _, err := c.Add(raw); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.ahead) != maxAhead {
		t.Fatalf("%d records wait", len(c.ahead))
	}
	size := 0
	for h := range maps.Values(c.ahead) {
		size += len(h.raw)
		if h.n >= 3+maxAhead {
			t.Errorf("version %d was kept, nearer ones were not", h.n)
		}
	}
	if size != c.bytes {
		t.Errorf("%d bytes counted, %d held", c.bytes, size)
	}
	for i := range maxSiblings {
		add(t, c, next(t, first, p, p, nonce(byte(i))))
	}
	if _, err := c.Add(record(first, p, p, nonce(99))); !errors.Is(err, ErrTooManyRivals) {
		t.Fatal(err)
	}
	other, err := ParseRoot(recordBy(t, newFounder(t, 2), 1, func(*rootCore) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(other.Raw); !errors.Is(err, ErrForeignRoot) {
		t.Fatal(err)
	}
}

// A newcomer whose code names a late version walks all the way to it, whatever old holders have put beside the way; what
// has come to be in force is no rival any more, so that a fork is seen afterwards.
func TestManyVersionsBeforeThePin(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1)
	rival := next(t, first, p, p, nonce(2))
	c := NewChain(first)
	var records []*Root
	parent := first
	for range maxRivals + 20 {
		parent = next(t, parent, p, p, nonce(1))
		records = append(records, parent)
	}
	if err := c.Settle(parent.ID); err != nil {
		t.Fatal(err)
	}
	add(t, c, rival)
	add(t, c, records...)
	at(t, c, parent)
	a, b := next(t, parent, p, p, nonce(3)), next(t, parent, p, p, nonce(4))
	add(t, c, a, b)
	if v := c.View(); v.Fork == nil || len(v.Fork.Records) != 2 || len(v.Late) != 1 {
		t.Errorf("fork %v, late forks %v", v.Fork, v.Late)
	}
}

// A chain is read back from what it had taken: in any number of rivals, and of versions before the one that is settled.
func TestChainRestore(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1)
	var records []*Root
	parent := first
	for range maxRivals + 5 {
		parent = next(t, parent, p, p, nonce(1))
		records = append(records, parent)
	}
	c := NewChain(first)
	if err := c.Settle(parent.ID); err != nil { // before its record is there, as a store does
		t.Fatal(err)
	}
	for _, r := range records {
		if got, err := c.Restore(r.Raw); err != nil || got.ID != r.ID {
			t.Fatalf("version %d: %v", r.N, err)
		}
	}
	at(t, c, parent)
	if v := c.View(); v.Pin != parent.ID || int(v.Settled) != len(records)+1 {
		t.Errorf("settled up to %d", v.Settled)
	}
	if got, err := c.Restore(records[0].Raw); err != nil || got.ID != records[0].ID || len(c.Records()) != len(records)+1 {
		t.Errorf("again: %v", err)
	}
	for i := range maxSiblings + 1 {
		if _, err := c.Restore(record(first, p, p, nonce(byte(2+i)))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Add(record(first, p, p, nonce(99))); !errors.Is(err, ErrTooManyRivals) {
		t.Errorf("the bounds on what comes from others: %v", err)
	}
	for _, tc := range []struct {
		raw  []byte
		want error
	}{
		{record(parent, people(2), p, nonce(1)), ErrRoot},
		{record(next(t, parent, p, p, nonce(1)), p, p, nonce(1)), ErrUnknownRoot},
		{recordBy(t, newFounder(t, 2), 1, func(*rootCore) {}), ErrForeignRoot},
		{[]byte{1}, wire.ErrMalformed},
	} {
		if _, err := c.Restore(tc.raw); !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
}

func TestParsePinned(t *testing.T) {
	first := firstRoot(t, 1)
	p := people(1, 2)
	v2 := next(t, first, p[:1], p[1:], nonce(0))
	r, err := ParsePinned(first.Project, v2.ID, v2.Raw)
	if err != nil || r.ID != v2.ID || r.Project != first.Project {
		t.Fatal(err)
	}
	next(t, r, p[1:], p[:1], nonce(0))
	if _, err := ParsePinned(first.Project, RootID{1}, v2.Raw); !errors.Is(err, ErrForeignRoot) {
		t.Fatal(err)
	}
	if _, err := ParsePinned(first.Project, first.ID, first.Raw); !errors.Is(err, ErrForeignRoot) {
		t.Fatal(err)
	}
	bad := record(first, p[:1], p[1:], nonce(0), func(s *signedRoot) { s.Now[0].Sig = s.Before[0].Sig })
	if _, err := ParsePinned(first.Project, v2.ID, bad); !errors.Is(err, sign.ErrSignature) {
		t.Fatal(err)
	}
}

// Random chains with honest moves, forks, abandoned proposals and records that are spoilt in some way, told to replicas
// with equal pins in random orders: all end at one version, and what is spoilt is in force nowhere.
func TestRandomChainsConverge(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 9))
		records, pins, spoilt := randomRecords(t, rng)
		var want *Chain
		for replica := range 6 {
			c := NewChain(records[0])
			order := rng.Perm(len(records) - 1)
			settle := rng.Perm(len(pins))
			for _, i := range order {
				if rng.IntN(3) == 0 {
					for _, raw := range spoilt {
						_, _ = c.Add(raw)
					}
				}
				if _, err := c.Add(records[i+1].Raw); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			for _, raw := range spoilt {
				_, _ = c.Add(raw)
			}
			for _, i := range settle {
				if err := c.Settle(pins[i]); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			checkView(t, c, records)
			if want == nil {
				want = c
				continue
			}
			a, b := want.View(), c.View()
			if !slices.Equal(versionIDs(&a), versionIDs(&b)) || (a.Fork == nil) != (b.Fork == nil) || !slices.Equal(a.Late, b.Late) {
				t.Fatalf("seed %d, replica %d: %v, not %v", seed, replica, versionIDs(&b), versionIDs(&a))
			}
		}
	}
}

func versionIDs(v *ChainView) []RootID {
	var out []RootID
	for _, r := range v.Versions {
		out = append(out, r.ID)
	}
	return out
}

// checkView verifies that a chain in force is one: numbers and hashes follow, and only honest records are in it.
func checkView(t *testing.T, c *Chain, honest []*Root) {
	t.Helper()
	v := c.View()
	for i, r := range v.Versions {
		if r.N != uint32(i+1) || i > 0 && r.Prev != v.Versions[i-1].ID {
			t.Fatalf("version %d follows wrongly", r.N)
		}
		if !slices.ContainsFunc(honest, func(h *Root) bool { return h.ID == r.ID }) {
			t.Fatalf("version %d is spoilt", r.N)
		}
	}
}

// randomRecords makes a tree of valid records, ids of versions on one path that are to be settled, and spoilt records.
func randomRecords(t *testing.T, rng *rand.Rand) (records []*Root, pins []RootID, spoilt [][]byte) {
	t.Helper()
	all := people(1, 2, 3, 4, 5, 6)
	records = []*Root{firstRoot(t, 3)}
	holders := map[RootID][]person{records[0].ID: all[:3]}
	pick := func(from []person, n int) []person {
		out := slices.Clone(from)
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:n]
		slices.SortFunc(out, func(a, b person) int { return bytes.Compare(a.member[:], b.member[:]) })
		return out
	}
	for i := range 8 {
		parent := records[max(0, len(records)-1-rng.IntN(3))]
		old := holders[parent.ID]
		now := pick(all, 1+rng.IntN(4))
		before := pick(old, int(parent.Policy.Threshold))
		change := func(c *rootCore) {
			c.Nonce = [16]byte{byte(i)}
			for _, r := range records {
				if r.Prev == parent.ID && rng.IntN(2) == 0 {
					c.Abandons = append(c.Abandons, wire.ID(r.ID))
				}
			}
			wire.SortIDs(c.Abandons)
		}
		r := next(t, parent, before, now, change)
		records, holders[r.ID] = append(records, r), now
		spoilt = append(spoilt, spoil(rng, parent, before, now, all, byte(i)))
	}
	if rng.IntN(2) == 0 {
		for r := records[1+rng.IntN(len(records)-1)]; r.N > 1; r = find(records, r.Prev) {
			pins = append(pins, r.ID)
		}
	}
	return records, pins, spoilt
}

func find(records []*Root, id RootID) *Root {
	return records[slices.IndexFunc(records, func(r *Root) bool { return r.ID == id })]
}

// spoil makes a record that must be in force nowhere.
func spoil(rng *rand.Rand, parent *Root, before, now, all []person, i byte) []byte {
	change := func(c *rootCore) { c.Nonce = [16]byte{0xff, i} }
	switch rng.IntN(7) {
	case 0:
		return record(parent, before[:len(before)-1], now, change)
	case 1:
		return record(parent, before, now, change, func(s *signedRoot) { s.Now = s.Now[1:] })
	case 2:
		return record(parent, before, now, change, func(s *signedRoot) { s.Before[0].Sig[rng.IntN(sign.SignatureSize)] ^= 1 })
	case 3:
		return record(parent, before, now, change, func(s *signedRoot) { s.Now[0].Sig[rng.IntN(sign.SignatureSize)] ^= 1 })
	case 4:
		return record(parent, before, now, func(c *rootCore) { change(c); c.Policy.Threshold = uint8(len(now) + 1) })
	case 5:
		eve := []person{{before[0].member, all[5].key}}
		if before[0].member == all[5].member {
			eve[0].key = all[0].key
		}
		return record(parent, append(eve, before[1:]...), now, change)
	}
	return record(parent, before, now, func(c *rootCore) { change(c); c.Policy.MinSuite = 0 })
}
