// Quickstart shows private, live collaboration between real peers on one machine.
//
//	quickstart                 three people, each a node with its own directory and keys, write a scene together
//	quickstart -trace FILE     they replay a recorded editing session instead
//	quickstart host            founds a project and prints an invite code; lines typed here appear there
//	quickstart join CODE       joins it from another terminal or machine
//
// It needs no set-up: everything is made in a temporary folder and removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	trace := flag.String("trace", "", "gzipped JSON `FILE` of a recorded editing session to replay")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: quickstart [-trace FILE] | quickstart host [-listen IP] | quickstart join CODE\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	err := run(ctx, *trace, flag.Args())
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "quickstart: interrupted; everything was closed and removed")
		os.Exit(interrupted)
	default:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// interrupted is the exit code after Ctrl-C, as of a shell: 128 + SIGINT.
const interrupted = 130

func run(ctx context.Context, trace string, args []string) error {
	if len(args) == 0 {
		return demo(ctx, trace)
	}
	switch args[0] {
	case "host":
		return host(ctx, args[1:])
	case "join":
		return join(ctx, args[1:])
	case "member":
		return member(ctx, os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown command %q; try -h", args[0])
}
