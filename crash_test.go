package collab_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/keystore/file"
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

// killedDir tells a run of this test binary that it is the writer that will be killed, and where it writes.
const killedDir = "COLLAB_TEST_KILLED_DIR"

// TestKill kills a process that edits, over and over in the same directory: all that WaitSaved acknowledged is there
// each time.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var saved []string
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), killedDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 15+round && lines.Scan(); n++ {
			line, ok := strings.CutPrefix(lines.Text(), "saved ")
			if !ok {
				t.Fatalf("the writer says %q", lines.Text())
			}
			saved = append(saved, line)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed

		n, s := reopenKilled(t, dir)
		text := body(t, open(t, s, "script"))
		for _, line := range saved {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("round %d: %q was acknowledged and is gone", round, line)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(saved) < 60 {
		t.Errorf("only %d lines were acknowledged", len(saved))
	}
}

// TestKilledWriter is the process that [TestKill] kills; by itself it does nothing.
func TestKilledWriter(t *testing.T) {
	dir := os.Getenv(killedDir)
	if dir == "" {
		return
	}
	_, s := reopenKilled(t, dir)
	doc := open(t, s, "script")
	for i := 0; ; i++ {
		line := fmt.Sprintf("%d.%d", os.Getpid(), i)
		insert(t, doc, 0, line+"\n")
		if err := doc.WaitSaved(t.Context()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved", line)
	}
}

// reopenKilled opens the node in a directory and its only project, which it founds the first time.
func reopenKilled(t *testing.T, dir string) (*collab.Node, *collab.Session) {
	t.Helper()
	cost.ForTests(t)
	keys, err := file.Open(filepath.Join(dir, "keys"), func(bool) ([]byte, error) { return []byte("passphrase"), nil })
	if err != nil {
		t.Fatal(err)
	}
	n := openDir(t, filepath.Join(dir, "state"), keys, "Ada")
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	for p := range n.Projects() {
		s, err := n.OpenProject(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		return n, s
	}
	return n, create(t, n)
}
