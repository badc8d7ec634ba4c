package membership

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

// custody is a ceremony of two custodians in memory.
func custody() genesis.Ceremony {
	return genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}}
}

// anyLedger lets a holder sign whatever it is asked for, as a rogue's program does.
type anyLedger struct{}

func (anyLedger) Note(genesis.Signing) error { return nil }

// foundWith founds a project whose root shares the test can use.
func (n *node) foundWith(c genesis.Ceremony) *Project {
	n.t.Helper()
	policy := genesis.DefaultPolicy()
	if n.quorum > 0 {
		policy.ManagerQuorum = n.quorum
	}
	root, err := genesis.Found(context.Background(), rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: policy, Identity: n.self.Identity, Device: n.self.Device, Ceremony: c,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	p, err := n.reg.Found(timeout(n.t), n.cfg(), root)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// soloNext makes the record after parent, held by a new key of one person, outside of any node.
func soloNext(t testing.TB, parent *genesis.Root, old genesis.Ceremony, who Self, reason string) (*genesis.Root, genesis.Ceremony) {
	t.Helper()
	fresh := custody()
	offer, err := genesis.MakeHolder(t.Context(), rand.Reader, parent, who.Identity, fresh)
	if err != nil {
		t.Fatal(err)
	}
	policy := parent.Policy
	policy.Threshold = 1
	d := genesis.Draft{Title: parent.Title, Policy: policy, Holders: []genesis.Offer{*offer}, Reason: reason}
	prop, err := genesis.Propose(rand.Reader, parent, d, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	signs := func(a *genesis.Authority) error { return prop.Sign(a, anyLedger{}, time.Now()) }
	if err := genesis.Authorize(t.Context(), parent, old.Custodians, signs); err != nil {
		t.Fatal(err)
	}
	if err := genesis.AuthorizeOffer(t.Context(), parent, offer, fresh.Custodians, signs); err != nil {
		t.Fatal(err)
	}
	raw, err := prop.Complete(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	next, err := genesis.ParseNext(parent, raw)
	if err != nil {
		t.Fatal(err)
	}
	return next, fresh
}

// inject speaks the protocol of root records by hand, as a member's rogue program, and returns how the other side took it.
func (n *node) inject(with *node, project genesis.ProjectID, b rootBatch) error {
	n.t.Helper()
	s, err := n.host.Open(timeout(n.t), with.self.Device.ID, protocolRoots)
	if err != nil {
		n.t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	writeRaw(s, rootHello{Project: project, Have: []genesis.RootID{}})
	var theirs rootHello
	if err := receive(s, &theirs); err != nil {
		return err
	}
	for {
		var got rootBatch
		if err := receive(s, &got); err != nil {
			return err
		}
		if got.Last {
			break
		}
	}
	b.Last = true
	writeRaw(s, b)
	return receive(s, &rootBatch{})
}

func raws(roots ...*genesis.Root) [][]byte {
	var out [][]byte
	for _, r := range roots {
		out = append(out, r.Raw)
	}
	return out
}

// reach waits until all have a version in force.
func reach(t testing.TB, n uint32, projects ...*Project) {
	t.Helper()
	eventually(t, "all have the version", func() bool {
		return !slices.ContainsFunc(projects, func(p *Project) bool { return p.Root().N != n })
	})
}

// team is a draft of a root held by those who have offered.
func (p *Project) team(threshold uint8, members ...Self) genesis.Draft {
	d := genesis.Draft{Title: p.Root().Title, Policy: p.Root().Policy}
	d.Policy.Threshold = threshold
	offers := p.HolderOffers()
	for _, m := range members {
		o, ok := offers[m.Identity.Member()]
		if !ok {
			o, _ = p.Root().Offer(m.Identity.Member())
		}
		d.Holders = append(d.Holders, o)
	}
	return d
}

func (p *Project) propose2(t testing.TB, d genesis.Draft, from genesis.Ceremony) (genesis.RootID, error) {
	t.Helper()
	return p.ProposeRoot(timeout(t), d, time.Hour, func(prop *genesis.Proposal) error {
		return genesis.Authorize(timeout(t), p.Root(), from.Custodians, func(a *genesis.Authority) error {
			return prop.Sign(a, p.Ledger(), p.reg.cfg.Now())
		})
	})
}

// knows waits until a proposal has come.
func (p *Project) knows(t testing.TB, id genesis.RootID) {
	t.Helper()
	eventually(t, "the proposal has come", func() bool {
		return slices.ContainsFunc(p.RootProposals(), func(x RootProposal) bool { return x.ID == id })
	})
}

// A solo root becomes a team's, and the team moves it on, while somebody is away; everything outlives a restart.
func TestRootMovesToATeam(t *testing.T) {
	checkLeaks(t)
	anna, berta, cleo, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "cleo"), newNode(t, "dora")
	solo := custody()
	pa := anna.foundWith(solo)
	pb := berta.join(invited(t, pa, InviteOptions{}))
	pc := cleo.join(invited(t, pa, InviteOptions{}))
	pd := dora.join(invited(t, pa, InviteOptions{}))
	berta.connect(cleo)
	converge(t, pa, pb, pc, pd)
	dora.stop()

	keys := map[*Project]genesis.Ceremony{pa: custody(), pb: custody(), pc: custody()}
	for p, c := range keys {
		if err := p.OfferToHold(timeout(t), c); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the founder knows all offers", func() bool { return len(pa.HolderOffers()) == 3 })
	id, err := pa.propose2(t, pa.team(2, anna.self, berta.self, cleo.self), solo)
	if err != nil {
		t.Fatal(err)
	}
	if pa.Root().N != 1 || len(pa.RootProposals()) != 1 || len(pa.RootProposals()[0].Now) != 3 {
		t.Fatal("the root moved before the new holders agreed")
	}
	for _, p := range []*Project{pb, pc} {
		p.knows(t, id)
		x := p.RootProposals()[0]
		if !x.Mine || x.Before != 0 || x.Next.Policy.Threshold != 2 || len(x.Next.Holders) != 3 {
			t.Errorf("what is proposed: %+v", x)
		}
		if err := p.SignRoot(timeout(t), id, keys[p].Custodians); err != nil {
			t.Fatal(err)
		}
	}
	if err := pa.SignRoot(timeout(t), id, keys[pa].Custodians); err != nil {
		t.Fatal(err)
	}
	reach(t, 2, pa, pb, pc)
	converge(t, pa, pb, pc)
	for _, p := range []*Project{pa, pb, pc} {
		if p.Root().ID != id || len(p.RootProposals()) != 0 || p.State().Root() != id {
			t.Errorf("version %d, %d proposals", p.Root().N, len(p.RootProposals()))
		}
	}
	// The founder's old shares give a key that is no holder's any more.
	var quorum *genesis.QuorumError
	if err := genesis.Authorize(timeout(t), pa.Root(), solo.Custodians, func(*genesis.Authority) error { return nil }); !errors.As(err, &quorum) || quorum.Have != 0 {
		t.Fatalf("the old shares: %v", err)
	}
	// Two of three move it on without the founder.
	id, err = pb.propose2(t, pb.team(2, berta.self, cleo.self), keys[pb])
	if err != nil {
		t.Fatal(err)
	}
	pc.knows(t, id)
	if err := pc.SignRoot(timeout(t), id, keys[pc].Custodians); err != nil {
		t.Fatal(err)
	}
	reach(t, 3, pa, pb, pc)

	// Who was away walks, from version 1.
	dora.start()
	pd = dora.reopen(pa.ID())
	if pd.Root().N != 1 {
		t.Fatal("she has heard of it")
	}
	dora.connect(berta)
	if err := pd.Pull(timeout(t), berta.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	reach(t, 3, pd)
	converge(t, pa, pb, pc, pd)
	dora.crash()
	pd = dora.reopen(pa.ID())
	if pd.Root().ID != id || pd.State().Root() != id || len(pd.Roots().View.Versions) != 3 {
		t.Fatal("a crash has lost the root")
	}
}

func TestScenario13OfflinePeerWalks(t *testing.T) {
	scenario.Run(t, 13, "a peer at version 3 is brought 4 to 9 without 6 by another peer: it stays at 5 and says so; with 6 it walks on to 9", func(t *testing.T) {
		anna, berta := newNode(t, "anna"), newNode(t, "berta")
		keys := custody()
		pa := anna.foundWith(keys)
		pb := berta.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb)
		chain := []*genesis.Root{pa.Root()}
		for len(chain) < 9 {
			var next *genesis.Root
			next, keys = soloNext(t, chain[len(chain)-1], keys, anna.self, "again")
			chain = append(chain, next)
		}
		if err := pa.TakeRoots(anna.self.Device.ID, raws(chain[1:3]...)); err != nil {
			t.Fatal(err)
		}
		reach(t, 3, pa)
		told := make(chan Change, 100)
		defer pa.OnChange(func(c Change) { told <- c })()
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(slices.Concat(chain[3:5], chain[6:])...)}); err != nil {
			t.Fatal(err)
		}
		reach(t, 5, pa)
		want := genesis.Gap{Have: 5, Missing: 6, Newest: 9}
		if g := pa.Roots().View.Gap; g == nil || *g != want {
			t.Fatalf("gap %+v", g)
		}
		for c := range told {
			if g := c.RootAfter.View.Gap; g != nil && *g == want {
				break
			}
		}
		if _, err := pa.propose2(t, pa.team(1, anna.self), keys); !errors.Is(err, ErrRootBehind) {
			t.Fatalf("it proposes although it is behind: %v", err)
		}
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(chain[5])}); err != nil {
			t.Fatal(err)
		}
		reach(t, 9, pa)
		if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Fatal(err)
		}
		reach(t, 9, pb)
		converge(t, pa, pb)
	})
}

// signedParts is a record's wire form, to be spoilt.
type signedParts struct {
	_      struct{} `cbor:",toarray"`
	Core   []byte
	Before []sigPart
	Now    []sigPart
}

type sigPart struct {
	_      struct{} `cbor:",toarray"`
	Member identity.MemberID
	Sig    []byte
}

func spoilt(t testing.TB, r *genesis.Root, spoil func(*signedParts)) []byte {
	t.Helper()
	var s signedParts
	if err := wire.Unmarshal(r.Raw, &s, genesis.MaxRoot); err != nil {
		t.Fatal(err)
	}
	spoil(&s)
	return wire.Marshal(s)
}

// refusedByPeers has a member's rogue program bring records to a peer: each ends the exchange and changes nothing.
func refusedByPeers(t *testing.T, spoils map[string]func(*signedParts)) {
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	solo := custody()
	pa := anna.foundWith(solo)
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	digest := pa.State().Digest()
	good, _ := soloNext(t, pa.Root(), solo, anna.self, "good")
	for name, spoil := range spoils {
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: [][]byte{spoilt(t, good, spoil)}}); err == nil {
			t.Errorf("%s: the exchange goes on", name)
		}
		if v := pa.Roots().View; pa.Root().N != 1 || v.Gap != nil || v.Fork != nil || pa.State().Digest() != digest || len(pa.chain.Records()) != 1 {
			t.Errorf("%s: it changed something", name)
		}
	}
	if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(good)}); err != nil {
		t.Fatal(err)
	}
	reach(t, 2, pa)
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	reach(t, 2, pb)
	converge(t, pa, pb)
}

func TestScenario11NewHolderDidNotSignAtPeers(t *testing.T) {
	scenario.Run(t, 11, "a peer brings a record that a new holder, or no old one, has signed: refused, the exchange ends, the root stays", func(t *testing.T) {
		refusedByPeers(t, map[string]func(*signedParts){
			"no new holder":                func(s *signedParts) { s.Now = nil },
			"the old key for the new":      func(s *signedParts) { s.Now[0].Sig = s.Before[0].Sig },
			"no old holder":                func(s *signedParts) { s.Before = nil },
			"the new key for the old":      func(s *signedParts) { s.Before[0].Sig = s.Now[0].Sig },
			"old holder's signature twice": func(s *signedParts) { s.Before = append(s.Before, s.Before[0]) },
		})
	})
}

func TestScenario14DowngradeAtPeers(t *testing.T) {
	scenario.Run(t, 14, "a peer brings a record with one half of a signature stripped or emptied: refused, the exchange ends, the root stays", func(t *testing.T) {
		const ed = 64
		refusedByPeers(t, map[string]func(*signedParts){
			"ML-DSA stripped":  func(s *signedParts) { s.Before[0].Sig = s.Before[0].Sig[len(s.Before[0].Sig)-ed:] },
			"ML-DSA emptied":   func(s *signedParts) { clear(s.Before[0].Sig[:len(s.Before[0].Sig)-ed]) },
			"Ed25519 stripped": func(s *signedParts) { s.Now[0].Sig = s.Now[0].Sig[:len(s.Now[0].Sig)-ed] },
			"Ed25519 emptied":  func(s *signedParts) { clear(s.Now[0].Sig[len(s.Now[0].Sig)-ed:]) },
		})
	})
}

func TestScenario72LateForkAtPeers(t *testing.T) {
	scenario.Run(t, 72, "an old holder brings a second version 2 and a third that follows it to peers for whom a checkpoint has settled version 2, and to a newcomer whose code names it: alert at each, nothing frozen, never adopted", func(t *testing.T) {
		anna, berta, cleo, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "cleo"), newNode(t, "dora")
		solo := custody()
		pa := anna.foundWith(solo)
		pb := berta.join(invited(t, pa, InviteOptions{}))
		pc := cleo.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb, pc)
		first := pa.Root()
		second, _ := soloNext(t, first, solo, berta.self, "to berta")
		if err := pb.TakeRoots(berta.self.Device.ID, raws(second)); err != nil {
			t.Fatal(err)
		}
		reach(t, 2, pa, pb, pc)
		checkpoint := &governance.Checkpoint{Number: 1, State: pa.State().Digest(), Time: uint64(time.Now().Unix())}
		if _, err := pa.Propose(timeout(t), governance.KindCheckpoint, checkpoint); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Project{pa, pb, pc} {
			eventually(t, "the checkpoint settles version 2", func() bool { return p.Roots().View.Settled == 2 })
		}
		// The code that anna makes now carries the pin.
		pd := dora.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb, pc, pd)
		if pd.Root().ID != second.ID || pd.Roots().View.Settled != 2 {
			t.Fatalf("the newcomer is at version %d, settled %d", pd.Root().N, pd.Roots().View.Settled)
		}
		rival, keys := soloNext(t, first, solo, anna.self, "mine again")
		rival3, _ := soloNext(t, rival, keys, anna.self, "and on")
		for _, n := range []*node{anna, berta, dora} {
			cleo.reach(n)
			if err := cleo.inject(n, pa.ID(), rootBatch{Records: raws(rival, rival3)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []*Project{pa, pb, pd} {
			want := []genesis.LateFork{{Version: 2, Settled: second.ID, Rival: rival.ID}}
			eventually(t, "there is an alert", func() bool { return slices.Equal(p.Roots().View.Late, want) })
			if p.Root().ID != second.ID || p.Roots().View.Fork != nil {
				t.Error("the rival has an effect")
			}
		}
		// Nothing is frozen.
		if _, err := pa.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
		converge(t, pa, pb, pd)
		// It outlives a restart.
		anna.stop()
		anna.start()
		pa = anna.reopen(pa.ID())
		if v := pa.Roots().View; v.Current().ID != second.ID || len(v.Late) != 1 || v.Settled != 2 {
			t.Fatalf("after a restart: version %d", v.Current().N)
		}
	})
}

// reach makes sure that two nodes are connected.
func (n *node) reach(other *node) {
	n.t.Helper()
	for _, x := range n.host.Connected() {
		if x.Device == other.self.Device.ID {
			return
		}
	}
	n.connect(other)
}

func TestScenario9SupersededHoldersAtPeers(t *testing.T) {
	scenario.Run(t, 9, "version 3 reaches a peer before version 2: held, then applied in order; a fork by the superseded holder suspends root acts until people pin, and then is a late one", func(t *testing.T) {
		anna, berta := newNode(t, "anna"), newNode(t, "berta")
		solo := custody()
		pa := anna.foundWith(solo)
		pb := berta.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb)
		first := pa.Root()
		second, k2 := soloNext(t, first, solo, anna.self, "2")
		third, _ := soloNext(t, second, k2, anna.self, "3")
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(third)}); err != nil {
			t.Fatal(err)
		}
		if pa.Root().N != 1 || pa.Roots().View.Gap == nil {
			t.Fatal("version 3 was taken without 2")
		}
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(second)}); err != nil {
			t.Fatal(err)
		}
		reach(t, 3, pa)
		if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Fatal(err)
		}
		reach(t, 3, pb)
		rival, _ := soloNext(t, first, solo, anna.self, "old")
		if err := berta.inject(anna, pa.ID(), rootBatch{Records: raws(rival)}); err != nil {
			t.Fatal(err)
		}
		if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Project{pa, pb} {
			eventually(t, "the fork is known", func() bool { return p.Roots().View.Fork != nil })
			if p.Root().N != 1 {
				t.Error("a branch is in force")
			}
		}
		if _, err := pa.propose2(t, pa.team(1, anna.self), solo); !errors.Is(err, ErrRootFork) {
			t.Fatalf("the suspended root moves: %v", err)
		}
		if _, err := pa.OpenChain(timeout(t)); err != nil {
			t.Fatalf("what needs no root: %v", err)
		}
		for _, p := range []*Project{pa, pb} {
			if err := p.PinRoot(timeout(t), second.ID); err != nil {
				t.Fatal(err)
			}
			if v := p.Roots().View; v.Current().ID != third.ID || v.Fork != nil || len(v.Late) != 1 {
				t.Error("pinning does not end it")
			}
		}
		converge(t, pa, pb)
	})
}

func TestScenario73SecondSignature(t *testing.T) {
	scenario.Run(t, 73, "a holder's program is asked to sign a second record in one place, also after a crash: refused and not sent, unless it abandons the first", func(t *testing.T) {
		anna, berta := newNode(t, "anna"), newNode(t, "berta")
		solo := custody()
		pa := anna.foundWith(solo)
		pb := berta.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb)
		kb := custody()
		if err := pb.OfferToHold(timeout(t), kb); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the offer has come", func() bool { return len(pa.HolderOffers()) == 1 })
		withdrawn, err := pa.propose2(t, pa.team(1, berta.self), solo)
		if err != nil {
			t.Fatal(err)
		}
		pb.knows(t, withdrawn)
		anna.crash()
		pa = anna.reopen(pa.ID())
		if len(pa.RootProposals()) != 1 {
			t.Fatal("the proposal is gone after a crash")
		}
		// A proposal that does not know of the first, with everything right about it.
		fresh := custody()
		offer, err := genesis.MakeHolder(timeout(t), rand.Reader, pa.Root(), anna.self.Identity, fresh)
		if err != nil {
			t.Fatal(err)
		}
		d := genesis.Draft{Title: "x", Policy: pa.Root().Policy, Holders: []genesis.Offer{*offer}}
		careless, err := genesis.Propose(rand.Reader, pa.Root(), d, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		err = genesis.Authorize(timeout(t), pa.Root(), solo.Custodians, func(a *genesis.Authority) error {
			return careless.Sign(a, pa.Ledger(), time.Now())
		})
		if !errors.Is(err, genesis.ErrSecondRecord) || careless.Endorsed() {
			t.Fatalf("a second signature: %v", err)
		}
		// The next proposal of this program abandons the first, and stands, though berta completes that.
		fresh = custody()
		if err := pa.OfferToHold(timeout(t), fresh); err != nil {
			t.Fatal(err)
		}
		good, err := pa.propose2(t, pa.team(1, anna.self), solo)
		if err != nil {
			t.Fatal(err)
		}
		if err := pa.SignRoot(timeout(t), good, fresh.Custodians); err != nil {
			t.Fatal(err)
		}
		reach(t, 2, pa)
		if err := pb.SignRoot(timeout(t), withdrawn, kb.Custodians); err != nil {
			t.Fatal(err)
		}
		anna.connect(berta)
		if err := pa.Pull(timeout(t), berta.self.Device.ID); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Project{pa, pb} {
			eventually(t, "the record that abandons the other is in force", func() bool { return p.Root().ID == good })
			if v := p.Roots().View; v.Fork != nil || len(p.chain.Records()) != 3 {
				t.Error("a withdrawn proposal forks the root")
			}
		}
		converge(t, pa, pb)
	})
}

// What a member's rogue program brings in place of proposals and offers changes nothing; asking for a signature needs a
// holder's own.
func TestForgedProposalsAndOffers(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	solo := custody()
	pa := anna.foundWith(solo)
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	parent := pa.Root()
	kb := custody()
	offer, err := genesis.MakeHolder(timeout(t), rand.Reader, parent, berta.self.Identity, kb)
	if err != nil {
		t.Fatal(err)
	}
	propose := func(life time.Duration, sign bool) *genesis.Proposal {
		p, err := genesis.Propose(rand.Reader, parent, genesis.Draft{
			Title: "x", Policy: parent.Policy, Holders: []genesis.Offer{*offer},
		}, time.Now().Add(life))
		if err != nil {
			t.Fatal(err)
		}
		if sign {
			err = genesis.Authorize(timeout(t), parent, solo.Custodians, func(a *genesis.Authority) error {
				return p.Sign(a, anyLedger{}, time.Now())
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	good, other := propose(time.Hour, true), propose(time.Hour, true)
	var a, b struct {
		Core    []byte    `cbor:"1,keyasint"`
		Expires uint64    `cbor:"2,keyasint"`
		Before  []sigPart `cbor:"3,keyasint"`
		Now     []sigPart `cbor:"4,keyasint"`
	}
	for p, into := range map[*genesis.Proposal]any{good: &a, other: &b} {
		if err := wire.Unmarshal(p.Encode(), into, genesis.MaxProposal); err != nil {
			t.Fatal(err)
		}
	}
	a.Core = b.Core // another purpose than what the holder has signed
	for name, tt := range map[string]struct {
		batch   rootBatch
		refused bool
	}{
		"another purpose under a signature": {rootBatch{Proposals: [][]byte{wire.Marshal(a)}}, true},
		"rubbish":                           {rootBatch{Proposals: [][]byte{{1}}}, true},
		"no holder has signed":              {rootBatch{Proposals: [][]byte{propose(time.Hour, false).Encode()}}, false},
		"another member's offer": {rootBatch{Offers: [][]byte{(&genesis.Offer{
			Member: anna.self.Identity.Member(), Key: offer.Key,
		}).Encode()}}, true},
	} {
		err := berta.inject(anna, pa.ID(), tt.batch)
		if (err != nil) != tt.refused || len(pa.RootProposals()) != 0 || len(pa.HolderOffers()) != 0 {
			t.Errorf("%s: %v, %d proposals, %d offers", name, err, len(pa.RootProposals()), len(pa.HolderOffers()))
		}
	}
	if err := berta.inject(anna, pa.ID(), rootBatch{Proposals: [][]byte{good.Encode()}}); err != nil {
		t.Fatal(err)
	}
	pa.knows(t, good.ID)
	if err := pa.SignRoot(timeout(t), other.ID, solo.Custodians); !errors.Is(err, ErrUnknownProposal) {
		t.Fatalf("a proposal that never came: %v", err)
	}
	// Its time over, nobody signs it.
	anna.clock.advance(2 * time.Hour)
	if err := pa.SignRoot(timeout(t), good.ID, solo.Custodians); !errors.Is(err, genesis.ErrExpired) {
		t.Fatalf("an expired request: %v", err)
	}
	anna.clock.advance(-2 * time.Hour)
	// Nor for who is no member any more.
	remove(t, pa, berta)
	if err := pa.SignRoot(timeout(t), good.ID, solo.Custodians); !errors.Is(err, ErrNotMember) {
		t.Fatalf("the requester is gone: %v", err)
	}
}

// keeps reports whether a custodian keeps its share of an offered key.
func keeps(t testing.TB, p *Project, c genesis.Ceremony, k int, o *genesis.Offer) bool {
	t.Helper()
	ref := genesis.ShareRef{Project: p.ID(), Ceremony: o.Shares.Ceremony, X: byte(k + 1)}
	_, err := c.Custodians[k].Recall(timeout(t), ref)
	if err != nil && !errors.Is(err, genesis.ErrNoShare) {
		t.Fatal(err)
	}
	return err == nil
}

// An offer that is taken back leaves no shares, unless a proposal has it.
func TestWithdrawOffer(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	solo := custody()
	p := anna.foundWith(solo)
	c := custody()
	if err := p.OfferToHold(timeout(t), c); err != nil {
		t.Fatal(err)
	}
	offer := p.offer
	if !keeps(t, p, c, 0, offer) {
		t.Fatal("nothing was kept")
	}
	if err := p.WithdrawOffer(timeout(t), c.Custodians); err != nil {
		t.Fatal(err)
	}
	if len(p.HolderOffers()) != 0 || keeps(t, p, c, 0, offer) || keeps(t, p, c, 1, offer) {
		t.Error("something of it is left")
	}
	if err := p.OfferToHold(timeout(t), c); err != nil {
		t.Fatal(err)
	}
	if _, err := p.propose2(t, p.team(1, anna.self), solo); err != nil {
		t.Fatal(err)
	}
	if err := p.WithdrawOffer(timeout(t), c.Custodians); err != nil {
		t.Fatal(err)
	}
	offer = p.offer
	if len(p.HolderOffers()) != 1 || !keeps(t, p, c, 0, offer) {
		t.Error("an offer that is proposed is gone")
	}
	if err := p.SignRoot(timeout(t), p.RootProposals()[0].ID, c.Custodians); err != nil {
		t.Fatal(err)
	}
	if p.Root().N != 2 {
		t.Error("the root did not move")
	}
	if err := p.WithdrawOffer(timeout(t), c.Custodians); err != nil || !keeps(t, p, c, 0, offer) {
		t.Errorf("the shares of the root in force are gone: %v", err)
	}
}
