package custodian

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/internal/secmem"
)

// OwnPhraseFunc talks to the person who chose a recovery phrase, and returns what was typed. Case, width and spaces do
// not matter. It should return ctx's error when ctx ends.
type OwnPhraseFunc func(ctx context.Context, ask PhraseQuestion) (string, error)

// PhraseQuestion says what a person is asked for.
type PhraseQuestion struct {
	Step PhraseStep
	Why  error // what was wrong with the answer before, such as a [*WeakPhraseError]; nil at first
}

// PhraseStep is one of the questions about a phrase.
type PhraseStep int

const (
	EnterPhrase  PhraseStep = iota // the phrase that was chosen before
	ChoosePhrase                   // a new phrase
	RepeatPhrase                   // the new phrase once more, without showing it
)

// own is a person who chooses the phrase.
type own struct{ ask OwnPhraseFunc }

// agree asks for a new phrase until it is strong enough and was repeated, three times at most.
func (o own) agree(ctx context.Context) ([]byte, error) {
	var why error
	for range phraseTries {
		chosen, err := o.question(ctx, PhraseQuestion{ChoosePhrase, why})
		if err == nil {
			err = checkStrength(chosen)
		}
		if err == nil {
			err = o.repeat(ctx, chosen)
		}
		if err == nil {
			return chosen, nil
		}
		secmem.Wipe(chosen)
		if why = err; !mayRetry(err) {
			break
		}
	}
	return nil, why
}

// repeat makes sure that a person can type the phrase again.
func (o own) repeat(ctx context.Context, chosen []byte) error {
	again, err := o.question(ctx, PhraseQuestion{Step: RepeatPhrase})
	defer secmem.Wipe(again)
	if err == nil && subtle.ConstantTimeCompare(again, chosen) != 1 {
		err = fmt.Errorf("%w: what was repeated is another phrase", ErrWrongPhrase)
	}
	return err
}

func mayRetry(err error) bool {
	var weak *WeakPhraseError
	return errors.As(err, &weak) || errors.Is(err, ErrWrongPhrase)
}

func (o own) recall(ctx context.Context) ([]byte, error) {
	return o.question(ctx, PhraseQuestion{Step: EnterPhrase})
}

// question asks the person and returns the phrase in normal form.
func (o own) question(ctx context.Context, q PhraseQuestion) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("custodian: ask for a phrase: %w", err)
	}
	if o.ask == nil {
		return nil, errors.New("custodian: there is no function to ask for a phrase")
	}
	typed, err := o.ask(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("custodian: ask for a phrase: %w", err)
	}
	if len(typed) > MaxPhrase {
		return nil, fmt.Errorf("%w: %d bytes, at most %d can be", ErrWrongPhrase, len(typed), MaxPhrase)
	}
	return normalPhrase(typed), nil
}
