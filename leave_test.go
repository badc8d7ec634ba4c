package collab_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestLeave(t *testing.T) {
	c := gather(t, "Bob")
	device := openDir(t, t.TempDir(), memory.New(), "Cleo") // what is left is to be found again
	defer device.Close()
	ada, bob, cleo := c.sessions[0], c.sessions[1], join(t, device, invite(t, c.sessions[0], collab.InviteOptions{}))
	eventually(t, "Bob and Cleo are connected", func() bool { return bob.Status().Peers == 2 && cleo.Status().Peers == 2 })
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	ctx := t.Context()
	changes := collab.Subscribe[collab.MemberChanged](ctx, bob)
	own := cleo.Events(ctx)
	insert(t, docs[2], 0, "Cleo's last words. ")
	if err := cleo.Leave(ctx); err != nil {
		t.Fatal(err)
	}

	<-cleo.Done()
	if err := cleo.Err(); !errors.Is(err, collab.ErrLeft) || errors.Is(err, collab.ErrRevoked) {
		t.Errorf("the session of who left says %v", err)
	}
	told := false
	for e := range own {
		if m, ok := e.(collab.MemberChanged); ok && m.Member.ID == cleo.Me().ID {
			told = m.Member.State == collab.MemberRemoved
		}
	}
	if !told {
		t.Error("no event told of it before the channel was closed")
	}
	if err := docs[2].Update(func(*crdt.Txn) error { t.Error("who left may edit"); return nil }); !errors.Is(err, collab.ErrLeft) {
		t.Errorf("an edit after leaving: %v", err)
	}
	if err := cleo.Leave(ctx); !errors.Is(err, collab.ErrLeft) {
		t.Errorf("a second time: %v", err)
	}
	for m := range changes {
		if m.Member.ID == cleo.Me().ID && m.Member.State == collab.MemberRemoved {
			break
		}
	}
	equal(t, docs[:2]...)
	if got := body(t, docs[0]); got != "Cleo's last words. " {
		t.Errorf("the others read %q", got)
	}
	summary := ""
	for e, err := range ada.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "Leave" {
			summary = e.Summary
		}
	}
	if summary != "Cleo left" {
		t.Errorf("the audit says %q", summary)
	}

	// What was left can be read, and a new invite leads back.
	if err := cleo.Close(); err != nil {
		t.Fatal(err)
	}
	archive, err := device.OpenProject(ctx, cleo.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := archive.Err(); !errors.Is(err, collab.ErrLeft) {
		t.Errorf("the archive says %v", err)
	}
	if got := body(t, open(t, archive, "script")); got != "Cleo's last words. " {
		t.Errorf("the archive reads %q", got)
	}
	back := join(t, device, invite(t, ada, collab.InviteOptions{}))
	again := open(t, back, "script")
	insert(t, again, 0, "Back. ")
	equal(t, docs[0], docs[1], again)
	if member(bob, back.Me().ID).State != collab.MemberActive || !strings.HasPrefix(body(t, docs[1]), "Back. ") {
		t.Error("who came back is not there for all")
	}
}

// Who would be heard by nobody stays; a last one may go.
func TestLeaveAlone(t *testing.T) {
	c := gather(t, "Bob")
	ada, bob := c.sessions[0], c.sessions[1]
	if err := c.nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bob is alone", func() bool { return bob.Status().Peers == 0 })
	if err := bob.Leave(t.Context()); !errors.Is(err, collab.ErrUnreachable) {
		t.Errorf("with nobody there: %v", err)
	}
	insert(t, open(t, bob, "script"), 0, "Bob stays. ")
	if bob.Err() != nil || bob.Me().State != collab.MemberActive || ada.Err() == nil {
		t.Errorf("after it failed: %v, %+v", bob.Err(), bob.Me())
	}
	last := create(t, openNode(t, "Eve"))
	if err := last.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if <-last.Done(); !errors.Is(last.Err(), collab.ErrLeft) {
		t.Error(last.Err())
	}
}

// When the last manager has left, the holders of the root can name another, on any member's device.
func TestLeaveLastManager(t *testing.T) {
	ada, bob, cleo := openNode(t, "Ada"), openNode(t, "Bob"), openNode(t, "Cleo")
	root := quickCeremony(t)
	s, err := ada.Create(t.Context(), "The Last Reel", root)
	if err != nil {
		t.Fatal(err)
	}
	b, c := join(t, bob, invite(t, s, collab.InviteOptions{})), join(t, cleo, invite(t, s, collab.InviteOptions{}))
	eventually(t, "all are connected", func() bool { return b.Status().Peers == 2 && c.Status().Peers == 2 })
	if err := s.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*collab.Session{b, c} {
		eventually(t, "it is known", func() bool { return member(o, s.Me().ID).State == collab.MemberRemoved })
	}
	if _, err := b.Invite(t.Context(), collab.InviteOptions{}); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("an editor invites: %v", err)
	}
	err = b.Authorize(t.Context(), root.Custodians, func(a *collab.Authority) error {
		return errors.Join(a.SetRole(b.Me().ID, collab.RoleManager), a.Revoke(c.Me().ID, "by the root"))
	})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if !errors.Is(c.Err(), collab.ErrRevoked) || b.Me().Role != collab.RoleManager {
		t.Errorf("%v, %+v", c.Err(), b.Me())
	}
	invite(t, b, collab.InviteOptions{})
}
