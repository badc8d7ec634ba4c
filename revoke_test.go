package collab_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/keystore/memory"
)

// company is a project with its founder Ada and further editors, all connected.
type company struct {
	nodes      []*collab.Node
	sessions   []*collab.Session
	custodians []collab.Custodian // of the root's shares
}

// gather makes a company of Ada and editors with these names.
func gather(t *testing.T, names ...string) *company {
	t.Helper()
	ada := openNode(t, "Ada")
	ceremony := quickCeremony(t)
	s, err := ada.Create(t.Context(), "The Last Reel", ceremony)
	if err != nil {
		t.Fatal(err)
	}
	c := &company{nodes: []*collab.Node{ada}, sessions: []*collab.Session{s}, custodians: ceremony.Custodians}
	for _, name := range names {
		c.admit(t, name)
	}
	return c
}

// admit lets an editor in and waits until everybody sees everybody.
func (c *company) admit(t *testing.T, name string) *collab.Session {
	t.Helper()
	n := openNode(t, name)
	s := join(t, n, invite(t, c.sessions[0], collab.InviteOptions{}))
	c.nodes, c.sessions = append(c.nodes, n), append(c.sessions, s)
	for _, s := range c.sessions {
		eventually(t, "everybody is connected", func() bool { return s.Status().Peers == len(c.sessions)-1 })
	}
	return s
}

// member returns what a session says of a member.
func member(s *collab.Session, id collab.MemberID) (found collab.Member) {
	for m := range s.Members() {
		if m.ID == id {
			found = m
		}
	}
	return found
}

func TestRevoke(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	insert(t, docs[2], 0, "Cleo was here. ")
	equal(t, docs...)
	changes := collab.Subscribe[collab.MemberChanged](t.Context(), bob)
	own := cleo.Events(t.Context())

	if err := ada.Revoke(t.Context(), cleo.Me().ID, "left the production"); err != nil {
		t.Fatal(err)
	}
	for m := range changes {
		if m.Member.ID == cleo.Me().ID && m.Member.State == collab.MemberRemoved {
			break
		}
	}

	// The removed device ends by itself, says so, and keeps what it has.
	<-cleo.Done()
	if !errors.Is(cleo.Err(), collab.ErrRevoked) || !errors.Is(cleo.Status().Err, collab.ErrRevoked) {
		t.Errorf("the removed session says %v", cleo.Err())
	}
	told := false
	for e := range own {
		if m, ok := e.(collab.MemberChanged); ok && m.Member.ID == cleo.Me().ID && m.Member.State == collab.MemberRemoved {
			told = true
		}
	}
	if !told {
		t.Error("no event told the removed before its channel was closed")
	}
	if err := docs[2].Update(func(*crdt.Txn) error { t.Error("the removed may edit"); return nil }); !errors.Is(err, collab.ErrRevoked) {
		t.Errorf("edit after removal: %v", err)
	}
	if got := body(t, docs[2]); got != "Cleo was here. " {
		t.Errorf("the removed reads %q", got)
	}

	// The others go on under a new key.
	insert(t, docs[1], 0, "Bob goes on. ")
	equal(t, docs[:2]...)
	for _, s := range []*collab.Session{ada, bob} {
		if m := member(s, cleo.Me().ID); m.State != collab.MemberRemoved || m.Online {
			t.Errorf("%s sees %+v", s.Me().Name, m)
		}
		eventually(t, "the removed is disconnected", func() bool { return s.Status().Peers == 1 })
		if summary := lastAudit(t, s); !strings.Contains(summary, "Ada removed Cleo: left the production") {
			t.Errorf("%s audits %q", s.Me().Name, summary)
		}
	}
	if body(t, docs[2]) != "Cleo was here. " {
		t.Error("the removed received what came after")
	}
}

// lastAudit returns what the last removal in a session's history says.
func lastAudit(t *testing.T, s *collab.Session) (summary string) {
	t.Helper()
	for e, err := range s.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == governance.KindRevoke.String() {
			summary = e.Summary
		}
	}
	return summary
}

// Revocations that a rule forbids say which one.
func TestRevokeDenied(t *testing.T) {
	c := gather(t, "Bob")
	ada, bob := c.sessions[0], c.sessions[1]
	ctx := t.Context()
	for name, test := range map[string]struct {
		by     *collab.Session
		who    collab.MemberID
		reason governance.Reason
	}{
		"an editor removes":        {bob, ada.Me().ID, governance.ReasonRole},
		"oneself":                  {ada, ada.Me().ID, governance.ReasonSubject},
		"somebody unknown":         {ada, collab.MemberID{1}, governance.ReasonAbsent},
		"an editor removes itself": {bob, bob.Me().ID, governance.ReasonSubject},
	} {
		err := test.by.Revoke(ctx, test.who, "")
		var denied *collab.DeniedError
		if !errors.Is(err, collab.ErrDenied) || !errors.As(err, &denied) || denied.Reason != test.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ada.Revoke(ctx, bob.Me().ID, strings.Repeat("x", 513)); !errors.Is(err, collab.ErrTooLarge) {
		t.Errorf("a long reason: %v", err)
	}
	if err := ada.Revoke(ctx, bob.Me().ID, "two\nlines"); err == nil {
		t.Error("a reason of two lines was taken")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := ada.Revoke(cancelled, bob.Me().ID, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}

	// A manager falls only by two others.
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bob is a manager", func() bool { return bob.Me().Role == collab.RoleManager })
	err := bob.Revoke(ctx, ada.Me().ID, "mutiny")
	var denied *collab.DeniedError
	if !errors.As(err, &denied) || denied.Reason != governance.ReasonQuorum || denied.Need != 2 {
		t.Errorf("one manager removes another: %v", err)
	}
	if !strings.Contains(err.Error(), "needs 2 managers, has 1") {
		t.Errorf("the error does not say what is needed: %v", err)
	}
	for _, m := range []collab.Member{ada.Me(), bob.Me()} {
		if m.State != collab.MemberActive {
			t.Errorf("%s is %v", m.Name, m.State)
		}
	}
}

// What is on the device of a removed member can be read after a restart, and nothing else can be done with it. A new
// invite lets the member back in.
func TestRevokedArchive(t *testing.T) {
	ada := openNode(t, "Ada")
	film := create(t, ada)
	script := open(t, film, "script")
	dir, ks := t.TempDir(), memory.New()
	n := openDir(t, dir, ks, "Cleo")
	s := join(t, n, invite(t, film, collab.InviteOptions{}))
	insert(t, open(t, s, "script"), 0, "Cleo was here. ")
	insert(t, open(t, s, "notes"), 0, "remember the milk")
	equal(t, script, open(t, s, "script"))
	equal(t, open(t, film, "notes"), open(t, s, "notes"))
	me := s.Me().ID
	if err := film.Revoke(t.Context(), me, "left"); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if again, err := n.OpenProject(t.Context(), film.ID()); err != nil || again != s {
		t.Errorf("the session that has ended is not given again: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Broadcast(t.Context(), "chat", nil); !errors.Is(err, collab.ErrRevoked) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.Doc(t.Context(), "script"); !errors.Is(err, collab.ErrRevoked) {
		t.Errorf("after Close a document opens: %v", err)
	}

	n = openDir(t, dir, ks, "Cleo")
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := n.OpenProject(t.Context(), film.ID())
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	doc := open(t, s, "notes")
	if got := body(t, doc); got != "remember the milk" {
		t.Errorf("the archive reads %q", got)
	}
	if update, err := doc.Export(); err != nil || len(update) < 10 {
		t.Errorf("export: %v", err)
	}
	if got := s.Docs(); len(got) != 2 || lastAudit(t, s) == "" || s.Me().State != collab.MemberRemoved || s.Name() != "The Last Reel" {
		t.Errorf("documents %q, me %+v", got, s.Me())
	}
	for range doc.Presence().Peers() {
		t.Error("somebody is present")
	}
	doc.Presence().OnChange(func(collab.PresenceState) {})()
	doc.Presence().Clear()
	if _, open := <-s.Events(t.Context()); open {
		t.Error("there are events")
	}
	ctx := t.Context()
	of := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"Update":       doc.Update(func(*crdt.Txn) error { return nil }),
		"WaitSaved":    doc.WaitSaved(ctx),
		"WaitSynced":   doc.WaitSynced(ctx),
		"Presence.Set": doc.Presence().Set(1),
		"Broadcast":    s.Broadcast(ctx, "chat", nil),
		"Invite":       of(s.Invite(ctx, collab.InviteOptions{})),
		"Revoke":       s.Revoke(ctx, film.Me().ID, ""),
		"SetRole":      s.SetRole(ctx, me, collab.RoleManager),
		"Err":          s.Err(),
		"Status":       s.Status().Err,
	} {
		if !errors.Is(err, collab.ErrRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	insert(t, script, 0, "Meanwhile. ")

	back := join(t, n, invite(t, film, collab.InviteOptions{}))
	if back == s || back.Err() != nil || back.Me().State != collab.MemberActive {
		t.Fatalf("back: %v, %+v", back.Err(), back.Me())
	}
	if _, err := s.Doc(ctx, "script"); !errors.Is(err, collab.ErrRevoked) {
		t.Errorf("the archive is still open: %v", err)
	}
	again := open(t, back, "script")
	equal(t, script, again)
	insert(t, again, 0, "Back again. ")
	equal(t, script, again)
	if got := body(t, script); got != "Back again. Meanwhile. Cleo was here. " {
		t.Errorf("all read %q", got)
	}
	if m := member(film, me); m.State != collab.MemberActive {
		t.Errorf("Ada sees %+v", m)
	}
}
