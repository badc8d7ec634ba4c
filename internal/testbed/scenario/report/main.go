// Command report runs the scenarios that tests declare with package scenario and prints a line for each, by number:
//
//	31  PASS  revoked member reconnects by relay and gossips: all reject …  (sync/live)
//
// Arguments are package patterns, by default ./... ; flags before them go to go test. It exits with 1 if a scenario
// fails or a package cannot be run to its end, and with 2 if there is nothing to run.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the command; it returns what the process exits with.
func run(args []string, out, errs io.Writer) int {
	flags, patterns := split(args)
	packages, err := declaring(patterns)
	if err == nil && len(packages) == 0 {
		err = fmt.Errorf("no package under %s declares a scenario", strings.Join(patterns, " "))
	}
	if err != nil {
		fmt.Fprintln(errs, "report:", err)
		return 2
	}
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1", "-run", "^" + scenario.Prefix}, flags, packages)...)
	cmd.Stderr = errs
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(errs, "report:", err)
		return 2
	}
	results, err := read(pipe)
	failed := cmd.Wait() != nil || err != nil
	if err != nil {
		fmt.Fprintln(errs, "report:", err)
	}
	if results.write(out) > 0 || failed {
		return 1
	}
	return 0
}

// split parts flags for go test from package patterns.
func split(args []string) (flags, patterns []string) {
	i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return args, []string{"./..."}
	}
	return args[:i], args[i:]
}

// declaring lists the packages whose tests import package scenario.
func declaring(patterns []string) (packages []string, err error) {
	cmd := exec.Command("go", slices.Concat([]string{"list", "-json=ImportPath,TestImports,XTestImports"}, patterns)...)
	listed, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("list packages: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p struct {
			ImportPath                string
			TestImports, XTestImports []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		if slices.ContainsFunc(slices.Concat(p.TestImports, p.XTestImports), func(i string) bool {
			return strings.HasSuffix(i, "/internal/testbed/scenario")
		}) {
			packages = append(packages, p.ImportPath)
		}
	}
}
