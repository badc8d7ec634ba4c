package collab_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/secretservice"
)

// readmeHelper is the part of the README's program that every host writes for itself.
const readmeHelper = `package main

import (
	"context"
	"os"
)

// askPhrase keeps the phrase in a file where a person would keep it on paper.
func askPhrase(ctx context.Context, generated string) (string, error) {
	if generated != "" {
		return generated, os.WriteFile("phrase", []byte(generated), 0o600)
	}
	b, err := os.ReadFile("phrase")
	return string(b), err
}
`

// TestReadme compiles the README's program and runs it against a real keychain.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(text)
	if program == nil {
		t.Fatal("README.md has no program")
	}
	dir := t.TempDir()
	// The paths in the program are a reader's; here they are this test's.
	source := strings.ReplaceAll(string(program[1]), "/media/", dir+"/")
	binary := buildProgram(t, dir, map[string]string{"main.go": source, "ask.go": readmeHelper})
	for _, stick := range []string{"stick", "other-stick"} {
		if err := os.Mkdir(filepath.Join(dir, stick), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	secretservice.Need(t)
	bus := secretservice.Start(t, "test-only-password\n")
	bus.WaitUnlocked(t)
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+bus.Address, "HOME="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var invited, changed bool
	for lines := bufio.NewScanner(out); !(invited && changed) && lines.Scan(); {
		invited = invited || strings.HasPrefix(lines.Text(), "invite: ")
		changed = changed || lines.Text() == "collab.DocChanged"
	}
	if !invited || !changed {
		t.Fatalf("the program printed an invite: %t, the document's change: %t; want both", invited, changed)
	}
	if _, err := os.Stat(filepath.Join(dir, "stick", "share")); err != nil {
		t.Errorf("no share on the stick: %v", err)
	}
}

// buildProgram compiles a program as if it lay in this module, without writing into it.
func buildProgram(t *testing.T, dir string, files map[string]string) (binary string) {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, source := range files {
		path := filepath.Join(dir, "src-"+name)
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, "readmeprogram", name)] = path
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "program")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlayFile, "-o", binary, "./readmeprogram").CombinedOutput()
	if err != nil {
		t.Fatalf("the README's program does not compile: %v\n%s", err, out)
	}
	return binary
}
