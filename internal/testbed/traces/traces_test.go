package traces

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// TestTypist checks that the made-up trace is the same every time, can be stored, and ends in the text it says.
func TestTypist(t *testing.T) {
	a, b := Typist(4, 3000), Typist(4, 3000)
	if !reflect.DeepEqual(a, b) {
		t.Fatal("one seed gives two traces")
	}
	var want []byte
	for _, p := range a.Patches {
		want = slices.Replace(want, p.At, p.At+p.Del, []byte(p.Ins)...)
	}
	if a.Text() != string(want) || a.End != Hash(string(want)) {
		t.Fatal("the text differs from edits on a plain string")
	}
	dir := t.TempDir()
	a.File = filepath.Join(dir, "typist.json.gz")
	if err := a.Write(a.File); err != nil {
		t.Fatal(err)
	}
	got, err := Recorded(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0], a) {
		t.Fatal("a stored trace comes back different")
	}
}

// TestNothingRecorded checks that a wrong folder is reported and not measured.
func TestNothingRecorded(t *testing.T) {
	if _, err := Recorded(t.TempDir()); err == nil {
		t.Fatal("an empty folder gives no error")
	}
}
