// Command crdtbench measures package crdt against real Yjs, both in one run on one machine. For every trace (the
// recorded ones in the folder that COLLAB_TRACES names, or else one that it makes up) it prints the medians of both
// engines, and then the line
//
//	RATIO local 15.2x apply-each 10.9x parse 8.4x encode 7.0x heap 0.4x
//
// Times are theirs over ours; memory is ours over theirs.
//
//	local       every edit of the trace a transaction of its own, every update encoded and kept
//	apply-each  those updates, one by one, into a new document
//	parse       the whole document as one update into a new document, and its text as a string
//	encode      the whole document as one update, format v1
//	heap        live memory that a loaded document takes
//
// The engines take turns, after runs that are not counted, so that Node has compiled what is measured and a busy moment
// of the machine hits both. Both must end in the text of the trace and emit the same bytes, or the command fails.
//
// Behind the traces it prints how editing formatted text grows with the number of edits, beside plain text.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab/internal/testbed/traces"
)

func main() {
	tools := flag.String("tools", "testdata/yjs/tools", "the folder with bench.mjs and its node_modules")
	runs := flag.Int("runs", 5, "measured repetitions, odd")
	warm := flag.Int("warm", 2, "repetitions before them that are not counted")
	flag.Parse()
	if err := run(*tools, *runs, *warm); err != nil {
		fmt.Fprintln(os.Stderr, "crdtbench:", err)
		os.Exit(1)
	}
}

func run(tools string, runs, warm int) error {
	if runs < 1 || runs%2 == 0 || warm < 0 {
		return errors.New("the number of repetitions must be odd, so that there is a median")
	}
	dir, done, err := folder()
	if err != nil {
		return err
	}
	defer done()
	ts, err := traces.Recorded(dir)
	if err != nil {
		return err
	}
	theirs, err := startYjs(tools)
	if err != nil {
		return err
	}
	defer theirs.close()
	for _, t := range ts {
		if err := compare(theirs, t, runs, warm); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return growth(runs)
}

// folder is where the traces lie: the recorded ones, or a new folder with the one that is made up.
func folder() (dir string, done func(), err error) {
	if dir := os.Getenv(traces.Env); dir != "" {
		return dir, func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "crdtbench"); err != nil {
		return "", nil, err
	}
	done = func() { os.RemoveAll(dir) }
	if err = traces.Typist(1, 250_000).Write(filepath.Join(dir, "typist.json.gz")); err != nil {
		done()
		return "", nil, err
	}
	return dir, done, nil
}
