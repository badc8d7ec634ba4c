package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A history with removals, checkpoints and an equivocation is checked without the project; a changed one is refused.
func TestAudit(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "governance", "audit.clba")
	var out strings.Builder
	if err := run(&out, golden); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 checkpoints are settled", "manager   A", "none      C", "one of two that a device signed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	file, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(file)
	changed[len(changed)/2] ^= 1
	path := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(&out, path); err == nil || !strings.Contains(err.Error(), "record ") {
		t.Errorf("a changed file: %v", err)
	}
	if err := run(&out, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was verified")
	}
}

// A history in which the root has moved twice, beside a rival, is told with old and new holders.
func TestMovedRoot(t *testing.T) {
	var out strings.Builder
	if err := run(&out, filepath.Join("..", "..", "testdata", "governance", "audit-moved.clba")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"of version 3\n", "root version 2, ", "because \"A goes on leave\"", "held by 1 of B (", "before  1 of A (", "root version 3, ",
		"held by 1 of C (", "before  1 of B (", "settled up to version 2, by the managers' checkpoint up to version 2", "late fork: ",
		"none      V", "one of two that a device signed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
