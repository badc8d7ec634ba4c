package collab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/file"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestThreePeople lets three people type at once, in text and map, and compares what they see.
func TestThreePeople(t *testing.T) {
	ada, ben, cleo := openNode(t, "Ada"), openNode(t, "Ben"), openNode(t, "Cleo")
	at := []*collab.Session{create(t, ada)}
	at = append(at, join(t, ben, invite(t, at[0], collab.InviteOptions{})))
	at = append(at, join(t, cleo, invite(t, at[0], collab.InviteOptions{})))
	var docs []*collab.Doc
	for _, s := range at {
		docs = append(docs, open(t, s, "script"))
	}
	var typing sync.WaitGroup
	for i, d := range docs {
		typing.Go(func() {
			for n := range 40 {
				err := d.Update(func(tx *crdt.Txn) error {
					return errors.Join(
						d.Text("body").Insert(tx, 0, fmt.Sprintf("%d.%d ", i, n)),
						d.Map("notes").Set(tx, fmt.Sprint(n%7), i),
					)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	typing.Wait()
	for _, d := range docs {
		if err := d.WaitSaved(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, docs...)
	for i := range docs {
		for n := range 40 {
			if !strings.Contains(body(t, docs[0]), fmt.Sprintf("%d.%d ", i, n)) {
				t.Errorf("edit %d of %d is not there", n, i)
			}
		}
	}
	for _, s := range at {
		eventually(t, "everybody is online", func() bool {
			online := 0
			for m := range s.Members() {
				if m.Online {
					online++
				}
			}
			return online == 3
		})
		if got := s.Docs(); len(got) != 1 || got[0] != "script" {
			t.Errorf("documents: %q", got)
		}
	}
}

// TestListsAndXML lets two people edit a list of maps and a formatted page at once.
func TestListsAndXML(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	host := create(t, ada)
	mine := open(t, host, "script")
	theirs := open(t, join(t, ben, invite(t, host, collab.InviteOptions{})), "script")
	update := func(d *collab.Doc, fn func(*crdt.Txn) error) {
		t.Helper()
		if err := d.Update(fn); err != nil {
			t.Fatal(err)
		}
	}
	update(mine, func(tx *crdt.Txn) error {
		scenes, page := mine.Array("scenes"), mine.XML("page")
		if err := errors.Join(scenes.Append(tx, crdt.NewMap(), 2), page.Insert(tx, 0, crdt.NewXMLElement("p"))); err != nil {
			return err
		}
		scene, _ := scenes.Get(tx, 0)
		p, _ := page.Get(tx, 0)
		return errors.Join(scene.Map().Set(tx, "place", "house"), p.XMLElement().Insert(tx, 0, crdt.NewXMLText()))
	})
	equal(t, mine, theirs)
	update(theirs, func(tx *crdt.Txn) error { return theirs.Array("scenes").Insert(tx, 0, "cold open") })
	update(mine, func(tx *crdt.Txn) error {
		p, _ := mine.XML("page").Get(tx, 0)
		words, _ := p.XMLElement().Get(tx, 0)
		return words.XMLText().Insert(tx, 0, "Fade in.", crdt.Attr{Key: "em", Value: []byte("true")})
	})
	equal(t, mine, theirs)
	for _, d := range []*collab.Doc{mine, theirs} {
		err := d.View(func(tx *crdt.ReadTxn) error {
			scenes := d.Array("scenes")
			first, _ := scenes.Get(tx, 0)
			second, _ := scenes.Get(tx, 1)
			place, _ := second.Map().Get(tx, "place")
			if scenes.Len(tx) != 3 || first.String() != "cold open" || place.String() != "house" {
				t.Errorf("the list holds %d elements, %v and a scene in %v", scenes.Len(tx), first, place)
			}
			if got, want := d.XML("page").String(tx), "<p><em>Fade in.</em></p>"; got != want {
				t.Errorf("the page is %s, want %s", got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoles(t *testing.T) {
	ada, vera := openNode(t, "Ada"), openNode(t, "Vera")
	host := create(t, ada)
	script := open(t, host, "script")
	insert(t, script, 0, "INT. HOUSE\n")
	viewer := join(t, vera, invite(t, host, collab.InviteOptions{Role: collab.RoleViewer}))
	copied := open(t, viewer, "script")
	equal(t, script, copied)
	if got := body(t, copied); got != "INT. HOUSE\n" {
		t.Fatalf("the viewer reads %q", got)
	}
	if viewer.Me().Role != collab.RoleViewer {
		t.Fatalf("role %s", viewer.Me().Role)
	}

	digest := copied.Digest()
	err := copied.Update(func(tx *crdt.Txn) error { return copied.Text("body").Insert(tx, 0, "x") })
	if !errors.Is(err, collab.ErrDenied) || copied.Digest() != digest {
		t.Errorf("a viewer's edit: %v; want ErrDenied and an unchanged document", err)
	}
	if _, err := viewer.Invite(t.Context(), collab.InviteOptions{}); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("a viewer's invite: %v; want ErrDenied", err)
	}
	var denied *collab.DeniedError
	if err := viewer.SetRole(t.Context(), viewer.Me().ID, collab.RoleManager); !errors.As(err, &denied) {
		t.Errorf("a viewer's grant: %v; want a DeniedError", err)
	}

	if err := host.SetRole(t.Context(), viewer.Me().ID, collab.RoleEditor); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grant arrives", func() bool { return viewer.Me().Role == collab.RoleEditor })
	insert(t, copied, 0, "EXT. GARDEN\n")
	equal(t, script, copied)
	if got := body(t, script); got != "EXT. GARDEN\nINT. HOUSE\n" {
		t.Errorf("the host reads %q", got)
	}
}

func TestPresenceAndMessages(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	a := create(t, ada)
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	da, db := open(t, a, "script"), open(t, b, "script")
	if err := db.Presence().Set(map[string]int{"cursor": 7}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ben's cursor is seen", func() bool {
		for p := range da.Presence().Peers() {
			if p.Who == b.Me().ID && string(p.State) == `{"cursor":7}` {
				return true
			}
		}
		return false
	})
	gone := make(chan struct{})
	var once sync.Once
	defer da.Presence().OnChange(func(p collab.PresenceState) {
		if p.Who == b.Me().ID && p.State == nil {
			once.Do(func() { close(gone) })
		}
	})()
	db.Presence().Clear()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("Ben's goodbye was not seen")
	}
	if err := db.Presence().Set(strings.Repeat("x", 5000)); err == nil {
		t.Error("a presence of 5000 bytes was taken")
	}

	messages := collab.Subscribe[collab.Message](t.Context(), a)
	for i := range 3 {
		if err := b.Broadcast(t.Context(), "chat", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		select {
		case m := <-messages:
			if m.From != b.Me().ID || m.Topic != "chat" || len(m.Payload) != 1 || m.Payload[0] != byte(i) {
				t.Errorf("message %d: %+v", i, m)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("message %d did not arrive", i)
		}
	}
	if err := b.Broadcast(t.Context(), "chat", make([]byte, 33<<10)); err == nil {
		t.Error("a message of 33 KiB was taken")
	}
}

// TestReopen closes a node and opens it again, offline and online.
func TestReopen(t *testing.T) {
	dir, ks := t.TempDir(), memory.New()
	ada := openDir(t, filepath.Join(dir, "ada"), ks, "Ada")
	s := create(t, ada)
	id, me := s.ID(), s.Me().ID
	doc := open(t, s, "script")
	insert(t, doc, 0, "INT. HOUSE\n")
	digest := doc.Digest()
	if err := ada.Close(); err != nil {
		t.Fatal(err)
	}
	if err := doc.Update(func(*crdt.Txn) error { return nil }); !errors.Is(err, collab.ErrClosed) {
		t.Errorf("an edit after Close: %v; want ErrClosed", err)
	}
	if _, err := ada.OpenProject(t.Context(), id); !errors.Is(err, collab.ErrClosed) {
		t.Errorf("a project of a closed node: %v; want ErrClosed", err)
	}

	ada = openDir(t, filepath.Join(dir, "ada"), ks, "Somebody else")
	defer ada.Close()
	var names []string
	for p := range ada.Projects() {
		names = append(names, p.Name)
	}
	if len(names) != 1 || names[0] != "The Last Reel" {
		t.Fatalf("projects: %q", names)
	}
	if _, err := ada.OpenProject(t.Context(), collab.ProjectID{1}); !errors.Is(err, collab.ErrUnknownProject) {
		t.Errorf("an unknown project: %v; want ErrUnknownProject", err)
	}
	s, err := ada.OpenProject(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if s.Me().ID != me || s.Me().Name != "Ada" {
		t.Errorf("came back as %+v", s.Me())
	}
	doc = open(t, s, "script")
	if doc.Digest() != digest || body(t, doc) != "INT. HOUSE\n" {
		t.Errorf("came back with %q", body(t, doc))
	}
	insert(t, doc, 0, "EXT. GARDEN\n")
	ben := openNode(t, "Ben")
	b := join(t, ben, invite(t, s, collab.InviteOptions{}))
	other := open(t, b, "script")
	equal(t, doc, other)
	eventually(t, "Ben has verified the snapshot", func() bool { return !other.Unverified() })
}

// TestAway lets a member miss edits and catch up.
func TestAway(t *testing.T) {
	dir, ks := t.TempDir(), memory.New()
	ada := openNode(t, "Ada")
	a := create(t, ada)
	doc := open(t, a, "script")
	ben := openDir(t, dir, ks, "Ben")
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	equal(t, doc, open(t, b, "script"))
	online := func() bool {
		for m := range a.Members() {
			if m.Name == "Ben" {
				return m.Online
			}
		}
		return false
	}
	eventually(t, "Ben is seen", online)
	changes := collab.Subscribe[collab.PeerChanged](t.Context(), a)
	if err := ben.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ben is seen to be away", func() bool { return !online() })
	select {
	case e := <-changes:
		if e.Online || e.Who == a.Me().ID {
			t.Errorf("event %+v; want that Ben has gone", e)
		}
	case <-time.After(20 * time.Second):
		t.Error("no event tells that Ben has gone")
	}
	for i := range 30 {
		insert(t, doc, 0, fmt.Sprintln("line", i))
	}
	if err := doc.WaitSaved(t.Context()); err != nil {
		t.Fatal(err)
	}
	ben = openDir(t, dir, ks, "Ben")
	defer ben.Close()
	b, err := ben.OpenProject(t.Context(), a.ID())
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, b, "script")
	insert(t, other, 0, "while away\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := other.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, doc, other)
	if !strings.Contains(body(t, doc), "while away") {
		t.Errorf("what was typed while away is not there: %q", body(t, doc))
	}
}

func TestAudit(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	a := create(t, ada)
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	if err := a.SetRole(t.Context(), b.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grant arrives", func() bool { return b.Me().Role == collab.RoleManager })
	var got []string
	for e, err := range b.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if x, err := b.Explain(e.ID); err != nil || x.Counts != e.Counts {
			t.Errorf("Explain(%s) = %+v, %v", e.ID.Short(), x, err)
		}
		got = append(got, e.Summary)
	}
	want := []string{"Ada minted a new project key", "Ada invited 1 editor(s)", "Ada admitted Ben as editor", "Ada made Ben manager"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("audit log:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := b.Explain(collab.EventID{1}); err == nil {
		t.Error("an unknown event was explained")
	}
	var file bytes.Buffer
	if err := b.ExportAudit(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	r, err := collab.VerifyAudit(bytes.NewReader(file.Bytes()))
	if err != nil || r.Project != a.ID() || r.Events != len(got) || r.Void != 0 || len(r.Members) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := collab.VerifyAudit(bytes.NewReader(file.Bytes()[:file.Len()-1])); err == nil || !strings.Contains(err.Error(), "record 5") {
		t.Errorf("a shortened file: %v", err)
	}
}

func TestAuthorize(t *testing.T) {
	ada := openNode(t, "Ada")
	phrase := ""
	ask := func(_ context.Context, generated string) (string, error) {
		if generated != "" {
			phrase = generated
		}
		return phrase, nil
	}
	dir := t.TempDir()
	c := quickCeremony(t)
	c.Custodians = append(c.Custodians, collab.PhraseCustodian(ask, filepath.Join(dir, "recovery")))
	s, err := ada.Create(t.Context(), "The Last Reel", c)
	if err != nil {
		t.Fatal(err)
	}
	for _, health := range s.CheckShares(t.Context(), c.Custodians) {
		if health.Err != nil {
			t.Errorf("%s: %v", health.Custodian, health.Err)
		}
	}
	for i := range c.Custodians {
		var kept *collab.Authority
		err := s.Authorize(t.Context(), []collab.Custodian{c.Custodians[i], c.Custodians[(i+1)%3]}, func(a *collab.Authority) error {
			kept = a
			return nil
		})
		if err != nil {
			t.Errorf("pair %d: %v", i, err)
		}
		if _, err := kept.Sign("root", []byte("x")); err == nil {
			t.Error("an authority still signs after Authorize")
		}
		var quorum *collab.QuorumError
		err = s.Authorize(t.Context(), c.Custodians[i:i+1], func(*collab.Authority) error { t.Error("one share was enough"); return nil })
		if !errors.As(err, &quorum) || quorum.Have != 1 || quorum.Need != 2 {
			t.Errorf("share %d alone: %v; want a QuorumError, 1 of 2", i, err)
		}
	}
	phrase = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
	if err := s.Authorize(t.Context(), c.Custodians[1:], func(*collab.Authority) error { return nil }); err == nil {
		t.Error("a wrong phrase was taken")
	} else if strings.Contains(err.Error(), "abandon") {
		t.Errorf("the error tells the phrase: %v", err)
	}
}

// TestBadCodes tries what must not let anybody in.
func TestBadCodes(t *testing.T) {
	var late atomic.Bool // lets Ada's clock run ahead
	ada := openNode(t, "Ada", collab.WithClock(func() time.Time {
		if late.Load() {
			return time.Now().Add(2 * time.Hour)
		}
		return time.Now()
	}))
	s := create(t, ada)
	good := invite(t, s, collab.InviteOptions{})
	used := invite(t, s, collab.InviteOptions{})
	join(t, openNode(t, "First"), used)
	cancelled := invite(t, s, collab.InviteOptions{})
	if err := s.CancelInvite(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	expired := invite(t, s, collab.InviteOptions{Expires: time.Hour})
	late.Store(true)
	gone := openNode(t, "Gone")
	unreachable := invite(t, create(t, gone), collab.InviteOptions{})
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	flipped := []byte(good)
	flipped[len(flipped)/2] = map[bool]byte{true: 'b', false: 'a'}[strings.ContainsRune("aA", rune(flipped[len(flipped)/2]))]

	for name, tc := range map[string]struct {
		code string
		want error
	}{
		"damaged":     {string(flipped), collab.ErrInviteInvalid},
		"truncated":   {good[:len(good)-9], collab.ErrInviteInvalid},
		"foreign":     {"https://example.org/join/8f3k", collab.ErrInviteInvalid},
		"empty":       {"", collab.ErrInviteInvalid},
		"used":        {used, collab.ErrInviteUsed},
		"cancelled":   {cancelled, collab.ErrInviteCancelled},
		"expired":     {expired, collab.ErrInviteExpired},
		"unreachable": {unreachable, collab.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			n := openNode(t, "Nobody")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := n.Join(ctx, tc.code); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			for p := range n.Projects() {
				t.Errorf("project %s was kept", p.ID.Short())
			}
		})
	}
}

func TestApproval(t *testing.T) {
	var asked []string
	policy := func(_ context.Context, r collab.JoinRequest) error {
		asked = r.Words
		if r.Identity.Name == "Mallory" {
			return errors.New("not her")
		}
		return nil
	}
	ada := openNode(t, "Ada", collab.WithJoinPolicy(policy))
	s := create(t, ada)
	var shown []string
	ben, err := openNode(t, "Ben").Join(t.Context(), invite(t, s, collab.InviteOptions{Approve: true}),
		collab.WithVerification(func(words []string) { shown = words }))
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != 6 || fmt.Sprint(shown) != fmt.Sprint(asked) {
		t.Errorf("Ben was shown %q, Ada %q; want the same six words", shown, asked)
	}
	_ = ben
	_, err = openNode(t, "Mallory").Join(t.Context(), invite(t, s, collab.InviteOptions{Approve: true}))
	if !errors.Is(err, collab.ErrDenied) {
		t.Errorf("Mallory got %v; want ErrDenied", err)
	}
}

// TestBadState opens what must not open.
func TestBadState(t *testing.T) {
	fresh := func(t *testing.T) (string, collab.KeyStore) {
		dir, ks := filepath.Join(t.TempDir(), "state"), memory.New()
		n := openDir(t, dir, ks, "Ada")
		create(t, n)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		return dir, ks
	}
	reopen := func(t *testing.T, dir string, ks collab.KeyStore) error {
		n, err := collab.Open(t.Context(), collab.WithDir(dir), collab.WithKeyStore(ks), collab.WithListen(loopback...))
		if err != nil {
			return err
		}
		defer n.Close()
		for p := range n.Projects() {
			if _, err := n.OpenProject(t.Context(), p.ID); err != nil {
				return err
			}
		}
		return nil
	}
	t.Run("twice", func(t *testing.T) {
		dir, ks := fresh(t)
		n := openDir(t, dir, ks, "Ada")
		defer n.Close()
		if err := reopen(t, dir, ks); !errors.Is(err, collab.ErrInUse) {
			t.Errorf("got %v, want ErrInUse", err)
		}
	})
	t.Run("key gone", func(t *testing.T) {
		dir, _ := fresh(t)
		if err := reopen(t, dir, memory.New()); !errors.Is(err, collab.ErrKeyMissing) {
			t.Errorf("got %v, want ErrKeyMissing", err)
		}
	})
	for _, name := range []string{"vault", "node", "p-"} {
		t.Run("truncated "+name, func(t *testing.T) {
			dir, ks := fresh(t)
			files, err := filepath.Glob(filepath.Join(dir, name+"*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no file %s*: %v", name, err)
			}
			for _, f := range files {
				if info, err := os.Stat(f); err != nil || strings.HasSuffix(f, ".bak") || strings.HasSuffix(f, ".lock") {
					continue
				} else if err := os.Truncate(f, info.Size()/4); err != nil {
					t.Fatal(err)
				}
			}
			if err := reopen(t, dir, ks); !errors.Is(err, collab.ErrDamaged) {
				t.Errorf("got %v, want ErrDamaged", err)
			}
		})
	}
	t.Run("wrong passphrase", func(t *testing.T) {
		quickCeremony(t) // makes stretching cheap
		path := filepath.Join(t.TempDir(), "keys")
		pass := func(p string) file.PassFunc { return func(bool) ([]byte, error) { return []byte(p), nil } }
		v, err := file.Open(path, pass("right"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(v.Put(t.Context(), "a", []byte("b")), v.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Open(path, pass("wrong")); !errors.Is(err, keystore.ErrWrongPassphrase) {
			t.Errorf("got %v, want ErrWrongPassphrase", err)
		}
	})
	t.Run("options", func(t *testing.T) {
		for name, o := range map[string]collab.Option{
			"long name": collab.WithName(strings.Repeat("x", 65)), "control": collab.WithName("a\x00b"),
			"no name": collab.WithName(""), "no key store": collab.WithKeyStore(nil), "no address": collab.WithListen(), "no network": collab.WithNetwork(nil),
			"bad address": collab.WithListen("somewhere"), "no dir": collab.WithDir(""),
		} {
			if n, err := collab.Open(t.Context(), collab.WithMemory(), o); err == nil {
				t.Errorf("%s was taken", name)
				n.Close()
			}
		}
	})
}

// TestCloseEndsSubscriptions closes a session whose subscribers never stop by themselves.
func TestCloseEndsSubscriptions(t *testing.T) {
	s := create(t, openNode(t, "Ada"))
	all := s.Events(context.Background())
	some := collab.Subscribe[collab.DocChanged](context.Background(), s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range all {
	}
	for range some {
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is not closed")
	}
	if !errors.Is(s.Err(), collab.ErrClosed) {
		t.Errorf("Err is %v, want ErrClosed", s.Err())
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// TestCloseEndsWhatIsUnderWay closes a node that is waiting for a person at the other side.
func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	asked := make(chan struct{})
	ada := openNode(t, "Ada", collab.WithJoinPolicy(func(ctx context.Context, _ collab.JoinRequest) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}))
	code := invite(t, create(t, ada), collab.InviteOptions{Approve: true})
	ben := openNode(t, "Ben")
	joined := make(chan error, 1)
	go func() {
		_, err := ben.Join(t.Context(), code)
		joined <- err
	}()
	<-asked
	if err := ben.Close(); err != nil {
		t.Error(err)
	}
	if err := <-joined; err == nil {
		t.Error("Join succeeded on a closed node")
	}
	if _, err := ben.Join(t.Context(), code); !errors.Is(err, collab.ErrClosed) {
		t.Errorf("Join after Close: %v; want ErrClosed", err)
	}
}

// TestLastWords edits and closes at once: whoever is connected gets the edit all the same.
func TestLastWords(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	a := create(t, ada)
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	script := open(t, a, "script")
	eventually(t, "both are connected", func() bool { return a.Status().Peers == 1 && b.Status().Peers == 1 })
	last := open(t, b, "script")
	insert(t, last, 0, "the last words")
	if err := ben.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ada has Ben's last words", func() bool { return body(t, script) == "the last words" })
}

// The history names the author of each edit, and gives the document again.
func TestHistory(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	at := create(t, ada)
	bat := join(t, ben, invite(t, at, collab.InviteOptions{}))
	da, db := open(t, at, "script"), open(t, bat, "script")
	insert(t, da, 0, "by Ada ")
	equal(t, da, db)
	insert(t, db, 0, "by Ben ")
	equal(t, da, db)
	eventually(t, "both edits are in both histories", func() bool {
		return len(authors(t, da)) == 2 && len(authors(t, db)) == 2
	})
	if got := authors(t, db); got[at.Me().ID] != 1 || got[bat.Me().ID] != 1 {
		t.Errorf("authors %v", got)
	}
	again := crdt.New()
	for e, err := range db.History() {
		if err != nil || !e.Counts {
			t.Fatalf("edit %d of chain %d: counts %v, %v", e.Seq, e.Chain, e.Counts, err)
		}
		for _, u := range e.Updates {
			if _, err := again.ApplyUpdate(u); err != nil {
				t.Fatal(err)
			}
		}
		if read, err := at.ReadEdit(e.Sealed); err != nil || read.By != e.By || !read.Counts {
			t.Errorf("the other device reads %+v, %v", read, err)
		}
	}
	if again.Digest() != db.Digest() {
		t.Error("the history makes another document")
	}
	if _, err := at.ReadEdit([]byte("no envelope")); err == nil {
		t.Error("nonsense was read")
	}
}

func authors(t *testing.T, d *collab.Doc) map[collab.MemberID]int {
	t.Helper()
	out := map[collab.MemberID]int{}
	for e, err := range d.History() {
		if err != nil {
			t.Fatal(err)
		}
		out[e.By]++
	}
	return out
}
