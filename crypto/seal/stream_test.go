package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const sealedChunk = ChunkSize + Overhead

var streamKey = [KeySize]byte{5}

// boundary sizes of plaintext, and how many chunks they have.
var boundaries = []struct{ size, chunks int }{
	{0, 1}, {1, 1}, {ChunkSize - 1, 1}, {ChunkSize, 1}, {ChunkSize + 1, 2}, {2 * ChunkSize, 2}, {3*ChunkSize - 1, 3},
	{3 * ChunkSize, 3}, {3*ChunkSize + 1, 4},
}

func plaintext(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sealStream seals plain with writes of the given size; 0 means one write.
func sealStream(t testing.TB, plain []byte, write int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, streamKey, []byte("aad"))
	if write == 0 {
		write = max(len(plain), 1)
	}
	for part := range slices.Chunk(plain, write) {
		if n, err := w.Write(part); err != nil || n != len(part) {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openStream(sealed []byte) ([]byte, error) {
	return io.ReadAll(NewReader(bytes.NewReader(sealed), streamKey, []byte("aad")))
}

// slowSeal is the stream by the letter of SPEC.md.
func slowSeal(plain []byte) []byte {
	var out []byte
	for n := uint64(0); ; n++ {
		chunk, last := plain, true
		if len(plain) > ChunkSize {
			chunk, last = plain[:ChunkSize], false
		}
		plain = plain[len(chunk):]
		var nonce [NonceSize]byte
		for i := range 8 {
			nonce[22-i] = byte(n >> (8 * i))
		}
		if last {
			nonce[23] = 1
		}
		out = append(out, Seal(streamKey, nonce, []byte("aad"), chunk)...)
		if last {
			return out
		}
	}
}

func TestStreamBoundaries(t *testing.T) {
	for _, b := range boundaries {
		plain := plaintext(b.size)
		sealed := sealStream(t, plain, 0)
		if len(sealed) != b.size+b.chunks*Overhead {
			t.Errorf("%d bytes sealed have %d; want %d chunks", b.size, len(sealed), b.chunks)
		}
		if !bytes.Equal(sealed, slowSeal(plain)) {
			t.Errorf("%d bytes: not the specified stream", b.size)
		}
		for _, write := range []int{1 << 10, ChunkSize - 1, ChunkSize, ChunkSize + 1} {
			if !bytes.Equal(sealStream(t, plain, write), sealed) {
				t.Errorf("%d bytes in writes of %d: another stream", b.size, write)
			}
		}
		for name, r := range map[string]io.Reader{
			"whole":      bytes.NewReader(sealed),
			"halves":     iotest.HalfReader(bytes.NewReader(sealed)),
			"data & EOF": iotest.DataErrReader(bytes.NewReader(sealed)),
		} {
			got, err := io.ReadAll(NewReader(r, streamKey, []byte("aad")))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, source of %s: %v", b.size, name, err)
			}
		}
		if err := iotest.TestReader(NewReader(bytes.NewReader(sealed), streamKey, []byte("aad")), plain); err != nil {
			t.Errorf("%d bytes: %v", b.size, err)
		}
	}
}

// wantOpenError checks that a damaged stream ends in ErrOpen and that what came before is a true prefix of whole chunks.
func wantOpenError(t *testing.T, name string, sealed, plain []byte) {
	t.Helper()
	got, err := openStream(sealed)
	if !errors.Is(err, ErrOpen) {
		t.Errorf("%s: %v; want ErrOpen", name, err)
	}
	if len(got)%ChunkSize != 0 || !bytes.HasPrefix(plain, got) {
		t.Errorf("%s: %d bytes that are not whole chunks of the stream", name, len(got))
	}
}

func TestStreamTruncated(t *testing.T) {
	for _, b := range boundaries {
		plain := plaintext(b.size)
		sealed := sealStream(t, plain, 0)
		cuts := []int{0, 1, Overhead - 1, len(sealed) - 1, len(sealed) - Overhead}
		for n := range b.chunks {
			cuts = append(cuts, n*sealedChunk-1, n*sealedChunk, n*sealedChunk+1, n*sealedChunk+Overhead)
		}
		for _, cut := range cuts {
			if cut >= 0 && cut < len(sealed) {
				wantOpenError(t, fmt.Sprintf("%d bytes cut to %d", b.size, cut), sealed[:cut], plain)
			}
		}
	}
}

func TestStreamDamaged(t *testing.T) {
	plain := plaintext(3*ChunkSize + 100)
	sealed := sealStream(t, plain, 0)
	chunks := slices.Collect(slices.Chunk(sealed, sealedChunk))
	if len(chunks) != 4 {
		t.Fatalf("%d chunks; want 4", len(chunks))
	}
	a, b, c, d := chunks[0], chunks[1], chunks[2], chunks[3]
	exact := sealStream(t, plaintext(2*ChunkSize), 0) // another stream under the same key, for the test alone
	for _, x := range []struct {
		name   string
		sealed []byte
	}{
		{"first two exchanged", slices.Concat(b, a, c, d)},
		{"middle two exchanged", slices.Concat(a, c, b, d)},
		{"last two exchanged", slices.Concat(a, b, d, c)},
		{"first missing", slices.Concat(b, c, d)},
		{"middle missing", slices.Concat(a, c, d)},
		{"last missing", slices.Concat(a, b, c)},
		{"first twice", slices.Concat(a, a, b, c, d)},
		{"last twice", slices.Concat(a, b, c, d, d)},
		{"last alone", d},
		{"first appended", slices.Concat(a, b, c, d, a)},
		{"one byte appended", append(bytes.Clone(sealed), 0)},
		{"empty last chunk appended", append(bytes.Clone(sealed), Seal(streamKey, streamNonce(4, true), []byte("aad"), nil)...)},
		{"chunk of another stream", slices.Concat(a, exact[sealedChunk:], c, d)},
	} {
		wantOpenError(t, x.name, x.sealed, plain)
	}
	for _, i := range []int{0, ChunkSize, sealedChunk - 1, sealedChunk, 2*sealedChunk + 7, len(sealed) - 1} {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		wantOpenError(t, fmt.Sprintf("byte %d altered", i), bad, plain)
	}
	for name, r := range map[string]*Reader{
		"another key":   NewReader(bytes.NewReader(sealed), [KeySize]byte{6}, []byte("aad")),
		"another place": NewReader(bytes.NewReader(sealed), streamKey, []byte("aae")),
	} {
		if got, err := io.ReadAll(r); !errors.Is(err, ErrOpen) || len(got) > 0 {
			t.Errorf("%s: %d bytes, %v; want ErrOpen", name, len(got), err)
		}
	}
}

func TestStreamErrorsStay(t *testing.T) {
	sealed := sealStream(t, plaintext(ChunkSize+1), 0)
	r := NewReader(bytes.NewReader(sealed[:len(sealed)-1]), streamKey, []byte("aad"))
	if _, err := io.ReadAll(r); !errors.Is(err, ErrOpen) {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrOpen) {
		t.Errorf("reading on: %d, %v; want ErrOpen", n, err)
	}

	broken := errors.New("disk trouble")
	source := io.MultiReader(bytes.NewReader(sealed[:sealedChunk+10]), iotest.ErrReader(broken))
	got, err := io.ReadAll(NewReader(source, streamKey, []byte("aad")))
	if !errors.Is(err, broken) || errors.Is(err, ErrOpen) || len(got) != ChunkSize {
		t.Errorf("broken source: %d bytes, %v", len(got), err)
	}
}

// full fails after it took a number of bytes.
type full struct{ room int }

var errFull = errors.New("disk full")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return 0, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

func TestWriterErrors(t *testing.T) {
	w := NewWriter(&full{room: sealedChunk}, streamKey, nil)
	if _, err := w.Write(plaintext(ChunkSize + 1)); err != nil {
		t.Fatalf("what fits: %v", err)
	}
	if _, err := w.Write(plaintext(2 * ChunkSize)); !errors.Is(err, errFull) {
		t.Errorf("Write: %v; want the disk's error", err)
	}
	if _, err := w.Write([]byte{1}); !errors.Is(err, errFull) {
		t.Errorf("next Write: %v; want the disk's error", err)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v; want the disk's error", err)
	}
	w = NewWriter(&full{}, streamKey, nil)
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close of an empty stream: %v; want the disk's error", err)
	}
	w = NewWriter(io.Discard, streamKey, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("Write after Close")
	}
}

func TestStreamGolden(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/crypto/stream.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Size         int
		SealedSHA256 string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != len(boundaries) {
		t.Errorf("%d vectors; want %d", len(vectors), len(boundaries))
	}
	for _, v := range vectors {
		// Plaintext of zeros, so that the vector needs no generator.
		sum := sha256.Sum256(sealStream(t, make([]byte, v.Size), 0))
		if got := hex.EncodeToString(sum[:]); got != v.SealedSHA256 {
			t.Errorf("%d bytes: SHA-256 %s; want %s", v.Size, got, v.SealedSHA256)
		}
	}
}

func TestStreamPrintsNoKey(t *testing.T) {
	key := [KeySize]byte(bytes.Repeat([]byte{0xab}, KeySize))
	w, r := NewWriter(io.Discard, key, nil), NewReader(nil, key, nil)
	for _, v := range []any{w, *w, r, *r} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			out := strings.ToLower(fmt.Sprintf(format, v))
			if out != "[redacted]" {
				t.Errorf("%T with %s: %.80s", v, format, out)
			}
		}
		type inner struct{ v any }
		for _, format := range []string{"%v", "%s", "%q", "%d", "%x"} {
			if out := fmt.Sprintf(format, inner{v}); strings.Contains(out, "171 171") || strings.Contains(out, "abab") {
				t.Errorf("within a struct, %T with %s: %.80s", v, format, out)
			}
		}
		if out, err := json.Marshal(v); err != nil || strings.Contains(string(out), "171") {
			t.Errorf("%T as JSON: %.80s, %v", v, out, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	whole := sealStream(f, []byte("a short stream"), 0)
	f.Add(whole, 0)
	f.Add(sealStream(f, make([]byte, ChunkSize+1), 0), 100)
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		r := NewReader(bytes.NewReader(raw), streamKey, []byte("aad"))
		buf := make([]byte, 1+uint(size)%(2*ChunkSize))
		var got []byte
		for {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				if !errors.Is(err, ErrOpen) {
					t.Fatalf("untyped error: %v", err)
				}
				return
			}
		}
		if !bytes.Equal(slowSeal(got), raw) {
			t.Fatal("opened what was not sealed")
		}
	})
}
