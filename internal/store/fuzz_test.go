package store

import (
	"bytes"
	"testing"
)

func FuzzOpenHeader(f *testing.F) {
	f.Add(deriveKeys(testKey, [saltSize]byte{1}).header())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := openHeader(testKey, raw); err == nil && !bytes.Equal(k.header(), raw) {
			t.Error("one header has two encodings")
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add(make([]byte, 8192))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := newestMeta(bytes.NewReader(raw)); err == nil && m.pageSize < minPageSize {
			t.Error("an implausible page size was taken")
		}
	})
}

// FuzzEntry feeds what no honest writer seals: a map entry with any content.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{3, 'k', 'e', 'y', 'v'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, entry []byte) {
		key, value, err := splitEntry(entry)
		if err == nil && len(key)+len(value) >= len(entry) {
			t.Error("more came out than was there")
		}
	})
}
