// Package plaintext looks for words that must not be readable in bytes that a test has recorded, in any form in which
// software tends to leave them: as they are, in UTF-16, base64 or hex, or compressed. For tests.
package plaintext

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// minWord keeps words from being found by chance: 8 bytes are right by accident once in 2^64 places.
const minWord = 8

// maxInflated bounds what is made of one compressed stream.
const maxInflated = 4 << 20

// deflateSpan is how far into data a raw DEFLATE stream, which no magic number announces, may begin to be found.
const deflateSpan = 32 << 10

// Finder knows words and the forms in which they could be found.
type Finder struct {
	forms []form
	zstd  *zstd.Decoder
	flate io.ReadCloser
}

type form struct {
	word, name string
	bytes      []byte
	fold       bool // in any case: hex and names that were folded
}

// New returns a finder of words, each at least 8 bytes long. It is used by one goroutine.
func New(words ...string) (*Finder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated))
	if err != nil {
		return nil, fmt.Errorf("plaintext: zstd: %w", err)
	}
	f := &Finder{zstd: dec, flate: flate.NewReader(nil)}
	for _, w := range words {
		if len(w) < minWord {
			return nil, fmt.Errorf("plaintext: %q is shorter than %d bytes and would be found by chance", w, minWord)
		}
		f.forms = append(f.forms, formsOf(w)...)
	}
	return f, nil
}

// Close frees the decoders.
func (f *Finder) Close() { f.zstd.Close() }

func formsOf(word string) []form {
	forms := []form{{word, "plain", bytes.ToLower([]byte(word)), true}}
	var le, be []byte
	for _, u := range utf16.Encode([]rune(word)) {
		le, be = append(le, byte(u), byte(u>>8)), append(be, byte(u>>8), byte(u))
	}
	forms = append(forms, form{word, "UTF-16LE", le, false}, form{word, "UTF-16BE", be, false},
		form{word, "hex", []byte(hex.EncodeToString([]byte(word))), true})
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			forms = append(forms, form{word, "base64", encodedWithin(enc, word, shift), false})
		}
	}
	return forms
}

// encodedWithin returns the characters that base64 gives for word, whatever stands around it, if it begins shift bytes
// into a group of three.
func encodedWithin(enc *base64.Encoding, word string, shift int) []byte {
	whole := []byte(enc.EncodeToString(append(make([]byte, shift), word...)))
	first := (shift*8 + 5) / 6                // the first character that depends on the word alone
	last := (shift + len(word)) * 8 / 6       // behind the last one
	return whole[first:min(last, len(whole))] // characters between
}

// Hit is a word that was found.
type Hit struct {
	Word string
	Form string // how it was written
	At   int    // offset in bytes; of the compressed stream if there is one
}

// String describes the hit.
func (h Hit) String() string { return fmt.Sprintf("%q as %s at %d", h.Word, h.Form, h.At) }

// Find returns the first hit of each word and form.
func (f *Finder) Find(data []byte) []Hit {
	hits := f.direct(data, 0, "")
	for _, c := range f.inflate(data) {
		hits = append(hits, f.direct(c.out, c.at, c.kind+" of ")...)
	}
	return hits
}

func (f *Finder) direct(data []byte, base int, prefix string) []Hit {
	var hits []Hit
	folded := bytes.ToLower(data)
	for _, form := range f.forms {
		in := data
		if form.fold {
			in = folded
		}
		if i := bytes.Index(in, form.bytes); i >= 0 {
			at := base
			if prefix == "" {
				at = i
			}
			hits = append(hits, Hit{form.word, prefix + form.name, at})
		}
	}
	return hits
}

// inflated is what a compressed stream within data holds.
type inflated struct {
	kind string
	at   int
	out  []byte
}

// inflate tries every place at which a compressed stream could begin.
func (f *Finder) inflate(data []byte) []inflated {
	var found []inflated
	try := func(kind string, at int, open func(io.Reader) (io.Reader, error)) {
		r, err := open(bytes.NewReader(data[at:]))
		if err != nil {
			return
		}
		out, _ := io.ReadAll(io.LimitReader(r, maxInflated)) // up to where it breaks off
		if len(out) >= minWord {
			found = append(found, inflated{kind, at, out})
		}
	}
	each(data, "\x1f\x8b\x08", func(i int) {
		try("gzip", i, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
	})
	for _, magic := range []string{"\x78\x01", "\x78\x5e", "\x78\x9c", "\x78\xda"} {
		each(data, magic, func(i int) { try("zlib", i, func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }) })
	}
	each(data, "\x28\xb5\x2f\xfd", func(i int) {
		try("zstd", i, func(r io.Reader) (io.Reader, error) { return f.zstd, f.zstd.Reset(r) })
	})
	for i := range min(len(data), deflateSpan) {
		try("deflate", i, func(r io.Reader) (io.Reader, error) {
			return f.flate, f.flate.(flate.Resetter).Reset(r, nil)
		})
	}
	return found
}

func each(data []byte, magic string, fn func(at int)) {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(magic))
		if i < 0 {
			return
		}
		fn(at + i)
		at += i + 1
	}
}

// FindIn looks through every file below dir, and through the files' names, and returns what it found with the path in
// front. files is how many were read.
func (f *Finder) FindIn(dir string) (hits []string, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		for _, h := range f.direct([]byte(name), 0, "") {
			hits = append(hits, fmt.Sprintf("name of %s: %s", name, h))
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, h := range f.Find(data) {
			hits = append(hits, fmt.Sprintf("%s: %s", name, h))
		}
		return nil
	})
	return hits, files, err
}
