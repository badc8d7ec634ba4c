package collab

import (
	"context"
	"errors"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/keystore/memory"
)

// Who is removed while he leaves, and cannot leave any more, has a session that has ended.
func TestRemovedWhileLeaving(t *testing.T) {
	ada, bob := newPlayer(t, "Ada"), newPlayer(t, "Bob")
	ada.found(t)
	bob.join(t, ada)
	err := bob.s.goneBy(t.Context(), "leave the project", ErrLeft, func(context.Context) error {
		if err := ada.s.Revoke(t.Context(), bob.s.Me().ID, "gone"); err != nil {
			return err
		}
		until(t, "he hears of it", bob.s.membership.Removed)
		return ErrUnreachable
	}, func(context.Context) (int, error) { return 0, errors.New("he has left") })
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("leaving: %v", err)
	}
	if err := bob.s.Err(); !errors.Is(err, ErrRevoked) {
		t.Fatalf("the session goes on: %v", err)
	}
	<-bob.s.Done()
	if ada.s.membership.State().Role(bob.s.Me().ID) != governance.None {
		t.Error("he is a member")
	}
}

// A project that the node opened to end an identity, and that its user opens meanwhile, stays open.
func TestOpenProjectWhileAnIdentityEnds(t *testing.T) {
	ada := openPlayer(t, "Ada", WithDir(t.TempDir()), WithKeyStore(memory.New()))
	ada.found(t)
	id, ctx := ada.s.ID(), t.Context()
	if err := ada.s.Close(); err != nil {
		t.Fatal(err)
	}
	_, giveBack, err := ada.everyProject(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, giveBackToo, err := ada.everyProject(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ada.OpenProject(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	giveBack()
	giveBackToo()
	if err := s.Err(); err != nil {
		t.Fatalf("the session that the user has opened: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sessions, giveBack, err := ada.everyProject(ctx)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	giveBack()
	if err := sessions[0].Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("what nobody has opened stays open: %v", err)
	}
}
