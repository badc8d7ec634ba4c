package collab_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/keystore/memory"
)

// kit takes a node's revocation kit.
func kit(t *testing.T, n *collab.Node) string {
	t.Helper()
	var page bytes.Buffer
	if err := n.WriteRevocationKit(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// wordsOf returns the words on a kit.
func wordsOf(t *testing.T, kit string) string {
	t.Helper()
	words, err := governance.KitWords(strings.NewReader(kit))
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// broken is a writer that fails.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("paper jam") }

// stingy is a writer that takes half and does not say so.
type stingy struct{}

func (stingy) Write(b []byte) (int, error) { return len(b) / 2, nil }

// The kit is written once; what fails may be tried again; nothing of it stays.
func TestWriteRevocationKit(t *testing.T) {
	dir, keys := t.TempDir(), memory.New()
	n := openDir(t, dir, keys, "Ada")
	if err := n.WriteRevocationKit(t.Context(), broken{}); err == nil || !strings.Contains(err.Error(), "paper jam") {
		t.Errorf("a printer that fails: %v", err)
	}
	if err := n.WriteRevocationKit(t.Context(), stingy{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a printer that stops: %v", err)
	}
	path := filepath.Join(t.TempDir(), "kit.txt")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.WriteRevocationKit(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(page), n.Identity().ID.String()) || len(strings.Fields(wordsOf(t, string(page)))) != 24 {
		t.Errorf("the kit: %v\n%s", err, page)
	}
	again := func(n *collab.Node) {
		t.Helper()
		var more bytes.Buffer
		if err := n.WriteRevocationKit(t.Context(), &more); !errors.Is(err, collab.ErrKitWritten) || more.Len() > 0 {
			t.Errorf("a second kit: %v, %d bytes", err, more.Len())
		}
	}
	again(n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openDir(t, dir, keys, "Ada")
	defer n.Close()
	again(n)
	if !strings.Contains(string(page), n.Identity().ID.String()) {
		t.Error("the identity is another one without its key")
	}
}

// The owner ends the own identity, in all projects, those too that are not open.
func TestRevokeIdentity(t *testing.T) {
	c := gather(t, "Bob")
	ada, bob := c.sessions[0], c.sessions[1]
	device := openDir(t, t.TempDir(), memory.New(), "Cleo")
	defer device.Close()
	cleo := join(t, device, invite(t, ada, collab.InviteOptions{}))
	comic := create(t, c.nodes[1])
	second := join(t, device, invite(t, comic, collab.InviteOptions{}))
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	insert(t, docs[2], 0, "Cleo was here. ")
	equal(t, docs...)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	page := kit(t, device)
	who := cleo.Me().ID

	if err := device.RevokeIdentity(t.Context(), strings.NewReader(page)); err != nil {
		t.Fatal(err)
	}
	<-cleo.Done()
	if !errors.Is(cleo.Err(), collab.ErrRevoked) {
		t.Errorf("the own session says %v", cleo.Err())
	}
	for _, s := range []*collab.Session{ada, bob, comic} {
		eventually(t, "the identity has ended", func() bool { return member(s, who).State == collab.MemberRemoved })
		summary := ""
		for e, err := range s.Audit(collab.EventID{}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == "Carry" {
				summary += e.Summary
			}
		}
		if summary != "Cleo ended the own identity" {
			t.Errorf("the audit says %q", summary)
		}
	}
	if body(t, docs[0]) != "Cleo was here. " {
		t.Error("what was written before is gone")
	}
	insert(t, docs[1], 0, "Bob goes on. ")
	equal(t, docs[:2]...)
	if err := device.RevokeIdentity(t.Context(), strings.NewReader(page)); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := device.Join(t.Context(), invite(t, ada, collab.InviteOptions{})); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("the ended identity comes back: %v", err)
	}
}

// Somebody else brings the words alone, from paper.
func TestRevokeIdentityOfAnother(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	words := wordsOf(t, kit(t, c.nodes[2]))
	changes := collab.Subscribe[collab.MemberChanged](t.Context(), ada)
	if err := c.nodes[1].RevokeIdentity(t.Context(), strings.NewReader("\n "+strings.ToUpper(words)+"\n")); err != nil {
		t.Fatal(err)
	}
	for m := range changes {
		if m.Member.ID == cleo.Me().ID && m.Member.State == collab.MemberRemoved {
			break
		}
	}
	<-cleo.Done()
	if !errors.Is(cleo.Err(), collab.ErrRevoked) || bob.Err() != nil {
		t.Errorf("the sessions say %v and %v", cleo.Err(), bob.Err())
	}
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script")}
	insert(t, docs[1], 0, "Bob goes on. ")
	equal(t, docs...)
}

// What is no kit, or of a stranger, ends nobody.
func TestRevokeIdentityRefuses(t *testing.T) {
	c := gather(t, "Bob")
	stranger := kit(t, openNode(t, "Eve"))
	for name, text := range map[string]string{
		"nothing": "", "prose": "please end it", "another's page": stranger, "another's words": wordsOf(t, stranger),
		"half a page": stranger[:len(stranger)/2],
	} {
		if err := c.nodes[0].RevokeIdentity(t.Context(), strings.NewReader(text)); !errors.Is(err, collab.ErrKit) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), wordsOf(t, stranger)) {
			t.Error("the words are in the error")
		}
	}
	if err := c.nodes[0].RevokeIdentity(t.Context(), io.MultiReader()); !errors.Is(err, collab.ErrKit) {
		t.Error(err)
	}
	for _, s := range c.sessions {
		if s.Err() != nil {
			t.Error(s.Err())
		}
	}
}
