package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// yjs is the other engine, in a process of its own; see bench.mjs.
type yjs struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// result is what one run of an engine gives.
type result struct {
	MS      float64 // per time
	Bytes   float64 // of memory
	Text    string  // hash of the text at the end
	Updates string  // hash of what was emitted
}

func startYjs(tools string) (*yjs, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("comparing with Yjs needs Node 20 (and npm, once): no node in PATH")
	}
	if _, err := os.Stat(filepath.Join(tools, "node_modules", "yjs")); err != nil {
		return nil, fmt.Errorf("Yjs is not installed: run npm ci in %s", tools)
	}
	y := &yjs{cmd: exec.Command(node, "--expose-gc", "bench.mjs")}
	y.cmd.Dir, y.cmd.Stderr = tools, os.Stderr
	out, err := y.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if y.in, err = y.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	y.out = bufio.NewReader(out)
	if err := y.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting node: %w", err)
	}
	return y, nil
}

func (y *yjs) close() {
	y.in.Close()
	_ = y.cmd.Wait() // what it had to say has been read
}

// versions names what is measured.
type versions struct{ Node, Yjs string }

// load makes it read a trace.
func (y *yjs) load(path string) (v versions, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return v, err
	}
	err = y.ask(map[string]any{"trace": path}, &v)
	return v, err
}

func (y *yjs) run(what string, times int) (r result, err error) {
	err = y.ask(map[string]any{"run": what, "times": times}, &r)
	return r, err
}

func (y *yjs) ask(question map[string]any, answer any) error {
	if err := json.NewEncoder(y.in).Encode(question); err != nil {
		return fmt.Errorf("asking Yjs: %w", err)
	}
	line, err := y.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("Yjs went away: %w", err)
	}
	var failed struct{ Error string }
	if err := errors.Join(json.Unmarshal(line, &failed), json.Unmarshal(line, answer)); err != nil {
		return fmt.Errorf("Yjs answered %q: %w", line, err)
	}
	if failed.Error != "" {
		return fmt.Errorf("Yjs failed: %s", failed.Error)
	}
	return nil
}
