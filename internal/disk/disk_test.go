package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"first", "", "a longer third one"} {
		if err := os.WriteFile(Scratch(path), []byte("left by a crash"), 0o644); err != nil {
			t.Fatal(err)
		}
		if replaced, err := Replace(path, []byte(content)); err != nil || !replaced {
			t.Fatalf("Replace: %t, %v", replaced, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("read %q, %v; want %q", got, err, content)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("mode %o is open to others", info.Mode().Perm())
		}
		if _, err := os.Stat(Scratch(path)); err == nil {
			t.Error("the scratch file is left")
		}
	}
	for range 2 {
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is left")
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	if replaced, err := Replace(filepath.Join(dir, "none", "file"), nil); err == nil || replaced {
		t.Errorf("a missing folder: %t, %v", replaced, err)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if replaced, err := Replace(folder, []byte("x")); err == nil || replaced {
		t.Errorf("in place of a folder: %t, %v", replaced, err)
	}
	if _, err := os.Stat(Scratch(folder)); err == nil {
		t.Error("the scratch file is left")
	}
}
