package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// module is the path of this module.
const module = "github.com/studio-whip/collab"

// maxLine is the longest line of go test's output that is read.
const maxLine = 1 << 20

// event is what go test -json tells; see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Key, Value string // of an attribute
}

// name names a test, and a package if Test is empty.
type name struct{ Package, Test string }

// outcome is what became of a test or a package.
type outcome struct {
	name
	number int // 0: it declares no scenario
	tries  string
	action string // pass, fail or skip; "" if it has not come to an end
	output []string
}

// results are the outcomes of one run.
type results struct {
	of    map[name]*outcome
	built []string // output of builds that failed
}

// read takes in the output of go test -json. What it has read before an error is returned.
func read(r io.Reader) (*results, error) {
	rs := &results{of: map[name]*outcome{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			rs.built = append(rs.built, lines.Text()) // the go command speaks for itself
			continue
		}
		rs.take(e)
	}
	if err := lines.Err(); err != nil {
		return rs, fmt.Errorf("output of go test: %w", err)
	}
	return rs, nil
}

func (rs *results) take(e event) {
	switch {
	case e.Action == "build-output":
		rs.built = append(rs.built, strings.TrimRight(e.Output, "\n"))
		return
	case e.Package == "":
		return
	}
	o := rs.of[name{e.Package, e.Test}]
	if o == nil {
		o = &outcome{name: name{e.Package, e.Test}}
		rs.of[o.name] = o
	}
	switch e.Action {
	case "attr":
		switch e.Key {
		case scenario.Number:
			o.number, _ = strconv.Atoi(e.Value)
		case scenario.Tries:
			o.tries = e.Value
		}
	case "output":
		o.output = append(o.output, strings.TrimRight(e.Output, "\n"))
	case "pass", "fail", "skip":
		o.action = e.Action
	}
}

// write prints a line for each scenario, by number, then what failed beside them, and the output of all that failed. It
// returns how many failures there were.
func (rs *results) write(w io.Writer) (failures int) {
	var declared, packages []*outcome
	for _, o := range rs.of {
		switch {
		case o.number > 0:
			declared = append(declared, o)
		case o.Test == "" && o.action != "pass" && o.action != "skip":
			packages = append(packages, o)
		}
	}
	slices.SortFunc(declared, func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Test, b.Test))
	})
	slices.SortFunc(packages, func(a, b *outcome) int { return cmp.Compare(a.Package, b.Package) })
	var failed []*outcome
	explained := map[string]bool{}
	for _, o := range declared {
		fmt.Fprintf(w, "%3d  %s  %s  (%s)%s\n", o.number, o.verdict(), o.tries, room(o.Package), o.why())
		if o.verdict() == "FAIL" {
			failed = append(failed, o)
			explained[o.Package] = true
		}
	}
	for _, o := range packages {
		if !explained[o.Package] {
			fmt.Fprintf(w, "  -  FAIL  outside of a scenario  (%s)\n", room(o.Package))
			failed = append(failed, o)
		}
	}
	rs.explain(w, failed)
	return len(failed)
}

// explain prints the output of what failed: of the tests, of their parts, and of the tests that they are a part of, to
// which the output of a panic may go.
func (rs *results) explain(w io.Writer, failed []*outcome) {
	for _, f := range failed {
		fmt.Fprintf(w, "\n--- %s %s\n", f.Package, f.Test)
		var parts []*outcome
		for _, o := range rs.of {
			if o.Package == f.Package && (f.Test == "" || within(o.Test, f.Test) || o.Test != "" && within(f.Test, o.Test)) {
				parts = append(parts, o)
			}
		}
		slices.SortFunc(parts, func(a, b *outcome) int { return cmp.Compare(a.Test, b.Test) })
		for _, o := range parts {
			for _, line := range o.output {
				fmt.Fprintln(w, line)
			}
		}
	}
	if len(failed) > 0 {
		for _, line := range rs.built {
			fmt.Fprintln(w, line)
		}
	}
}

// within reports whether a test is another, or a part of it.
func within(test, of string) bool { return test == of || strings.HasPrefix(test, of+"/") }

// verdict is PASS, FAIL or SKIP. What has not come to an end has failed: a panic or a time limit ended it.
func (o *outcome) verdict() string {
	switch o.action {
	case "pass":
		return "PASS"
	case "skip":
		return "SKIP"
	}
	return "FAIL"
}

// place is what the testing package puts before a line that a test writes.
var place = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// why gives the reason for which a scenario was skipped: what it wrote last.
func (o *outcome) why() string {
	if o.action != "skip" {
		return ""
	}
	for _, line := range slices.Backward(o.output) {
		if at := place.FindString(line); at != "" {
			return ": " + line[len(at):]
		}
	}
	return ": no reason given"
}

// room is a package's path within the module, or the name of the root package.
func room(pkg string) string {
	if pkg == module {
		return path.Base(module)
	}
	return strings.TrimPrefix(pkg, module+"/")
}
