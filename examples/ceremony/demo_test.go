package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/cost"
)

// play runs the demonstration in a folder of its own, and returns what it printed.
func play(t *testing.T, ctx context.Context) (string, error) {
	t.Helper()
	cost.ForTests(t)
	temp, err := os.MkdirTemp("", "c") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)
	var out bytes.Buffer
	err = run(ctx, true, "", strings.NewReader(""), &out)
	if left, globErr := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 || globErr != nil {
		t.Errorf("left behind: %v, %v", left, globErr)
	}
	return out.String(), err
}

func checkPlayed(t *testing.T, out string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"- keychain: ", "- token: in software", "kept and read back: token 1001", "there and good: recovery phrase",
		"the keychain alone: 1 part, 2 are needed", "what you should make: new shares", "version 2 now",
		"what you should make: nothing", "found in an empty folder", "version 3 now", "version 4 now: three people", "1 signature is missing", "\nok\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	for i := range steps {
		if !strings.Contains(out, steps[i].title) {
			t.Errorf("step %q was not played", steps[i].title)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestRealDemo plays with a keyring daemon where one is installed, and says so.
func TestRealDemo(t *testing.T) {
	out, err := play(t, t.Context())
	checkPlayed(t, out, err)
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "- ") {
			t.Log(line)
		}
	}
}

// TestDemoWithoutAKeychain plays where nothing is installed.
func TestDemoWithoutAKeychain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+t.TempDir()+"/nobody")
	out, err := play(t, t.Context())
	checkPlayed(t, out, err)
	if !strings.Contains(out, "a sealed file takes its place") {
		t.Error("it does not say that there is no keychain")
	}
}

// A demonstration that is interrupted leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := play(t, ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// Somebody who types at a terminal gets through without a token.
func TestAtTheTerminal(t *testing.T) {
	var out bytes.Buffer
	a := &atTerminal{in: strings.NewReader("\n one two \n"), out: &out}
	if err := a.ready(t.Context(), "Read this."); err != nil {
		t.Fatal(err)
	}
	if typed, err := a.phrase(t.Context(), "one two"); err != nil || typed != "one two" || !strings.Contains(out.String(), " 2 two") {
		t.Fatalf("%q, %v, %s", typed, err, out.String())
	}
	if _, err := a.phrase(t.Context(), ""); err == nil {
		t.Fatal("an answer came from a closed terminal")
	}
}
