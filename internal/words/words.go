// Package words writes secrets and fingerprints as words that people can read aloud, copy on paper and type again:
// the 2048-word English list of BIP-39, eleven bits a word.
//
// Use [Encode] and [Decode] for secrets of 16 and 32 bytes (12 and 24 words; the last word carries a checksum that
// catches most typing errors), [Generate] for a fresh phrase, [Parse] for what a person typed, and [Fingerprint] for
// a public identifier, which carries no checksum.
//
// Words of a secret are Go strings, which cannot be wiped: keep them for as short a time as possible.
package words

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/unicode/norm"
)

//go:embed words.txt
var text string

var (
	list  = strings.Fields(text)
	index = newIndex()
)

func newIndex() map[string]int {
	m := make(map[string]int, len(list))
	for i, w := range list {
		m[w] = i
	}
	return m
}

const (
	bitsPerWord = 11
	maxInput    = 1024 // bytes that Parse reads; 24 words have at most 215
)

var (
	// ErrCount means that a phrase has not 12 or 24 words.
	ErrCount = errors.New("words: a phrase has 12 or 24 words")
	// ErrChecksum means that every word is known but they do not belong together: one was mistaken for another, or
	// two changed places.
	ErrChecksum = errors.New("words: the checksum is wrong; compare every word and their order with the original")
	// ErrTooLong means that the input is no phrase.
	ErrTooLong = errors.New("words: input is too long to be a phrase")
)

// UnknownWordError names the place of a word that is not on the list, never the word itself.
type UnknownWordError struct {
	Position int // from 1
}

func (e *UnknownWordError) Error() string {
	return fmt.Sprintf("words: word %d is not on the list; compare it with the original", e.Position)
}

// Encode returns the 12 words of 16 bytes or the 24 words of 32 bytes. It panics on any other length.
func Encode(data []byte) []string {
	if len(data) != 16 && len(data) != 32 {
		panic(fmt.Sprintf("words: %d bytes cannot be encoded, only 16 or 32", len(data)))
	}
	sum := sha256.Sum256(data)
	bits := append(append(make([]byte, 0, len(data)+1), data...), sum[0])
	defer clear(bits)
	return take(bits, (len(data)*8+len(data)/4)/bitsPerWord)
}

// Decode returns the bytes of 12 or 24 words. It fails with [ErrCount], [ErrChecksum] or an [*UnknownWordError].
func Decode(phrase []string) ([]byte, error) {
	var size int
	switch len(phrase) {
	case 12:
		size = 16
	case 24:
		size = 32
	default:
		return nil, fmt.Errorf("%w, not %d", ErrCount, len(phrase))
	}
	bits := make([]byte, size+1)
	defer clear(bits)
	for i, w := range phrase {
		v, ok := index[w]
		if !ok {
			return nil, &UnknownWordError{Position: i + 1}
		}
		put(bits, i, v)
	}
	data := append([]byte(nil), bits[:size]...)
	sum := sha256.Sum256(data)
	// The checksum is the first size/4 bits of the hash: 4 of 16 bytes, 8 of 32.
	if unused := 8 - size/4; bits[size]>>unused != sum[0]>>unused {
		clear(data)
		return nil, ErrChecksum
	}
	return data, nil
}

// Generate draws a phrase of n words, 12 (128 bits) or 24 (256 bits), with its checksum. It panics on another n.
func Generate(random io.Reader, n int) ([]string, error) {
	if n != 12 && n != 24 {
		panic(fmt.Sprintf("words: a phrase of %d words cannot be generated, only 12 or 24", n))
	}
	data := make([]byte, n*4/3)
	defer clear(data)
	if _, err := io.ReadFull(random, data); err != nil {
		return nil, fmt.Errorf("words: random bytes: %w", err)
	}
	return Encode(data), nil
}

// Parse reads words that a person typed. Case, width, line ends and repeated spaces do not matter. Every word
// returned is on the list; their number and checksum are for [Decode] to check. It fails with [ErrTooLong] or an
// [*UnknownWordError].
func Parse(s string) ([]string, error) {
	if len(s) > maxInput {
		return nil, ErrTooLong
	}
	phrase := strings.Fields(strings.ToLower(norm.NFKD.String(s)))
	for i, w := range phrase {
		if _, ok := index[w]; !ok {
			return nil, &UnknownWordError{Position: i + 1}
		}
	}
	return phrase, nil
}

// Fingerprint returns the first n groups of eleven bits of a public identifier as words, n at most 23. Six words are
// 66 bits, enough to compare by voice. It panics if n is out of range.
func Fingerprint(id [32]byte, n int) []string {
	if n < 1 || n > len(id)*8/bitsPerWord {
		panic(fmt.Sprintf("words: a fingerprint cannot have %d words", n))
	}
	return take(id[:], n)
}

// take reads n words from the front of bits.
func take(bits []byte, n int) []string {
	out := make([]string, n)
	for i := range out {
		v := 0
		for b := i * bitsPerWord; b < (i+1)*bitsPerWord; b++ {
			v = v<<1 | int(bits[b/8]>>(7-b%8)&1)
		}
		out[i] = list[v]
	}
	return out
}

// put writes the value of word i into bits, which are zero there.
func put(bits []byte, i, v int) {
	for b := range bitsPerWord {
		if v>>(bitsPerWord-1-b)&1 == 1 {
			at := i*bitsPerWord + b
			bits[at/8] |= 1 << (7 - at%8)
		}
	}
}
