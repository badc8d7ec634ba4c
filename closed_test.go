package collab_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestAfterClose calls every exported method of what was closed: those that change or ask others fail with ErrClosed,
// those that read answer, and none panics.
func TestAfterClose(t *testing.T) {
	n := openNode(t, "Ada")
	s := create(t, n)
	doc := open(t, s, "script")
	insert(t, doc, 0, "INT. HOUSE\n")
	text, stopped := doc.Text("body"), doc.OnUpdate(func([]byte, crdt.Origin) {})
	files := s.Assets()
	if _, err := files.Add(t.Context(), "take.mov", strings.NewReader("take")); err != nil {
		t.Fatal(err)
	}
	code := invite(t, s, collab.InviteOptions{})
	ctx := t.Context()
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stopped()

	of := func(_ any, err error) error { return err }
	fails := map[string]func() error{
		"Node.Create":             func() error { return of(n.Create(ctx, "Another", quickCeremony(t))) },
		"Node.Join":               func() error { return of(n.Join(ctx, code)) },
		"Node.OpenProject":        func() error { return of(n.OpenProject(ctx, s.ID())) },
		"Node.RevokeIdentity":     func() error { return n.RevokeIdentity(ctx, strings.NewReader("")) },
		"Node.WriteRevocationKit": func() error { return n.WriteRevocationKit(ctx, io.Discard) },
		"Assets.Add":              func() error { return of(files.Add(ctx, "more.mov", strings.NewReader("x"))) },
		"Assets.Open":             func() error { return of(files.Open(ctx, "take.mov")) },
		"Assets.Pin":              func() error { return files.Pin(ctx, "take.mov", collab.PrioritySoon) },
		"Assets.Remove":           func() error { return files.Remove(ctx, "take.mov") },
		"Assets.Stat":             func() error { return of(files.Stat("take.mov")) },
		"Assets.Unpin":            func() error { return files.Unpin("take.mov") },
		"Session.Authorize": func() error {
			return s.Authorize(ctx, nil, func(*collab.Authority) error { t.Error("Authorize went on"); return nil })
		},
		"Session.Audit": func() (err error) {
			for _, err = range s.Audit(collab.EventID{}) {
			}
			return err
		},
		"Session.Broadcast":    func() error { return s.Broadcast(ctx, "chat", []byte("x")) },
		"Session.CancelInvite": func() error { return s.CancelInvite(ctx, code) },
		"Session.Compact":      func() error { return of(s.Compact(ctx)) },
		"Session.CheckShares": func() error {
			return s.CheckShares(ctx, []collab.Custodian{collab.FileCustodian("nowhere")})[0].Err
		},
		"Session.Coverage": func() error {
			_, _, err := s.Coverage(collab.EventID{})
			return err
		},
		"Session.ExportAudit":    func() error { return s.ExportAudit(ctx, io.Discard) },
		"Session.Doc":            func() error { return of(s.Doc(ctx, "script")) },
		"Session.Err":            s.Err,
		"Session.Endorse":        func() error { return s.Endorse(ctx, collab.EventID{1}) },
		"Session.Explain":        func() error { return of(s.Explain(collab.EventID{})) },
		"Session.Invite":         func() error { return of(s.Invite(ctx, collab.InviteOptions{})) },
		"Session.ReadEdit":       func() error { return of(s.ReadEdit(nil)) },
		"Session.OfferToHold":    func() error { return s.OfferToHold(ctx, collab.Ceremony{}) },
		"Session.Mute":           func() error { return s.Mute(ctx, collab.MemberID{1}, true) },
		"Session.PickBranch":     func() error { return s.PickBranch(ctx, collab.Branch{}) },
		"Session.PinRoot":        func() error { return s.PinRoot(ctx, collab.RootID{}) },
		"Session.RemoveDevice":   func() error { return s.RemoveDevice(ctx, collab.DeviceID{}, false) },
		"Session.LiftSuspension": func() error { return s.LiftSuspension(ctx, collab.DeviceID{}) },
		"Session.Leave":          func() error { return s.Leave(ctx) },
		"Session.LiftQuarantine": func() error { return s.LiftQuarantine(ctx, collab.MemberID{1}) },
		"Session.ProposeQuarantine": func() error {
			return of(s.ProposeQuarantine(ctx, collab.MemberID{1}, ""))
		},
		"Session.Vote":             func() error { return s.Vote(ctx, collab.ProposalID{}, true) },
		"Session.MarkKnown":        func() error { return s.MarkKnown(ctx, collab.FileCustodian("nowhere")) },
		"Session.Refresh":          func() error { return s.Refresh(ctx, nil, collab.Ceremony{}) },
		"Session.Rekey":            func() error { return s.Rekey(ctx, nil, collab.Ceremony{}) },
		"Session.ResumeCeremony":   func() error { return s.ResumeCeremony(ctx, nil) },
		"Session.ShareCondition":   func() error { return of(s.ShareCondition(ctx)) },
		"Session.Revoke":           func() error { return s.Revoke(ctx, collab.MemberID{1}, "") },
		"Session.SetRole":          func() error { return s.SetRole(ctx, s.Me().ID, collab.RoleEditor) },
		"Session.Status":           func() error { return s.Status().Err },
		"Session.WriteDiagnostics": func() error { return s.WriteDiagnostics(io.Discard) },
		"Doc.History": func() (err error) {
			for _, err = range doc.History() {
			}
			return err
		},
		"Doc.Update":       func() error { return doc.Update(func(*crdt.Txn) error { t.Error("Update went on"); return nil }) },
		"Doc.RevertAuthor": func() error { return of(doc.RevertAuthor(ctx, s.Me().ID)) },
		"Doc.WaitSaved":    func() error { return doc.WaitSaved(ctx) },
		"Doc.WaitSynced":   func() error { return doc.WaitSynced(ctx) },
		"Presence.Set":     func() error { return doc.Presence().Set(1) },
	}
	works := map[string]func() bool{
		"Assets.FS": func() bool {
			_, err := files.FS(ctx).Open("take.mov")
			return err != nil
		},
		"Assets.List": func() (found bool) {
			for i := range files.List() {
				found = i.Path == "take.mov"
			}
			return found
		},
		"Session.Assets": func() bool { return s.Assets() != nil },
		"Node.Close":     func() bool { return n.Close() == nil },
		"Node.Identity":  func() bool { return n.Identity().Name == "Ada" },
		"Node.Projects": func() bool {
			for range n.Projects() {
				return false
			}
			return true
		},
		"Session.Close":  func() bool { return s.Close() == nil },
		"Session.Docs":   func() bool { return reflect.DeepEqual(s.Docs(), []string{"script"}) },
		"Session.Done":   func() bool { <-s.Done(); return true },
		"Session.Events": func() bool { _, open := <-s.Events(context.Background()); return !open },
		"Session.ID":     func() bool { return s.ID() != collab.ProjectID{} },
		"Session.Late":   func() bool { return len(s.Late()) == 0 },
		"Session.Forks":  func() bool { return len(s.Forks()) == 0 },
		"Session.Me":     func() bool { return s.Me().Name == "Ada" && !s.Me().Online },
		"Session.Members": func() (found bool) {
			for m := range s.Members() {
				found = m.Name == "Ada"
			}
			return found
		},
		"Session.Devices": func() (this bool) {
			for d := range s.Devices() {
				this = d.This && d.Owner == s.Me().ID
			}
			return this
		},
		"Session.Proposals": func() bool {
			for range s.Proposals() {
				return false
			}
			return true
		},
		"Session.Muted":  func() bool { return !s.Muted(s.Me().ID) },
		"Session.Name":   func() bool { return s.Name() == "The Last Reel" },
		"Doc.Array":      func() bool { return doc.Array("scenes") != nil },
		"Doc.XML":        func() bool { return doc.XML("page") != nil },
		"Doc.Digest":     func() bool { return doc.Digest() != [32]byte{} },
		"Doc.Export":     func() bool { update, err := doc.Export(); return err == nil && len(update) > 2 },
		"Doc.Map":        func() bool { return doc.Map("notes") != nil },
		"Doc.Name":       func() bool { return doc.Name() == "script" },
		"Doc.OnUpdate":   func() bool { doc.OnUpdate(func([]byte, crdt.Origin) {})(); return true },
		"Doc.Presence":   func() bool { return doc.Presence() != nil },
		"Doc.Text":       func() bool { return doc.Text("body") != nil },
		"Doc.Unverified": func() bool { return !doc.Unverified() },
		"Doc.View": func() (same bool) {
			err := doc.View(func(tx *crdt.ReadTxn) error { same = text.String(tx) == "INT. HOUSE\n"; return nil })
			return same && err == nil
		},
		"Presence.Clear":    func() bool { doc.Presence().Clear(); return true },
		"Presence.OnChange": func() bool { doc.Presence().OnChange(func(collab.PresenceState) {})(); return true },
		"Presence.Peers": func() bool {
			for range doc.Presence().Peers() {
				return false
			}
			return true
		},
	}
	for name, call := range fails {
		if err := call(); !errors.Is(err, collab.ErrClosed) || !strings.HasPrefix(err.Error(), "collab: ") {
			t.Errorf("%s: %v; want ErrClosed", name, err)
		}
	}
	for name, call := range works {
		if !call() {
			t.Errorf("%s has another answer than before", name)
		}
	}
	if _, open := <-collab.Subscribe[collab.DocChanged](context.Background(), s); open {
		t.Error("a subscription to a closed session is open")
	}
	for _, v := range []any{n, s, doc, doc.Presence(), files} {
		for i := range reflect.TypeOf(v).NumMethod() {
			name := reflect.TypeOf(v).Elem().Name() + "." + reflect.TypeOf(v).Method(i).Name
			if fails[name] == nil && works[name] == nil {
				t.Errorf("%s is not tested", name)
			}
		}
	}
}

// TestCloseAmidWork closes a node from two goroutines while its methods run in others.
func TestCloseAmidWork(t *testing.T) {
	n := openNode(t, "Ada")
	s := create(t, n)
	doc := open(t, s, "script")
	id := s.ID()
	ctx := context.Background()
	var working sync.WaitGroup
	begun := make(chan struct{}, 16)
	work := func(name string, call func() error) {
		working.Go(func() {
			for i := 0; ; i++ {
				err := call()
				if errors.Is(err, collab.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if i == 0 {
					begun <- struct{}{}
				}
			}
		})
	}
	work("Update", func() error {
		return doc.Update(func(tx *crdt.Txn) error { return doc.Text("body").Insert(tx, 0, "x") })
	})
	work("WaitSaved", func() error { return doc.WaitSaved(ctx) })
	work("Presence", func() error { return doc.Presence().Set(time.Now()) })
	work("Doc", func() error { _, err := s.Doc(ctx, "other"); return err })
	work("OpenProject", func() error { _, err := n.OpenProject(ctx, id); return err })
	work("Subscribe", func() error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		select {
		case <-collab.Subscribe[collab.DocChanged](ctx, s):
		case <-s.Done():
		}
		return s.Err()
	})
	for range 6 {
		<-begun
	}
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			err := n.Close()
			select {
			case <-s.Done():
			default:
				err = errors.Join(err, errors.New("Close returned before the session had ended"))
			}
			ended <- err
		}()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	working.Wait()
}

// TestReopenWhileClosing opens a project many times while it is being closed: nobody is told that it is in use, and
// nobody is left with a session that ended before they asked.
func TestReopenWhileClosing(t *testing.T) {
	n := openDir(t, t.TempDir(), memory.New(), "Ada")
	defer n.Close()
	s := create(t, n)
	for range 3 {
		var all sync.WaitGroup
		all.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "the session begins to close", func() bool { return s.Err() != nil })
		got := make([]*collab.Session, 4)
		for i := range got {
			all.Go(func() {
				var err error
				if got[i], err = n.OpenProject(t.Context(), s.ID()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, g := range got {
			if g == nil || g == s || g != got[0] || g.Err() != nil {
				t.Fatal("not one and the same new session")
			}
		}
		s = got[0]
	}
}
