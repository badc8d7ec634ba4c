package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/keystore/memory"
)

// solo is what one person has: a keychain on the machine, a token, a stick with the recovery file, words on paper.
type solo struct {
	ring   *memory.Store
	device *memory.Token
	who    *person
	stick  string // folder
}

func newSolo(t *testing.T) *solo {
	t.Helper()
	cost.ForTests(t)
	return &solo{memory.New(), memory.NewToken("4242", testPIN), new(person), filepath.Join(t.TempDir(), "stick")}
}

func (s *solo) ceremony(t *testing.T) genesis.Ceremony {
	t.Helper()
	c, err := Solo(KeyStore(s.ring), Token(s.device, "4242", pin(testPIN, nil)), Phrase(s.who.ask, filepath.Join(s.stick, "recovery")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *solo) found(t *testing.T) (*genesis.Root, error) {
	t.Helper()
	f := founding(t)
	f.Ceremony = s.ceremony(t)
	f.Journal = Journal(s.ring)
	return genesis.Found(t.Context(), rand.Reader, testTime, f)
}

// pulled is a custodian whose medium is pulled out as soon as the share was written.
type pulled struct {
	genesis.RecordKeeper
	stick string
	kept  *genesis.ShareRef
}

func (p pulled) KeepWithRecords(ctx context.Context, ref genesis.ShareRef, share []byte, records [][]byte) error {
	*p.kept = ref
	err := p.RecordKeeper.KeepWithRecords(ctx, ref, share, records)
	return errors.Join(err, os.RemoveAll(p.stick))
}

// Scenario 71: the whole machine is lost.
func TestScenario71WholeMachineLost(t *testing.T) {
	scenario.Run(t, 71, "the second place of the phrase's share is missing: the ceremony does not complete and leaves nothing", func(t *testing.T) {
		s := newSolo(t) // the stick's folder does not exist: it is not plugged in
		root, err := s.found(t)
		var named *genesis.ShareError
		if root != nil || !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &named) || !strings.Contains(named.Custodian, "recovery phrase") {
			t.Fatalf("the ceremony completed without the stick: %v", err)
		}
		if err := os.Mkdir(s.stick, 0o700); err != nil {
			t.Fatal(err)
		}
		f := founding(t)
		f.Ceremony = s.ceremony(t)
		var ref genesis.ShareRef
		f.Ceremony.Custodians[2] = pulled{f.Ceremony.Custodians[2].(genesis.RecordKeeper), s.stick, &ref}
		root, err = genesis.Found(t.Context(), rand.Reader, testTime, f)
		if root != nil || !errors.As(err, &named) || !errors.Is(err, genesis.ErrNoShare) {
			t.Fatalf("the ceremony completed though the stick was pulled: %v", err)
		}
		for i, c := range f.Ceremony.Custodians[:2] {
			ref.X = byte(i + 1)
			if there, err := c.(genesis.Peeker).Holds(t.Context(), ref); there || err != nil || ref.Project.IsZero() {
				t.Errorf("%s still holds a share of %s: %t, %v", c.Label(), ref.Project, there, err)
			}
		}
		if raw, err := Journal(s.ring).Load(t.Context(), genesis.ProjectID{}); raw != nil || err != nil {
			t.Errorf("a founding is still noted: %v", err)
		}
	})
	scenario.Run(t, 71, "the machine is lost: token, phrase and recovery file in an empty directory find the root record and rebuild the key", func(t *testing.T) {
		s := newSolo(t)
		if err := os.Mkdir(s.stick, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := s.found(t)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ring.Close(); err != nil { // the machine with its keychain
			t.Fatal(err)
		}
		there := t.TempDir()
		copyFile(t, filepath.Join(s.stick, "recovery"), filepath.Join(there, "recovery"))
		from := []genesis.Custodian{
			KeyStore(memory.New()), Token(s.device, "4242", pin(testPIN, nil)), Phrase(s.who.ask, filepath.Join(there, "recovery")),
		}
		roots, err := genesis.FindRoots(t.Context(), from)
		if err != nil || len(roots) != 1 || roots[0].ID != root.ID {
			t.Fatalf("%d roots, %v", len(roots), err)
		}
		if err := useRoot(t, roots[0], from); err != nil {
			t.Fatal(err)
		}
		// The first thing to do there: new shares, so that the lost keychain is worth nothing.
		fresh, chain := memory.New(), genesis.NewChain(roots[0])
		ring := KeyStore(fresh)
		next, err := Solo(ring, from[1], from[2])
		if err != nil {
			t.Fatal(err)
		}
		res, err := genesis.Refresh(t.Context(), rand.Reader, genesis.Change{
			Root: roots[0], From: from, Next: next, Now: testTime, Journal: Journal(fresh),
			Store: func(_ context.Context, next *genesis.Root) error { _, err := chain.Add(next.Raw); return err },
		})
		if err != nil {
			t.Fatal(err)
		}
		if view := chain.View(); view.Current().ID != res.Root.ID {
			t.Fatal("the new record does not follow")
		}
		eachPair(t, chain, next.Custodians)
	})
	scenario.Run(t, 71, "token and phrase without the recovery file: no root record is found, and with one from elsewhere *QuorumError", func(t *testing.T) {
		s := newSolo(t)
		if err := os.Mkdir(s.stick, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := s.found(t)
		if err != nil {
			t.Fatal(err)
		}
		from := []genesis.Custodian{
			Token(s.device, "4242", pin(testPIN, nil)), Phrase(s.who.ask, filepath.Join(t.TempDir(), "recovery")),
		}
		if roots, err := genesis.FindRoots(t.Context(), from); len(roots) != 0 || err != nil {
			t.Fatalf("%d roots, %v", len(roots), err)
		}
		err = useRoot(t, root, from)
		var q *genesis.QuorumError
		if !errors.As(err, &q) || q.Have != 1 || q.Need != 2 || !errors.Is(err, genesis.ErrNoShare) {
			t.Fatalf("got %v", err)
		}
	})
}

// eachPair proves that any two custodians rebuild the key of the chain's current record.
func eachPair(t *testing.T, chain *genesis.Chain, custodians []genesis.Custodian) {
	t.Helper()
	view := chain.View()
	for i := range custodians {
		for j := range i {
			if err := useRoot(t, view.Current(), []genesis.Custodian{custodians[i], custodians[j]}); err != nil {
				t.Errorf("%s and %s: %v", custodians[j].Label(), custodians[i].Label(), err)
			}
		}
	}
}

// Scenario 74: a chosen phrase could be guessed by who has its sealed share, so no root record carries that: those go to
// every member.
func TestScenario74ChosenPhraseStaysOutOfRecords(t *testing.T) {
	scenario.Run(t, 74, "a phrase that the person chose: its sealed share is in no root record, neither the first nor those of new shares or a new key", func(t *testing.T) {
		cost.ForTests(t)
		recovery := filepath.Join(t.TempDir(), "recovery")
		who := func(context.Context, PhraseQuestion) (string, error) { return goodOwn, nil }
		ring := memory.New()
		custodians := []genesis.Custodian{KeyStore(ring), OwnPhrase(who, recovery)}
		f := founding(t, custodians...)
		f.Journal = Journal(ring)
		root, err := genesis.Found(t.Context(), rand.Reader, testTime, f)
		if err != nil {
			t.Fatal(err)
		}
		checkNoBlob(t, root, recovery)
		for _, do := range []func(context.Context, io.Reader, genesis.Change) (*genesis.Reshared, error){genesis.Refresh, genesis.Rekey} {
			res, err := do(t.Context(), rand.Reader, genesis.Change{
				Root: root, From: custodians, Next: f.Ceremony, Now: testTime, Journal: f.Journal,
				Store: func(context.Context, *genesis.Root) error { return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			root = res.Root
			checkNoBlob(t, root, recovery)
		}
	})
}

// checkNoBlob looks for a sealed share in a record: as a field, as its bytes, and as a piece of them.
func checkNoBlob(t *testing.T, root *genesis.Root, recovery string) {
	t.Helper()
	for _, set := range root.ShareSets {
		if len(set.PhraseBlob) > 0 {
			t.Errorf("version %d carries a phrase's share", root.N)
		}
	}
	content, err := (&phrase{path: recovery}).read()
	if err != nil {
		t.Fatal(err)
	}
	if len(content.Blobs) != 1 {
		t.Fatalf("%d sealed shares in the recovery file", len(content.Blobs))
	}
	b := content.Blobs[0]
	for at := 0; at+16 <= len(b.Sealed); at += 16 {
		if bytes.Contains(root.Raw, b.Sealed[at:at+16]) {
			t.Fatalf("version %d holds a piece of the sealed share", root.N)
		}
	}
	if salt := b.header.Salt; bytes.Contains(root.Raw, salt[:]) {
		t.Errorf("version %d holds the phrase's salt", root.N)
	}
}

// KeepRecords does not need the person within a ceremony, and does afterwards; a wrong phrase changes nothing.
func TestKeepRecords(t *testing.T) {
	cost.ForTests(t)
	p := new(person)
	path := filepath.Join(t.TempDir(), "recovery")
	c := Phrase(p.ask, path).(genesis.RecordKeeper)
	list := func(n int) (records [][]byte) {
		for i := range n {
			records = append(records, fmt.Append(nil, "record ", i))
		}
		return records
	}
	if err := c.KeepWithRecords(t.Context(), refOf(1, 1), []byte("share"), list(1)); err != nil {
		t.Fatal(err)
	}
	check := func(want int) {
		t.Helper()
		asked := p.asked
		records, err := c.Records(t.Context())
		if err != nil || len(records) != want {
			t.Fatalf("%d records, %v; want %d", len(records), err, want)
		}
		p.asked = asked
	}
	for n := 2; n < 4; n++ {
		if err := c.KeepRecords(t.Context(), refOf(1, 1), list(n)); err != nil || p.asked != 0 {
			t.Fatalf("within the ceremony: %v, %d questions", err, p.asked)
		}
		check(n)
	}
	c.EndCeremony()
	if err := c.KeepRecords(t.Context(), refOf(1, 1), list(4)); err != nil || p.asked != 1 {
		t.Fatalf("after it: %v, %d questions", err, p.asked)
	}
	check(4)
	paper := p.paper
	p.paper = wrongPhrase
	if err := c.KeepRecords(t.Context(), refOf(1, 1), list(5)); !errors.Is(err, ErrWrongPhrase) {
		t.Fatalf("wrong phrase: %v", err)
	}
	p.paper = paper
	check(4)
	if err := c.KeepRecords(t.Context(), refOf(1, 1), make([][]byte, MaxRecords+1)); err == nil {
		t.Error("too many records")
	}
	if err := c.KeepRecords(t.Context(), refOf(1, 2), list(1)); !errors.Is(err, genesis.ErrNoShare) {
		t.Errorf("no such share: %v", err)
	}
	if share, err := c.Recall(t.Context(), refOf(1, 1)); err != nil || string(share) != "share" {
		t.Errorf("the share: %q, %v", share, err)
	}
}
