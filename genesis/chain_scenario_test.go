package genesis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

const proposalLife = 7 * 24 * time.Hour

// move takes a solo root to an offered key of the same person and returns version 2, with the key's custodians.
func move(t *testing.T, f founder, root *Root, old []Custodian) (*Root, []Custodian) {
	t.Helper()
	_, fresh := shelves(3)
	offer, err := MakeHolder(t.Context(), rand.Reader, root, f.id, Ceremony{Threshold: 2, Custodians: fresh})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Propose(rand.Reader, root, Draft{Title: root.Title, Policy: root.Policy, Holders: []Offer{*offer}}, testTime.Add(proposalLife))
	if err != nil {
		t.Fatal(err)
	}
	signs := func(a *Authority) error { return p.Sign(a, &ledger{}, testTime) }
	if err := Authorize(t.Context(), root, old, signs); err != nil {
		t.Fatal(err)
	}
	if err := AuthorizeOffer(t.Context(), root, offer, fresh, signs); err != nil {
		t.Fatal(err)
	}
	raw, err := p.Complete(testTime)
	if err != nil {
		t.Fatal(err)
	}
	next, err := ParseNext(root, raw)
	if err != nil {
		t.Fatal(err)
	}
	return next, fresh
}

// A root moved to new shares; the old ones are all still there, and can do nothing.
func TestScenario8SupersededShares(t *testing.T) {
	scenario.Run(t, 8, "all shares of version n are used after version n+1 has other ones: ErrRootMismatch, named as superseded, and what they sign moves no root", func(t *testing.T) {
		f := newFounder(t, 1)
		_, old := shelves(3)
		first := found(t, f.founding(2, old...))
		second, fresh := move(t, f, first, old)
		err := authorize(t, second, old...)
		q := quorumError(t, err, 0, 2)
		if !errors.Is(err, ErrRootMismatch) || !errors.Is(err, ErrShareOtherCeremony) || !strings.Contains(err.Error(), "superseded") || len(q.Answers) != 3 {
			// The custodians are asked for the current ceremony only, and have none of its shares.
			if !errors.Is(err, ErrNoShare) {
				t.Fatalf("superseded shares: %v", err)
			}
		}
		// A program that asks for the old shares by their own name gets the whole old key, of no use.
		stale := *first
		err = Authorize(t.Context(), &stale, old, func(a *Authority) error {
			p, err := Propose(rand.Reader, first, Draft{Title: "mine", Policy: first.Policy, Holders: offers(first)}, testTime.Add(proposalLife))
			if err != nil {
				return err
			}
			sig := a.key.Load().Sign(sign.Root, p.Core) // past its own ledger
			p.before[a.Member()], p.now[a.Member()] = sig, sig
			raw, err := p.Complete(testTime)
			if err != nil {
				return err
			}
			c := NewChain(first)
			add(t, c, second)
			if err := c.Settle(second.ID); err != nil {
				return err
			}
			if _, err := c.Add(raw); err != nil {
				return err
			}
			at(t, c, second)
			if len(c.View().Late) != 1 {
				t.Error("no alert")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := authorize(t, second, fresh...); err != nil {
			t.Fatalf("the new shares: %v", err)
		}
		// Old shares that come in the place of new ones are named, and the others finish.
		mixed := &renamed{shelf: old[0].(*shelf)}
		if err := authorize(t, second, mixed, fresh[1], fresh[2]); err != nil {
			t.Fatalf("an old share beside good ones: %v", err)
		}
		err = authorize(t, second, mixed, &renamed{shelf: old[1].(*shelf)})
		if !errors.Is(err, ErrRootMismatch) || !errors.Is(err, ErrShareOtherCeremony) || !strings.Contains(err.Error(), "superseded") {
			t.Fatalf("old shares under new names: %v", err)
		}
	})
}

// renamed gives the share of a shelf whatever it is asked for.
type renamed struct{ *shelf }

func (r *renamed) Recall(ctx context.Context, _ ShareRef) ([]byte, error) {
	for ref := range r.shares {
		return r.shelf.Recall(ctx, ref)
	}
	return nil, ErrNoShare
}

func offers(r *Root) []Offer {
	var out []Offer
	for _, h := range r.Holders {
		o, _ := r.Offer(h.Member)
		out = append(out, o)
	}
	return out
}

func TestScenario9SupersededHolders(t *testing.T) {
	scenario.Run(t, 9, "holders that a settled version superseded sign another record: not adopted, alert; version n+2 first: held, then applied in order", func(t *testing.T) {
		first := firstRoot(t, 3)
		p := people(1, 2, 3, 4, 5)
		v2 := next(t, first, p[:2], p[2:5], nonce(1))
		v3 := next(t, v2, p[2:4], p[3:5], nonce(1))
		c := NewChain(first)
		if res, err := c.Add(v3.Raw); err != nil || !res.Held {
			t.Fatalf("%+v, %v", res, err)
		}
		at(t, c, first)
		res, err := c.Add(v2.Raw)
		if err != nil || len(res.Added) != 2 || res.Added[0].ID != v2.ID || res.Added[1].ID != v3.ID {
			t.Fatalf("%+v, %v", res, err)
		}
		at(t, c, v3)
		if err := c.Settle(v2.ID); err != nil {
			t.Fatal(err)
		}
		for _, old := range [][]person{p[:2], p[1:3], p[:3]} {
			rival := next(t, first, old, old, nonce(9))
			again := next(t, rival, old[:2], old, nonce(9))
			add(t, c, rival, again)
			at(t, c, v3)
			v := c.View()
			if v.Fork != nil || !slices.ContainsFunc(v.Late, func(l LateFork) bool { return l == LateFork{2, v2.ID, rival.ID} }) {
				t.Fatalf("no alert: %+v", v)
			}
		}
		// Nor can they follow the settled version.
		if _, err := c.Add(record(v2, p[:2], p[:2], nonce(9))); !errors.Is(err, ErrRoot) {
			t.Fatal(err)
		}
	})
}

func TestScenario11NewHolderDidNotSign(t *testing.T) {
	scenario.Run(t, 11, "a new holder has not signed, or t of the new version is above its holders: rejected", func(t *testing.T) {
		first := firstRoot(t, 2)
		p := people(1, 2, 3)
		c := NewChain(first)
		for name, raw := range map[string][]byte{
			"a named person who does not know": record(first, p[:2], p, nonce(0), func(s *signedRoot) { s.Now = s.Now[:2] }),
			"an old holder signs for him": record(first, p[:2], p, nonce(0), func(s *signedRoot) {
				s.Now[2].Sig = p[0].key.Sign(sign.Root, s.Core)
			}),
			"his signature of another record": record(first, p[:2], p, nonce(0), func(s *signedRoot) {
				other, _, err := decodeRoot(record(first, p[:2], p, nonce(7)))
				if err != nil {
					t.Fatal(err)
				}
				s.Now[2].Sig = other.Now[2].Sig
			}),
			"t_new > n_new":          record(first, p[:2], p, func(c *rootCore) { c.Policy.Threshold = 4 }),
			"t_new = 0":              record(first, p[:2], p, func(c *rootCore) { c.Policy.Threshold = 0 }),
			"t_new = 1 of 3":         record(first, p[:2], p, func(c *rootCore) { c.Policy.Threshold = 1 }),
			"fewer old than must":    record(first, p[:1], p, nonce(0)),
			"one old holder, 2 keys": record(first, []person{p[0], {p[1].member, p[0].key}}, p, nonce(0)),
		} {
			if _, err := c.Add(raw); err == nil {
				t.Errorf("%s: taken", name)
			}
			at(t, c, first)
		}
		if _, err := c.Add(record(first, p[:2], p, nonce(0))); err != nil {
			t.Fatal(err)
		}
	})
}

func TestScenario13MissingVersion(t *testing.T) {
	scenario.Run(t, 13, "a replica at version 3 is given 4 to 9: it walks; without 6 it stays at 5 and says so, until 6 comes", func(t *testing.T) {
		p := people(1, 2)
		chain := []*Root{firstRoot(t, 1)}
		for n := 2; n <= 9; n++ {
			chain = append(chain, next(t, chain[n-2], p[n%2:n%2+1], p[(n+1)%2:(n+1)%2+1], nonce(byte(n))))
		}
		replica := func() *Chain {
			c := NewChain(chain[0])
			add(t, c, chain[1:3]...)
			return c
		}
		c := replica()
		add(t, c, chain[3:]...)
		at(t, c, chain[8])
		c = replica()
		add(t, c, slices.Concat(chain[3:5], chain[6:])...)
		at(t, c, chain[4])
		if g := c.View().Gap; g == nil || *g != (Gap{Have: 5, Missing: 6, Newest: 9}) {
			t.Fatalf("gap %+v", g)
		}
		add(t, c, chain[5])
		at(t, c, chain[8])
		if g := c.View().Gap; g != nil {
			t.Fatalf("gap %+v", g)
		}
	})
}

func TestScenario14Downgrade(t *testing.T) {
	scenario.Run(t, 14, "a record lowers min_suite, comes under another suite, or has a signature with one half: rejected", func(t *testing.T) {
		first := firstRoot(t, 2)
		p := people(1, 2)
		pq, all := sign.SignatureSize-64, sign.SignatureSize
		for name, tt := range map[string]struct {
			change func(*rootCore)
			spoil  func(*signedRoot)
			want   error
		}{
			"min_suite 0":             {func(c *rootCore) { c.Policy.MinSuite = 0 }, nil, ErrDowngrade},
			"record of suite 0":       {func(c *rootCore) { c.Suite = 0 }, nil, wire.ErrVersion},
			"only the classical half": {nonce(0), func(s *signedRoot) { s.Before[0].Sig = s.Before[0].Sig[pq:] }, sign.ErrSignature},
			"only the other half":     {nonce(0), func(s *signedRoot) { s.Before[0].Sig = s.Before[0].Sig[:pq] }, sign.ErrSignature},
			"zeros for ML-DSA":        {nonce(0), func(s *signedRoot) { clear(s.Before[1].Sig[:pq]) }, sign.ErrSignature},
			"zeros for Ed25519":       {nonce(0), func(s *signedRoot) { clear(s.Now[1].Sig[pq:all]) }, sign.ErrSignature},
			"halves swapped between": {nonce(0), func(s *signedRoot) {
				copy(s.Now[0].Sig[:pq], s.Now[1].Sig[:pq])
			}, sign.ErrSignature},
		} {
			c := NewChain(first)
			var spoil []func(*signedRoot)
			if tt.spoil != nil {
				spoil = append(spoil, tt.spoil)
			}
			if _, err := c.Add(record(first, p, p, tt.change, spoil...)); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
			at(t, c, first)
		}
	})
}

func TestScenario72LateFork(t *testing.T) {
	scenario.Run(t, 72, "an old holder signs a second version n in the place of a settled one, and builds on it: alert at every holder of the pin, nothing frozen, never adopted; a newcomer with the pin agrees", func(t *testing.T) {
		first := firstRoot(t, 1)
		p := people(1, 2, 3, 4)
		v2 := next(t, first, p[:1], p[1:4], nonce(1))
		rival := next(t, first, p[:1], p[:1], func(c *rootCore) { c.Abandons = []wire.ID{wire.ID(v2.ID)} })
		rival3 := next(t, rival, p[:1], p[:1], nonce(3))
		v3 := next(t, v2, p[1:3], p[1:3], nonce(2))
		holder := NewChain(first)
		add(t, holder, v2)
		if err := holder.Settle(v2.ID); err != nil {
			t.Fatal(err)
		}
		newcomer := NewChain(first)
		if err := newcomer.Settle(v2.ID); err != nil { // his code names it; he meets the thief first
			t.Fatal(err)
		}
		add(t, newcomer, rival, rival3)
		at(t, newcomer, first)
		for _, c := range []*Chain{holder, newcomer} {
			add(t, c, rival, rival3, v2)
			at(t, c, v2)
			if err := c.Settle(rival3.ID); !errors.Is(err, ErrPinned) {
				t.Fatalf("the rival's own settling: %v", err)
			}
			v := c.View()
			if v.Fork != nil || !slices.Equal(v.Late, []LateFork{{2, v2.ID, rival.ID}}) {
				t.Fatalf("%+v", v)
			}
			add(t, c, v3) // nothing is frozen
			at(t, c, v3)
		}
	})
}

func TestScenario73WithdrawnProposal(t *testing.T) {
	scenario.Run(t, 73, "a withdrawn proposal is completed later by a rogue holder: the record that abandons it stays in force, no fork; a holder's software signs no second record in one place that does not abandon the first", func(t *testing.T) {
		first := firstRoot(t, 2)
		p := people(1, 2, 3)
		authority := func(who person) *Authority {
			a := &Authority{root: first, member: who.member}
			a.key.Store(who.key)
			return a
		}
		propose := func(d Draft, who ...person) *Proposal {
			d.Title, d.Policy = first.Title, first.Policy
			for _, w := range who {
				d.Holders = append(d.Holders, Offer{Member: w.member, Key: w.key.Public()})
			}
			prop, err := Propose(rand.Reader, first, d, testTime.Add(proposalLife))
			if err != nil {
				t.Fatal(err)
			}
			return prop
		}
		ledgers := []*ledger{{}, {}}
		signBoth := func(prop *Proposal) {
			for i := range ledgers {
				if err := prop.Sign(authority(p[i]), ledgers[i], testTime); err != nil {
					t.Fatal(err)
				}
			}
		}
		withdrawn := propose(Draft{}, p[0], p[2])
		signBoth(withdrawn)
		if err := withdrawn.Sign(authority(p[0]), ledgers[0], testTime); err != nil {
			t.Fatalf("the same one after a crash: %v", err)
		}
		careless := propose(Draft{Reason: "another"}, p[0], p[1])
		if err := careless.Sign(authority(p[0]), ledgers[0], testTime); !errors.Is(err, ErrSecondRecord) {
			t.Fatalf("a second record in one place: %v", err)
		}
		if b, n := careless.Signed(p[0].member); b || n {
			t.Fatal("a refused signature is there")
		}
		good := propose(Draft{Abandons: []RootID{withdrawn.ID}}, p[0], p[1])
		signBoth(good)
		if err := careless.Sign(authority(p[1]), ledgers[1], testTime); !errors.Is(err, ErrSecondRecord) {
			t.Fatalf("a third record in one place: %v", err)
		}
		raw, err := good.Complete(testTime)
		if err != nil {
			t.Fatal(err)
		}
		// p[2] adds what was missing to the withdrawn one, long after: his program does not look at the end.
		rogue := authority(p[2])
		sig, err := rogue.SignNext(&ledger{}, withdrawn.Core)
		if err != nil {
			t.Fatal(err)
		}
		withdrawn.now[p[2].member] = sig
		if _, err := withdrawn.Complete(testTime.Add(proposalLife + time.Second)); !errors.Is(err, ErrExpired) {
			t.Fatalf("an honest program completes it: %v", err)
		}
		late, err := withdrawn.Complete(testTime)
		if err != nil {
			t.Fatal(err)
		}
		for _, order := range [][][]byte{{raw, late}, {late, raw}} {
			c := NewChain(first)
			for _, r := range order {
				if _, err := c.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			v := c.View()
			if v.Current().ID != good.ID || v.Fork != nil || len(v.Late) > 0 {
				t.Fatalf("%+v", v)
			}
		}
	})
}

func TestScenario78NewHolderKey(t *testing.T) {
	scenario.Run(t, 78, "a small-order or non-canonical Ed25519 half in a later version's holder list, a proposal or an offer: refused where first read", func(t *testing.T) {
		first := firstRoot(t, 1)
		p := people(1, 2)
		for _, half := range []string{
			"0100000000000000000000000000000000000000000000000000000000000000",
			"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
			"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		} {
			bad, err := hex.DecodeString(half)
			if err != nil {
				t.Fatal(err)
			}
			weaken := func(c *rootCore) { copy(c.Holders[0].Key[sign.PublicKeySize-32:], bad) }
			raw := record(first, p[:1], p[1:], weaken)
			c := NewChain(first)
			if _, err := c.Add(raw); !errors.Is(err, sign.ErrPublicKey) {
				t.Errorf("record: %v", err)
			}
			signed, _, err := decodeRoot(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseProposal(first, wire.Marshal(proposalRecord{Core: signed.Core, Expires: 1})); !errors.Is(err, sign.ErrPublicKey) {
				t.Errorf("proposal: %v", err)
			}
			offer := Offer{Member: p[1].member, Key: p[1].key.Public()}
			var rec offerRecord
			if err := wire.Unmarshal(offer.Encode(), &rec, MaxOffer); err != nil {
				t.Fatal(err)
			}
			copy(rec.Holder.Key[sign.PublicKeySize-32:], bad)
			if _, err := ParseOffer(wire.Marshal(rec)); !errors.Is(err, sign.ErrPublicKey) {
				t.Errorf("offer: %v", err)
			}
		}
	})
}
