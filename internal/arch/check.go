package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"sort"
	"strings"
)

// pkg is what `go list -json` says of a package, as far as the plan needs it.
type pkg struct {
	ImportPath   string
	Standard     bool
	ForTest      string
	Module       *struct{ Path string }
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// tags switches on every file of the module, so that none escapes the plan.
const tags = "piv"

// load lists the module's packages under dir, and the module that each package in their import graph belongs to.
func load(dir string) (own []pkg, moduleOf map[string]string, err error) {
	cmd := exec.Command("go", "list", "-tags", tags, "-e", "-deps", "-test", "-json=ImportPath,Standard,ForTest,Module,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, nil, fmt.Errorf("arch: go list: %w", err)
	}
	moduleOf = map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return own, moduleOf, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("arch: go list: %w", err)
		}
		if p.Standard || p.Module == nil {
			continue
		}
		moduleOf[p.ImportPath] = p.Module.Path
		variant := p.ForTest != "" || strings.HasSuffix(p.ImportPath, ".test")
		if p.Module.Path == module && !variant {
			own = append(own, p)
		}
	}
}

// violations returns one line for each breach of the plan.
func violations(own []pkg, moduleOf map[string]string) []string {
	var bad []string
	for _, p := range own {
		room := inModule(p.ImportPath)
		if _, listed := floors[room]; !listed {
			bad = append(bad, fmt.Sprintf("%s is not on the floor plan", name(room)))
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if why := breach(room, imp, moduleOf[imp]); why != "" {
				bad = append(bad, why)
			}
		}
	}
	sort.Strings(bad)
	return slices.Compact(bad)
}

// breach says why room may not import the package imp of module mod; "" if it may.
func breach(room, imp, mod string) string {
	if mod != module {
		rooms, fenced := fences[mod]
		if !fenced || slices.ContainsFunc(rooms, func(r string) bool { return admits(r, room) }) {
			return ""
		}
		return fmt.Sprintf("%s imports %s, which is fenced in %s", name(room), imp, strings.Join(rooms, ", "))
	}
	target := inModule(imp)
	floor, listed := floors[target]
	switch {
	case !listed:
		return fmt.Sprintf("%s imports %s, which is not on the floor plan", name(room), name(target))
	case target == room, floor < floors[room], slices.Contains(alsoImports[room], target):
		return ""
	case room != "" && target == path.Dir(room) && floor == floors[room]:
		return "" // a package may import its parent folder's
	}
	return fmt.Sprintf("%s (floor %d) imports %s (floor %d), which is not lower", name(room), floors[room], name(target), floor)
}

// admits reports whether a fence's entry names the room or a folder above it.
func admits(entry, room string) bool {
	if folder, ok := strings.CutSuffix(entry, "/"); ok && folder != "" {
		return strings.HasPrefix(room, folder+"/")
	}
	return entry == room
}

func inModule(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func name(room string) string {
	if room == "" {
		return "collab"
	}
	return room
}
