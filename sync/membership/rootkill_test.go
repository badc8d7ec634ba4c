package membership

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/store"
)

// rootKilled tells a run of this test binary that it is the one that will be killed, and where its files are.
const rootKilled = "COLLAB_TEST_ROOT_KILLED"

func killedStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{Key: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestRootKilled kills a process that walks the root chain, at random moments: what comes back is the root before a
// record or after it, never in between, and never before one that the process had seen in force.
func TestRootKilled(t *testing.T) {
	if dir := os.Getenv(rootKilled); dir != "" {
		walkUntilKilled(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	anna := &node{t: t, name: "anna", self: selfOf(t, "anna"), clock: &clock{}, st: killedStore(t, dir)}
	reg := NewRegistry(RegistryConfig{Self: anna.self})
	keys := custody()
	anna.reg = reg
	p := anna.foundWith(keys)
	last := p.Root()
	for n := uint32(2); n <= 25; n++ {
		last, keys = soloNext(t, last, keys, anna.self, "again")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("root%02d", n)), last.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(reg.Close(), anna.st.Close()); err != nil {
		t.Fatal(err)
	}
	reached := uint32(1)
	for reached < 25 {
		cmd := exec.Command(self, "-test.run=^TestRootKilled$")
		cmd.Env = append(os.Environ(), rootKilled+"="+dir)
		_, err := cmd.StdinPipe() // it ends with this process
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var seen uint32
		lines := bufio.NewScanner(out)
		for stop := min(reached+1+rand.Uint32N(4), 25); seen < stop && lines.Scan(); {
			_, _ = fmt.Sscanf(lines.Text(), "in force: %d", &seen)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		st := killedStore(t, dir)
		q, err := NewRegistry(RegistryConfig{Self: anna.self}).Open(timeout(t), Config{Store: st}, p.ID())
		if err != nil {
			t.Fatal(err)
		}
		v := q.Roots().View
		if q.Root().N < max(seen, reached) || q.Root() != v.Current() || q.State().Root() != q.Root().ID || v.Gap != nil {
			t.Errorf("version %d came back, %d was in force; gap %+v", q.Root().N, seen, v.Gap)
		}
		reached = q.Root().N
		if err := errors.Join(q.Close(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// walkUntilKilled takes one record after the other and says which is in force.
func walkUntilKilled(t *testing.T, dir string) {
	st := killedStore(t, dir)
	ids, err := Projects(st)
	if err != nil || len(ids) != 1 {
		t.Fatalf("%d projects, %v", len(ids), err)
	}
	p, err := NewRegistry(RegistryConfig{Self: selfOf(t, "anna")}).Open(timeout(t), Config{Store: st}, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "root*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.TakeRoots(p.self.Device.ID, [][]byte{raw}); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("in force: %d\n", p.Root().N)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its parent is
}

// A store that fails while a record is taken: nothing of it is visible, and nothing can be signed.
func TestRootOnFailedStore(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	keys := custody()
	p := anna.foundWith(keys)
	next, _ := soloNext(t, p.Root(), keys, anna.self, "x")
	before := p.State()
	if err := anna.st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.TakeRoots(anna.self.Device.ID, raws(next)); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("%v", err)
	}
	if p.Root().N != 1 || len(p.Roots().View.Versions) != 1 || p.State() != before {
		t.Error("what is not durable is visible")
	}
	if err := p.Ledger().Note(genesis.Signing{Prev: p.Root().ID, ID: next.ID}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a signature that is not noted: %v", err)
	}
}
