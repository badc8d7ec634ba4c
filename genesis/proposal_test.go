package genesis

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// A solo root goes to a team of three, each of whom keeps shares of a key of their own; then two of them move it on.
func TestMoveToATeamAndOn(t *testing.T) {
	ada, bob, cleo := newFounder(t, 1), newFounder(t, 11), newFounder(t, 21)
	_, solo := shelves(3)
	first := found(t, ada.founding(2, solo...))
	var offers []Offer
	custody := map[identity.MemberID][]Custodian{}
	for _, f := range []founder{ada, bob, cleo} {
		_, c := shelves(2)
		o, err := MakeHolder(t.Context(), rand.Reader, first, f.id, Ceremony{Threshold: 2, Custodians: c})
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseOffer(o.Encode())
		if err != nil || !again.Key.Equal(o.Key) || !bytes.Equal(again.Encode(), o.Encode()) {
			t.Fatalf("offer read again: %v", err)
		}
		offers, custody[o.Member] = append(offers, *again), c
	}
	policy := first.Policy
	policy.Threshold = 2
	p, err := Propose(rand.Reader, first, Draft{Title: first.Title, Policy: policy, Holders: offers, Reason: "a team"}, testTime.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if p.Endorsed() || !p.Needs(ada.id.Member()) || !p.Needs(bob.id.Member()) || p.Needs(identity.MemberID{9}) {
		t.Fatal("who has to sign is wrong")
	}
	signs := func(p *Proposal) func(a *Authority) error {
		return func(a *Authority) error { return p.Sign(a, &ledger{}, testTime) }
	}
	if err := Authorize(t.Context(), first, solo, signs(p)); err != nil {
		t.Fatal(err)
	}
	// Each signs a copy of their own; they come together by merging.
	for _, o := range offers {
		mine, err := ParseProposal(first, p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := AuthorizeOffer(t.Context(), first, &o, custody[o.Member], signs(mine)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Complete(testTime); !errors.Is(err, ErrIncomplete) {
			t.Fatalf("completed without %s: %v", o.Member.Short(), err)
		}
		if !p.Merge(mine) || p.Merge(mine) {
			t.Fatal("merging is wrong about what is new")
		}
	}
	raw, err := p.Complete(testTime)
	if err != nil {
		t.Fatal(err)
	}
	c := NewChain(first)
	res, err := c.Add(raw)
	if err != nil || len(res.Added) != 1 {
		t.Fatal(err)
	}
	second := res.Added[0]
	if second.Reason != "a team" || len(second.Holders) != 3 || len(second.ShareSets) != 3 || second.Policy.Threshold != 2 {
		t.Fatalf("%+v", second)
	}
	// The founder's old key is of no use, bob and cleo together are.
	bobs, _ := second.Offer(bob.id.Member())
	cleos, _ := second.Offer(cleo.id.Member())
	on, err := Propose(rand.Reader, second, Draft{Title: "Theirs", Policy: second.Policy, Holders: []Offer{bobs, cleos}}, testTime.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	err = Authorize(t.Context(), first, solo, func(a *Authority) error {
		if err := on.Sign(a, &ledger{}, testTime); !errors.Is(err, ErrNotHolder) {
			t.Errorf("the old key: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []founder{bob, cleo} {
		if err := Authorize(t.Context(), second, custody[f.id.Member()], signs(on)); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err = on.Complete(testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(raw); err != nil {
		t.Fatal(err)
	}
	if v := c.View(); v.Current().N != 3 || v.Current().Title != "Theirs" {
		t.Fatalf("%+v", v.Current())
	}
}

func TestProposalEnds(t *testing.T) {
	first := firstRoot(t, 1)
	who := newPerson(1)
	a := &Authority{root: first, member: who.member}
	a.key.Store(who.key)
	d := Draft{Title: first.Title, Policy: first.Policy, Holders: offers(first)}
	for _, tt := range []struct {
		life time.Duration
		want error
	}{{-time.Second, ErrExpired}, {time.Hour, nil}, {31 * 24 * time.Hour, ErrExpired}} {
		p, err := Propose(rand.Reader, first, d, testTime.Add(tt.life))
		if err != nil {
			t.Fatal(err)
		}
		l := &ledger{}
		if err := p.Sign(a, l, testTime); !errors.Is(err, tt.want) {
			t.Errorf("life of %v: %v", tt.life, err)
		}
		if tt.want != nil && len(l.signed) > 0 {
			t.Error("the ledger was asked about an expired proposal")
		}
		if _, err := p.Complete(testTime); !errors.Is(err, tt.want) {
			t.Errorf("life of %v: complete: %v", tt.life, err)
		}
	}
	// A copy with a later end does not lengthen it.
	p, _ := Propose(rand.Reader, first, d, testTime.Add(time.Hour))
	longer, err := ParseProposal(first, wire.Marshal(proposalRecord{Core: p.Core, Expires: p.Expires + 1000}))
	if err != nil {
		t.Fatal(err)
	}
	if p.Merge(longer) || p.Expires != longer.Expires-1000 || !longer.Merge(p) || longer.Expires != p.Expires {
		t.Error("the earlier end does not win")
	}
}

func TestParseProposalRefuses(t *testing.T) {
	first := firstRoot(t, 2)
	two := people(1, 2)
	raw := record(first, two, two, nonce(1))
	signed, _, err := decodeRoot(raw)
	if err != nil {
		t.Fatal(err)
	}
	good := proposalRecord{Core: signed.Core, Expires: 5, Before: signed.Before, Now: signed.Now}
	if _, err := ParseProposal(first, wire.Marshal(good)); err != nil {
		t.Fatal(err)
	}
	if id, prev, err := PeekProposal(wire.Marshal(good)); err != nil || prev != first.ID || id.IsZero() {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*proposalRecord)
		want   error
	}{
		"a stranger's signature": {func(r *proposalRecord) { r.Before = []holderSig{{Member: identity.MemberID{9}, Sig: r.Before[0].Sig}} }, ErrRoot},
		"a wrong signature":      {func(r *proposalRecord) { r.Now = []holderSig{{Member: two[0].member, Sig: r.Now[1].Sig}} }, sign.ErrSignature},
		"not sorted":             {func(r *proposalRecord) { r.Before = []holderSig{r.Before[1], r.Before[0]} }, wire.ErrMalformed},
		"twice":                  {func(r *proposalRecord) { r.Before = []holderSig{r.Before[0], r.Before[0]} }, wire.ErrMalformed},
		"another core":           {func(r *proposalRecord) { r.Core = recordCore(t, record(first, two, two, nonce(2))) }, sign.ErrSignature},
		"rubbish":                {func(r *proposalRecord) { r.Core = []byte("x") }, wire.ErrMalformed},
		"of version 1":           {func(r *proposalRecord) { r.Core = recordCore(t, first.Raw) }, ErrRoot},
		"too large":              {func(r *proposalRecord) { r.Core = make([]byte, MaxProposal) }, wire.ErrTooLarge},
	} {
		rec := good
		tt.change(&rec)
		if _, err := ParseProposal(first, wire.Marshal(rec)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestMakeHolderFails(t *testing.T) {
	first := firstRoot(t, 1)
	f := newFounder(t, 1)
	s, c := shelves(3)
	if _, err := MakeHolder(t.Context(), rand.Reader, first, f.id, Ceremony{Threshold: 1, Custodians: c}); !errors.Is(err, ErrCeremony) {
		t.Fatal(err)
	}
	broken := errors.New("no randomness")
	for n := 0; n < 32+16+3*32; n += 16 {
		random := io.MultiReader(io.LimitReader(rand.Reader, int64(n)), iotest.ErrReader(broken))
		if _, err := MakeHolder(t.Context(), random, first, f.id, Ceremony{Threshold: 2, Custodians: c}); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	s[2].keepErr = errors.New("full")
	if _, err := MakeHolder(t.Context(), rand.Reader, first, f.id, Ceremony{Threshold: 2, Custodians: c}); !errors.Is(err, s[2].keepErr) {
		t.Fatal(err)
	}
	for _, shelf := range s {
		if len(shelf.shares) != 0 {
			t.Errorf("%s keeps a share", shelf.label)
		}
	}
	// An offer's shares cannot be taken for another root's.
	s[2].keepErr = nil
	o, err := MakeHolder(t.Context(), rand.Reader, first, f.id, Ceremony{Threshold: 2, Custodians: c})
	if err != nil {
		t.Fatal(err)
	}
	err = Authorize(t.Context(), first, c, func(*Authority) error { return nil })
	if err == nil || strings.Contains(err.Error(), "superseded") {
		t.Fatal(err)
	}
	err = AuthorizeOffer(t.Context(), first, o, c[1:], func(a *Authority) error {
		if a.Root() != first {
			t.Error("the authority speaks of another root")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
