package custodian

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
)

const goodOwn = "Purple elephant juggles seventeen quiet lanterns below gravity"

// chooser answers questions about an own phrase from a list and remembers what it was asked.
type chooser struct {
	answers []string
	err     error
	asked   []PhraseQuestion
}

func (c *chooser) ask(_ context.Context, q PhraseQuestion) (string, error) {
	c.asked = append(c.asked, q)
	if len(c.answers) == 0 {
		return "", c.err
	}
	a := c.answers[0]
	c.answers = c.answers[1:]
	return a, nil
}

func TestStrengthFloor(t *testing.T) {
	for _, weak := range []string{
		"", "hunter2", "Tr0ub4dour&3", "correct horse battery staple", "to be or not to be, that is the question",
		"the quick brown fox jumps over the lazy dog", "it was the best of times it was the worst of times",
		"qwertyuiopasdfghjklzxcvbnm1234567890", strings.Repeat("lantern ", 30), strings.Repeat("a", 200),
		"20260101 20001011 19991231 20001231", "letmein letmein1 letmein2 password passw0rd", "Donaudampfschifffahrtsgesellschaft",
	} {
		err := checkStrength(normalPhrase(weak))
		var w *WeakPhraseError
		if !errors.As(err, &w) || w.Need != minPhraseBits || w.Bits >= w.Need {
			t.Errorf("%q is strong enough: %v", weak, err)
		}
		if err != nil && weak != "" && strings.Contains(err.Error(), weak) {
			t.Errorf("the error holds the phrase: %v", err)
		}
	}
	for _, strong := range []string{
		goodOwn, "x7Kq!m9Zr2#LpVw4", "correct horse battery staple wagon mirror lantern",
		"летом бабушка красит облака синей акварелью вместо забора",
	} {
		if err := checkStrength(normalPhrase(strong)); err != nil {
			t.Errorf("%q: %v", strong, err)
		}
	}
}

func TestOwnPhraseIsChosenAndRepeated(t *testing.T) {
	cost.ForTests(t)
	gaveUp := errors.New("window closed")
	for _, tt := range []struct {
		name    string
		answers []string
		want    error
		steps   string
	}{
		{"at once", []string{goodOwn, "  purple ELEPHANT juggles\tseventeen quiet lanterns below gravity\n"}, nil, "01"},
		{"first too weak", []string{"hunter2", goodOwn, goodOwn}, nil, "001"},
		{"repeated wrongly, then right", []string{goodOwn, "another", goodOwn, goodOwn}, nil, "0101"},
		{"never strong", []string{"a", "b", "c"}, new(WeakPhraseError), "000"},
		{"never repeated", []string{goodOwn, "a", goodOwn, "b", goodOwn, "c"}, ErrWrongPhrase, "010101"},
		{"too long", []string{strings.Repeat("x", MaxPhrase+1), goodOwn, goodOwn}, nil, "001"},
		{"gives up", []string{goodOwn}, gaveUp, "01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "recovery")
			who := &chooser{answers: tt.answers, err: gaveUp}
			err := OwnPhrase(who.ask, path).Keep(t.Context(), refOf(1, 1), []byte("share"))
			var weak *WeakPhraseError
			if _, wantWeak := tt.want.(*WeakPhraseError); wantWeak && !errors.As(err, &weak) || !wantWeak && !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			steps := ""
			for i, q := range who.asked {
				steps += map[PhraseStep]string{ChoosePhrase: "0", RepeatPhrase: "1", EnterPhrase: "2"}[q.Step]
				if (q.Why != nil) != (i > 0 && q.Step == ChoosePhrase) {
					t.Errorf("question %d says %v", i, q.Why)
				}
			}
			if steps != tt.steps {
				t.Errorf("asked %s, want %s", steps, tt.steps)
			}
			again := OwnPhrase((&chooser{answers: []string{strings.ToUpper(goodOwn)}}).ask, path)
			share, err := again.Recall(t.Context(), refOf(1, 1))
			if tt.want == nil && (err != nil || string(share) != "share") {
				t.Errorf("recall: %q, %v", share, err)
			}
			if tt.want != nil && !errors.Is(err, genesis.ErrNoShare) {
				t.Errorf("a share was kept: %v", err)
			}
		})
	}
}

func TestOwnPhraseIsNotPrinted(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(t.TempDir(), "recovery")
	who := &chooser{answers: []string{"swordfish", goodOwn, "another answer", goodOwn, goodOwn}}
	c := OwnPhrase(who.ask, path)
	if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recall(t.Context(), refOf(1, 1)); err != nil { // uses up the remembered key
		t.Fatal(err)
	}
	wrong := OwnPhrase((&chooser{answers: []string{"swordfish"}}).ask, path)
	_, err := wrong.Recall(t.Context(), refOf(1, 1))
	if !errors.Is(err, ErrWrongPhrase) {
		t.Fatalf("wrong phrase: %v", err)
	}
	shown := fmt.Sprintf("%v %+v %#v %v %+v %v", c, c, err, err, wrong, who.asked)
	for _, secret := range []string{"swordfish", "another answer", "elephant"} {
		if strings.Contains(strings.ToLower(shown), secret) {
			t.Errorf("%q is printed: %s", secret, shown)
		}
	}
	if _, err := OwnPhrase(nil, path).Recall(t.Context(), refOf(1, 1)); err == nil {
		t.Error("a phrase came from nobody")
	}
}
