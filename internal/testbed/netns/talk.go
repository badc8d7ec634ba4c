//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// talk is a run of two quickstarts.
type talk struct {
	lab        *lab
	quickstart string
	host       *person
	guest      *person
}

// hold has both sides type, and see what the other one types.
func (t *talk) hold(ctx context.Context) error {
	code, err := t.found(ctx)
	if err != nil {
		return err
	}
	if t.guest, err = start(ctx, "guest", t.lab.sides[1], t.quickstart, "join", code); err != nil {
		return err
	}
	for _, p := range []*person{t.host, t.guest} {
		if err := p.sees(ctx, "Connected."); err != nil {
			return err
		}
	}
	for i := range 5 {
		if err := say(ctx, t.host, t.guest, "Host", fmt.Sprintf("INT. LIGHTHOUSE, take %d", i)); err != nil {
			return err
		}
		if err := say(ctx, t.guest, t.host, "Guest", fmt.Sprintf("EXT. HARBOUR, take %d", i)); err != nil {
			return err
		}
	}
	if err := t.guest.leave(ctx); err != nil {
		return err
	}
	if err := t.host.sees(ctx, "[Guest has gone]"); err != nil {
		return err
	}
	return t.host.leave(ctx)
}

// nobodyGetsIn is the control: with everything dropped there is no other way between the namespaces.
func (t *talk) nobodyGetsIn(ctx context.Context) error {
	code, err := t.found(ctx)
	if err != nil {
		return err
	}
	if t.guest, err = start(ctx, "guest", t.lab.sides[1], t.quickstart, "join", code); err != nil {
		return err
	}
	select {
	case <-t.guest.ended:
	case <-ctx.Done():
		return errors.New("the guest still tries; want that nobody is reachable")
	}
	if t.guest.err == nil || !strings.Contains(t.guest.output.String(), "no peer reachable") {
		return fmt.Errorf("the guest ended with %v; want that nobody is reachable", t.guest.err)
	}
	return t.host.leave(ctx)
}

var codeLine = regexp.MustCompile(`(?m)^\s*quickstart join (\S+)$`)

// found starts the host and reads the code that it prints.
func (t *talk) found(ctx context.Context) (code string, err error) {
	if t.host, err = start(ctx, "host", t.lab.sides[0], t.quickstart, "host"); err != nil {
		return "", err
	}
	if err := t.host.sees(ctx, "Connected."); err != nil {
		return "", err
	}
	found := codeLine.FindStringSubmatch(t.host.output.String())
	if found == nil {
		return "", errors.New("the host prints no code")
	}
	return found[1], nil
}

// say types a line on one side and waits until the other one shows it, once.
func say(ctx context.Context, from, to *person, name, line string) error {
	if _, err := fmt.Fprintln(from.stdin, line); err != nil {
		return fmt.Errorf("type as %s: %w", from.name, err)
	}
	want := name + ": " + line + "\n"
	if err := to.sees(ctx, want); err != nil {
		return err
	}
	if n := strings.Count(to.output.String(), want); n != 1 {
		return fmt.Errorf("the %s sees %q %d times", to.name, line, n)
	}
	return nil
}

// end stops who still runs.
func (t *talk) end() error {
	var errs []error
	for _, p := range []*person{t.guest, t.host} {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	return errors.Join(errs...)
}

// outputs is what both sides have printed.
func (t *talk) outputs() string {
	var out strings.Builder
	for _, p := range []*person{t.host, t.guest} {
		if p != nil {
			fmt.Fprintf(&out, "---- %s\n%s\n", p.name, p.output.String())
		}
	}
	return out.String()
}

// person is one side's process.
type person struct {
	name   string
	cmd    *exec.Cmd
	stdin  *os.File
	output *output
	temp   string // its folder for temporary files
	ended  chan struct{}
	err    error // how it ended
}

// start runs a program in a namespace; ip replaces itself with it, so that its process is the program's.
func start(ctx context.Context, name, namespace string, args ...string) (*person, error) {
	temp, err := os.MkdirTemp("", "collab-netns-")
	if err != nil {
		return nil, err
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	p := &person{name: name, stdin: stdin, output: newOutput(), temp: temp, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", namespace}, args...)...)
	p.cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, p.output, p.output
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the %s: %w", name, err), stdin.Close(), os.RemoveAll(temp))
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// sees waits until a side has printed something.
func (p *person) sees(ctx context.Context, text string) error {
	for {
		more := p.output.more()
		if strings.Contains(p.output.String(), text) {
			return nil
		}
		select {
		case <-more:
		case <-p.ended:
			if strings.Contains(p.output.String(), text) {
				return nil
			}
			return fmt.Errorf("the %s ended (%v) before it showed %q", p.name, p.err, text)
		case <-ctx.Done():
			return fmt.Errorf("the %s does not show %q: %w", p.name, text, ctx.Err())
		}
	}
}

// leave ends a side as a person does, with Ctrl-D. It must end well and leave nothing behind.
func (p *person) leave(ctx context.Context) error {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("the %s does not end: %w", p.name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("the %s ended with %w", p.name, p.err)
	}
	left, err := os.ReadDir(p.temp)
	if err != nil || len(left) > 0 {
		return fmt.Errorf("the %s leaves %d files behind: %v", p.name, len(left), err)
	}
	return nil
}

// stop ends a side that may still run, by its process alone.
func (p *person) stop() error {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return os.RemoveAll(p.temp)
}
