package collab

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/studio-whip/collab/keystore/memory"
)

// held moves a solo root to a team of players, two of whom must sign, and returns who keeps whose shares.
func held(t *testing.T, founder *player, solo Ceremony, others ...*player) map[*player]Ceremony {
	t.Helper()
	custody := map[*player]Ceremony{}
	holders := append([]*player{founder}, others...)
	var ids []MemberID
	for _, p := range holders {
		custody[p] = twoPlaces(t)
		if err := p.s.OfferToHold(t.Context(), custody[p]); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.s.Me().ID)
	}
	until(t, "all offers have come", func() bool { return len(founder.s.membership.HolderOffers()) == len(holders) })
	id := founder.pending(t, solo.Custodians, Team(2, ids...))
	for _, p := range holders {
		p.proposed(t, id)
		if err := p.s.Vote(t.Context(), id, true, custody[p].Custodians...); err != nil {
			t.Fatal(err)
		}
	}
	version(t, 2, holders...)
	return custody
}

// A team of three holds the root, and its only manager has left. One of the other two proposes a new manager, restarts, and the second signs.
func TestTeamNamesManager(t *testing.T) {
	ada, cleo, dora := newPlayer(t, "Ada"), newPlayer(t, "Cleo"), newPlayer(t, "Dora")
	bob := openPlayer(t, "Bob", WithDir(filepath.Join(t.TempDir(), "bob")), WithKeyStore(memory.New()))
	solo := twoPlaces(t)
	ada.foundBy(t, solo)
	for _, p := range []*player{bob, cleo, dora} {
		p.join(t, ada)
	}
	agree(t, ada, bob, cleo, dora)
	custody := held(t, ada, solo, bob, cleo)
	version(t, 2, dora)
	if err := ada.s.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := []*player{bob, cleo, dora}
	for _, p := range left {
		until(t, "ada has left", func() bool { return p.s.membership.State().Role(ada.self.Device.Member) == 0 })
	}
	asked := Subscribe[ProposalChanged](t.Context(), cleo.s)
	if err := bob.s.SetRole(t.Context(), dora.s.Me().ID, RoleManager); !errors.Is(err, ErrDenied) {
		t.Fatalf("an editor names a manager: %v", err)
	}
	var pending *PendingError
	err := bob.s.Authorize(t.Context(), custody[bob].Custodians, func(a *Authority) error {
		if err := a.SetRole(bob.s.Me().ID, RoleEditor); !errors.Is(err, ErrNoChange) {
			t.Errorf("no change: %v", err)
		}
		return a.SetRole(dora.s.Me().ID, RoleManager)
	})
	if !errors.As(err, &pending) {
		t.Fatalf("one holder: %v", err)
	}
	id := pending.Proposal
	var x Proposal
	for x.ID != id {
		x = (<-asked).Proposal
	}
	if !x.AsRoot || !x.Mine || x.Kind != ProposalGrant || x.Role != RoleManager || x.Target != dora.s.Me().ID || x.By != bob.s.Me().ID ||
		x.Needed != 1 || !slices.Equal(x.For, []MemberID{bob.s.Me().ID}) {
		t.Errorf("cleo is asked %+v", x)
	}
	project := bob.s.ID()
	if err := bob.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cleo.s.Vote(t.Context(), id, true, custody[bob].Custodians...); err != nil {
		t.Errorf("bob's shares, in cleo's hands: %v", err) // they are his signature once more
	}
	if y := cleo.proposed(t, id); y.Needed != 1 || !y.Mine {
		t.Errorf("bob's signature twice: %+v", y)
	}
	if err := cleo.s.Vote(t.Context(), id, true, custody[cleo].Custodians...); err != nil {
		t.Fatal(err)
	}
	if cleo.s.membership.State().Role(dora.s.Me().ID) == RoleManager {
		t.Fatal("it came about without bob's device")
	}
	if bob.s, err = bob.OpenProject(t.Context(), project); err != nil {
		t.Fatal(err)
	}
	bob.open(t)
	for _, p := range left {
		until(t, "dora is a manager", func() bool { return p.s.membership.State().Role(dora.s.Me().ID) == RoleManager })
	}
	for _, p := range left {
		until(t, "nothing is proposed", func() bool { return len(p.s.proposals()) == 0 })
	}
	if err := cleo.s.Vote(t.Context(), id, true, custody[cleo].Custodians...); !errors.Is(err, ErrNoProposal) {
		t.Errorf("a vote on what was decided: %v", err)
	}
	dora.write(t, "And on. ")
	agree(t, left...)
}
