package plaintext

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

const word = "Vermilion Kettledrum"

// writers leave a word in each of the forms in which it has to be found.
var writers = map[string]func(string) []byte{
	"plain": func(s string) []byte { return []byte(s) },
	"other case": func(s string) []byte {
		return []byte(strings.ToUpper(s))
	},
	"UTF-16LE": func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return b
	},
	"UTF-16BE": func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u>>8), byte(u))
		}
		return b
	},
	"hex":       func(s string) []byte { return []byte(hex.EncodeToString([]byte("a" + s + "b"))) },
	"upper hex": func(s string) []byte { return []byte(strings.ToUpper(hex.EncodeToString([]byte(s)))) },
	"base64 0":  func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s + "xyz"))) },
	"base64 1":  func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte("a" + s + "xy"))) },
	"base64 2":  func(s string) []byte { return []byte(base64.URLEncoding.EncodeToString([]byte("ab" + s))) },
	"gzip":      squeezed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }),
	"zlib":      squeezed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }),
	"deflate": squeezed(func(w io.Writer) io.WriteCloser {
		d, _ := flate.NewWriter(w, flate.BestCompression)
		return d
	}),
	"zstd": squeezed(func(w io.Writer) io.WriteCloser {
		e, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return e
	}),
}

func squeezed(compressor func(io.Writer) io.WriteCloser) func(string) []byte {
	return func(s string) []byte {
		var b bytes.Buffer
		w := compressor(&b)
		_, _ = io.WriteString(w, strings.Repeat("some text around it, ", 20)+s+strings.Repeat(" and more", 20))
		_ = w.Close()
		return b.Bytes()
	}
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Whatever form a word is left in, anywhere among other bytes, it is found; and nothing is found where it is not.
func TestFind(t *testing.T) {
	f, err := New(word)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(8) {
				data := slices.Concat(noise(seed, 1000+int(seed)), write(word), noise(seed+100, 1000))
				if hits := f.Find(data); len(hits) == 0 {
					t.Errorf("not found behind %d bytes", 1000+seed)
				}
				if hits := f.Find(slices.Concat(noise(seed, 1000), write("Vermilion Nettledrum"), noise(seed, 1000))); len(hits) > 0 {
					t.Errorf("found what is not there: %v", hits)
				}
			}
		})
	}
}

func TestFindIn(t *testing.T) {
	f, err := New(word, "kettle.mov")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"clean": noise(1, 5000), "sub/Kettle.mov": noise(2, 100), "sub/held": slices.Concat(noise(3, 50), []byte(word)),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hits, files, err := f.FindIn(dir)
	if err != nil || files != 3 || len(hits) != 2 {
		t.Errorf("%d files, hits %q, %v; want 3 files and 2 hits", files, hits, err)
	}
}

func TestShortWordsAreRefused(t *testing.T) {
	if _, err := New("reel 12"); err == nil {
		t.Error("a word of seven bytes was taken")
	}
}
