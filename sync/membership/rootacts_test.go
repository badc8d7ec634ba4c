package membership

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// council is a project whose root several people hold: anna, who founded it and is its only manager, berta and cleo, two of
// whom must sign. dora holds nothing.
type council struct {
	t        *testing.T
	nodes    []*node
	projects []*Project
	keys     []genesis.Ceremony // of the holders
}

const (
	anna = iota
	berta
	cleo
	dora
)

func newCouncil(t *testing.T, shape func(*Config)) *council {
	t.Helper()
	c := &council{t: t}
	solo := custody()
	for k, name := range []string{"anna", "berta", "cleo", "dora"} {
		n := newNode(t, name)
		n.shape = shape
		c.nodes = append(c.nodes, n)
		if k == anna {
			c.projects = append(c.projects, n.foundWith(solo))
			continue
		}
		c.projects = append(c.projects, n.join(invited(t, c.projects[anna], InviteOptions{})))
		for _, other := range c.nodes[1:k] {
			n.connect(other)
		}
	}
	converge(t, c.projects...)
	for k := range 3 {
		c.keys = append(c.keys, custody())
		if err := c.projects[k].OfferToHold(timeout(t), c.keys[k]); err != nil {
			t.Fatal(err)
		}
	}
	pa := c.projects[anna]
	eventually(t, "the founder knows all offers", func() bool { return len(pa.HolderOffers()) == 3 })
	id, err := pa.propose2(t, pa.team(2, c.nodes[anna].self, c.nodes[berta].self, c.nodes[cleo].self), solo)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		c.projects[k].knows(t, id)
		if err := c.projects[k].SignRoot(timeout(t), id, c.keys[k].Custodians); err != nil {
			t.Fatal(err)
		}
	}
	reach(t, 2, c.projects...)
	converge(t, c.projects...)
	return c
}

// as rebuilds a holder's key.
func (c *council) as(k int, fn func(*genesis.Authority) error) error {
	c.t.Helper()
	return genesis.Authorize(timeout(c.t), c.projects[k].Root(), c.keys[k].Custodians, fn)
}

// propose has a holder propose a root act, which must wait for others.
func (c *council) propose(k int, kind governance.Kind, content any) (id ActID) {
	c.t.Helper()
	err := c.as(k, func(a *genesis.Authority) (err error) {
		id, err = c.projects[k].ProposeAsRoot(timeout(c.t), kind, content, "as we said", a)
		return err
	})
	if err != nil || id.IsZero() {
		c.t.Fatalf("propose %v as the root: %v, %v", kind, id.Short(), err)
	}
	return id
}

func (c *council) sign(k int, id ActID) {
	c.t.Helper()
	knowsAct(c.t, c.projects[k], id)
	if err := c.projects[k].SignAct(timeout(c.t), id, c.keys[k].Custodians); err != nil {
		c.t.Fatal(err)
	}
}

func (c *council) self(k int) Self { return c.nodes[k].self }

func (c *council) member(k int) identity.MemberID { return c.nodes[k].member() }

// restart ends a node's program and starts it again.
func (c *council) restart(k int) {
	c.t.Helper()
	c.nodes[k].stop()
	c.nodes[k].start()
	c.projects[k] = c.nodes[k].reopen(c.projects[k].ID())
}

// meet connects two nodes and has them exchange what they hold.
func (c *council) meet(k, m int) {
	c.t.Helper()
	c.nodes[k].reach(c.nodes[m])
	if err := c.projects[k].Pull(timeout(c.t), c.self(m).Device.ID); err != nil {
		c.t.Fatal(err)
	}
}

func (c *council) of(at ...int) []*Project {
	var out []*Project
	for _, k := range at {
		out = append(out, c.projects[k])
	}
	return out
}

// roles waits until some projects agree that somebody has a role, and on everything else.
func (c *council) role(who int, r governance.Role, at ...int) {
	c.t.Helper()
	eventually(c.t, "the role is as it must be", func() bool {
		return !slices.ContainsFunc(c.of(at...), func(p *Project) bool { return role(p, c.self(who)) != r })
	})
	converge(c.t, c.of(at...)...)
}

// The last manager has left. Two of the three who hold the root name another one, on different days, with the third away.
func TestRootActWithNoManagerLeft(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	if _, err := c.projects[anna].Leave(timeout(t), nil); err != nil {
		t.Fatal(err)
	}
	c.role(anna, out, berta, cleo, dora)
	c.nodes[anna].stop() // the third holder
	grant := &governance.RoleGrant{Member: c.member(dora), Role: manager}
	if _, err := c.projects[berta].ProposeAct(timeout(t), governance.KindRoleGrant, grant, ""); err == nil {
		t.Fatal("an editor names a manager")
	}
	id := c.propose(berta, governance.KindRoleGrant, grant)
	if again := c.propose(berta, governance.KindRoleGrant, grant); again != id {
		t.Error("proposed twice")
	}
	x := knowsAct(t, c.projects[cleo], id)
	if !x.AsRoot || !x.Mine || x.Needed != 2 || x.By != c.member(berta) || x.Subject != c.member(dora) || x.Note != "as we said" ||
		!slices.Equal(x.Approved, []identity.MemberID{c.member(berta)}) || time.Until(x.Expires) < 24*time.Hour {
		t.Errorf("as cleo is shown it: %+v", x)
	}
	if len(c.projects[dora].Acts()) != 0 {
		t.Error("who holds nothing is shown it")
	}
	if err := c.projects[cleo].ApproveAct(timeout(t), id); err == nil {
		t.Error("approved without a key")
	}
	c.nodes[berta].stop() // the next day
	if role(c.projects[cleo], c.self(dora)) != governance.Editor {
		t.Fatal("one holder was enough")
	}
	c.sign(cleo, id)
	c.restart(cleo)
	if x := knowsAct(t, c.projects[cleo], id); len(x.Approved) != 2 || x.Mine {
		t.Errorf("after a restart: %+v", x)
	}
	if role(c.projects[cleo], c.self(dora)) != governance.Editor {
		t.Fatal("it came about without its author")
	}
	c.nodes[berta].start()
	c.projects[berta] = c.nodes[berta].reopen(c.projects[berta].ID())
	c.meet(berta, cleo)
	c.meet(cleo, dora)
	c.role(dora, manager, berta, cleo, dora)
	eventually(t, "nothing is proposed any more", func() bool { return len(c.projects[berta].Acts())+len(c.projects[cleo].Acts()) == 0 })
	// The new manager's acts count, and the event lists who may sign.
	if _, err := c.projects[dora].ProposeAct(timeout(t), governance.KindRoleDrop, &governance.RoleDrop{Member: c.member(cleo), Role: governance.Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	c.role(cleo, governance.Viewer, berta, cleo, dora)
}

// A removal by the root ends chains and brings a new key, as any removal.
func TestRootRemoves(t *testing.T) {
	checkLeaks(t)
	var written atomic.Uint64
	written.Store(7)
	last := func() governance.Cut {
		return governance.Cut{Device: selfOf(t, "anna").Device.ID, Seq: written.Load(), Envelope: wire.ID{1}}
	}
	c := newCouncil(t, func(cfg *Config) {
		cfg.Cuts = func(identity.MemberID) ([]governance.Cut, error) { return []governance.Cut{last()}, nil }
	})
	cut := last()
	id := c.propose(berta, governance.KindRevoke, &governance.Revoke{Member: c.member(anna), Reason: "gone"})
	written.Store(12) // she goes on writing
	if x := knowsAct(t, c.projects[cleo], id); x.Drops != 5 {
		t.Errorf("it drops %d of what cleo has read, want 5", x.Drops)
	}
	c.sign(cleo, id)
	c.role(anna, out, berta, cleo, dora)
	s := c.projects[dora].State()
	if got, ok := s.Cut(cut.Device, 0); !ok || got != cut {
		t.Errorf("cut at %+v", got)
	}
	if _, owed := s.Owed(c.self(dora).Device.ID); owed {
		t.Error("a key is owed")
	}
	for _, p := range c.of(berta, cleo, dora) {
		e, ok := p.State().SendingEpoch()
		if !ok {
			t.Fatal("there is no key to send under")
		}
		eventually(t, "the new key is held", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			_, held := p.keys.held[e.ID]
			return held
		})
	}
	if len(c.projects[anna].Acts()) != 0 {
		t.Error("she was told of it before")
	}
}

// An act that its only signer takes back, one whose author's number is taken, and one whose time is over are not made.
func TestRootActIsTakenBack(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	id := c.propose(berta, governance.KindRoleDrop, &governance.RoleDrop{Member: c.member(dora), Role: governance.Viewer})
	knowsAct(t, c.projects[cleo], id)
	if err := c.projects[cleo].DeclineAct(id); err != nil || len(c.projects[cleo].Acts()) != 0 {
		t.Errorf("declined: %v", err)
	}
	if err := c.projects[berta].WithdrawAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody is shown it any more", func() bool { return len(c.projects[anna].Acts()) == 0 })
	// Its number is free: the device does something else, and the draft is dead.
	if _, err := c.projects[berta].OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, c.projects...)
	if err := c.projects[cleo].SignAct(timeout(t), id, c.keys[cleo].Custodians); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("signed too late: %v", err)
	}
	id = c.propose(berta, governance.KindRoleDrop, &governance.RoleDrop{Member: c.member(dora), Role: governance.Viewer})
	knowsAct(t, c.projects[cleo], id)
	c.nodes[cleo].clock.advance(DefaultActLife + time.Minute)
	if err := c.projects[cleo].SignAct(timeout(t), id, c.keys[cleo].Custodians); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("signed after its time: %v", err)
	}
	c.role(dora, governance.Editor, anna, berta, cleo, dora)
}

// Whoever holds no part of the version that counts has no say: not by an open proposal of the version before, nor by a new
// one of his own program's.
func TestRootActSuperseded(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	second := c.projects[cleo].Root()
	id := c.propose(cleo, governance.KindRoleGrant, &governance.RoleGrant{Member: c.member(dora), Role: manager})
	knowsAct(t, c.projects[anna], id)
	next, err := c.projects[anna].propose2(t, c.projects[anna].team(2, c.self(anna), c.self(berta)), c.keys[anna])
	if err != nil {
		t.Fatal(err)
	}
	c.projects[berta].knows(t, next)
	if err := c.projects[berta].SignRoot(timeout(t), next, c.keys[berta].Custodians); err != nil {
		t.Fatal(err)
	}
	reach(t, 3, c.projects...)
	if err := c.projects[anna].SignAct(timeout(t), id, c.keys[anna].Custodians); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("an act of the version before: %v", err)
	}
	err = genesis.Authorize(timeout(t), second, c.keys[cleo].Custodians, func(a *genesis.Authority) error {
		_, err := c.projects[cleo].ProposeAsRoot(timeout(t), governance.KindRoleGrant, &governance.RoleGrant{Member: c.member(dora), Role: manager}, "", a)
		return err
	})
	if !errors.Is(err, genesis.ErrNotHolder) {
		t.Errorf("a new act by a holder of the version before: %v", err)
	}
	// His program does not ask: his drafts of either version are not taken.
	for name, root := range map[string]*genesis.Root{"superseded": second, "in force": c.projects[anna].Root()} {
		r, v := c.forged(cleo, root)
		if err := c.nodes[cleo].bringActs(c.nodes[anna], c.projects[anna].ID(), actBatch{Proposals: [][]byte{r}, Votes: [][]byte{v}}); err == nil {
			t.Errorf("%s: no holder, and his acts are listened to", name)
		}
	}
	if len(c.projects[anna].Acts()) != 0 || role(c.projects[anna], c.self(dora)) != governance.Editor {
		t.Error("it has an effect")
	}
}

// forged makes a proposal of a root act, and a vote that signs it, on a version of the root without asking whether that counts.
func (c *council) forged(k int, root *genesis.Root) (proposal, vote []byte) {
	c.t.Helper()
	var l *governance.Log
	c.projects[k].View(func(log *governance.Log) {
		l = governance.NewLog(c.projects[k].first)
		chain := genesis.NewChain(c.projects[k].first)
		for _, r := range c.projects[k].chain.Records() {
			if r.N > 1 && r.N <= root.N {
				if _, err := chain.Add(r.Raw); err != nil {
					c.t.Fatal(err)
				}
			}
		}
		l.SetRoots(chain.View(), chain.Records())
		for e := range log.All() {
			if _, err := l.Add(e.Raw); err != nil {
				c.t.Fatal(err)
			}
		}
	})
	grant := governance.RoleGrant{Member: c.member(dora), Role: manager}
	d, err := l.DraftAsRoot(c.self(k).Device.ID, governance.KindRoleGrant, grant)
	if err != nil {
		c.t.Fatal(err)
	}
	terms, err := governance.Terms(governance.KindRoleGrant, grant)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := newActRecord(c.self(k).Keys, actCore{
		Project: c.projects[k].ID(), Kind: d.Kind, Terms: terms, Device: d.Author, Since: d.Parents,
		Expires: uint64(time.Now().Add(time.Hour).Unix()), Draft: d.Core,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	me := c.member(k)
	v, err := newVoteRecord(c.self(k).Keys, voteCore{
		Project: r.Project, Act: r.id, Device: d.Author, N: 1, Approve: 1, Holder: &me, Signature: make([]byte, sign.SignatureSize),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return r.raw, v.raw
}

// Two holders propose rival acts apart, the third signs both, and they come about at once: all come to one outcome, and the
// removal stands.
func TestRivalRootActs(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	apart := func() {
		for k := range 4 {
			for m := range k {
				c.nodes[k].partition(c.nodes[m])
			}
		}
	}
	apart()
	acts := map[int]ActID{
		anna:  c.propose(anna, governance.KindRoleGrant, &governance.RoleGrant{Member: c.member(dora), Role: manager}),
		berta: c.propose(berta, governance.KindRevoke, &governance.Revoke{Member: c.member(dora), Reason: "sells our drafts"}),
	}
	for k, id := range acts {
		c.meet(cleo, k)
		knowsAct(t, c.projects[cleo], id)
		apart()
	}
	for _, id := range acts {
		c.sign(cleo, id)
	}
	for k, id := range acts { // carried by hand, before either is told of the other's
		c.projects[cleo].mu.Lock()
		batch := &actBatch{Votes: [][]byte{c.projects[cleo].acts[id].votes[voice{c.self(cleo).Device.ID, c.member(cleo)}].raw}}
		c.projects[cleo].mu.Unlock()
		if _, err := c.projects[k].takeActs(batch); err != nil {
			t.Fatal(err)
		}
		c.projects[k].conclude()
	}
	eventually(t, "both have come about", func() bool {
		return role(c.projects[anna], c.self(dora)) == manager && role(c.projects[berta], c.self(dora)) == out
	})
	c.meet(anna, berta)
	c.meet(cleo, anna)
	c.role(dora, out, anna, berta, cleo)
}

// One holder's program lies about what others have signed: nothing comes about.
func TestForgedRootActs(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	root := c.projects[anna].Root()
	proposal, forged := c.forged(berta, root)
	r, err := parseActRecord(proposal)
	if err != nil {
		t.Fatal(err)
	}
	vote := func(change func(*voteCore)) []byte {
		me := c.member(berta)
		v := voteCore{Project: r.Project, Act: r.id, Device: c.self(berta).Device.ID, N: 1, Approve: 1, Holder: &me}
		if err := c.as(berta, func(a *genesis.Authority) (err error) { v.Signature, err = r.draft.SignAsHolder(a); return err }); err != nil {
			t.Fatal(err)
		}
		change(&v)
		rec, err := newVoteRecord(c.self(berta).Keys, v)
		if err != nil {
			t.Fatal(err)
		}
		return rec.raw
	}
	cleos, doras := c.member(cleo), c.member(dora)
	votes := [][]byte{
		forged, // a signature of zeros
		vote(func(v *voteCore) { v.Holder = &cleos }),                                 // her own as cleo's
		vote(func(v *voteCore) { v.Holder = &doras }),                                 // of somebody who holds nothing
		vote(func(v *voteCore) { v.Holder, v.Signature = nil, nil }),                  // as on a manager's act
		vote(func(v *voteCore) { v.Holder, v.Approve, v.Signature = &cleos, 0, nil }), // taken back for cleo
		vote(func(v *voteCore) { v.N = uint64(time.Now().Add(time.Hour).Unix()) }),    // from the future
		vote(func(v *voteCore) { v.Act[0] ^= 1 }),                                     // on nothing
	}
	if err := c.nodes[berta].bringActs(c.nodes[anna], r.Project, actBatch{Proposals: [][]byte{proposal}, Votes: votes}); err != nil {
		t.Fatal(err)
	}
	if acts := c.projects[anna].Acts(); len(acts) != 0 {
		t.Fatalf("anna is shown %+v", acts)
	}
	if err := c.nodes[berta].bringActs(c.nodes[anna], r.Project, actBatch{Votes: [][]byte{vote(func(*voteCore) {})}}); err != nil {
		t.Fatal(err)
	}
	if x := knowsAct(t, c.projects[anna], r.id); len(x.Approved) != 1 {
		t.Errorf("signed by %d", len(x.Approved))
	}
	// A proposal whose draft is another than what people are shown is none.
	for name, change := range map[string]func(*actCore){
		"another person": func(x *actCore) { x.Terms = wire.Marshal(governance.RoleGrant{Member: cleos, Role: manager}) },
		"another kind":   func(x *actCore) { x.Kind = governance.KindRoleDrop },
		"other events":   func(x *actCore) { x.Since = []governance.EventID{{1}} },
		"rubbish":        func(x *actCore) { x.Draft = []byte{1} },
		"another author": func(x *actCore) { x.Device = c.self(anna).Device.ID },
	} {
		core := r.actCore
		change(&core)
		if _, err := newActRecord(c.self(berta).Keys, core); err == nil {
			t.Errorf("%s: it has the form of a proposal", name)
		}
	}
}

// A device whose key is due waits with the update while a root act of its own is being signed, which that would end.
func TestKeyUpdateWaitsForRootAct(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, func(cfg *Config) { cfg.KeyLife = 2 * time.Hour })
	id := c.propose(anna, governance.KindRevoke, &governance.Revoke{Member: c.member(dora)})
	for _, n := range c.nodes {
		n.clock.advance(3 * time.Hour)
	}
	care(t, c.projects[anna])
	if n := updates(c.projects[anna], c.nodes[anna]); n != 0 {
		t.Errorf("%d updates", n)
	}
	c.sign(berta, id)
	c.role(dora, governance.None, anna, berta, cleo)
	care(t, c.projects[anna])
	if n := updates(c.projects[anna], c.nodes[anna]); n != 1 {
		t.Errorf("%d updates once it has come about", n)
	}
}

// What a holder has taken back, another who has seen the signature does not give in his place.
func TestSignatureIsNotBroughtAgain(t *testing.T) {
	checkLeaks(t)
	c := newCouncil(t, nil)
	id := c.propose(anna, governance.KindRevoke, &governance.Revoke{Member: c.member(dora)})
	pa, pb := c.projects[anna], c.projects[berta]
	pa.mu.Lock()
	pa.concluding[id] = true // anna's program does not make it yet
	pa.mu.Unlock()
	c.sign(berta, id)
	bertas := c.member(berta)
	agrees := func() bool { return slices.Contains(knowsAct(t, pa, id).Approved, bertas) }
	eventually(t, "berta's signature has come", agrees)
	pa.mu.Lock()
	signature := pa.signaturesOn(pa.acts[id])[bertas]
	pa.mu.Unlock()
	if err := pb.WithdrawAct(timeout(t), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is taken back", func() bool { return !agrees() })
	again, err := newVoteRecord(c.self(cleo).Keys, voteCore{
		Project: pa.ID(), Act: id, Device: c.self(cleo).Device.ID, N: uint64(time.Now().Add(time.Minute).Unix()), Approve: 1,
		Holder: &bertas, Signature: signature,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[cleo].bringActs(c.nodes[anna], pa.ID(), actBatch{Votes: [][]byte{again.raw}}); err != nil {
		t.Fatal(err)
	}
	if agrees() {
		t.Error("cleo has given it again")
	}
	c.sign(berta, id)
	eventually(t, "berta signs once more", agrees)
}
