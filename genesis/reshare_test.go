package genesis

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// notes is a journal in memory. left counts down to the operation that fails.
type notes struct {
	records map[ProjectID][]byte
	saves   int
	fail    func(save int) error
}

func newNotes() *notes { return &notes{records: map[ProjectID][]byte{}} }

func (n *notes) Load(_ context.Context, project ProjectID) ([]byte, error) {
	return n.records[project], nil
}

func (n *notes) Save(_ context.Context, project ProjectID, record []byte) error {
	n.saves++
	if n.fail != nil {
		if err := n.fail(n.saves); err != nil {
			return err
		}
	}
	if record == nil {
		delete(n.records, project)
	} else {
		n.records[project] = bytes.Clone(record)
	}
	return nil
}

// keptRoot is where a test keeps the record in force.
type keptRoot struct{ root *Root }

func (k *keptRoot) store(_ context.Context, next *Root) error { k.root = next; return nil }

// studio is a founded project with a journal.
type studio struct {
	shelves    []*shelf
	custodians []Custodian
	notes      *notes
	kept       *keptRoot
}

func newStudio(t testing.TB) *studio {
	t.Helper()
	s := &studio{notes: newNotes(), kept: new(keptRoot)}
	s.shelves, s.custodians = shelves(3)
	f := newFounder(t, 1).founding(2, s.custodians...)
	f.Journal, f.Store = s.notes, s.kept.store
	if root := found(t, f); root != s.kept.root {
		t.Fatal("another root was stored than returned")
	}
	return s
}

// change is a change over the studio's custodians, to itself.
func (s *studio) change() Change {
	return Change{
		Root: s.kept.root, From: s.custodians, Next: Ceremony{Threshold: 2, Custodians: s.custodians},
		Reason: "new shares", Now: testTime, Journal: s.notes, Store: s.kept.store,
	}
}

func (s *studio) condition(t testing.TB) Condition {
	t.Helper()
	c, err := Inspect(t.Context(), s.notes, s.kept.root)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkSound proves that the set of the record in force is the only one: each two custodians rebuild its key, and nobody
// holds a share of anything else.
func (s *studio) checkSound(t testing.TB) {
	t.Helper()
	for skip := range s.custodians {
		if err := authorize(t, s.kept.root, slices.Delete(slices.Clone(s.custodians), skip, skip+1)...); err != nil {
			t.Errorf("without custodian %d: %v", skip+1, err)
		}
	}
	for _, shelf := range s.shelves {
		ref, _ := shelf.only(t)
		if s.kept.root.shareSet(ref.Ceremony) == nil {
			t.Errorf("%s holds a share that counts no longer", shelf.label)
		}
	}
	if c := s.condition(t); c.Unfinished || c.Stale > 0 {
		t.Errorf("condition %+v", c)
	}
}

func TestRefreshAndRekey(t *testing.T) {
	for _, tt := range []struct {
		name    string
		do      func(context.Context, io.Reader, Change) (*Reshared, error)
		sameKey bool
	}{{"refresh", Refresh, true}, {"rekey", Rekey, false}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStudio(t)
			first := s.kept.root
			old := map[string][]byte{}
			for _, shelf := range s.shelves {
				_, old[shelf.label] = shelf.only(t)
			}
			for version := uint32(2); version <= 3; version++ {
				before := s.kept.root
				res, err := tt.do(t.Context(), rand.Reader, s.change())
				if err != nil || len(res.Left) > 0 || res.Root != s.kept.root {
					t.Fatalf("%+v, %v", res, err)
				}
				if s.kept.root.N != version || s.kept.root.Prev != before.ID || s.kept.root.Project != first.Project {
					t.Fatalf("the record is %+v", s.kept.root)
				}
				s.checkSound(t)
			}
			if tt.sameKey != s.kept.root.Holders[0].Key.Equal(first.Holders[0].Key) {
				t.Error("the key is not what it should be")
			}
			for _, shelf := range s.shelves {
				_, now := shelf.only(t)
				if bytes.Equal(now, old[shelf.label]) {
					t.Error("a share is the old one")
				}
			}
			c := NewChain(first)
			for _, raw := range [][]byte{s.kept.root.Raw} {
				if _, err := c.Add(raw); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A change that fails before its record is signed leaves the old shares alone, wherever it fails.
func TestReshareUndoes(t *testing.T) {
	broken := errors.New("medium broken")
	for _, tt := range []struct {
		name  string
		spoil func(*studio, *Change)
		want  error
	}{
		{"new custodian fails", func(s *studio, c *Change) {
			bad := newShelf("bad")
			bad.keepErr = broken
			c.Next.Custodians = []Custodian{s.custodians[0], bad}
		}, broken},
		{"read back changed", func(s *studio, c *Change) {
			bad := newShelf("bad")
			bad.recall = func(b []byte) ([]byte, error) { b[9] ^= 1; return b, nil }
			c.Next.Custodians = []Custodian{s.custodians[0], bad}
		}, ErrShareCorrupt},
		{"one place for two shares", func(s *studio, c *Change) {
			c.Next.Custodians = []Custodian{s.custodians[0], s.custodians[0]}
		}, ErrCeremony},
		{"1 of 3", func(s *studio, c *Change) { c.Next.Threshold = 1 }, ErrCeremony},
		{"reason too long", func(s *studio, c *Change) { c.Reason = strings.Repeat("x", MaxReason+1) }, errAny},
		{"no quorum", func(s *studio, c *Change) { c.From = s.custodians[:1] }, ErrNoShare},
		{"ledger refuses", func(s *studio, c *Change) { c.Ledger = ledgerFunc(func(Signing) error { return broken }) }, broken},
		{"journal fails at once", func(s *studio, c *Change) { s.notes.fail = failAt(s.notes.saves+1, broken) }, broken},
		{"journal fails before the signature", func(s *studio, c *Change) { s.notes.fail = failAt(s.notes.saves+2, broken) }, broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStudio(t)
			before := s.kept.root
			c := s.change()
			tt.spoil(s, &c)
			if tt.name == "no quorum" {
				c.From = []Custodian{s.custodians[0], newShelf("empty")}
			}
			_, err := Refresh(t.Context(), rand.Reader, c)
			if err == nil || tt.want != errAny && !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if s.kept.root != before {
				t.Fatal("a record was stored")
			}
			s.notes.fail = nil
			if c := s.condition(t); c.Unfinished {
				if r, err := Resume(t.Context(), s.notes, before, nil, s.custodians); err != nil || r.Outcome != Undone {
					t.Fatalf("resume: %+v, %v", r, err)
				}
			}
			s.checkSound(t)
			res, err := Refresh(t.Context(), rand.Reader, s.change())
			if err != nil || len(res.Left) > 0 {
				t.Fatalf("afterwards: %+v, %v", res, err)
			}
			s.checkSound(t)
		})
	}
}

var errAny = errors.New("any")

type ledgerFunc func(Signing) error

func (f ledgerFunc) Note(s Signing) error { return f(s) }

func failAt(save int, err error) func(int) error {
	return func(n int) error {
		if n == save {
			return err
		}
		return nil
	}
}

// A record that was signed and lost in a crash is abandoned by the next one in its place, so that the two are no fork.
func TestLostRecordIsAbandoned(t *testing.T) {
	s := newStudio(t)
	lost := errors.New("power cut")
	var first *Root
	c := s.change()
	c.Store = func(_ context.Context, next *Root) error { first = next; return lost }
	if _, err := Refresh(t.Context(), rand.Reader, c); !errors.Is(err, lost) || !errors.Is(err, ErrUnfinished) {
		t.Fatalf("got %v", err)
	}
	if _, err := Refresh(t.Context(), rand.Reader, s.change()); !errors.Is(err, ErrUnfinished) {
		t.Fatalf("a second ceremony within the first: %v", err)
	}
	if !s.condition(t).Unfinished {
		t.Fatal("the interrupted ceremony is not told")
	}
	r, err := Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians)
	if err != nil || r.Outcome != Undone || len(r.Left) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	s.checkSound(t)
	parent := s.kept.root
	if _, err := Refresh(t.Context(), rand.Reader, s.change()); err != nil {
		t.Fatal(err)
	}
	chain := NewChain(parent)
	for _, raw := range [][]byte{first.Raw, s.kept.root.Raw} {
		if _, err := chain.Add(raw); err != nil {
			t.Fatal(err)
		}
	}
	view := chain.View()
	if view.Fork != nil || view.Current().ID != s.kept.root.ID {
		t.Fatalf("the lost record forks the root: %+v", view)
	}
}

// What cannot be erased is counted and tried again; what is given up counts as known.
func TestStaleShares(t *testing.T) {
	s := newStudio(t)
	s.shelves[2].forget = errors.New("stick is out")
	res, err := Refresh(t.Context(), rand.Reader, s.change())
	var named *ShareError
	if err != nil || len(res.Left) != 1 || !errors.As(res.Left[0], &named) || named.Custodian != "shelf 3" {
		t.Fatalf("%+v, %v", res, err)
	}
	if c := s.condition(t); c.Stale != 1 || c.Owed != OwedNothing {
		t.Fatalf("%+v", c)
	}
	if r, err := Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians[:2]); err != nil || len(r.Left) != 1 {
		t.Fatalf("without the custodian: %+v, %v", r, err)
	}
	s.shelves[2].forget = nil
	s.shelves[2].shares = map[ShareRef][]byte{} // a new stick with the old name
	r, err := Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians)
	if err != nil || len(r.Left) != 0 || r.Outcome != NothingToDo || s.condition(t).Stale != 0 {
		t.Fatalf("%+v, %v, %+v", r, err, s.condition(t))
	}
}

// A stick that comes back under another name is known by what lies on it.
func TestStaleShareUnderAnotherName(t *testing.T) {
	s := newStudio(t)
	s.shelves[2].forget = errors.New("stick is out")
	if _, err := Refresh(t.Context(), rand.Reader, s.change()); err != nil {
		t.Fatal(err)
	}
	s.shelves[2].forget, s.shelves[2].label = nil, "/media/elsewhere"
	if r, err := Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians); err != nil || len(r.Left) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	s.checkSound(t)
}

// Custodians who were never told of a journal are located by asking each once.
func TestReshareWithoutAJournalBefore(t *testing.T) {
	s := &studio{notes: newNotes(), kept: new(keptRoot)}
	s.shelves, s.custodians = shelves(3)
	s.kept.root = found(t, newFounder(t, 1).founding(2, s.custodians...))
	c := s.change()
	c.From = []Custodian{s.custodians[2], s.custodians[0], s.custodians[1]}
	if res, err := Refresh(t.Context(), rand.Reader, c); err != nil || len(res.Left) > 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	s.checkSound(t)
}

// Shares that nobody named when a new journal began may be anywhere: enough of them are the key.
func TestUnlocatedSharesCountAsKnown(t *testing.T) {
	for named, want := range map[int]Owed{4: OwedNothing, 2: OwedRekey} {
		s := &studio{notes: newNotes(), kept: new(keptRoot)}
		s.shelves, s.custodians = shelves(5)
		s.kept.root = found(t, newFounder(t, 1).founding(2, s.custodians...))
		c := s.change()
		c.From = s.custodians[:named]
		c.Next.Custodians = s.custodians[:2]
		if _, err := Refresh(t.Context(), rand.Reader, c); err != nil {
			t.Fatal(err)
		}
		if got := s.condition(t); got.Owed != want {
			t.Errorf("%d of 5 custodians named: %+v, want %v", named, got, want)
		}
	}
}

// A journal does not grow without end.
func TestJournalIsBounded(t *testing.T) {
	s := newStudio(t)
	s.shelves[2].forget = errors.New("stick is out")
	var err error
	rounds := 0
	for ; err == nil && rounds < 2*maxSets; rounds++ {
		_, err = Refresh(t.Context(), rand.Reader, s.change())
	}
	if !errors.Is(err, ErrJournal) || rounds < maxSets {
		t.Fatalf("after %d rounds: %v", rounds, err)
	}
	if c := s.condition(t); c.Unfinished || c.Stale == 0 {
		t.Fatalf("%+v", c)
	}
	if err := GiveUp(t.Context(), s.notes, s.kept.root, s.custodians[2]); err != nil {
		t.Fatal(err)
	}
	if c := s.condition(t); c.Stale != 0 || c.Owed != OwedRefresh {
		t.Fatalf("given up: %+v", c)
	}
}

// Scenario 75, as far as it is about shares: what may be known to others is shown until it is healed.
func TestScenario75RefreshOwed(t *testing.T) {
	scenario.Run(t, 75, "a share released to somebody, or a custodian removed: new shares are owed and shown; of two, a new key",
		func(t *testing.T) {
			s := newStudio(t)
			if err := MarkKnown(t.Context(), s.notes, s.kept.root.Project, newShelf("stranger")); !errors.Is(err, ErrNoShare) {
				t.Fatalf("a custodian without a share: %v", err)
			}
			mark := func(i int) {
				t.Helper()
				if err := MarkKnown(t.Context(), s.notes, s.kept.root.Project, s.custodians[i]); err != nil {
					t.Fatal(err)
				}
			}
			mark(1)
			mark(1)
			if c := s.condition(t); c.Owed != OwedRefresh || c.Known != 1 || c.Owed.String() != "new shares" {
				t.Fatalf("one share known: %+v", c)
			}
			_, leaked := s.shelves[1].only(t)
			leaked = bytes.Clone(leaked)
			if _, err := Refresh(t.Context(), rand.Reader, s.change()); err != nil {
				t.Fatal(err)
			}
			if c := s.condition(t); c.Owed != OwedNothing || c.Known != 0 {
				t.Fatalf("after new shares: %+v", c)
			}
			thief := newShelf("thief")
			ref, _ := s.shelves[0].only(t)
			thief.shares[ref] = leaked
			quorumError(t, authorize(t, s.kept.root, thief, s.custodians[0]), 1, 2)
			mark(0)
			mark(2)
			if c := s.condition(t); c.Owed != OwedRekey || c.Known != 2 || c.Owed.String() != "a new key" {
				t.Fatalf("two shares known: %+v", c)
			}
			if _, err := Refresh(t.Context(), rand.Reader, s.change()); !errors.Is(err, ErrRekeyOwed) {
				t.Fatalf("new shares of a known key: %v", err)
			}
			if _, err := Rekey(t.Context(), rand.Reader, s.change()); err != nil {
				t.Fatal(err)
			}
			if c := s.condition(t); c.Owed != OwedNothing || c.Known != 0 {
				t.Fatalf("after a new key: %+v", c)
			}
			s.checkSound(t)
		})
}

// Scenario 8: media restored from before a new key was made.
func TestScenario8SharesFromBeforeTheNewKey(t *testing.T) {
	scenario.Run(t, 8, "every medium is restored from before a new key was made: ErrRootMismatch, named as superseded", func(t *testing.T) {
		s := newStudio(t)
		var older [][]byte
		for _, shelf := range s.shelves {
			_, raw := shelf.only(t)
			older = append(older, bytes.Clone(raw))
		}
		if _, err := Rekey(t.Context(), rand.Reader, s.change()); err != nil {
			t.Fatal(err)
		}
		for i, shelf := range s.shelves {
			ref, _ := shelf.only(t)
			shelf.shares[ref] = older[i]
		}
		err := authorize(t, s.kept.root, s.custodians...)
		if !errors.Is(err, ErrRootMismatch) || !errors.Is(err, ErrShareOtherCeremony) || !strings.Contains(err.Error(), "superseded") {
			t.Fatalf("got %v", err)
		}
		quorumError(t, err, 0, 2)
	})
}

// A thief who has one old share in hand and finds the others that were never erased has the key: it is told.
func TestOldSharesOfTheSameKeyStillCount(t *testing.T) {
	s := newStudio(t)
	if err := MarkKnown(t.Context(), s.notes, s.kept.root.Project, s.custodians[0]); err != nil {
		t.Fatal(err)
	}
	s.shelves[1].forget = errors.New("lost")
	if _, err := Refresh(t.Context(), rand.Reader, s.change()); err != nil {
		t.Fatal(err)
	}
	if c := s.condition(t); c.Owed != OwedNothing || c.Stale != 1 {
		t.Fatalf("%+v", c)
	}
	if err := GiveUp(t.Context(), s.notes, s.kept.root, s.custodians[1]); err != nil {
		t.Fatal(err)
	}
	if c := s.condition(t); c.Owed != OwedRekey {
		t.Fatalf("two shares of an old set of the same key: %+v", c)
	}
}

// A founding that a crash interrupted is undone at the next start, or complete.
func TestResumeFounding(t *testing.T) {
	crash := errors.New("crash")
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %t", stored), func(t *testing.T) {
			s, c := shelves(3)
			j, kept := newNotes(), new(keptRoot)
			f := newFounder(t, 1).founding(2, c...)
			f.Journal = j
			f.Store = func(_ context.Context, root *Root) error {
				if stored {
					kept.root = root
				}
				panic(crash)
			}
			func() {
				defer func() { _ = recover() }()
				_, _ = Found(t.Context(), rand.Reader, testTime, f)
			}()
			if _, err := Found(t.Context(), rand.Reader, testTime, f); !errors.Is(err, ErrUnfinished) {
				t.Fatalf("a second founding within the first: %v", err)
			}
			known := func(id ProjectID) *Root {
				if kept.root != nil && kept.root.Project == id {
					return kept.root
				}
				return nil
			}
			want := map[bool]Outcome{false: Undone, true: Finished}[stored]
			if r, err := ResumeFounding(t.Context(), j, known, c); err != nil || r.Outcome != want || len(r.Left) > 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if r, err := ResumeFounding(t.Context(), j, known, c); err != nil || r.Outcome != NothingToDo {
				t.Fatalf("again: %+v, %v", r, err)
			}
			if stored {
				if err := MarkKnown(t.Context(), j, kept.root.Project, c[1]); err != nil {
					t.Fatal(err)
				}
				if err := authorize(t, kept.root, c...); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, shelf := range s {
				if len(shelf.shares) > 0 {
					t.Errorf("%s still holds a share", shelf.label)
				}
			}
		})
	}
}

// Custodians that carry records get the new one: a bare machine finds the current root and its shares.
func TestRecordsFollowTheRoot(t *testing.T) {
	s := &studio{notes: newNotes(), kept: new(keptRoot)}
	carrier := &recordShelf{shelf: newShelf("carrier")}
	s.shelves = []*shelf{newShelf("a"), carrier.shelf}
	s.custodians = []Custodian{s.shelves[0], carrier}
	f := newFounder(t, 1).founding(2, s.custodians...)
	f.Journal, f.Store = s.notes, s.kept.store
	found(t, f)
	var before [][]byte
	for range 2 {
		c := s.change()
		c.Records = before
		before = append(before, s.kept.root.Raw)
		if _, err := Refresh(t.Context(), rand.Reader, c); err != nil {
			t.Fatal(err)
		}
	}
	roots, err := FindRoots(t.Context(), s.custodians)
	if err != nil || len(roots) != 3 || roots[2].ID != s.kept.root.ID {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	if err := authorize(t, roots[2], s.custodians...); err != nil {
		t.Fatal(err)
	}
	if err := authorize(t, roots[1], s.custodians...); err == nil {
		t.Fatal("an older root's shares are still there")
	}
}

// A medium that carries records and cannot be given the new one keeps the old shares alive until it can.
func TestUnreachableRecordKeeperEndsNothing(t *testing.T) {
	s := &studio{notes: newNotes(), kept: new(keptRoot)}
	carrier := &recordShelf{shelf: newShelf("carrier")}
	s.shelves = []*shelf{newShelf("a"), carrier.shelf}
	s.custodians = []Custodian{s.shelves[0], carrier}
	f := newFounder(t, 1).founding(2, s.custodians...)
	f.Journal, f.Store = s.notes, s.kept.store
	found(t, f)
	before := s.kept.root
	carrier.spreadErr = errors.New("stick is out")
	res, err := Refresh(t.Context(), rand.Reader, s.change())
	if !errors.Is(err, ErrUnfinished) || !errors.Is(err, carrier.spreadErr) || res == nil || res.Root != s.kept.root {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := authorize(t, before, s.custodians...); err != nil {
		t.Fatalf("the old shares are gone before the medium knows the new record: %v", err)
	}
	carrier.spreadErr = nil
	if r, err := Resume(t.Context(), s.notes, s.kept.root, [][]byte{before.Raw}, s.custodians); err != nil || r.Outcome != Finished {
		t.Fatalf("%+v, %v", r, err)
	}
	s.checkSoundTwo(t)
}

func (s *studio) checkSoundTwo(t *testing.T) {
	t.Helper()
	if err := authorize(t, s.kept.root, s.custodians...); err != nil {
		t.Error(err)
	}
	for _, shelf := range s.shelves {
		if ref, _ := shelf.only(t); s.kept.root.shareSet(ref.Ceremony) == nil {
			t.Errorf("%s holds a share that counts no longer", shelf.label)
		}
	}
}

// Seeds and shares of a change are wiped, whether it succeeds or fails.
func TestReshareWipes(t *testing.T) {
	for _, fail := range []error{nil, errors.New("medium broken")} {
		s := newStudio(t)
		for _, shelf := range s.shelves {
			shelf.handed, shelf.given = nil, nil
		}
		s.shelves[2].keepErr = fail
		random := new(aliasing)
		if _, err := Rekey(t.Context(), random, s.change()); !errors.Is(err, fail) {
			t.Fatal(err)
		}
		if len(random.buffers[0]) != 32 || !zero(random.buffers[0]) {
			t.Error("the new seed was not wiped")
		}
		for _, shelf := range s.shelves {
			for _, b := range append(shelf.handed, shelf.given...) {
				if !zero(b) {
					t.Errorf("a share at %s was not wiped", shelf.label)
				}
			}
		}
	}
}

// A journal's record shows no label: those hold paths.
func TestJournalHoldsNoNames(t *testing.T) {
	s := newStudio(t)
	for _, raw := range s.notes.records {
		for _, word := range []string{"shelf", "My film", "Ada"} {
			if bytes.Contains(raw, []byte(word)) {
				t.Errorf("the journal holds %q", word)
			}
		}
	}
}

func FuzzParseJournal(f *testing.F) {
	s := newStudio(f)
	for _, raw := range s.notes.records {
		f.Add(raw)
	}
	var during []byte
	c := s.change()
	c.Store = func(context.Context, *Root) error { during = s.notes.records[s.kept.root.Project]; return errAny }
	_, _ = Refresh(f.Context(), rand.Reader, c)
	f.Add(during)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseJournal(raw)
		if err != nil {
			if !errors.Is(err, ErrJournal) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		j := newNotes()
		if err := r.save(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(j.records[r.Project], raw) {
			t.Fatal("accepted what it would not write")
		}
		root := &Root{Project: r.Project}
		_, _ = r.owed(root), r.erase(t.Context(), root, nil)
		r.tidy(root)
	})
}
