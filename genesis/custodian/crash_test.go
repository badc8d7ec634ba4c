package custodian

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/disk"
	vault "github.com/studio-whip/collab/keystore/file"
)

// A child process holds a ceremony over real media and is killed at every step of it, by its parent, with SIGKILL. What
// lies on the media afterwards must be one usable set of shares, and the next start must say which.

const (
	childWork = "COLLAB_CEREMONY_CHILD" // what the child does: found, refresh, rekey or resume
	childDir  = "COLLAB_CEREMONY_DIR"
	childStop = "COLLAB_CEREMONY_STOP" // the step at which it stops and waits to be killed; 0: never
	longTests = "COLLAB_LONG"          // all kill points against all
)

// machine is everything that a solo creator has, in one folder: a sealed vault for a keychain, a stick, a recovery file,
// papers with phrases, and the program's store of root records.
type machine struct {
	dir  string
	step func(name string)

	ring   *vault.Vault
	paper  int // which phrase the person types: the newest, or one before it
	phrase genesis.Custodian
}

func openMachine(t testing.TB, dir string, step func(string)) *machine {
	t.Helper()
	ring, err := vault.OpenKey(filepath.Join(dir, "ring"), [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	m := &machine{dir: dir, step: step, ring: ring}
	m.phrase = Phrase(m.ask, filepath.Join(dir, "recovery"))
	return m
}

// ask is a person who writes every phrase on a new paper.
func (m *machine) ask(_ context.Context, generated string) (string, error) {
	papers, err := filepath.Glob(filepath.Join(m.dir, "paper-*"))
	if err != nil {
		return "", err
	}
	if generated != "" {
		_, err := disk.Replace(filepath.Join(m.dir, fmt.Sprintf("paper-%02d", len(papers))), []byte(generated))
		return generated, err
	}
	if len(papers) <= m.paper {
		return "", errors.New("there is no such paper")
	}
	typed, err := os.ReadFile(papers[len(papers)-1-m.paper])
	return string(typed), err
}

func (m *machine) custodians() []genesis.Custodian {
	return []genesis.Custodian{
		watched{KeyStore(m.ring), m.step}, watched{File(filepath.Join(m.dir, "stick")), m.step},
		watchedKeeper{watched{m.phrase, m.step}, m.phrase.(genesis.RecordKeeper)},
	}
}

func (m *machine) journal() genesis.Journal { return watchedJournal{Journal(m.ring), m.step} }

// store keeps root records, one file each.
func (m *machine) store(_ context.Context, root *genesis.Root) error {
	m.step("before store")
	defer m.step("after store")
	_, err := disk.Replace(filepath.Join(m.dir, fmt.Sprintf("root-%02d", root.N)), root.Raw)
	return err
}

// roots returns the stored records, oldest first.
func (m *machine) roots(t testing.TB) []*genesis.Root {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "root-??"))
	if err != nil {
		t.Fatal(err)
	}
	var roots []*genesis.Root
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var root *genesis.Root
		if len(roots) == 0 {
			root, err = genesis.ParseRoot(raw)
		} else {
			root, err = genesis.ParseNext(roots[len(roots)-1], raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	return roots
}

func raws(roots []*genesis.Root) [][]byte {
	var out [][]byte
	for _, r := range roots {
		out = append(out, r.Raw)
	}
	return out
}

// watched tells its steps.
type watched struct {
	genesis.Custodian
	step func(string)
}

func (w watched) Keep(ctx context.Context, ref genesis.ShareRef, share []byte) error {
	w.step("before keep, " + w.Label())
	defer w.step("after keep, " + w.Label())
	return w.Custodian.Keep(ctx, ref, share)
}

func (w watched) Recall(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	w.step("recall, " + w.Label())
	return w.Custodian.Recall(ctx, ref)
}

func (w watched) Holds(ctx context.Context, ref genesis.ShareRef) (bool, error) {
	return w.Custodian.(genesis.Peeker).Holds(ctx, ref)
}

func (w watched) Forget(ctx context.Context, ref genesis.ShareRef) error {
	w.step("before forget, " + w.Label())
	defer w.step("after forget, " + w.Label())
	return w.Custodian.Forget(ctx, ref)
}

type watchedKeeper struct {
	watched
	keeper genesis.RecordKeeper
}

func (w watchedKeeper) KeepWithRecords(ctx context.Context, ref genesis.ShareRef, share []byte, records [][]byte) error {
	w.step("before keep, " + w.Label())
	defer w.step("after keep, " + w.Label())
	return w.keeper.KeepWithRecords(ctx, ref, share, records)
}

func (w watchedKeeper) KeepRecords(ctx context.Context, ref genesis.ShareRef, records [][]byte) error {
	w.step("before records, " + w.Label())
	defer w.step("after records, " + w.Label())
	return w.keeper.KeepRecords(ctx, ref, records)
}

func (w watchedKeeper) Records(ctx context.Context) ([][]byte, error) { return w.keeper.Records(ctx) }
func (w watchedKeeper) EndCeremony()                                  { w.keeper.EndCeremony() }

type watchedJournal struct {
	genesis.Journal
	step func(string)
}

func (w watchedJournal) Save(ctx context.Context, project genesis.ProjectID, record []byte) error {
	w.step("before journal")
	defer w.step("after journal")
	return w.Journal.Save(ctx, project, record)
}

// TestCeremonyChild is what the parent runs in a process of its own.
func TestCeremonyChild(t *testing.T) {
	work := os.Getenv(childWork)
	if work == "" {
		return
	}
	cost.ForTests(t)
	stop, err := strconv.Atoi(os.Getenv(childStop))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	m := openMachine(t, os.Getenv(childDir), func(name string) {
		if steps++; steps == stop {
			fmt.Printf("AT %s\n", name)
			select {} // until SIGKILL
		}
	})
	result, err := m.work(t, work)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("DONE %s in %d steps\n", result, steps)
}

func (m *machine) work(t *testing.T, work string) (string, error) {
	roots := m.roots(t)
	if work == "found" || len(roots) == 0 && work == "resume" {
		known := func(id genesis.ProjectID) *genesis.Root { return nil }
		if work == "found" {
			f := founding(t, m.custodians()...)
			f.Journal, f.Store = m.journal(), m.store
			_, err := genesis.Found(t.Context(), rand.Reader, testTime, f)
			return "found", err
		}
		r, err := genesis.ResumeFounding(t.Context(), m.journal(), known, m.custodians())
		return r.Outcome.String(), errors.Join(append(r.Left, err)...)
	}
	current := roots[len(roots)-1]
	before := raws(roots[:len(roots)-1])
	if work == "resume" {
		known := func(id genesis.ProjectID) *genesis.Root { return current }
		if r, err := genesis.ResumeFounding(t.Context(), m.journal(), known, m.custodians()); err != nil || r.Outcome != genesis.NothingToDo {
			return r.Outcome.String(), errors.Join(append(r.Left, err)...)
		}
		r, err := genesis.Resume(t.Context(), m.journal(), current, before, m.custodians())
		return r.Outcome.String(), errors.Join(append(r.Left, err)...)
	}
	c := genesis.Change{
		Root: current, Records: before, From: m.custodians(), Next: genesis.Ceremony{Threshold: 2, Custodians: m.custodians()},
		Now: testTime, Journal: m.journal(), Store: m.store,
	}
	do := map[string]func(context.Context, io.Reader, genesis.Change) (*genesis.Reshared, error){
		"refresh": genesis.Refresh, "rekey": genesis.Rekey,
	}[work]
	res, err := do(t.Context(), rand.Reader, c)
	if err == nil {
		err = errors.Join(res.Left...)
	}
	return work, err
}

// child runs work in a process of its own, which is killed when it has reached step stop. It returns the name of that
// step, or the result of work that came to its end before.
func child(t *testing.T, dir, work string, stop int) (at, done string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestCeremonyChild$")
	cmd.Env = append(os.Environ(), childWork+"="+work, childDir+"=.", childStop+"="+strconv.Itoa(stop))
	cmd.Dir = dir // custodians' labels hold paths, which are the same on a copy then
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if name, ok := strings.CutPrefix(lines.Text(), "AT "); ok {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			at = name
			break
		}
		if result, ok := strings.CutPrefix(lines.Text(), "DONE "); ok {
			done = result
		}
	}
	err = cmd.Wait()
	if at == "" && (err != nil || done == "") {
		t.Fatalf("%s, stopped at %d: %v\n%s", work, stop, err, all.String())
	}
	return at, done
}

func copyMachine(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ring", "ring.bak"} { // CopyFS keeps modes only within the umask
		if err := os.Chmod(filepath.Join(to, name), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return to
}

// usable proves that the record in force has its whole set of shares, whichever paper the person needs, and that the set
// of no other record can be used.
func (m *machine) usable(t *testing.T, what string) {
	t.Helper()
	roots := m.roots(t)
	current := roots[len(roots)-1]
	if err := useRoot(t, current, m.custodians()[:2]); err != nil {
		t.Errorf("%s: keychain and stick: %v", what, err)
	}
	var err error
	for m.paper = 0; m.paper < 3; m.paper++ {
		if err = useRoot(t, current, m.custodians()[1:]); err == nil {
			break
		}
	}
	m.paper = 0
	if err != nil {
		t.Errorf("%s: stick and phrase: %v", what, err)
	}
}

// clean proves that nothing lies anywhere but the shares of the record in force, and that the ceremony rests.
func (m *machine) clean(t *testing.T, what string) {
	t.Helper()
	roots := m.roots(t)
	var ceremony [16]byte
	if len(roots) > 0 {
		current := roots[len(roots)-1]
		ceremony = current.ShareSets[0].Ceremony
		c, err := genesis.Inspect(t.Context(), m.journal(), current)
		if err != nil || c.Unfinished || c.Stale > 0 || c.Owed != genesis.OwedNothing {
			t.Errorf("%s: condition %+v, %v", what, c, err)
		}
	}
	stick, err := (&file{filepath.Join(m.dir, "stick")}).read()
	if err != nil && !errors.Is(err, genesis.ErrNoShare) {
		t.Fatal(err)
	}
	for _, s := range stick.Shares {
		if s.Ceremony != ceremony {
			t.Errorf("%s: a share that counts no longer lies on the stick", what)
		}
	}
	recovery, err := m.phrase.(*phrase).read()
	if err != nil && !errors.Is(err, genesis.ErrNoShare) {
		t.Fatal(err)
	}
	if recovery != nil {
		for _, b := range recovery.Blobs {
			if b.header.Ceremony != ceremony {
				t.Errorf("%s: a share that counts no longer lies in the recovery file", what)
			}
		}
	}
}

// elsewhere proves that recovery file, phrase and stick alone lead to the record in force.
func (m *machine) elsewhere(t *testing.T, what string) {
	t.Helper()
	from := m.custodians()[1:]
	roots, err := genesis.FindRoots(t.Context(), from)
	if err != nil {
		t.Errorf("%s: find roots: %v", what, err)
		return
	}
	stored := m.roots(t)
	if roots[len(roots)-1].ID != stored[len(stored)-1].ID {
		t.Errorf("%s: a bare machine finds root version %d", what, roots[len(roots)-1].N)
	}
	if err := useRoot(t, roots[len(roots)-1], from); err != nil {
		t.Errorf("%s: on a bare machine: %v", what, err)
	}
}

// resume does in this process what the next start of the program does.
func (m *machine) resume(t *testing.T) string {
	t.Helper()
	outcome, err := m.work(t, "resume")
	if err != nil {
		t.Errorf("resume: %v", err)
	}
	return outcome
}

func TestKilledFounding(t *testing.T) {
	cost.ForTests(t)
	kills := 0
	for stop := 1; ; stop++ {
		dir := t.TempDir()
		at, _ := child(t, dir, "found", stop)
		if at == "" {
			break
		}
		kills++
		t.Chdir(dir)
		what := fmt.Sprintf("killed %d, %s", stop, at)
		m := openMachine(t, ".", func(string) {})
		outcome := m.resume(t)
		if len(m.roots(t)) > 0 {
			m.usable(t, what)
			m.elsewhere(t, what)
		} else if outcome == "finished" {
			t.Errorf("%s: resume says %s, and there is no root", what, outcome)
		}
		m.clean(t, what)
		m.ring.Close()
	}
	t.Logf("a founding was killed at %d steps", kills)
	if kills < 15 {
		t.Errorf("%d steps are not all", kills)
	}
}

func TestKilledRefresh(t *testing.T) { killEverywhere(t, "refresh", 1) }
func TestKilledRekey(t *testing.T)   { killEverywhere(t, "rekey", 4) }

// killEverywhere kills the work at each of its steps, or at every so many, and now and then also what resumes it. In long
// runs each step of the one is tried against each step of the other.
func killEverywhere(t *testing.T, work string, every int) {
	cost.ForTests(t)
	base := t.TempDir()
	child(t, base, "found", 0)
	long := os.Getenv(longTests) != ""
	if long {
		every = 1
	}
	kills, resumed, undone := 0, 0, 0
	for stop := 1; ; stop += every {
		dir := copyMachine(t, base)
		at, _ := child(t, dir, work, stop)
		if at == "" {
			break
		}
		kills++
		what := fmt.Sprintf("killed %d, %s", stop, at)
		version := checkKilled(t, dir, what)
		first, last := 1, 1<<10
		if !long {
			first = 1 + stop/every%7
			last = first * (1 - min(stop/every%3, 1)) // every third time
		}
		for second := first; second <= last; second++ {
			again := copyMachine(t, dir)
			killed, _ := child(t, again, "resume", second)
			if killed == "" {
				break
			}
			resumed++
			checkKilled(t, again, what+", again at "+killed)
			finish(t, again, what+", again at "+killed, version)
		}
		if finish(t, dir, what, version) == "undone" {
			undone++
		}
	}
	t.Logf("%s was killed at %d steps, %d of them undone, and resuming at %d", work, kills, undone, resumed)
	if kills < 30/every || undone == 0 || undone == kills || resumed == 0 {
		t.Error("these are not all steps")
	}
}

// checkKilled looks at what a killed process left. It returns the version in force.
func checkKilled(t *testing.T, dir, what string) int {
	t.Helper()
	t.Chdir(dir)
	m := openMachine(t, ".", func(string) {})
	defer m.ring.Close()
	m.usable(t, what)
	return len(m.roots(t))
}

// finish resumes, and checks what it says and leaves.
func finish(t *testing.T, dir, what string, version int) string {
	t.Helper()
	t.Chdir(dir)
	m := openMachine(t, ".", func(string) {})
	defer m.ring.Close()
	outcome := m.resume(t)
	if now := len(m.roots(t)); now != version {
		t.Errorf("%s: resuming changed the version in force from %d to %d", what, version, now)
	}
	if wrong := map[int]string{1: "finished", 2: "undone"}[version]; outcome == wrong {
		t.Errorf("%s: version %d is in force, and resume says %s", what, version, outcome)
	}
	m.usable(t, what)
	m.clean(t, what)
	if version == 2 {
		m.elsewhere(t, what)
	}
	return outcome
}
