//go:build linux

// Netns has two people talk across two network namespaces: two machines, as far as the network can tell. Each has one
// address, one cable to the other, and nothing else.
//
//	namespace a                    namespace b
//	quickstart host                quickstart join CODE
//	10.77.0.1 ───── veth pair ───── 10.77.0.2
//	packet filter                  packet filter
//
// The program under test is the quickstart as anybody runs it. The code that one prints is given to the other, and lines
// typed on each side must appear on the other one. That is done over whatever both like, with QUIC alone and with TCP
// alone (the other is dropped by the packet filters, which also count what came through), and with both dropped nobody
// may get in. It needs root, ip and nft:
//
//	netns QUICKSTART
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// limit is how long one talk may take.
const limit = 2 * time.Minute

func main() {
	if why := missing(); why != "" {
		fmt.Println("netns: skipped:", why)
		if os.Getenv("COLLAB_CI") != "" { // there it is installed
			os.Exit(1)
		}
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: netns QUICKSTART")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, drop := range [][]string{nil, {"tcp"}, {"udp"}, {"udp", "tcp"}} {
		if err := try(ctx, os.Args[1], drop); err != nil {
			fmt.Fprintln(os.Stderr, "netns: FAILED:", err)
			os.Exit(1)
		}
	}
}

// missing says what keeps the lab from being built here.
func missing() string {
	if os.Getuid() != 0 {
		return "needs root"
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed (Debian: iproute2, nftables)"
		}
	}
	probe := fmt.Sprintf("collab-%d-probe", os.Getpid())
	if _, err := run("", "ip", "netns", "add", probe); err != nil {
		return "network namespaces cannot be made: " + err.Error()
	}
	if _, err := run("", "ip", "netns", "del", probe); err != nil {
		return err.Error()
	}
	return ""
}

// try builds a lab that drops some transports, has the talk in it, and takes it down.
func try(ctx context.Context, quickstart string, drop []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	name := "QUIC and TCP"
	if len(drop) > 0 {
		name = "without " + strings.Join(drop, " and ")
	}
	began := time.Now()
	l, err := build(drop)
	defer func() { err = errors.Join(err, l.remove()) }()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t := &talk{lab: l, quickstart: quickstart}
	defer func() { err = errors.Join(err, t.end()) }()
	if len(drop) == 2 {
		err = t.nobodyGetsIn(ctx)
	} else {
		err = t.hold(ctx)
	}
	var passed map[string]int
	if err == nil {
		passed, err = l.passed(drop)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, t.outputs())
	}
	fmt.Printf("netns: %s: ok in %.1f s; packets that came: udp %d, tcp %d%s\n",
		name, time.Since(began).Seconds(), passed["udp"], passed["tcp"], dropped(drop))
	return nil
}

func dropped(drop []string) string {
	if len(drop) == 0 {
		return ""
	}
	return " (" + strings.Join(drop, " and ") + " dropped)"
}

// run runs a tool, in a namespace unless that is "".
func run(namespace string, args ...string) (string, error) { return feed(namespace, "", args...) }

// feed is run with something on standard input.
func feed(namespace, stdin string, args ...string) (string, error) {
	if namespace != "" {
		args = append([]string{"ip", "netns", "exec", namespace}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
