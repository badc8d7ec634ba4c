package collab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/keystore/memory"
)

// footage returns bytes that no compression makes smaller.
func footage(seed byte, size int) []byte {
	r := rand.NewChaCha8([32]byte{seed})
	b := make([]byte, size)
	_, _ = r.Read(b) // never fails
	return b
}

func add(t *testing.T, s *collab.Session, path string, content []byte) collab.AssetInfo {
	t.Helper()
	info, err := s.Assets().Add(t.Context(), path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// has waits until a session knows of a file.
func has(t *testing.T, s *collab.Session, path string) {
	t.Helper()
	eventually(t, path+" is known", func() bool { _, err := s.Assets().Stat(path); return err == nil })
}

func read(t *testing.T, s *collab.Session, path string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := s.Assets().Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A file that one person adds is listed for all, read by another while it arrives, and at hand offline afterwards.
func TestAssets(t *testing.T) {
	dir, keys := t.TempDir(), memory.New()
	ada, ben := openNode(t, "Ada"), openDir(t, dir, keys, "Ben")
	at := create(t, ada)
	bat := join(t, ben, invite(t, at, collab.InviteOptions{}))
	changed := collab.Subscribe[collab.AssetChanged](t.Context(), bat)
	content := footage(1, 3<<20+17)
	info := add(t, at, "footage/take 1.mov", content)
	if info.Size != int64(len(content)) || !info.Local {
		t.Errorf("added %+v", info)
	}
	if e := <-changed; e.Asset.Path != info.Path || e.Asset.ID != info.ID {
		t.Errorf("event of %+v; want %+v", e.Asset, info)
	}
	if got := read(t, bat, info.Path); !bytes.Equal(got, content) {
		t.Fatalf("%d bytes read of %d, or others", len(got), len(content))
	}
	f, err := bat.Assets().Open(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bat.Status().Pending; n != 0 {
		t.Errorf("%d bytes are to come of a file that was read to its end", n)
	}
	p := f.Progress()
	if p.Have != p.Size || p.From[at.Me().ID] < p.Size {
		t.Errorf("progress %+v; all of it came from Ada", p)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"", "/x", "a/../b", "footage", "footage/take 1.mov/inside"} {
		if _, err := bat.Assets().Add(t.Context(), path, strings.NewReader("x")); err == nil {
			t.Errorf("a file was added at %q", path)
		}
	}
	if _, err := bat.Assets().Open(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown path: %v; want fs.ErrNotExist", err)
	}

	eventually(t, "it is whole", func() bool { i, err := bat.Assets().Stat(info.Path); return err == nil && i.Local })
	if err := errors.Join(ben.Close(), ada.Close()); err != nil {
		t.Fatal(err)
	}
	again := openDir(t, dir, keys, "Ben")
	defer again.Close()
	offline, err := again.OpenProject(t.Context(), at.ID())
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, offline, info.Path); !bytes.Equal(got, content) {
		t.Error("offline it has other bytes")
	}
	if err := fstest.TestFS(offline.Assets().FS(t.Context()), info.Path); err != nil {
		t.Error(err)
	}
}

// A player asks for a range of a file that has not arrived, and gets that.
func TestAssetsOverHTTP(t *testing.T) {
	ada, ben := openNode(t, "Ada"), openNode(t, "Ben")
	at := create(t, ada)
	bat := join(t, ben, invite(t, at, collab.InviteOptions{}))
	content := footage(2, 2<<20)
	add(t, at, "clip.mp4", content)
	has(t, bat, "clip.mp4")
	server := httptest.NewServer(http.FileServerFS(bat.Assets().FS(t.Context())))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/clip.mp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	from, to := 1_500_000, 1_600_000
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, content[from:to+1]) {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(got), err)
	}
}

// Of a file that two others have, more than a quarter comes from each.
func TestAssetsFromTwo(t *testing.T) {
	ada, ben, cleo := openNode(t, "Ada"), openNode(t, "Ben"), openNode(t, "Cleo")
	at := create(t, ada)
	bat := join(t, ben, invite(t, at, collab.InviteOptions{}))
	content := footage(3, 24<<20)
	info := add(t, at, "reel.mov", content)
	eventually(t, "Ben has it all, in the background", func() bool { i, err := bat.Assets().Stat("reel.mov"); return err == nil && i.Local })
	cat := join(t, cleo, invite(t, at, collab.InviteOptions{}))
	eventually(t, "everybody is online", func() bool { return cat.Status().Peers == 2 && cat.Status().Synced })
	has(t, cat, "reel.mov")
	if got := sha256.Sum256(read(t, cat, "reel.mov")); got != sha256.Sum256(content) {
		t.Fatal("other bytes")
	}
	f, err := cat.Assets().Open(t.Context(), "reel.mov")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := f.Progress()
	for _, who := range []collab.MemberID{at.Me().ID, bat.Me().ID} {
		if share := float64(p.From[who]) / float64(info.Size); share < 0.25 {
			t.Errorf("%.0f %% came from %s; want more than 25 %%", 100*share, who.Short())
		}
	}
}

// Viewers read files and add none; the removed keep what they have, and get nothing more.
func TestAssetsAndRoles(t *testing.T) {
	ada, vera := openNode(t, "Ada"), openNode(t, "Vera")
	at := create(t, ada)
	vat := join(t, vera, invite(t, at, collab.InviteOptions{Role: collab.RoleViewer}))
	content := footage(4, 600<<10)
	add(t, at, "first.mov", content)
	has(t, vat, "first.mov")
	if got := read(t, vat, "first.mov"); !bytes.Equal(got, content) {
		t.Fatal("other bytes")
	}
	if _, err := vat.Assets().Add(t.Context(), "x", strings.NewReader("x")); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("a viewer adds: %v; want ErrDenied", err)
	}
	if err := vat.Assets().Remove(t.Context(), "first.mov"); !errors.Is(err, collab.ErrDenied) {
		t.Errorf("a viewer removes: %v; want ErrDenied", err)
	}
	if err := at.Revoke(t.Context(), vat.Me().ID, "the contract has ended"); err != nil {
		t.Fatal(err)
	}
	<-vat.Done()
	add(t, at, "second.mov", content)
	if got := read(t, vat, "first.mov"); !bytes.Equal(got, content) {
		t.Error("what is here cannot be read any more")
	}
	if _, err := vat.Assets().Open(t.Context(), "second.mov"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file from after the removal: %v; want fs.ErrNotExist", err)
	}
	if _, err := vat.Assets().Add(t.Context(), "x", strings.NewReader("x")); !errors.Is(err, collab.ErrRevoked) {
		t.Errorf("the removed adds: %v; want ErrRevoked", err)
	}
}
