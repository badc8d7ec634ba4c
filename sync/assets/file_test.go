package assets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestReader runs the standard library's checks of Read, Seek and ReadAt on a file that is here and on one that arrives.
func TestReader(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	content := noise(1, 2*smallBlock+77)
	anna.add("film", content)
	berta.learn(anna)
	for _, r := range []*room{anna, berta} {
		f, err := r.a.Open(t.Context(), "film")
		must(t, err)
		if err := iotest.TestReader(f, content); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		info, err := f.Stat()
		must(t, err)
		if info.Size() != int64(len(content)) || info.Name() != "film" || info.IsDir() || info.ModTime().IsZero() {
			t.Errorf("%v", info)
		}
		must(t, f.Close())
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read of a closed file: %v", err)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
	}
}

// TestReadAtOnce: many read at many places of a file that is not here yet.
func TestReadAtOnce(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	content := noise(1, 20*smallBlock+9)
	anna.add("film", content)
	berta.learn(anna)
	f, err := berta.a.Open(t.Context(), "film")
	must(t, err)
	defer f.Close()
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 1))
			for range 12 {
				off := dice.IntN(len(content))
				p := make([]byte, dice.IntN(2*smallBlock))
				n, err := f.ReadAt(p, int64(off))
				if err != nil && !errors.Is(err, io.EOF) || n < len(p) && off+n < len(content) {
					t.Errorf("ReadAt %d: %d bytes, %v", off, n, err)
				}
				if !bytes.Equal(p[:n], content[off:off+n]) {
					t.Errorf("ReadAt %d: wrong bytes", off)
				}
			}
		})
	}
	readers.Wait()
}

// TestSeekFetchesThere: who begins at the end does not wait for what is before it.
func TestSeekFetchesThere(t *testing.T) {
	arrived := &hashes{}
	anna, berta := pair(t, setup{}, spied(&spy{onArrived: func(_ peer.ID, b block) { arrived.add(b.hash) }}))
	content := noise(1, 40*smallBlock)
	anna.add("film", content)
	blocks := anna.content("film").blocks
	berta.host.Disconnect(anna.device())
	eventually(t, "berta is alone", func() bool { return len(berta.a.peers()) == 0 })
	berta.learn(anna)
	must(t, berta.a.Unpin("film"))
	berta.connect(anna.node)
	f, err := berta.a.Open(t.Context(), "film")
	must(t, err)
	defer f.Close()
	_, err = f.Seek(-3*smallBlock, io.SeekEnd)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, err)
	if !bytes.Equal(got, content[len(content)-3*smallBlock:]) {
		t.Error("wrong bytes")
	}
	if p := f.Progress(); p.Have != 3*smallBlock || p.Size != int64(len(content)) {
		t.Errorf("fetched %d bytes", p.Have)
	}
	if got := arrived.distinct(); got != 4 || arrived.has(blocks[0]) { // on a slow machine one may be asked for twice
		t.Errorf("%d blocks came", got)
	}
}

// TestReadEnds: a read that waits ends with its context, with the file and with the project.
func TestReadEnds(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	anna.add("film", noise(1, 10))
	berta.host.Disconnect(anna.device())
	eventually(t, "berta is alone", func() bool { return len(berta.a.peers()) == 0 })
	berta.learn(anna)
	for name, end := range map[string]func(f *File, cancel func()){
		"context": func(_ *File, cancel func()) { cancel() },
		"file":    func(f *File, _ func()) { must(t, f.Close()) },
		"project": func(*File, func()) { must(t, berta.a.Close()); berta.open() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f, err := berta.a.Open(ctx, "film")
		must(t, err)
		failed := make(chan error)
		go func() {
			_, err := f.Read(make([]byte, 1))
			failed <- err
		}()
		eventually(t, "the read waits", func() bool {
			berta.a.fetcher.mu.Lock()
			defer berta.a.fetcher.mu.Unlock()
			for _, w := range berta.a.fetcher.wants {
				return w.urgent > 0
			}
			return false
		})
		end(f, cancel)
		want := map[string]error{"context": context.Canceled, "file": fs.ErrClosed, "project": ErrClosed}[name]
		if err := <-failed; !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		_ = f.Close()
	}
}

// TestFS runs the standard library's checks of a file system.
func TestFS(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	paths := []string{"a", "shots/1/a.mov", "shots/1/b.mov", "shots/2.mov", "é.txt"}
	for i, path := range paths {
		anna.add(path, noise(uint64(i), 1000*i))
	}
	berta.learn(anna)
	for _, r := range []*room{anna, berta} {
		if err := fstest.TestFS(r.a.FS(t.Context()), paths...); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	files := anna.a.FS(t.Context())
	for _, path := range []string{"b", "shots/3", "a/b", "."} {
		if _, err := fs.ReadFile(files, path); err == nil {
			t.Errorf("read %s", path)
		}
	}
}

// TestHTTPRange: a player asks a web server for the middle of a film that is not here.
func TestHTTPRange(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	content := noise(1, 30*smallBlock)
	anna.add("shots/film.mp4", content)
	berta.learn(anna)
	must(t, berta.a.Unpin("shots/film.mp4"))
	web := httptest.NewServer(http.FileServerFS(berta.a.FS(t.Context())))
	defer web.Close()
	defer web.Client().CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+"/shots/film.mp4", nil)
	must(t, err)
	req.Header.Set("Range", "bytes=4000000-4999999")
	resp, err := web.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, content[4000000:5000000]) {
		t.Errorf("%s, %d bytes", resp.Status, len(got))
	}
	if i, err := berta.a.Stat("shots/film.mp4"); err != nil || i.Local {
		t.Errorf("%+v, %v", i, err)
	}
}
