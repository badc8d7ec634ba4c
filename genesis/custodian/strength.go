package custodian

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/ccojocar/zxcvbn-go"
	"golang.org/x/text/unicode/norm"
)

// WeakPhraseError means that a phrase of a person's own could be guessed by who has the recovery file. It holds nothing
// of the phrase.
type WeakPhraseError struct {
	Bits int // how hard it is to guess, generously estimated: 2 to this power tries
	Need int // how hard it must be
}

func (e *WeakPhraseError) Error() string {
	return fmt.Sprintf("custodian: phrase is too easy to guess, about %d bits and at least %d are needed; "+
		"take seven or more words that nobody would say together, or let twelve be generated", e.Bits, e.Need)
}

// normalPhrase is the form in which phrases are stretched: letters without case, width and variants of writing, one
// space between words.
func normalPhrase(typed string) []byte {
	return []byte(strings.Join(strings.Fields(strings.ToLower(norm.NFKC.String(typed))), " "))
}

// checkStrength fails with a [*WeakPhraseError] if a phrase in normal form is under the floor.
func checkStrength(phrase []byte) error {
	if bits := strength(string(phrase)); bits < minPhraseBits {
		return &WeakPhraseError{Bits: bits, Need: minPhraseBits}
	}
	return nil
}

// strength estimates the work of guessing a phrase in bits. Each different word counts once, by its rank among known
// passwords, names and words, or by its pattern; a word of letters alone never counts for more than one drawn from a
// dictionary, because people choose words and not letters. Spaces and order count for nothing: whoever guesses knows
// how phrases look.
func strength(phrase string) int {
	total, seen := 0.0, map[string]bool{}
	for _, word := range strings.Fields(phrase) {
		if seen[word] {
			continue
		}
		seen[word] = true
		bits := zxcvbn.PasswordStrength(word, nil).Entropy
		if isWord(word) {
			bits = min(bits, wordBits)
		}
		total += bits
	}
	return int(total)
}

func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsPunct(r) })
}
