package governance

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab/identity"
)

// What is on the paper ends the identity, from the file and from the words, and nobody else's.
func TestRevocationKit(t *testing.T) {
	tm := newTeam(t, 2)
	e, other := tm.person("E"), tm.person("F")
	var seed identity.Seed
	copy(seed[:], "revocation seed of E")
	var paper bytes.Buffer
	if err := WriteKit(&paper, seed, e.cert); err != nil {
		t.Fatal(err)
	}
	if err := WriteKit(&bytes.Buffer{}, seed, other.cert); err == nil {
		t.Error("a kit was written that ends nobody")
	}
	fromFile, err := ReadKit(strings.NewReader("scanned on Monday\n" + paper.String()))
	if err != nil || fromFile.Verify(e.cert) != nil {
		t.Fatal(err)
	}
	if fromFile.Verify(other.cert) == nil {
		t.Error("it ends somebody else")
	}
	_, line, _ := strings.Cut(paper.String(), kitWords)
	phrase, _, _ := strings.Cut(line, "\n")
	typed, err := KitFromWords("  "+strings.ToUpper(phrase), e.cert)
	if err != nil || typed.ID() != fromFile.ID() {
		t.Errorf("from the words: %v", err)
	}
	if got, err := KitWords(strings.NewReader(paper.String())); err != nil || got != phrase {
		t.Errorf("the words in the file: %v", err)
	}
	if got, err := KitOwner(phrase, []*identity.IdentityCert{other.cert, e.cert}); err != nil || got != e.cert {
		t.Errorf("whose they are: %v", err)
	}
	if _, err := KitOwner(phrase, []*identity.IdentityCert{other.cert}); !errors.Is(err, ErrKit) {
		t.Errorf("nobody's words: %v", err)
	}
	since := LastGood{Device: e.device.ID, Aseq: 3}
	if r, err := KitFromWords(phrase, e.cert, since); err != nil || len(r.CompromisedSince) != 1 || r.CompromisedSince[0] != since {
		t.Errorf("with the last good event: %v", err)
	}
	for name, text := range map[string]string{"nothing": "", "no record": kitTitle, "damaged": kitTitle + "\n" + kitRecord + "AAAA"} {
		if _, err := ReadKit(strings.NewReader(text)); !errors.Is(err, ErrKit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := KitFromWords(phrase, other.cert); !errors.Is(err, ErrKit) {
		t.Errorf("another's words: %v", err)
	}
	if _, err := KitFromWords("abandon ability", e.cert); !errors.Is(err, ErrKit) {
		t.Errorf("too few words: %v", err)
	}
}

// FuzzReadKit: no text makes the reader panic.
func FuzzReadKit(f *testing.F) {
	f.Add(kitTitle + "\n" + kitRecord + "AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ReadKit(strings.NewReader(text)); err == nil && r == nil {
			t.Fatal("nothing read")
		}
		_, _ = KitWords(strings.NewReader(text))
	})
}
