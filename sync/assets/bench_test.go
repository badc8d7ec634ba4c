package assets

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// BenchmarkAdd reads, seals and stores, durable on disk.
func BenchmarkAdd(b *testing.B) {
	content := noise(1, 64<<20)
	for name, o := range map[string]Options{"memory": {}, "disk": {Dir: b.TempDir()}} {
		b.Run(name, func(b *testing.B) {
			anna := newNode(b, "anna", setup{Options: o}).found()
			b.SetBytes(int64(len(content)))
			for i := 0; b.Loop(); i++ {
				if _, err := anna.a.Add(b.Context(), fmt.Sprint(i%2), bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFetch brings a file from one device to another over the loopback.
func BenchmarkFetch(b *testing.B) {
	content := noise(1, 64<<20)
	for name, dirs := range map[string][2]string{"memory": {}, "disk": {b.TempDir(), b.TempDir()}} {
		b.Run(name, func(b *testing.B) {
			anna, berta := pair(b, setup{Options: Options{Dir: dirs[0]}}, setup{Options: Options{Dir: dirs[1]}})
			b.SetBytes(int64(len(content)))
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				path := fmt.Sprint(i)
				anna.add(path, content)
				b.StartTimer()
				berta.learn(anna)
				berta.local(path)
			}
		})
	}
}

// BenchmarkRead reads a file that is here.
func BenchmarkRead(b *testing.B) {
	content := noise(1, 64<<20)
	anna := newNode(b, "anna", setup{Options: Options{Dir: b.TempDir()}}).found()
	anna.add("film", content)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		f, err := anna.a.Open(b.Context(), "film")
		must(b, err)
		if _, err := io.Copy(io.Discard, f); err != nil {
			b.Fatal(err)
		}
		must(b, f.Close())
	}
}
