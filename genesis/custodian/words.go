package custodian

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/words"
)

// PhraseFunc talks to the person who keeps a recovery phrase. If generated is not empty it is a new phrase: show it,
// have it written down, and return what the person types back from the paper; typed wrongly, it is called again, up
// to three times. If generated is empty, ask for the phrase and return it. Case and spaces do not matter. It should
// return ctx's error when ctx ends.
type PhraseFunc func(ctx context.Context, generated string) (string, error)

// generated is a person who writes down words of the list.
type generated struct{ ask PhraseFunc }

func (g generated) agree(ctx context.Context) ([]byte, error) {
	list, err := words.Generate(rand.Reader, phraseWords)
	if err != nil {
		return nil, fmt.Errorf("custodian: make a phrase: %w", err)
	}
	want := []byte(strings.Join(list, " "))
	for try := 1; ; try++ {
		typed, err := g.question(ctx, string(want))
		if err == nil && subtle.ConstantTimeCompare(typed, want) == 1 {
			secmem.Wipe(typed)
			return want, nil
		}
		secmem.Wipe(typed)
		if err == nil {
			err = fmt.Errorf("%w: what was typed back is not the phrase that was shown", ErrWrongPhrase)
		}
		if !errors.Is(err, ErrWrongPhrase) || try == phraseTries {
			secmem.Wipe(want)
			return nil, err
		}
	}
}

func (g generated) recall(ctx context.Context) ([]byte, error) { return g.question(ctx, "") }

// question asks the person and returns words of the list, one space between.
func (g generated) question(ctx context.Context, generated string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("custodian: ask for a phrase: %w", err)
	}
	if g.ask == nil {
		return nil, errors.New("custodian: there is no function to ask for a phrase")
	}
	typed, err := g.ask(ctx, generated)
	if err != nil {
		return nil, fmt.Errorf("custodian: ask for a phrase: %w", err)
	}
	list, err := words.Parse(typed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrongPhrase, err)
	}
	if len(list) != phraseWords {
		return nil, fmt.Errorf("%w: %d words, it has %d", ErrWrongPhrase, len(list), phraseWords)
	}
	return []byte(strings.Join(list, " ")), nil
}
