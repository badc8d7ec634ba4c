package collab

import (
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// newsHello opens an exchange of events that brings news, by the numbers of sync/membership/SPEC.md.
type newsHello struct {
	Project ProjectID            `cbor:"1,keyasint"`
	Have    []EventID            `cbor:"2,keyasint"`
	Needs   []governance.EpochID `cbor:"3,keyasint"`
	Book    [][]byte             `cbor:"4,keyasint"`
	Events  [][]byte             `cbor:"5,keyasint"`
}

// slip gives another player an event that this one's own program does not have.
func (p *player) slip(t *testing.T, to *player, raw []byte) {
	t.Helper()
	s, err := p.host.Open(t.Context(), to.self.Device.ID, "/collab/events/1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	msg := wire.Marshal(newsHello{Project: p.s.ID(), Events: [][]byte{raw}})
	if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...)); err != nil {
		t.Fatal(err)
	}
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, s)
}

// copyOfLog is the log of a program that takes nothing new.
func (p *player) copyOfLog(t *testing.T) (stale *governance.Log) {
	t.Helper()
	root := p.s.membership.Root()
	p.s.membership.View(func(log *governance.Log) {
		stale = governance.NewLog(root)
		for e := range log.All() {
			if _, err := stale.Add(e.Raw); err != nil {
				t.Error(err)
			}
		}
	})
	return stale
}

// Scenario 84 as people see it: Explain says why and because of what, Late lists it, Endorse brings it back.
func TestScenario84LeftOutAndEndorsedInSessions(t *testing.T) {
	scenario.Run(t, 84, "a quorum settles without a grant on purpose: sessions show it late with its cause, one manager's Endorse brings it into force for everybody", func(t *testing.T) {
		ada, bob, cleo, dora := newPlayer(t, "Ada"), newPlayer(t, "Bob"), newPlayer(t, "Cleo"), newPlayer(t, "Dora")
		all := []*player{ada, bob, cleo, dora}
		ada.found(t)
		for _, p := range all[1:] {
			p.join(t, ada)
		}
		ctx := t.Context()
		hasRole := func(who *player, r Role) {
			t.Helper()
			for _, p := range all {
				until(t, "everybody knows the role", func() bool { return p.s.membership.State().Role(who.s.Me().ID) == r })
			}
		}
		if err := ada.s.SetRole(ctx, bob.s.Me().ID, RoleManager); err != nil {
			t.Fatal(err)
		}
		hasRole(bob, RoleManager)
		grant := &governance.RoleGrant{Member: cleo.s.Me().ID, Role: RoleManager}
		if _, err := ada.s.membership.Propose(ctx, governance.KindRoleGrant, grant, governance.WithCosigners(bob.author())); err != nil {
			t.Fatal(err)
		}
		hasRole(cleo, RoleManager)
		if err := ada.s.SetRole(ctx, dora.s.Me().ID, RoleViewer); err != nil {
			t.Fatal(err)
		}
		hasRole(dora, RoleViewer)
		stale := ada.copyOfLog(t)
		if err := cleo.s.SetRole(ctx, dora.s.Me().ID, RoleEditor); err != nil {
			t.Fatal(err)
		}
		hasRole(dora, RoleEditor)
		next, err := stale.NextCheckpoint(ada.self.Device.ID, nil, uint64(time.Now().Unix()))
		if err != nil {
			t.Fatal(err)
		}
		raw, checkpoint, err := stale.Propose(ada.author(), governance.KindCheckpoint, next, governance.WithCosigners(bob.author()))
		if err != nil {
			t.Fatal(err)
		}
		ada.slip(t, cleo, raw)
		hasRole(dora, RoleViewer)
		var left EventID
		for e, err := range cleo.s.Audit(EventID{}) {
			if err == nil && e.Summary == "Cleo made Dora editor (void: "+governance.ReasonLate.String()+")" {
				left = e.ID
			}
		}
		for _, p := range all {
			if x, err := p.s.Explain(left); err != nil || x.Counts || x.Reason != governance.ReasonLate || x.Culprit != checkpoint {
				t.Errorf("%s: %+v, %v", p.Identity().Name, x, err)
			}
		}
		if late := cleo.s.Late(); !slices.Equal(late, []EventID{left}) || len(dora.s.Late()) != 0 {
			t.Errorf("late: %v at a manager, %v at a viewer", late, dora.s.Late())
		}
		if err := cleo.s.Endorse(ctx, left); err != nil {
			t.Fatal(err)
		}
		hasRole(dora, RoleEditor)
		until(t, "all agree", func() bool {
			digest := ada.s.membership.State().Digest()
			return !slices.ContainsFunc(all, func(p *player) bool { return p.s.membership.State().Digest() != digest })
		})
		if err := cleo.s.Endorse(ctx); err == nil {
			t.Error("nothing was endorsed")
		}
		if err := dora.s.Endorse(ctx, left); err == nil {
			t.Error("an editor endorses")
		}
	})
}
