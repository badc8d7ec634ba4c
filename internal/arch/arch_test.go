package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFloorPlan checks the module as it is.
func TestFloorPlan(t *testing.T) {
	lookAtSources(t, "../..")
	own, moduleOf, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(own) < 10 {
		t.Fatalf("only %d packages were listed; the check saw too little", len(own))
	}
	for _, v := range violations(own, moduleOf) {
		t.Error(v)
	}
	for room := range floors {
		if _, err := os.Stat(filepath.Join("../..", room)); err != nil {
			t.Errorf("the plan lists %s, which is not there", name(room))
		}
	}
}

// lookAtSources makes the go command see that this test depends on every source file. It would otherwise serve a
// cached result after a change, as it does not know what `go list` reads.
func lookAtSources(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".git" {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) == ".go" || d.Name() == "go.mod" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBreachesAreSeen plants each kind of breach in what the checker reads.
func TestBreachesAreSeen(t *testing.T) {
	type listed struct{ Path string }
	p := func(room string, imports ...string) pkg {
		return pkg{ImportPath: strings.TrimSuffix(module+"/"+room, "/"), Imports: imports, Module: (*struct{ Path string })(&listed{module})}
	}
	for _, tc := range []struct {
		name   string
		pkg    pkg
		module string // of the import, if it is another's
		want   string
	}{
		{"upward import", p("crypto/sign", module+"/identity"), module, "not lower"},
		{"import across a floor", p("sync/live", module+"/sync/foundation"), module, "not lower"},
		{"import of the root", p("governance", module), module, "not lower"},
		{"circl outside crypto", p("sync/live", "github.com/cloudflare/circl/hpke"), "github.com/cloudflare/circl", "fenced"},
		{"unlisted package", p("sync/gossip2"), module, "not on the floor plan"},
		{"import of an unlisted package", p("sync/live", module+"/sync/gossip2"), module, "not on the floor plan"},
		{"downward import", p("sync/live", module+"/identity"), module, ""},
		{"parent's package", p("genesis/custodian", module+"/genesis"), module, ""},
		{"circl in crypto", p("crypto/kem", "github.com/cloudflare/circl/hpke"), "github.com/cloudflare/circl", ""},
		{"module whose name only begins like a fenced one", p("sync/live", "github.com/cloudflare/circlet"), "github.com/cloudflare/circlet", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			moduleOf := map[string]string{}
			for _, imp := range tc.pkg.Imports {
				moduleOf[imp] = tc.module
			}
			got := strings.Join(violations([]pkg{tc.pkg}, moduleOf), "\n")
			if tc.want == "" && got != "" {
				t.Errorf("refused: %s", got)
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want a line with %q", got, tc.want)
			}
		})
	}
}
