package collab

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/internal/cost"
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

// TestCreateAfterACrash founds a project where the ceremony of another was interrupted after its shares were kept: these
// are gone, and the device knows from the start where its own shares lie.
func TestCreateAfterACrash(t *testing.T) {
	ada := newPlayer(t, "Ada")
	n := ada.Node
	cost.ForTests(t)
	stick := t.TempDir()
	c := Ceremony{Threshold: 2, Custodians: []Custodian{KeyStoreCustodian(memory.New()), FileCustodian(filepath.Join(stick, "share"))}}

	var lost genesis.ShareRef
	func() {
		defer func() { _ = recover() }()
		_, err := genesis.Found(t.Context(), rand.Reader, time.Now(), genesis.Founding{
			Title: "lost", Policy: genesis.DefaultPolicy(), Identity: n.self.Identity, Device: n.self.Device, Ceremony: c,
			Journal: custodian.Journal(n.home.vault),
			Store: func(_ context.Context, root *genesis.Root) error {
				lost = genesis.ShareRef{Project: root.Project, Ceremony: root.ShareSets[0].Ceremony, X: 1}
				panic("power failure")
			},
		})
		t.Errorf("it went on: %v", err)
	}()
	if share, err := c.Custodians[0].Recall(t.Context(), lost); err != nil || len(share) == 0 {
		t.Fatalf("the crash left no share: %v", err)
	}

	s, err := n.Create(t.Context(), "found", c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Custodians[0].Recall(t.Context(), lost); !errors.Is(err, ErrNoShare) {
		t.Errorf("a share of the lost project: %v", err)
	}
	for _, h := range s.CheckShares(t.Context(), c.Custodians) {
		if h.Err != nil {
			t.Errorf("drill at %s: %v", h.Custodian, h.Err)
		}
	}
	if err := s.MarkKnown(t.Context(), c.Custodians[1]); err != nil {
		t.Error(err)
	}
	if got, err := s.ShareCondition(t.Context()); err != nil || got.Owed != OwedRefresh {
		t.Errorf("%+v, %v", got, err)
	}
}
