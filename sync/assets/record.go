package assets

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// hash names a sealed block: the SHA-256 of it.
type hash = wire.ID

// entry is what the index says of a file. Its key must be kept from all but members.
type entry struct {
	Size     int64
	Key      [seal.KeySize]byte
	Manifest []hash // the sealed parts of the manifest
	Time     time.Time
}

// entryRecord is an entry as it stands in the index.
type entryRecord struct {
	wire.Head
	Size     uint64             `cbor:"3,keyasint"`
	Key      [seal.KeySize]byte `cbor:"4,keyasint"`
	Manifest []byte             `cbor:"5,keyasint"` // hashes, one after another
	Time     uint64             `cbor:"6,keyasint"` // ms since 1970, as its author says
}

// Format keeps the key out of logs.
func (e entry) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{size: %d, id: %s, redacted}", e.Size, e.id().Short())
}

// MarshalJSON keeps the key out of JSON.
func (e entry) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// id is the content address of the manifest.
func (e *entry) id() wire.ID { return derive.ID("asset", joinHashes(e.Manifest)) }

func (e *entry) encode() []byte {
	return wire.Marshal(entryRecord{
		Head: wire.NewHead(), Size: uint64(e.Size), Key: e.Key, Manifest: joinHashes(e.Manifest), Time: uint64(e.Time.UnixMilli()),
	})
}

// decodeEntry reads an entry that any editor may have written.
func decodeEntry(raw []byte) (*entry, error) {
	var r entryRecord
	if err := wire.Unmarshal(raw, &r, maxEntry); err != nil {
		return nil, fmt.Errorf("assets: index entry: %w", err)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("assets: index entry: %w", err)
	}
	switch {
	case r.Size > MaxSize:
		return nil, fmt.Errorf("%w: size of %d bytes", ErrInvalid, r.Size)
	case r.Time > maxTime:
		return nil, fmt.Errorf("%w: time out of bounds", ErrInvalid)
	case len(r.Manifest) != manifestParts(int64(r.Size))*hashSize:
		return nil, fmt.Errorf("%w: manifest of %d bytes of hashes does not fit a file of %d bytes", ErrInvalid, len(r.Manifest), r.Size)
	}
	return &entry{
		Size: int64(r.Size), Key: r.Key, Manifest: splitHashes(r.Manifest), Time: time.UnixMilli(int64(r.Time)),
	}, nil
}

// manifest lists a file's blocks.
type manifest struct {
	wire.Head
	Size   uint64 `cbor:"3,keyasint"`
	Blocks []byte `cbor:"4,keyasint"` // hashes of the sealed blocks, one after another
}

func encodeManifest(size int64, blocks []hash) []byte {
	return wire.Marshal(manifest{Head: wire.NewHead(), Size: uint64(size), Blocks: joinHashes(blocks)})
}

// decodeManifest reads the manifest of a file of this size, which its author may have made up.
func decodeManifest(raw []byte, size int64) ([]hash, error) {
	var m manifest
	if err := wire.Unmarshal(raw, &m, maxManifest); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrInvalid, err)
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrInvalid, err)
	}
	if int64(m.Size) != size || len(m.Blocks) != blockCount(size)*hashSize {
		return nil, fmt.Errorf("%w: manifest of %d bytes of hashes for %d bytes; the index says %d bytes", ErrInvalid, len(m.Blocks), m.Size, size)
	}
	blocks := splitHashes(m.Blocks)
	seen := make(map[hash]struct{}, len(blocks))
	for _, h := range blocks {
		seen[h] = struct{}{}
	}
	if len(seen) != len(blocks) {
		return nil, fmt.Errorf("%w: manifest names a block twice", ErrInvalid)
	}
	return blocks, nil
}

// manifestLen returns the size of the manifest of a file of this size.
func manifestLen(size int64) int {
	n := blockCount(size) * hashSize
	return 1 + 1 + 1 + 1 + 1 + 1 + uintLen(uint64(size)) + 1 + uintLen(uint64(n)) + n
}

// uintLen returns how many bytes CBOR takes for an unsigned integer, or for the head of a string of that length.
func uintLen(v uint64) int {
	switch {
	case v < 24:
		return 1
	case v < 1<<8:
		return 2
	case v < 1<<16:
		return 3
	case v < 1<<32:
		return 5
	}
	return 9
}

// manifestParts returns into how many blocks the manifest of a file of this size is cut.
func manifestParts(size int64) int { return (manifestLen(size) + manifestPart - 1) / manifestPart }

// manifestPartLen returns the size of one of them.
func manifestPartLen(n int, size int64) int {
	return min(manifestPart, manifestLen(size)-n*manifestPart)
}

func joinHashes(hashes []hash) []byte {
	out := make([]byte, 0, len(hashes)*hashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

func splitHashes(raw []byte) []hash {
	out := make([]hash, 0, len(raw)/hashSize)
	for ; len(raw) >= hashSize; raw = raw[hashSize:] {
		out = append(out, hash(raw[:hashSize]))
	}
	return out
}

// cleanPath returns a path as files have it, or fails with ErrPath.
func cleanPath(path string) (string, error) {
	path = wire.NFC(path)
	if err := checkPath(path); err != nil {
		return "", err
	}
	return path, nil
}

func checkPath(path string) error {
	if err := wire.CheckText(path, MaxPath); err != nil {
		return fmt.Errorf("%w: %w", ErrPath, err)
	}
	if !fs.ValidPath(path) || path == "." {
		return fmt.Errorf("%w: %q; use elements with slashes between them, none empty or of dots only", ErrPath, path)
	}
	return nil
}

// The two uses of a file's key.
const (
	useBlocks   = "asset-blocks"
	useManifest = "asset-manifest"
)

// sealer seals and opens the blocks of one file, or the parts of its manifest. A file's key is used for that file only,
// so that the number of a block can be its nonce.
type sealer struct {
	key secmem.Hidden[[seal.KeySize]byte]
}

func newSealer(key [seal.KeySize]byte, use string) *sealer {
	return &sealer{secmem.Hide(derive.Key(key[:], nil, use))}
}

// String, GoString and Format never show the key.
func (*sealer) String() string               { return "[redacted]" }
func (*sealer) GoString() string             { return "[redacted]" }
func (*sealer) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("[redacted]")) }
func (*sealer) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

func (s *sealer) seal(n int, plain []byte) []byte {
	return seal.Seal(*s.key.Get(), blockNonce(n), nil, plain)
}

// open opens a block whose hash is right: if it fails, its author has sealed something else.
func (s *sealer) open(n int, sealed []byte) ([]byte, error) {
	plain, err := seal.Open(*s.key.Get(), blockNonce(n), nil, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: block %d: %w", ErrInvalid, n, err)
	}
	return plain, nil
}

// blockNonce is the number of a block, big-endian at the nonce's end.
func blockNonce(n int) (nonce [seal.NonceSize]byte) {
	binary.BigEndian.PutUint64(nonce[seal.NonceSize-8:], uint64(n))
	return nonce
}

// sealManifest returns the sealed parts of a manifest.
func sealManifest(key [seal.KeySize]byte, raw []byte) (parts [][]byte) {
	s := newSealer(key, useManifest)
	for n := 0; len(raw) > 0; n++ {
		part := raw[:min(len(raw), manifestPart)]
		parts = append(parts, s.seal(n, part))
		raw = raw[len(part):]
	}
	return parts
}

// openManifest opens what sealManifest has made and returns the blocks.
func (e *entry) openManifest(parts [][]byte) ([]hash, error) {
	s := newSealer(e.Key, useManifest)
	var raw bytes.Buffer
	for n, sealed := range parts {
		part, err := s.open(n, sealed)
		if err != nil {
			return nil, err
		}
		raw.Write(part)
	}
	return decodeManifest(raw.Bytes(), e.Size)
}
