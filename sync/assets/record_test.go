package assets

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/assets/records.json"

// golden is a file of two blocks under a known key.
type golden struct {
	Comment      string            `json:"comment"`
	Path         string            `json:"path"`
	Size         int64             `json:"size"` // its bytes are 0, 1, … 250, 0, …
	Key          string            `json:"key"`
	Time         int64             `json:"time"`
	Blocks       []string          `json:"blocks"` // SHA-256 of the sealed blocks
	LastBlock    string            `json:"last_block"`
	Manifest     string            `json:"manifest"`
	ManifestPart string            `json:"manifest_part"` // sealed
	Entry        string            `json:"entry"`
	ID           string            `json:"id"`
	CID          string            `json:"cid"` // of the first block, on the wire
	Refused      map[string]vector `json:"refused"`
}

type vector struct {
	Kind  string `json:"kind"` // entry, or manifest of a file of that size
	Error string `json:"error"`
	Raw   string `json:"raw"`
}

var goldenErrors = map[string]error{
	"malformed": wire.ErrMalformed, "version": wire.ErrVersion, "too large": wire.ErrTooLarge, "invalid": ErrInvalid,
}

func goldenFile(g *golden) (content []byte, e *entry, blocks []block) {
	content = make([]byte, g.Size)
	for i := range content {
		content[i] = byte(i % 251)
	}
	e = &entry{Size: g.Size, Time: time.UnixMilli(g.Time)}
	for i := range e.Key {
		e.Key[i] = byte(i)
	}
	s := newSealer(e.Key, useBlocks)
	for no := range blockCount(g.Size) {
		start := blockStart(no)
		blocks = append(blocks, newBlock(s.seal(no, content[start:start+int64(blockLen(no, g.Size))])))
	}
	return content, e, blocks
}

func makeGolden() *golden {
	g := &golden{Comment: "SPEC.md 1 to 4", Path: "shots/é.mov", Size: smallBlock + 5, Time: 1_800_000_000_000}
	_, e, blocks := goldenFile(g)
	var names []hash
	for _, b := range blocks {
		names = append(names, b.hash)
		g.Blocks = append(g.Blocks, b.hash.String())
	}
	raw := encodeManifest(g.Size, names)
	part := sealManifest(e.Key, raw)[0]
	e.Manifest = []hash{newBlock(part).hash}
	g.Key, g.LastBlock = hex.EncodeToString(e.Key[:]), hex.EncodeToString(blocks[1].sealed)
	g.Manifest, g.ManifestPart = hex.EncodeToString(raw), hex.EncodeToString(part)
	g.Entry, g.ID, g.CID = hex.EncodeToString(e.encode()), e.id().String(), cidOf(names[0]).String()
	g.Refused = refusedRecords(g.Size, e, names)
	return g
}

// refusedRecords breaks one rule each.
func refusedRecords(size int64, e *entry, names []hash) map[string]vector {
	out := map[string]vector{}
	add := func(name, kind, class string, raw []byte) { out[name] = vector{kind, class, hex.EncodeToString(raw)} }
	entryWith := func(change func(*entryRecord)) []byte {
		r := entryRecord{Head: wire.NewHead(), Size: uint64(e.Size), Key: e.Key, Manifest: joinHashes(e.Manifest), Time: uint64(e.Time.UnixMilli())}
		change(&r)
		return wire.Marshal(r)
	}
	add("entry cut short", "entry", "malformed", e.encode()[:40])
	add("entry with a tail", "entry", "malformed", append(e.encode(), 0))
	add("entry of another version", "entry", "version", entryWith(func(r *entryRecord) { r.V = 2 }))
	add("entry too large", "entry", "too large", make([]byte, maxEntry+1))
	add("file too large", "entry", "invalid", entryWith(func(r *entryRecord) { r.Size = MaxSize + 1 }))
	add("size beyond int64", "entry", "invalid", entryWith(func(r *entryRecord) { r.Size = 1 << 63 }))
	add("late", "entry", "invalid", entryWith(func(r *entryRecord) { r.Time = maxTime + 1 }))
	add("no manifest", "entry", "invalid", entryWith(func(r *entryRecord) { r.Manifest = []byte{} }))
	add("part of a hash", "entry", "invalid", entryWith(func(r *entryRecord) { r.Manifest = r.Manifest[:31] }))
	add("two parts", "entry", "invalid", entryWith(func(r *entryRecord) { r.Manifest = append(r.Manifest, r.Manifest...) }))
	add("manifest of another size", "manifest", "invalid", encodeManifest(size-1, names))
	add("manifest with a block less", "manifest", "invalid", encodeManifest(size, names[:1]))
	add("manifest with a block twice", "manifest", "invalid", encodeManifest(size, []hash{names[0], names[0]}))
	other := manifest{Head: wire.NewHead(), Size: uint64(size), Blocks: joinHashes(names)}
	other.Suite = 2
	add("manifest of another suite", "manifest", "version", wire.Marshal(other))
	add("manifest cut short", "manifest", "malformed", encodeManifest(size, names)[:20])
	return out
}

func TestGolden(t *testing.T) {
	if *update {
		goldenfile.Write(t, goldenPath, makeGolden())
	}
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	again, err := json.Marshal(makeGolden())
	must(t, err)
	kept, err := json.Marshal(&g)
	must(t, err)
	if !bytes.Equal(again, kept) {
		t.Error("records are made otherwise than they were")
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		must(t, err)
		return b
	}
	e, err := decodeEntry(unhex(g.Entry))
	must(t, err)
	names, err := e.openManifest([][]byte{unhex(g.ManifestPart)})
	must(t, err)
	content, _, _ := goldenFile(&g)
	if e.id().String() != g.ID || e.Manifest[0] != newBlock(unhex(g.ManifestPart)).hash || names[1] != newBlock(unhex(g.LastBlock)).hash {
		t.Error("names do not fit")
	}
	plain, err := newSealer(e.Key, useBlocks).open(1, unhex(g.LastBlock))
	must(t, err)
	if !bytes.Equal(plain, content[smallBlock:]) {
		t.Error("the last block opens to something else")
	}
	for name, v := range g.Refused {
		decode := func(raw []byte) error { _, err := decodeEntry(raw); return err }
		if v.Kind == "manifest" {
			decode = func(raw []byte) error { _, err := decodeManifest(raw, g.Size); return err }
		}
		if err := decode(unhex(v.Raw)); !errors.Is(err, goldenErrors[v.Error]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLayout compares the arithmetic with counting.
func TestLayout(t *testing.T) {
	const edge = smallBlocks * smallBlock
	sizes := []int64{0, 1, smallBlock - 1, smallBlock, smallBlock + 1, edge - 1, edge, edge + 1, edge + largeBlock, edge + largeBlock + 1, edge + 5*largeBlock - 1}
	for _, size := range sizes {
		var start int64
		no := 0
		for start < size {
			length := min(int64(smallBlock), size-start)
			if no >= smallBlocks {
				length = min(int64(largeBlock), size-start)
			}
			if blockStart(no) != start || int64(blockLen(no, size)) != length || blockAt(start) != no || blockAt(start+length-1) != no {
				t.Fatalf("size %d: block %d at %d has %d bytes", size, no, start, length)
			}
			start += length
			no++
		}
		if blockCount(size) != no {
			t.Errorf("size %d: %d blocks, counted %d", size, blockCount(size), no)
		}
	}
}

// TestManifestLen: what is computed beforehand is what is encoded, up to the largest file.
func TestManifestLen(t *testing.T) {
	for _, size := range []int64{0, 1, 23 * smallBlock, smallBlock * 24, 300 * smallBlock, 1 << 20, 5 << 30, MaxSize / 2, MaxSize - 1, MaxSize} {
		raw := encodeManifest(size, make([]hash, blockCount(size)))
		if manifestLen(size) != len(raw) {
			t.Errorf("size %d: %d bytes, computed %d", size, len(raw), manifestLen(size))
		}
		parts := sealManifest([32]byte{1}, raw)
		if len(parts) != manifestParts(size) || len(parts) > maxManifestParts {
			t.Errorf("size %d: %d parts, computed %d", size, len(parts), manifestParts(size))
		}
		for i, part := range parts {
			if len(part) != manifestPartLen(i, size)+overhead {
				t.Errorf("size %d: part %d has %d bytes", size, i, len(part))
			}
		}
		e := &entry{Size: size, Manifest: make([]hash, len(parts)), Time: time.UnixMilli(maxTime)}
		if got, err := decodeEntry(e.encode()); err != nil || got.Size != size {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for path, ok := range map[string]bool{
		"a": true, "a/b.mov": true, "é": true, "a b": true, "...": true, strings.Repeat("x", MaxPath): true,
		"": false, ".": false, "..": false, "/a": false, "a/": false, "a//b": false, "a/../b": false, "./a": false,
		"a\x00": false, "a\n": false, "\xff": false, "e\u0301": false, strings.Repeat("x", MaxPath+1): false,
	} {
		if err := checkPath(path); (err == nil) != ok || err != nil && !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if got, err := cleanPath("e\u0301"); err != nil || got != "é" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestNoKeyShown: keys are in no print of what holds them.
func TestNoKeyShown(t *testing.T) {
	e := entry{Key: [32]byte([]byte(strings.Repeat("K", 32)))}
	s := newSealer(e.Key, useBlocks)
	shown, err := json.Marshal([]any{e, &e, s})
	must(t, err)
	for _, text := range []string{fmt.Sprint(e), fmt.Sprintf("%+v", &e), fmt.Sprintf("%#v %s", e, s), fmt.Sprintf("%v %#v", s, s), string(shown)} {
		if strings.Contains(text, "KKKK") || strings.Contains(text, "75, 75") || strings.Contains(text, "0x4b, 0x4b") || strings.Contains(text, "4b4b4b") {
			t.Errorf("key in %s", text)
		}
	}
}

func FuzzEntry(f *testing.F) {
	g := makeGolden()
	raw, _ := hex.DecodeString(g.Entry)
	f.Add(raw)
	for _, v := range g.Refused {
		raw, _ := hex.DecodeString(v.Raw)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decodeEntry(raw)
		if err != nil {
			return
		}
		if e.Size < 0 || e.Size > MaxSize || len(e.Manifest) == 0 || len(e.Manifest) > maxManifestParts {
			t.Fatalf("took %v", e)
		}
		if !bytes.Equal(e.encode(), raw) {
			t.Fatal("encodes otherwise")
		}
	})
}

func FuzzManifest(f *testing.F) {
	g := makeGolden()
	raw, _ := hex.DecodeString(g.Manifest)
	f.Add(raw, g.Size)
	f.Add(encodeManifest(0, nil), int64(0))
	for _, v := range g.Refused {
		raw, _ := hex.DecodeString(v.Raw)
		f.Add(raw, g.Size)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int64) {
		if size < 0 || size > MaxSize {
			return // no entry says so
		}
		blocks, err := decodeManifest(raw, size)
		if err != nil {
			return
		}
		if len(blocks) != blockCount(size) || !bytes.Equal(encodeManifest(size, blocks), raw) {
			t.Fatalf("took %d blocks for %d bytes", len(blocks), size)
		}
		slices.SortFunc(blocks, hash.Compare)
		if len(slices.Compact(blocks)) != blockCount(size) {
			t.Fatal("took a block twice")
		}
	})
}
