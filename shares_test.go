package collab

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestRefreshAndRekey gives a project's root new shares and then a new key; members follow, old shares are gone.
func TestRefreshAndRekey(t *testing.T) {
	ada, bob := newPlayer(t, "Ada"), newPlayer(t, "Bob")
	stick := FileCustodian(filepath.Join(t.TempDir(), "share"))
	first := Ceremony{Threshold: 2, Custodians: []Custodian{KeyStoreCustodian(memory.New()), stick}}
	ada.foundBy(t, first)
	bob.join(t, ada)
	agree(t, ada, bob)

	condition := func() ShareCondition {
		t.Helper()
		c, err := ada.s.ShareCondition(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good := func(c Ceremony) {
		t.Helper()
		for _, h := range ada.s.CheckShares(t.Context(), c.Custodians) {
			if h.Err != nil {
				t.Errorf("drill at %s: %v", h.Custodian, h.Err)
			}
		}
	}
	second := twoPlaces(t)
	if err := ada.s.Refresh(t.Context(), first.Custodians, second); err != nil {
		t.Fatal(err)
	}
	version(t, 2, ada, bob)
	good(second)
	for _, h := range ada.s.CheckShares(t.Context(), first.Custodians) {
		if !errors.Is(h.Err, ErrNoShare) {
			t.Errorf("an old share at %s: %v", h.Custodian, h.Err)
		}
	}
	if err := ada.s.Refresh(t.Context(), first.Custodians, second); err == nil {
		t.Error("old custodians gave a quorum")
	}
	if c := condition(); c != (ShareCondition{}) {
		t.Errorf("%+v", c)
	}

	for _, c := range second.Custodians {
		if err := ada.s.MarkKnown(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if c := condition(); c.Owed != OwedRekey || c.Known != 2 {
		t.Errorf("two shares known: %+v", c)
	}
	if err := ada.s.Refresh(t.Context(), second.Custodians, second); !errors.Is(err, genesis.ErrRekeyOwed) {
		t.Errorf("refresh of a key that others know: %v", err)
	}
	if err := ada.s.Rekey(t.Context(), second.Custodians, second); err != nil {
		t.Fatal(err)
	}
	version(t, 3, ada, bob)
	good(second)
	if c := condition(); c.Owed != OwedNothing {
		t.Errorf("%+v", c)
	}
	if err := ada.s.ResumeCeremony(t.Context(), second.Custodians); err != nil {
		t.Errorf("nothing to resume: %v", err)
	}
	if err := bob.s.MarkKnown(t.Context(), stick); !errors.Is(err, ErrNoShare) {
		t.Errorf("who holds no root: %v", err)
	}
}
