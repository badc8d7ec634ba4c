// Ceremony rehearses, at a terminal, how one person keeps the master key of a project: making it, the drill, the loss of
// one part, the loss of the whole computer, new parts, and how three people take over.
//
//	ceremony -stick FOLDER     with this computer's keychain and a YubiKey (built with -tags piv), or a file in its place
//	ceremony -demo             unattended, with a keychain of its own where one is installed and a token in software
//
// FOLDER is where the recovery file goes; it should be on a medium that is kept away from the computer. The rehearsal is
// of a project that nobody uses: at the end it erases all that it kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	demo := flag.Bool("demo", false, "run unattended with parts that are thrown away")
	stick := flag.String("stick", "", "`FOLDER` for the recovery file, on a removable medium")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *demo, *stick, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ceremony:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, demo bool, stick string, in io.Reader, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "ceremony")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if !demo && stick == "" {
		return errors.New("say where the recovery file goes: -stick FOLDER; or try -demo")
	}
	var who person = &atTerminal{in: in, out: out}
	if demo {
		who = &actor{out: out}
	}
	p, err := findParts(ctx, demo, dir, stick, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	r, err := newRehearsal(p, who, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.erase(context.WithoutCancel(ctx))) }()
	return r.play(ctx)
}
