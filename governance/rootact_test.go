package governance

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

// council is a project whose root is held by several people, and the custodians of each.
type council struct {
	*moved
	second *genesis.Root
	of     map[string][]genesis.Custodian
}

// newCouncil moves the root of a project with these managers to a team.
func newCouncil(t *testing.T, threshold uint8, holders ...string) *council {
	t.Helper()
	c := &council{moved: newMoved(t, 2), of: map[string][]genesis.Custodian{}}
	c.managers("B", "C")
	d := genesis.Draft{Title: c.root.Title, Policy: c.root.Policy, Frontier: c.log.RootFrontier()}
	d.Policy.Threshold = threshold
	offers := map[string]*genesis.Offer{}
	for _, name := range holders {
		c.of[name] = []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}
		o, err := genesis.MakeHolder(t.Context(), rand.Reader, c.root, c.person(name).cert, genesis.Ceremony{Threshold: 2, Custodians: c.of[name]})
		if err != nil {
			t.Fatal(err)
		}
		offers[name], d.Holders = o, append(d.Holders, *o)
	}
	p, err := genesis.Propose(rand.Reader, c.root, d, rootTime.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	signs := func(a *genesis.Authority) error { return p.Sign(a, anyLedger{}, rootTime) }
	if err := genesis.Authorize(t.Context(), c.root, c.f.shelves, signs); err != nil {
		t.Fatal(err)
	}
	for name, o := range offers {
		if err := genesis.AuthorizeOffer(t.Context(), c.root, o, c.of[name], signs); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := p.Complete(rootTime)
	if err != nil {
		t.Fatal(err)
	}
	if c.second, err = genesis.ParseNext(c.root, raw); err != nil {
		t.Fatal(err)
	}
	c.tell(c.second)
	return c
}

func (c *council) draft(by string, kind Kind, content any) *Draft {
	c.t.Helper()
	d, err := c.log.DraftAsRoot(c.person(by).device.ID, kind, content)
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// signed returns holders' signatures of a draft.
func (c *council) signed(d *Draft, by ...string) map[identity.MemberID][]byte {
	c.t.Helper()
	out := map[identity.MemberID][]byte{}
	for _, name := range by {
		err := genesis.Authorize(c.t.Context(), c.second, c.of[name], func(a *genesis.Authority) error {
			sig, err := d.SignAsHolder(a)
			out[c.member(name)] = sig
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

// Any two of three holders make an act; it is the same event whoever of them signed, and comes to the same.
func TestRootActBySeveral(t *testing.T) {
	c := newCouncil(t, 2, "A", "B", "C")
	revoke := &Revoke{Member: c.member("A")}
	d := c.draft("B", KindRevoke, revoke)
	author := c.person("B").author()
	if _, err := c.log.AssembleAsRoot(author, d, c.signed(d, "C")); !errors.Is(err, ErrEvent) {
		t.Errorf("one holder: %v", err)
	}
	wrong := c.signed(d, "B", "C")
	wrong[c.member("C")] = wrong[c.member("B")]
	if _, err := c.log.AssembleAsRoot(author, d, wrong); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("another's signature: %v", err)
	}
	if _, err := c.log.AssembleAsRoot(c.person("C").author(), d, c.signed(d, "B", "C")); !errors.Is(err, ErrEvent) {
		t.Errorf("another's draft: %v", err)
	}
	var digest wire.ID
	for k, who := range [][]string{{"A", "B"}, {"A", "C"}, {"B", "C"}, {"A", "B", "C"}} {
		raw, err := c.log.AssembleAsRoot(author, d, c.signed(d, who...))
		if err != nil {
			t.Fatal(err)
		}
		l := NewLog(c.root)
		l.SetRoots(c.chain.View(), c.chain.Records())
		for _, r := range append(c.raws, raw) {
			if _, err := l.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		if l.Get(d.ID) == nil || l.State().Role(c.member("A")) != None {
			t.Errorf("%v: it does not count", who)
		}
		if got := l.State().Digest(); k > 0 && got != digest {
			t.Errorf("%v: another outcome", who)
		} else {
			digest = got
		}
		c.spoil(raw, who)
	}
	if err := c.log.VerifyHolder(d, c.member("D"), wrong[c.member("B")]); !errors.Is(err, ErrEvent) {
		t.Errorf("a stranger's signature: %v", err)
	}
	// Of one who is not listed there is no place for a signature.
	if _, err := c.log.DraftAsRoot(c.person("B").device.ID, KindChainOpen, &ChainOpen{ChainNo: 1}); err == nil {
		t.Error("the root opens a chain")
	}
}

// spoil leaves out one signature too many: no log takes that.
func (c *council) spoil(raw []byte, who []string) {
	c.t.Helper()
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxEvent); err != nil {
		c.t.Fatal(err)
	}
	for k := range signed.Sigs {
		less := wire.Signed{Core: signed.Core, Sigs: append([][]byte{}, signed.Sigs...)}
		if len(less.Sigs[k]) == 0 || k > 0 && len(who) == 3 {
			continue
		}
		less.Sigs[k] = []byte{}
		if _, err := c.log.Add(wire.Marshal(less)); !errors.Is(err, ErrEvent) {
			c.t.Errorf("by %v without signature %d: %v", who, k, err)
		}
	}
}

// A draft has its time: it ends with its author's number, with the version of the root, and, if it gives something, with
// the next checkpoint.
func TestRootActsEnd(t *testing.T) {
	c := newCouncil(t, 2, "A", "B", "C")
	check := func(what string, d *Draft, want Reason) {
		t.Helper()
		err := c.log.CheckAsRoot(d)
		var denied *DeniedError
		switch {
		case want == ReasonNone && err != nil, want != ReasonNone && (!errors.As(err, &denied) || denied.Reason != want):
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	admission := admitStep("A", "D", Editor).body(c.team, c.log.State())
	admit, revoke := c.draft("B", KindAdmit, admission), c.draft("B", KindRevoke, &Revoke{Member: c.member("A")})
	check("an admission", admit, ReasonNone)
	check("a removal", revoke, ReasonNone)
	c.act("settle", c.second, step{by: "A", kind: KindCheckpoint, body: func(tm *team, _ *State) any {
		return &Checkpoint{Number: 1, State: tm.log.State().Digest(), Time: 1}
	}}.and("C"), "start")
	if x, err := c.log.Explain(c.ids["settle"]); err != nil || !x.Counts {
		t.Fatalf("the checkpoint: %+v, %v", x, err)
	}
	check("an admission, after a checkpoint", admit, ReasonLate)
	check("a removal, after a checkpoint", revoke, ReasonNone)
	c.act("taken", c.second, chainStep("B", 1), "settle")
	if err := c.log.CheckAsRoot(revoke); !errors.Is(err, ErrEvent) {
		t.Errorf("the number is taken: %v", err)
	}
	revoke = c.draft("B", KindRevoke, &Revoke{Member: c.member("A")})
	check("a removal", revoke, ReasonNone)
	c.shelves[c.second.ID] = c.of["A"]
	third := c.third()
	c.tell(third)
	check("a removal, after the root has moved", revoke, ReasonSuperseded)
	if _, err := c.log.AssembleAsRoot(c.person("B").author(), revoke, c.signed(revoke, "B", "C")); err == nil {
		t.Error("a superseded act was made")
	}
}

// third moves the root on to A alone.
func (c *council) third() *genesis.Root {
	c.t.Helper()
	o, _ := c.second.Offer(c.member("A"))
	d := genesis.Draft{Title: c.root.Title, Policy: c.root.Policy, Holders: []genesis.Offer{o}, Frontier: c.log.RootFrontier()}
	d.Policy.Threshold = 1
	p, err := genesis.Propose(rand.Reader, c.second, d, rootTime.Add(time.Hour))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{"A", "B"} {
		signs := func(a *genesis.Authority) error { return p.Sign(a, anyLedger{}, rootTime) }
		if err := genesis.Authorize(c.t.Context(), c.second, c.of[name], signs); err != nil {
			c.t.Fatal(err)
		}
	}
	raw, err := p.Complete(rootTime)
	if err != nil {
		c.t.Fatal(err)
	}
	next, err := genesis.ParseNext(c.second, raw)
	if err != nil {
		c.t.Fatal(err)
	}
	return next
}
