package assets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/journal"
)

// stored lists the files of blocks in a folder.
func stored(t *testing.T, dir string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".data") {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// TestDamage: whatever happens to blocks on the disk, a reader gets what was added, and they are fetched again.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	anna, berta := pair(t, setup{}, setup{Options: Options{Dir: dir}})
	content := noise(1, 6*smallBlock)
	anna.add("film", content)
	berta.learn(anna)
	berta.local("film")
	var reports atomic.Int32
	berta.a.OnDamage(func(i Info, err error) {
		if i.Path == "film" && errors.Is(err, ErrDamaged) {
			reports.Add(1)
		}
	})
	spoil := func(path string, how int) {
		raw, err := os.ReadFile(path)
		must(t, err)
		raw[len(raw)/2] ^= 1
		must(t, []func() error{
			func() error { return os.WriteFile(path, raw, 0o600) },
			func() error { return os.WriteFile(path, raw[:len(raw)/2], 0o600) },
			func() error { return os.WriteFile(path, nil, 0o600) },
			func() error { return os.Remove(path) },
		}[how%4]())
	}
	whole := func(path string) bool {
		raw, err := os.ReadFile(path)
		return err == nil && slices.Contains(append(anna.content("film").blocks, anna.content("film").Manifest...), newBlock(raw).hash)
	}
	blocks := stored(t, dir)
	if len(blocks) != 7 {
		t.Fatalf("%d blocks on disk", len(blocks))
	}
	i := slices.IndexFunc(blocks, func(path string) bool {
		raw, err := os.ReadFile(path)
		must(t, err)
		return newBlock(raw).hash == berta.content("film").Manifest[0]
	})
	listing := blocks[i]
	blocks = slices.Delete(blocks, i, i+1)
	for i, path := range blocks {
		spoil(path, i)
	}
	berta.reads("film", content)
	berta.local("film")
	for _, path := range blocks {
		if !whole(path) {
			t.Errorf("%s is not mended", path)
		}
	}
	eventually(t, "damage is reported", func() bool { return reports.Load() == 6 })
	spoil(listing, 0)
	must(t, berta.a.Close())
	berta.open()
	berta.local("film")
	berta.reads("film", content)
	if !whole(listing) {
		t.Error("the manifest is not mended")
	}
}

// TestDamageIsNotServed: who asks for a block that is damaged here gets it from another, and it is mended here.
func TestDamageIsNotServed(t *testing.T) {
	dir := t.TempDir()
	anna, berta, carl := trio(t, [3]setup{{}, {Options: Options{Dir: dir}}, {}})
	content := noise(1, 20*smallBlock)
	anna.add("film", content)
	berta.learn(anna)
	berta.local("film")
	for _, path := range stored(t, dir) {
		must(t, os.WriteFile(path, []byte("not what it was"), 0o600))
	}
	carl.learn(anna)
	carl.local("film")
	carl.reads("film", content)
}

// TestNothingReadable: no name, no content and no key of a file is on the disk.
func TestNothingReadable(t *testing.T) {
	dir := t.TempDir()
	anna := newNode(t, "anna", setup{Options: Options{Dir: dir}}).found()
	content := bytes.Repeat([]byte("once upon a time "), 1<<16)
	anna.add("secret-shots/first.mov", content)
	id := anna.p.ID().String()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, secret := range []string{"secret-shots", "first.mov", "once upon", id} {
			if strings.Contains(path, secret) || bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%q in %s", secret, path)
			}
		}
		return err
	}))
}

// TestAddInterrupted: an Add that fails, for whatever reason, leaves nothing.
func TestAddInterrupted(t *testing.T) {
	dir := t.TempDir()
	anna := newNode(t, "anna", setup{Options: Options{Dir: dir}}).found()
	kept := anna.add("kept", noise(1, 10))
	before := stored(t, dir)
	broken := errors.New("broken pipe")
	ctx, cancel := context.WithCancel(t.Context())
	for name, add := range map[string]func() error{
		"reader": func() error {
			_, err := anna.a.Add(t.Context(), "film", io.MultiReader(bytes.NewReader(noise(2, 10<<20)), iotest.ErrReader(broken)))
			if !errors.Is(err, broken) {
				t.Errorf("reader: %v", err)
			}
			return err
		},
		"context": func() error {
			_, err := anna.a.Add(ctx, "film", io.MultiReader(bytes.NewReader(noise(2, 10<<20)), readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, io.EOF
			})))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("context: %v", err)
			}
			return err
		},
		"path": func() error {
			_, err := anna.a.Add(t.Context(), "kept/below", bytes.NewReader(noise(2, 10)))
			if !errors.Is(err, ErrPath) {
				t.Errorf("path: %v", err)
			}
			return err
		},
	} {
		if err := add(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := stored(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: blocks %v are left", name, after)
		}
	}
	if list := slices.Collect(anna.a.List()); len(list) != 1 || list[0] != kept {
		t.Errorf("%v", list)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestReopen: files, blocks and what is pinned are there again; blocks that a crash has left without a file go.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	anna := newNode(t, "anna", setup{Options: Options{Dir: dir, tidyAfter: time.Millisecond}}).found()
	content := noise(1, 3*smallBlock)
	anna.add("film", content)
	must(t, anna.a.Pin(t.Context(), "film", PriorityNow))
	want, err := anna.a.Stat("film")
	must(t, err)
	if !want.Pinned || !want.Local {
		t.Errorf("%+v", want)
	}
	orphan := newBlock([]byte("left by a crash"))
	must(t, anna.a.shelf.put(t.Context(), orphan))
	must(t, anna.a.Close())
	anna.open()
	if got, err := anna.a.Stat("film"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	anna.reads("film", content)
	eventually(t, "the orphan has gone", func() bool { return !anna.a.shelf.has(orphan.hash) })
	if n := len(stored(t, dir)); n != 4 {
		t.Errorf("%d blocks on disk", n)
	}
}

// TestRemove: a file that is removed goes for everybody and takes its blocks with it, but for those that are being read.
func TestRemove(t *testing.T) {
	quick := setup{Options: Options{tidyAfter: time.Millisecond}}
	anna, berta := pair(t, quick, quick)
	content := noise(1, 8*smallBlock)
	anna.add("film", content)
	anna.add("other", noise(2, 10))
	berta.learn(anna)
	berta.local("film")
	berta.local("other")
	f, err := berta.a.Open(t.Context(), "film")
	must(t, err)
	must(t, anna.a.Remove(t.Context(), "film"))
	if err := anna.a.Remove(t.Context(), "film"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed again: %v", err)
	}
	eventually(t, "anna's blocks have gone", func() bool { return len(anna.a.shelf.all()) == 2 })
	berta.learn(anna)
	if _, err := berta.a.Open(t.Context(), "film"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	berta.a.tidy(t.Context())
	got, err := io.ReadAll(f)
	must(t, err)
	if !bytes.Equal(got, content) {
		t.Error("an open file has changed")
	}
	must(t, f.Close())
	eventually(t, "berta's blocks have gone", func() bool { return len(berta.a.shelf.all()) == 2 })
}

// TestReplace: who adds a path again replaces it; concurrently, one of the two stands, on both sides.
func TestReplace(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	anna.add("film", noise(1, 10))
	berta.learn(anna)
	second, third := noise(2, 20), noise(3, 30)
	anna.add("film", second)
	berta.add("film", third)
	anna.learn(berta)
	berta.learn(anna)
	a, err := anna.a.Stat("film")
	must(t, err)
	b, err := berta.a.Stat("film")
	must(t, err)
	if a.ID != b.ID {
		t.Fatalf("%v and %v", a, b)
	}
	want := second
	if a.Size == 30 {
		want = third
	}
	anna.reads("film", want)
	berta.reads("film", want)
}

// TestViewer: a viewer gets files and passes them on, and adds and removes none.
func TestViewer(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.joinAs(newNode(t, "berta"), governance.Viewer)
	carl := anna.join(newNode(t, "carl"))
	must(t, berta.p.Pull(t.Context(), anna.device()))
	carl.meet(berta)
	content := noise(1, 2*smallBlock)
	anna.add("film", content)
	berta.learn(anna)
	berta.local("film")
	if _, err := berta.a.Add(t.Context(), "other", bytes.NewReader(content)); !errors.Is(err, journal.ErrReadOnly) {
		t.Errorf("add: %v", err)
	}
	if err := berta.a.Remove(t.Context(), "film"); !errors.Is(err, journal.ErrReadOnly) {
		t.Errorf("remove: %v", err)
	}
	berta.reads("film", content)
	carl.host.Disconnect(anna.device())
	eventually(t, "carl has only berta", func() bool { return slices.Equal(carl.a.peers(), []peer.ID{berta.peer()}) })
	carl.learn(anna)
	carl.local("film")
	carl.reads("film", content)
}

// TestUnpinnedGarbage: a file that is not wanted here does not keep garbage from being collected.
func TestUnpinnedGarbage(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{Options: Options{tidyAfter: time.Millisecond}})
	anna.add("a", noise(1, 10))
	anna.add("b", noise(2, 10*smallBlock))
	berta.host.Disconnect(anna.device())
	eventually(t, "berta is alone", func() bool { return len(berta.a.peers()) == 0 })
	berta.learn(anna)
	must(t, berta.a.Unpin("b"))
	berta.connect(anna.node)
	berta.local("a")
	must(t, anna.a.Remove(t.Context(), "a"))
	berta.learn(anna)
	eventually(t, "only b's manifest is left", func() bool {
		return slices.Equal(berta.a.shelf.all(), berta.content("b").Manifest)
	})
}

// TestPolicy: what is unpinned is not fetched until somebody reads it; what is pinned is.
func TestPolicy(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	content := noise(1, 2*smallBlock)
	anna.add("a", content)
	berta.host.Disconnect(anna.device())
	eventually(t, "berta is alone", func() bool { return len(berta.a.peers()) == 0 })
	berta.learn(anna)
	if err := berta.a.Pin(t.Context(), "none", PrioritySoon); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	must(t, berta.a.Unpin("a"))
	anna.add("b", content)
	berta.learn(anna)
	must(t, berta.a.Pin(t.Context(), "b", PriorityNow))
	berta.connect(anna.node)
	berta.local("b")
	if i, err := berta.a.Stat("a"); err != nil || i.Local || i.Pinned {
		t.Errorf("%+v, %v", i, err)
	}
	must(t, berta.a.Pin(t.Context(), "a", PrioritySoon))
	berta.local("a")
	if i, err := berta.a.Stat("a"); err != nil || !i.Pinned {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestEvents: changes are told in order, progress until all is here.
func TestEvents(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	changes, progress := make(chan Info, 16), make(chan Progress, 1024)
	berta.a.OnChange(func(i Info) { changes <- i })
	berta.a.OnProgress(func(path string, p Progress) { progress <- p })
	i := anna.add("film", noise(1, 9*smallBlock))
	berta.learn(anna)
	if c := <-changes; c.Path != "film" || c.ID != i.ID || c.Local {
		t.Errorf("%+v", c)
	}
	if c := <-changes; !c.Local {
		t.Errorf("%+v", c)
	}
	for p := range progress {
		if p.Size != i.Size || p.From[anna.self.Identity.Member()] == 0 || p.BytesPerSecond <= 0 {
			t.Errorf("%+v", p)
		}
		if p.Have == p.Size {
			break
		}
	}
	must(t, anna.a.Remove(t.Context(), "film"))
	berta.learn(anna)
	if c := <-changes; c.Path != "film" || c.ID != "" {
		t.Errorf("%+v", c)
	}
}

// TestHostileIndex: what an editor writes into the index that makes no sense is left out, and what cannot be read says so;
// neither keeps other files from being read.
func TestHostileIndex(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	content := noise(1, 2*smallBlock)
	anna.add("good", content)
	good := anna.content("good")
	otherKey, otherSize := *good.entry, *good.entry
	otherKey.Key[0] ^= 1
	otherSize.Size--
	stolen := anna.forge("stolen", []hash{good.blocks[0], newBlock([]byte("nowhere")).hash}, content)
	twice := anna.forge("twice", []hash{good.blocks[0], good.blocks[0]}, content)
	write := func(tx *crdt.Txn, files *crdt.Map) error {
		return errors.Join(
			files.Set(tx, "text", "not bytes"), files.Set(tx, "empty", []byte{}), files.Set(tx, "junk", []byte("junk")),
			files.Set(tx, "../up", good.encode()), files.Set(tx, "/root", good.encode()), files.Set(tx, "", good.encode()),
			files.Set(tx, "e\u0301", good.encode()), files.Set(tx, strings.Repeat("x", MaxPath+1), good.encode()),
			files.Set(tx, "copy", good.encode()), files.Set(tx, "other key", otherKey.encode()), files.Set(tx, "other size", otherSize.encode()),
			files.Set(tx, "stolen", stolen), files.Set(tx, "twice", twice),
		)
	}
	_, err := anna.a.edit(t.Context(), write)
	must(t, err)
	berta.learn(anna)
	var paths []string
	for i := range berta.a.List() {
		paths = append(paths, i.Path)
	}
	if want := []string{"copy", "good", "other key", "other size", "stolen", "twice"}; !slices.Equal(paths, want) {
		t.Errorf("listed %q", paths)
	}
	for _, path := range []string{"other key", "other size", "stolen", "twice"} {
		f, err := berta.a.Open(t.Context(), path)
		must(t, err)
		if got, err := io.ReadAll(f); !errors.Is(err, ErrInvalid) || len(got) > 0 {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
		must(t, f.Close())
	}
	berta.reads("good", content)
	berta.reads("copy", content)
}

// forge stores the manifest of a file that lists other blocks than its own, and returns its entry.
func (r *room) forge(name string, blocks []hash, content []byte) []byte {
	r.t.Helper()
	e := &entry{Size: int64(len(content)), Key: [32]byte([]byte(strings.Repeat(name, 32))[:32]), Time: time.Now()}
	for _, part := range sealManifest(e.Key, encodeManifest(e.Size, blocks)) {
		b := newBlock(part)
		must(r.t, r.a.shelf.put(r.t.Context(), b))
		e.Manifest = append(e.Manifest, b.hash)
	}
	return e.encode()
}
