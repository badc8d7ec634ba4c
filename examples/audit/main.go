// Audit checks a project's exported history with no network and no secret, and says what it amounts to.
//
//	audit FILE     FILE is what Session.ExportAudit wrote
//
// It exits with 1 and names the first record that is wrong if the file was changed.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/studio-whip/collab"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: audit FILE")
		os.Exit(2)
	}
	if err := run(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := collab.VerifyAudit(f)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "project %s, root %s\n%d events, of which %d count for nothing; %d checkpoints are settled\n",
		r.Project, r.Root.Short(), r.Events, r.Void, r.Settled)
	for _, m := range r.Members {
		fmt.Fprintf(out, "  %-9s %s (%s)\n", m.Role, m.Name, m.ID.Short())
	}
	for _, id := range r.Equivocations {
		fmt.Fprintf(out, "  event %s is one of two that a device signed under one number\n", id.Short())
	}
	return nil
}
