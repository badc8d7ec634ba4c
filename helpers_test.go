package collab_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback are the addresses that tests listen on.
var loopback = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}

// openNode opens a node in memory; it is closed with the test.
func openNode(t *testing.T, name string, opts ...collab.Option) *collab.Node {
	t.Helper()
	opts = append([]collab.Option{collab.WithMemory(), collab.WithName(name), collab.WithListen(loopback...)}, opts...)
	n, err := collab.Open(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	return n
}

// openDir opens a node in a directory; the test closes it.
func openDir(t *testing.T, dir string, ks collab.KeyStore, name string) *collab.Node {
	t.Helper()
	n, err := collab.Open(t.Context(), collab.WithDir(dir), collab.WithKeyStore(ks), collab.WithName(name), collab.WithListen(loopback...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// quickCeremony is a ceremony that costs a test nothing: two shares in key stores, one in a file.
func quickCeremony(t *testing.T) collab.Ceremony {
	t.Helper()
	cost.ForTests(t)
	return collab.Ceremony{Threshold: 2, Custodians: []collab.Custodian{
		collab.KeyStoreCustodian(memory.New()), collab.FileCustodian(filepath.Join(t.TempDir(), "share")),
	}}
}

func create(t *testing.T, n *collab.Node) *collab.Session {
	t.Helper()
	s, err := n.Create(t.Context(), "The Last Reel", quickCeremony(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func invite(t *testing.T, s *collab.Session, o collab.InviteOptions) string {
	t.Helper()
	code, err := s.Invite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func join(t *testing.T, n *collab.Node, code string) *collab.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := n.Join(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, s *collab.Session, name string) *collab.Doc {
	t.Helper()
	d, err := s.Doc(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// insert types into the text "body".
func insert(t *testing.T, d *collab.Doc, at int, s string) {
	t.Helper()
	if err := d.Update(func(tx *crdt.Txn) error { return d.Text("body").Insert(tx, at, s) }); err != nil {
		t.Fatal(err)
	}
}

func body(t *testing.T, d *collab.Doc) (text string) {
	t.Helper()
	if err := d.View(func(tx *crdt.ReadTxn) error { text = d.Text("body").String(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return text
}

// eventually waits for a condition that other nodes bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// equal waits until documents have equal digests.
func equal(t *testing.T, docs ...*collab.Doc) {
	t.Helper()
	eventually(t, "all digests are equal", func() bool {
		for _, d := range docs[1:] {
			if d.Digest() != docs[0].Digest() {
				return false
			}
		}
		return true
	})
}
