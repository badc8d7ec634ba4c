//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildQuickstart compiles this program.
func buildQuickstart(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "quickstart")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// runQuickstart starts the program with an own folder for temporary files; watch is called with each line that it prints.
func runQuickstart(t *testing.T, binary string, watch func(*os.Process, string)) (code int, temp, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	temp = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		watch(cmd.Process, lines.Text())
	}
	_ = cmd.Wait() // the code says the same
	return cmd.ProcessState.ExitCode(), temp, errs.String()
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDemo runs the whole demonstration, and once more to end it in the middle: no process and no file is left.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds: not with -short")
	}
	binary := buildQuickstart(t)
	joined := regexp.MustCompile(`Cleo joined from process (\d+)`)
	t.Run("whole", func(t *testing.T) {
		last := ""
		code, temp, stderr := runQuickstart(t, binary, func(_ *os.Process, line string) { last = line })
		if code != 0 || last != "ok" || stderr != "" {
			t.Errorf("exit code %d, last line %q, errors %q", code, last, stderr)
		}
		checkEmpty(t, temp)
	})
	t.Run("interrupted", func(t *testing.T) {
		child := 0
		code, temp, stderr := runQuickstart(t, binary, func(p *os.Process, line string) {
			if m := joined.FindStringSubmatch(line); m != nil {
				child, _ = strconv.Atoi(m[1])
				if err := p.Signal(syscall.SIGINT); err != nil {
					t.Error(err)
				}
			}
		})
		if code != interrupted || !strings.Contains(stderr, "interrupted") {
			t.Errorf("exit code %d, errors %q; want %d and that it was interrupted", code, stderr, interrupted)
		}
		if err := syscall.Kill(child, 0); child == 0 || !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the third person's process %d lives on: %v", child, err)
		}
		checkEmpty(t, temp)
	})
}
