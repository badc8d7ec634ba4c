// Audit checks a project's exported history with no network and no secret, and says what it amounts to.
//
//	audit FILE     FILE is what Session.ExportAudit wrote
//
// It exits with 1 and names the first record that is wrong if the file was changed.
package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

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
	fmt.Fprintf(out, "project %s, root %s of version %d\n%d events, of which %d count for nothing; %d checkpoints are settled\n",
		r.Project, r.Root.Short(), r.RootVersion, r.Events, r.Void, r.Settled)
	if r.Attested > 0 {
		fmt.Fprintf(out, "%d events have no signatures any more: who signed an old checkpoint vouches for them\n", r.Attested)
	}
	tellRoot(out, &r)
	for _, m := range r.Members {
		fmt.Fprintf(out, "  %-9s %s (%s)\n", m.Role, m.Name, m.ID.Short())
	}
	for _, id := range r.Equivocations {
		fmt.Fprintf(out, "  event %s is one of two that a device signed under one number\n", id.Short())
	}
	return nil
}

// tellRoot says how the root has moved, and what stands in the way of its moving on.
func tellRoot(out io.Writer, r *collab.AuditReport) {
	names := map[collab.MemberID]string{}
	for _, m := range r.Members {
		names[m.ID] = m.Name
	}
	held := func(h collab.RootHolders) string {
		var list []string
		for _, id := range h.Members {
			list = append(list, fmt.Sprintf("%s (%s)", cmp.Or(names[id], "no member"), id.Short()))
		}
		return fmt.Sprintf("%d of %s", h.Threshold, strings.Join(list, ", "))
	}
	for _, m := range r.Migrations {
		fmt.Fprintf(out, "root version %d, %s after %s: ", m.Version, m.To.Short(), m.From.Short())
		if m.Counts {
			fmt.Fprintf(out, "after %d events, of which it knew %d\n", m.After, m.Knows)
		} else {
			fmt.Fprintln(out, "it does not count, as events that it names are not in the file")
		}
		fmt.Fprintf(out, "  held by %s\n  before  %s\n", held(m.New), held(m.Old))
		if m.Reason != "" {
			fmt.Fprintf(out, "  because %q\n", m.Reason)
		}
	}
	fmt.Fprintf(out, "root settled up to version %d, by the managers' checkpoint up to version %d\n", r.RootSettled, r.RootProved)
	for _, id := range r.RootFork {
		fmt.Fprintf(out, "  fork: record %s claims to be version %d and does not count\n", id.Short(), len(r.Migrations)+2)
	}
	for _, f := range r.LateForks {
		fmt.Fprintf(out, "  late fork: somebody signed %s in the place of %s, version %d\n", f.Rival.Short(), f.Settled.Short(), f.Version)
	}
	for _, id := range r.RootDisputed {
		fmt.Fprintf(out, "  disputed: a checkpoint of the managers speaks for %s; ask whoever wrote the file why he settled another\n", id.Short())
	}
	if !r.RootAwaits.IsZero() {
		fmt.Fprintf(out, "  record %s is settled and not in the file; until it is there, only version 1 counts\n", r.RootAwaits.Short())
	}
}
