package assets

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

// TestAddAndFetch: what one adds is on the other device a while later, and reads there as it was.
func TestAddAndFetch(t *testing.T) {
	anna, berta := pair(t, setup{}, setup{})
	files := map[string][]byte{
		"empty": {}, "one byte": {7}, "shots/a.mov": noise(1, 3*smallBlock+5), "shots/b.mov": noise(2, 2*smallBlock), "é": noise(3, 100),
	}
	for path, content := range files {
		i := anna.add(path, content)
		if !i.Local || i.Size != int64(len(content)) || i.Path != path || len(i.ID) != 64 {
			t.Errorf("%+v", i)
		}
		anna.reads(path, content)
	}
	berta.learn(anna)
	for path, content := range files {
		berta.local(path)
		berta.reads(path, content)
	}
	if a, b := slices.Collect(anna.a.List()), slices.Collect(berta.a.List()); !slices.EqualFunc(a, b, func(x, y Info) bool { return x.ID == y.ID && x.Path == y.Path }) {
		t.Errorf("%v, %v", a, b)
	}
	if _, err := berta.a.Open(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestTwoProviders: a fetch takes a good share from each of two who have the file.
func TestTwoProviders(t *testing.T) {
	anna, berta, carl := trio(t, [3]setup{})
	content := noise(1, 32<<20)
	anna.add("film", content)
	berta.learn(anna)
	berta.local("film")
	carl.learn(anna)
	carl.local("film")
	p, err := carl.a.Progress("film")
	must(t, err)
	a, b := p.From[anna.self.Identity.Member()], p.From[berta.self.Identity.Member()]
	t.Logf("%d and %d bytes", a, b)
	if a+b < int64(len(content)) || min(a, b)*4 < a+b {
		t.Errorf("%d bytes from one, %d from the other", a, b)
	}
	carl.reads("film", content)
}
