package collab_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestUncleanEnd brings a device back from a copy of its directory taken while it was running, as after a power cut.
// It must not sign on its old chain again, lose nothing that was saved, and be heard by the others at once.
func TestUncleanEnd(t *testing.T) {
	ada := openNode(t, "Ada")
	a := create(t, ada)
	script := open(t, a, "script")
	dir, ks := t.TempDir(), memory.New()
	running, crashed := filepath.Join(dir, "running"), filepath.Join(dir, "crashed")
	ben := openDir(t, running, ks, "Ben")
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	copied := open(t, b, "script")
	insert(t, copied, 0, "saved before the crash\n")
	if err := copied.WaitSaved(t.Context()); err != nil {
		t.Fatal(err)
	}
	copyDir(t, running, crashed)
	insert(t, copied, 0, "after the copy\n")
	equal(t, script, copied)
	if err := ben.Close(); err != nil {
		t.Fatal(err)
	}

	ben = openDir(t, crashed, ks, "Ben")
	defer ben.Close()
	b, err := ben.OpenProject(t.Context(), a.ID())
	if err != nil {
		t.Fatal(err)
	}
	copied = open(t, b, "script")
	if got := body(t, copied); !strings.Contains(got, "saved before the crash") {
		t.Fatalf("came back with %q", got)
	}
	insert(t, copied, 0, "typed at once\n")
	equal(t, script, copied)
	for _, line := range []string{"saved before the crash", "after the copy", "typed at once"} {
		if !strings.Contains(body(t, script), line) {
			t.Errorf("%q is not there: %q", line, body(t, script))
		}
	}
	for i := range 20 {
		insert(t, copied, 0, strings.Repeat("x", i)+"\n")
	}
	equal(t, script, copied)
}

// copyDir copies a directory for its owner alone.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
