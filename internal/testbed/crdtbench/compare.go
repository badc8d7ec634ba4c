package main

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/internal/testbed/traces"
)

// measures are what is compared, in the order of a repetition: later ones need what earlier ones made. What takes only
// a moment is done several times.
var measures = []struct {
	name, run string
	times     int
}{
	{"local", "local", 1},
	{"apply-each", "each", 1},
	{"parse", "parse", 10},
	{"encode", "encode", 20},
	{"heap", "heap", 1},
}

// compare runs both engines over a trace and prints what they took.
func compare(theirs *yjs, t traces.Trace, runs, warm int) error {
	v, err := theirs.load(t.File)
	if err != nil {
		return err
	}
	us := &ours{patches: t.Patches}
	var mine, yours [][]float64
	for range measures {
		mine, yours = append(mine, nil), append(yours, nil)
	}
	for n := range warm + runs {
		for i, m := range measures {
			b, err := theirs.run(m.run, m.times)
			if err != nil {
				return err
			}
			a, err := us.run(m.run, m.times)
			if err != nil {
				return err
			}
			if a.Text != b.Text || a.Text != t.End {
				return fmt.Errorf("%s: texts differ: ours %.12s, theirs %.12s, the trace's %.12s", m.name, a.Text, b.Text, t.End)
			}
			if a.Updates != b.Updates {
				return fmt.Errorf("%s: the engines emit different bytes", m.name)
			}
			if n >= warm {
				mine[i], yours[i] = append(mine[i], a.MS+a.Bytes/1e6), append(yours[i], b.MS+b.Bytes/1e6)
			}
		}
	}
	fmt.Printf("%s: %d edits, medians of %d after %d, yjs %s on node %s\n", t.Name, len(t.Patches), runs, warm, v.Yjs, v.Node)
	ratios := "RATIO"
	for i, m := range measures {
		unit, ratio := "ms", median(yours[i])/median(mine[i])
		if m.run == "heap" {
			unit, ratio = "MB", 1/ratio
		}
		fmt.Printf("  %-10s  ours %9.3f %s   yjs %9.3f %s\n", m.name, median(mine[i]), unit, median(yours[i]), unit)
		ratios += fmt.Sprintf(" %s %.1fx", m.name, ratio)
	}
	fmt.Println(ratios)
	return nil
}

func median(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
