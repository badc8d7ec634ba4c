package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/internal/secmem"
)

// ChunkSize is the size in bytes of a stream's plaintext chunks. Each is sealed on its own with its number and a
// mark on the last one (the STREAM construction), so that no chunk can be dropped, moved or appended unseen.
const ChunkSize = 64 << 10

// streamNonce is the chunk's number in 8 bytes and the mark of the last chunk, after 15 zero bytes. The key of a
// stream is used for that stream alone.
func streamNonce(n uint64, last bool) (nonce [NonceSize]byte) {
	binary.BigEndian.PutUint64(nonce[NonceSize-9:], n)
	if last {
		nonce[NonceSize-1] = 1
	}
	return nonce
}

// Writer seals a stream. Close seals the last chunk; a stream that was not closed does not open.
type Writer struct {
	w   io.Writer
	key secmem.Hidden[[KeySize]byte]
	aad []byte
	buf []byte
	n   uint64
	err error
}

// NewWriter returns a writer that seals to w under a key that is used for this stream only.
func NewWriter(w io.Writer, key [KeySize]byte, aad []byte) *Writer {
	return &Writer{w: w, key: secmem.Hide(key), aad: aad, buf: make([]byte, 0, ChunkSize)}
}

// Write seals p in chunks of [ChunkSize] bytes.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if w.err != nil {
			return written, w.err
		}
		if len(w.buf) == ChunkSize {
			w.flush(false)
			continue
		}
		n := copy(w.buf[len(w.buf):ChunkSize], p)
		w.buf = w.buf[:len(w.buf)+n]
		p = p[n:]
		written += n
	}
	return written, w.err
}

// Close seals what is left as the last chunk. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err == nil {
		w.flush(true)
	}
	if w.err == nil {
		w.err = errors.New("seal: stream is closed")
		return nil
	}
	return w.err
}

func (w *Writer) flush(last bool) {
	_, w.err = w.w.Write(Seal(*w.key.Get(), streamNonce(w.n, last), w.aad, w.buf))
	w.n++
	w.buf = w.buf[:0]
}

// Reader opens a stream that a [Writer] sealed. Every byte it returns is authentic; [io.EOF] means that the whole
// stream was read. Damage and truncation give [ErrOpen].
type Reader struct {
	r     io.Reader
	key   secmem.Hidden[[KeySize]byte]
	aad   []byte
	chunk []byte // sealed chunk, and room for one byte more to see whether it is the last
	have  int
	plain []byte
	n     uint64
	err   error
}

// NewReader returns a reader of the stream sealed to r.
func NewReader(r io.Reader, key [KeySize]byte, aad []byte) *Reader {
	return &Reader{r: r, key: secmem.Hide(key), aad: aad, chunk: make([]byte, ChunkSize+Overhead+1)}
}

// Read returns opened bytes.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// next opens one chunk. A chunk is the last one exactly if no byte follows it.
func (r *Reader) next() {
	n, err := io.ReadFull(r.r, r.chunk[r.have:])
	r.have += n
	last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !last {
		r.err = fmt.Errorf("seal: read stream: %w", err)
		return
	}
	size := r.have
	if !last {
		size--
	}
	r.plain, r.err = Open(*r.key.Get(), streamNonce(r.n, last), r.aad, r.chunk[:size])
	if r.err != nil {
		r.err = fmt.Errorf("%w: chunk %d of a stream", r.err, r.n)
		return
	}
	r.n++
	if last {
		r.err = io.EOF
		return
	}
	r.chunk[0] = r.chunk[size]
	r.have = 1
}

// String, GoString and Format never show the key.
func (Writer) String() string             { return secmem.Redacted }
func (Writer) GoString() string           { return secmem.Redacted }
func (Writer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secmem.Redacted) }
func (Reader) String() string             { return secmem.Redacted }
func (Reader) GoString() string           { return secmem.Redacted }
func (Reader) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secmem.Redacted) }
