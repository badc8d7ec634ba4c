package main

import (
	"bytes"
	"strings"
	"testing"
)

// report runs the command on packages under testdata.
func report(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestAllPass(t *testing.T) {
	code, out, errs := report(t, "./testdata/good")
	want := `  1  PASS  the first: nothing happens  (internal/testbed/scenario/report/testdata/good)
  2  PASS  the second: nothing happens  (internal/testbed/scenario/report/testdata/good)
`
	if code != 0 || out != want || errs != "" {
		t.Errorf("exit %d, printed\n%s%s", code, out, errs)
	}
}

func TestFailuresAreTold(t *testing.T) {
	code, out, _ := report(t, "-timeout=2m", "./testdata/mixed", "./testdata/crashing", "./testdata/good", "./testdata/broken")
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	table, explained, _ := strings.Cut(out, "\n\n")
	var begins []string
	for line := range strings.Lines(table) {
		begins = append(begins, line[:9])
	}
	if got, want := strings.Join(begins, "|"), "  1  PASS|  2  PASS|  3  FAIL|  4  FAIL|  5  SKIP|  8  FAIL| 10  PASS|  -  FAIL"; got != want {
		t.Errorf("the table begins\n%s, want\n%s:\n%s", got, want, table)
	}
	for _, want := range []string{
		"one that needs what is not there  (internal/testbed/scenario/report/testdata/mixed): no token is plugged in\n",
		"outside of a scenario  (internal/testbed/scenario/report/testdata/broken)",
	} {
		if !strings.Contains(table+"\n", want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	for _, want := range []string{"this is what went wrong", "found unexpected goroutines", "at the disco", "undefined: noSuchFunction"} {
		if !strings.Contains(explained, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, explained)
		}
	}
	if strings.Contains(out, "never run") {
		t.Error("a test with another name was run")
	}
}

func TestNothingToRun(t *testing.T) {
	for _, pattern := range []string{".", "./testdata/nowhere"} {
		if code, out, errs := report(t, pattern); code != 2 || out != "" || !strings.HasPrefix(errs, "report: ") {
			t.Errorf("%s: exit %d, printed %q and %q", pattern, code, out, errs)
		}
	}
}

// Output that is cut off, or is none, is no success.
func TestUnfinishedOutput(t *testing.T) {
	rs, err := read(strings.NewReader(`{"Action":"run","Package":"p","Test":"TestScenario1/001"}
{"Action":"attr","Package":"p","Test":"TestScenario1/001","Key":"scenario","Value":"1"}
{"Action":"attr","Package":"p","Test":"TestScenario1/001","Key":"tries","Value":"to end"}
go: something else
`))
	var out bytes.Buffer
	if failures := rs.write(&out); err != nil || failures != 1 || !strings.HasPrefix(out.String(), "  1  FAIL  to end  (p)\n") {
		t.Errorf("%v, %d failures:\n%s", err, failures, &out)
	}
	if _, err := read(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without end was read")
	}
}
