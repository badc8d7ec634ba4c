package collab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/keystore/memory"
)

// twoPlaces is a ceremony over a key store and a file.
func twoPlaces(t *testing.T) Ceremony {
	t.Helper()
	return Ceremony{Threshold: 2, Custodians: []Custodian{
		KeyStoreCustodian(memory.New()), FileCustodian(filepath.Join(t.TempDir(), "share")),
	}}
}

func (p *player) foundBy(t *testing.T, c Ceremony) {
	t.Helper()
	cost.ForTests(t)
	var err error
	if p.s, err = p.Create(t.Context(), "The Last Reel", c); err != nil {
		t.Fatal(err)
	}
	p.open(t)
}

// proposed waits for a proposal and returns it.
func (p *player) proposed(t *testing.T, id ProposalID) (found Proposal) {
	t.Helper()
	until(t, "the proposal has come", func() bool {
		for x := range p.s.Proposals() {
			if x.ID == id {
				found = x
				return true
			}
		}
		return false
	})
	return found
}

// version waits until the players have a version of the root in force, one and the same.
func version(t *testing.T, n uint32, players ...*player) RootID {
	t.Helper()
	until(t, "all have the version", func() bool {
		return !slices.ContainsFunc(players, func(p *player) bool { return p.s.membership.Root().N != n })
	})
	id := players[0].s.Status().Root
	for _, p := range players {
		if p.s.Status().Root != id {
			t.Errorf("%s has another record", p.Identity().Name)
		}
	}
	return id
}

// pending runs Migrate and expects that it waits for others.
func (p *player) pending(t *testing.T, from []Custodian, next Ceremony) ProposalID {
	t.Helper()
	var pending *PendingError
	err := p.s.Authorize(t.Context(), from, func(a *Authority) error { return a.Migrate(t.Context(), next) })
	if !errors.As(err, &pending) {
		t.Fatalf("migrate: %v", err)
	}
	return pending.Proposal
}

// TestMigrate moves a solo root to a team of three, while one member is away, has the team move it on without the founder,
// and shows that the founder's old shares can do nothing.
func TestMigrate(t *testing.T) {
	ada, bob, cleo := newPlayer(t, "Ada"), newPlayer(t, "Bob"), newPlayer(t, "Cleo")
	keys := memory.New()
	dora := openPlayer(t, "Dora", WithDir(filepath.Join(t.TempDir(), "dora")), WithKeyStore(keys))
	solo := twoPlaces(t)
	ada.foundBy(t, solo)
	for _, p := range []*player{bob, cleo, dora} {
		p.join(t, ada)
	}
	agree(t, ada, bob, cleo, dora)
	if err := dora.s.Close(); err != nil {
		t.Fatal(err)
	}
	first := ada.s.Status().Root
	moved := map[*player]<-chan RootChanged{}
	for _, p := range []*player{ada, bob, cleo} {
		moved[p] = Subscribe[RootChanged](t.Context(), p.s)
	}
	asked := Subscribe[ProposalChanged](t.Context(), bob.s)

	// Nobody becomes a holder who has not said so.
	team := Team(2, ada.s.Me().ID, bob.s.Me().ID, cleo.s.Me().ID)
	err := ada.s.Authorize(t.Context(), solo.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), team) })
	if !errors.Is(err, ErrNoOffer) {
		t.Fatalf("without offers: %v", err)
	}
	custody := map[*player]Ceremony{}
	for _, p := range []*player{ada, bob, cleo} {
		custody[p] = twoPlaces(t)
		if err := p.s.OfferToHold(t.Context(), custody[p]); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all offers have come", func() bool { return len(ada.s.membership.HolderOffers()) == 3 })
	tooMany := Team(4, team.Holders...)
	err = ada.s.Authorize(t.Context(), solo.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), tooMany) })
	if !errors.Is(err, genesis.ErrRoot) {
		t.Fatalf("4 of 3: %v", err)
	}
	id := ada.pending(t, solo.Custodians, team)
	if e := <-asked; e.Proposal.ID != id || !e.Proposal.Mine {
		t.Errorf("bob is told %+v", e)
	}
	for _, p := range []*player{bob, cleo, ada} {
		x := p.proposed(t, id)
		if x.By != ada.s.Me().ID || x.Threshold != 2 || len(x.Holders) != 3 || x.Needed != 0 || !x.Mine || x.Kind != ProposalRoot {
			t.Errorf("%s is shown %+v", p.Identity().Name, x)
		}
		if err := p.s.Vote(t.Context(), id, true); err == nil {
			t.Error("a vote without a key")
		}
		if err := p.s.Vote(t.Context(), id, true, custody[p].Custodians...); err != nil {
			t.Fatal(err)
		}
	}
	second := version(t, 2, ada, bob, cleo)
	if second != RootID(id) {
		t.Error("another record than was proposed")
	}
	for p, c := range moved {
		if e := <-c; e.From != first || e.To != second || e.Version != 2 {
			t.Errorf("%s is told %+v", p.Identity().Name, e)
		}
	}
	agree(t, ada, bob, cleo)

	// The old shares are all there, and worth nothing.
	err = ada.s.Authorize(t.Context(), solo.Custodians, func(*Authority) error { t.Error("the old key is in force"); return nil })
	var quorum *QuorumError
	if !errors.Is(err, genesis.ErrRootMismatch) || !errors.As(err, &quorum) {
		t.Errorf("the old shares: %v", err)
	}
	// The team goes on without the founder.
	id = bob.pending(t, custody[bob].Custodians, Team(2, bob.s.Me().ID, cleo.s.Me().ID))
	cleo.proposed(t, id)
	if err := cleo.s.Vote(t.Context(), id, true, custody[cleo].Custodians...); err != nil {
		t.Fatal(err)
	}
	version(t, 3, ada, bob, cleo)

	// Who was away catches up, and edits reach everybody.
	if dora.s, err = dora.OpenProject(t.Context(), ada.s.ID()); err != nil {
		t.Fatal(err)
	}
	dora.open(t)
	version(t, 3, ada, bob, cleo, dora)
	dora.write(t, "Back. ")
	agree(t, ada, bob, cleo, dora)
	// A newcomer joins by a code that names version 3.
	eve := newPlayer(t, "Eve")
	eve.join(t, ada)
	version(t, 3, ada, eve)
	agree(t, ada, bob, cleo, dora, eve)
	// What each of them exports says how the root has moved.
	for _, p := range []*player{ada, dora, eve} {
		p.audited(t, first, second, [][]MemberID{{ada.s.Me().ID}, team.Holders, {bob.s.Me().ID, cleo.s.Me().ID}})
	}
}

// audited exports the project and expects the file to name both moves of the root.
func (p *player) audited(t *testing.T, first, second RootID, holders [][]MemberID) {
	t.Helper()
	var file bytes.Buffer
	if err := p.s.ExportAudit(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	r, err := VerifyAudit(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if r.Root != p.s.Status().Root || r.RootVersion != 3 || len(r.Migrations) != 2 || len(r.RootFork)+len(r.LateForks)+len(r.RootDisputed) > 0 {
		t.Fatalf("%s exports %+v", p.Identity().Name, r)
	}
	for _, h := range holders {
		slices.SortFunc(h, func(a, b MemberID) int { return bytes.Compare(a[:], b[:]) })
	}
	for k, m := range r.Migrations {
		from, to := []RootID{first, second}[k], []RootID{second, r.Root}[k]
		if m.From != from || m.To != to || int(m.Version) != k+2 || !m.Counts || m.After < 1 || m.Knows < 1 ||
			!slices.Equal(m.Old.Members, holders[k]) || !slices.Equal(m.New.Members, holders[k+1]) || m.New.Threshold != 2 {
			t.Errorf("%s exports move %d as %+v", p.Identity().Name, k, m)
		}
	}
	bad := bytes.Clone(file.Bytes())
	at := bytes.Index(bad, p.s.membership.RootRecords()[1])
	bad[at+len(p.s.membership.RootRecords()[1])-1] ^= 1
	if _, err := VerifyAudit(bytes.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "record 1 (root record)") {
		t.Errorf("a changed root record: %v", err)
	}
}

// A solo root goes to another solo ceremony at once; what the old shares then sign is refused or has no effect.
func TestScenario8RekeyedRoot(t *testing.T) {
	scenario.Run(t, 8, "the founder moves the root to new shares; the old ones are used through the facade, and by a rogue program: ErrRootMismatch, named as superseded, and nothing moves where the new version is pinned", func(t *testing.T) {
		ada, bob := newPlayer(t, "Ada"), newPlayer(t, "Bob")
		old, fresh := twoPlaces(t), twoPlaces(t)
		ada.foundBy(t, old)
		bob.join(t, ada)
		agree(t, ada, bob)
		first := ada.s.membership.Root()
		if err := ada.s.Authorize(t.Context(), old.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), fresh) }); err != nil {
			t.Fatal(err)
		}
		second := version(t, 2, ada, bob)
		err := ada.s.Authorize(t.Context(), old.Custodians, func(*Authority) error { return nil })
		if !errors.Is(err, genesis.ErrRootMismatch) || !errors.Is(err, genesis.ErrShareOtherCeremony) {
			t.Errorf("old shares: %v", err)
		}
		if err := ada.s.Authorize(t.Context(), fresh.Custodians, func(*Authority) error { return nil }); err != nil {
			t.Errorf("new shares: %v", err)
		}
		for _, p := range []*player{ada, bob} {
			if err := p.s.PinRoot(t.Context(), second); err != nil {
				t.Fatal(err)
			}
		}
		alerts := Subscribe[SecurityAlert](t.Context(), bob.s)
		rival := rivalOf(t, first, old, ada)
		if err := ada.s.membership.TakeRoots(ada.self.Device.ID, [][]byte{rival}); err != nil {
			t.Fatal(err)
		}
		if e := <-alerts; e.Kind != AlertLateRootFork || e.Detail == "" {
			t.Errorf("bob is told %+v", e)
		}
		if version(t, 2, ada, bob) != second {
			t.Error("the rival is in force")
		}
		ada.write(t, "Nothing is frozen. ")
		agree(t, ada, bob)
	})
}

type careless struct{}

func (careless) Note(genesis.Signing) error { return nil }

// rivalOf makes another version after parent with its old shares, past the owner's ledger.
func rivalOf(t *testing.T, parent *genesis.Root, old Ceremony, who *player) (raw []byte) {
	t.Helper()
	o, _ := parent.Offer(who.self.Device.Member)
	err := genesis.Authorize(t.Context(), parent, old.Custodians, func(a *genesis.Authority) error {
		p, err := genesis.Propose(who.cfg.random, parent, genesis.Draft{
			Title: "Mine", Policy: parent.Policy, Holders: []genesis.Offer{o},
		}, time.Now().Add(time.Hour))
		if err == nil {
			err = p.Sign(a, careless{}, time.Now())
		}
		if err == nil {
			raw, err = p.Complete(time.Now())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A vote that is refused or comes too late: nothing is signed.
func TestVotesThatAreRefused(t *testing.T) {
	var ahead atomic.Int64 // of bob's clock
	ada, bob := newPlayer(t, "Ada"), newPlayer(t, "Bob", func(c *config) error {
		c.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		return nil
	})
	solo := twoPlaces(t)
	ada.foundBy(t, solo)
	bob.join(t, ada)
	custody := twoPlaces(t)
	if err := bob.s.OfferToHold(t.Context(), custody); err != nil {
		t.Fatal(err)
	}
	until(t, "the offer has come", func() bool { return len(ada.s.membership.HolderOffers()) == 1 })
	id := ada.pending(t, solo.Custodians, Team(1, bob.s.Me().ID))
	bob.proposed(t, id)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bob.s.Vote(ctx, id, true, custody.Custodians...); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := bob.s.Vote(t.Context(), ProposalID{1}, true, custody.Custodians...); !errors.Is(err, ErrNoProposal) {
		t.Errorf("no such proposal: %v", err)
	}
	if err := bob.s.Vote(t.Context(), id, true, solo.Custodians...); err == nil || errors.Is(err, ErrNoProposal) {
		t.Errorf("another's shares: %v", err)
	}
	ahead.Store(int64(8 * 24 * time.Hour))
	if err := bob.s.Vote(t.Context(), id, true, custody.Custodians...); !errors.Is(err, ErrNoProposal) || !errors.Is(err, genesis.ErrExpired) {
		t.Errorf("too late: %v", err)
	}
	ahead.Store(0)
	if err := bob.s.Vote(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	for p := range bob.s.Proposals() {
		t.Errorf("still there: %+v", p)
	}
	if ada.s.membership.Root().N != 1 || bob.s.membership.Root().N != 1 {
		t.Error("the root has moved")
	}
}

// A project's store that is set back to before the root moved, beside a vault that was not: the owner is told, and the old
// shares open nothing, until a member brings the newer record.
func TestStoreSetBack(t *testing.T) {
	keys, dir := memory.New(), filepath.Join(t.TempDir(), "ada")
	ada, bob := openPlayer(t, "Ada", WithDir(dir), WithKeyStore(keys)), openPlayer(t, "Bob", WithDir(filepath.Join(t.TempDir(), "bob")), WithKeyStore(memory.New()))
	old, fresh := twoPlaces(t), twoPlaces(t)
	ada.foundBy(t, old)
	bob.join(t, ada)
	agree(t, ada, bob)
	id := ada.s.ID()
	if err := ada.s.Close(); err != nil {
		t.Fatal(err)
	}
	stores, err := filepath.Glob(filepath.Join(dir, "p-*"))
	if err != nil {
		t.Fatal(err)
	}
	stores = slices.DeleteFunc(stores, func(name string) bool { return filepath.Ext(name) == ".lock" })
	if len(stores) != 1 {
		t.Fatalf("stores: %v", stores)
	}
	before, err := os.ReadFile(stores[0])
	if err != nil {
		t.Fatal(err)
	}
	if ada.s, err = ada.OpenProject(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ada.open(t)
	if err := ada.s.Authorize(t.Context(), old.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), fresh) }); err != nil {
		t.Fatal(err)
	}
	version(t, 2, ada, bob)
	until(t, "the mark is there", func() bool {
		m, err := ada.home.rootMark(t.Context(), id)
		return err == nil && m.n == 2
	})
	bobs := bob.s.ID()
	if err := errors.Join(ada.s.Close(), bob.s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stores[0], before, 0o600); err != nil {
		t.Fatal(err)
	}
	if ada.s, err = ada.OpenProject(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	ada.open(t)
	if ada.s.membership.Root().N != 1 {
		t.Fatal("the store was not set back")
	}
	err = ada.s.Authorize(t.Context(), old.Custodians, func(*Authority) error { t.Error("the old root is back"); return nil })
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("the old shares: %v", err)
	}
	if bob.s, err = bob.OpenProject(t.Context(), bobs); err != nil {
		t.Fatal(err)
	}
	bob.open(t)
	version(t, 2, ada, bob)
	if err := ada.s.Authorize(t.Context(), fresh.Custodians, func(*Authority) error { return nil }); err != nil {
		t.Errorf("the new shares: %v", err)
	}
}

// alert waits for a kind of alert.
func alert(t *testing.T, alerts <-chan SecurityAlert, kind AlertKind) {
	t.Helper()
	for e := range alerts {
		if e.Kind == kind {
			if e.Detail == "" || kind.String() == "unknown alert" {
				t.Errorf("an alert that says nothing: %+v", e)
			}
			return
		}
	}
	t.Errorf("no alert of a %v", kind)
}

// The owner is told of a version that is missing, of a fork, which suspends nothing but the root, and of how it ends.
func TestRootAlerts(t *testing.T) {
	ada := newPlayer(t, "Ada")
	old, second := twoPlaces(t), twoPlaces(t)
	ada.foundBy(t, old)
	alerts := Subscribe[SecurityAlert](t.Context(), ada.s)
	first := ada.s.membership.Root()
	rival := rivalOf(t, first, old, ada)
	next, err := genesis.ParseNext(first, rival)
	if err != nil {
		t.Fatal(err)
	}
	third := rivalOf(t, next, old, ada) // the same shares: the rival keeps its key
	take := func(raw []byte) {
		t.Helper()
		if err := ada.s.membership.TakeRoots(ada.self.Device.ID, [][]byte{raw}); err != nil {
			t.Fatal(err)
		}
	}
	take(third)
	alert(t, alerts, AlertRootBehind)
	if err := ada.s.Authorize(t.Context(), old.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), second) }); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("while a version is missing: %v", err)
	}
	take(rival)
	version(t, 3, ada)
	other := rivalOf(t, first, old, ada)
	take(other)
	alert(t, alerts, AlertRootFork)
	if err := ada.s.Authorize(t.Context(), old.Custodians, func(a *Authority) error { return a.Migrate(t.Context(), second) }); !errors.Is(err, ErrRootFork) {
		t.Fatalf("during a fork: %v", err)
	}
	ada.write(t, "Nothing is frozen. ")
	if err := ada.s.PinRoot(t.Context(), RootID{1}); !errors.Is(err, ErrNoProposal) {
		t.Errorf("a record that is not held: %v", err)
	}
	if err := ada.s.PinRoot(t.Context(), next.ID); err != nil {
		t.Fatal(err)
	}
	alert(t, alerts, AlertLateRootFork)
	version(t, 3, ada)
}
