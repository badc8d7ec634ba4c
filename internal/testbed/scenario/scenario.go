// Package scenario declares adversarial scenarios: tests with a number under which the project knows an attack, and a
// sentence that says what is tried and what must come of it.
//
// Call [Run] in a test whose name begins with TestScenario, in whatever package has the parts:
//
//	func TestScenario103ReplayedProof(t *testing.T) {
//		scenario.Run(t, 103, "a transport proof recorded on one connection is replayed into another: closed without an answer",
//			func(t *testing.T) { … })
//	}
//
// `make scenarios` runs all of them and prints a line for each, by number; package report writes it. A number may be
// declared more than once, each time for a part of what it is about.
//
// Run fails a scenario that leaves a goroutine behind; a panic ends the package's run and shows as a failure. What else
// a scenario promises, equal states on all honest devices above all, it asserts itself.
package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Keys of the attributes that a scenario leaves in its test's output.
const (
	Number = "scenario"
	Tries  = "tries"
)

// Prefix begins the names of tests that declare scenarios.
const Prefix = "TestScenario"

// Run runs fn as the scenario of a number. tries is one line that says what is tried and what must come of it.
func Run(t *testing.T, number int, tries string, fn func(t *testing.T)) {
	t.Helper()
	if err := check(t.Name(), number, tries); err != nil {
		t.Fatal(err)
	}
	t.Run(fmt.Sprintf("%03d", number), func(t *testing.T) {
		t.Attr(Number, strconv.Itoa(number))
		t.Attr(Tries, tries)
		before := goleak.IgnoreCurrent()
		t.Cleanup(func() { // runs after all that fn registers
			if !t.Skipped() {
				goleak.VerifyNone(t, before)
			}
		})
		fn(t)
	})
}

// check says what is wrong with a declaration.
func check(name string, number int, tries string) error {
	switch {
	case !strings.HasPrefix(name, Prefix):
		return fmt.Errorf("scenario: test %s is not run with the scenarios; its name must begin with %s", name, Prefix)
	case number <= 0 || number > 999:
		return fmt.Errorf("scenario: number %d; choose between 1 and 999", number)
	case strings.TrimSpace(tries) == "" || strings.ContainsAny(tries, "\r\n"):
		return fmt.Errorf("scenario %d: say in one line what is tried", number)
	}
	return nil
}
