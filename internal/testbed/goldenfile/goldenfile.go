// Package goldenfile keeps golden vectors as JSON files under testdata: what a room's records look like, for good. A test reads them
// with [Read]; with its flag -update it first writes them anew with [Write].
package goldenfile

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Write writes vectors to a file, whose folder is made if it is not there. It ends the test if that fails.
func Write(t testing.TB, path string, vectors any) {
	t.Helper()
	raw, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Read reads vectors from a file into what into points to, and ends the test if that fails: also for a field that nobody asks for,
// or a vector could be there and not be looked at.
func Read(t testing.TB, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}
