package crdt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// score counts, per kind, how many fixtures reach a level.
type score struct {
	name      string
	pass, all map[string]int
	failures  []string
}

func newScore(name string) *score {
	return &score{name: name, pass: map[string]int{}, all: map[string]int{}}
}

func (s *score) count(fx *fixture, err error) {
	s.all[fx.Kind]++
	if err == nil {
		s.pass[fx.Kind]++
		return
	}
	s.failures = append(s.failures, fmt.Sprintf("%s %s: %v", s.name, fx.name, err))
}

// line is what the level comes to: "L1 60/60".
func (s *score) line() string {
	pass, all := 0, 0
	for kind, n := range s.all {
		pass, all = pass+s.pass[kind], all+n
	}
	return fmt.Sprintf("%s %d/%d", s.name, pass, all)
}

// kinds is the same for each kind of fixture.
func (s *score) kinds() string {
	var parts []string
	for kind, n := range s.all {
		parts = append(parts, fmt.Sprintf("%s %d/%d", kind, s.pass[kind], n))
	}
	slices.Sort(parts)
	return s.name + ": " + strings.Join(parts, ", ")
}

// TestYjsFixtures prints how many fixtures reach each level:
//
//	L1  the same state after the updates in the order in which they came, format v1
//	L2  the same in the formats in which they came, in v2 alone, backwards, shuffled, and twice
//	L3  the same bytes when a state is encoded, in both formats, from documents and from updates alone
//	L4  the same bytes emitted by every local edit, in both formats
//	L5  the same relative positions, snapshots and XML, and of what lies in the folder extras the same events, undone
//	    steps, restored snapshots, texts between two, rare content, positions over time and sync messages
//
// What lies in extras belongs to no fixture. So that each of its recordings has a place in the count, the first one is
// counted with the first fixture, the second with the second, and so on, round and round.
func TestYjsFixtures(t *testing.T) {
	fixtures, extras := loadFixtures(t), loadAllExtras(t)
	l1, l2, l3, l4, l5 := newScore("L1"), newScore("L2"), newScore("L3"), newScore("L4"), newScore("L5")
	compared, updates := 0, 0
	for i, fx := range fixtures {
		l1.count(fx, replay(fx, false))
		l2.count(fx, fx.inAnyOrder())
		n, behind, err := fx.replayEdits()
		l4.count(fx, err)
		l3.count(fx, firstError(
			func() error { return canonical(fx) },
			func() error { return syncBytes(fx, behind) },
			func() error { return withoutDocument(fx) },
		))
		compared += n
		updates += len(fx.Updates)
		checks := []func() error{fx.positions, fx.snapshots, fx.xmlText}
		for k := i; k < len(extras); k += len(fixtures) {
			checks = append(checks, extras[k].check)
		}
		l5.count(fx, firstError(checks...))
	}
	var lines strings.Builder
	for _, s := range []*score{l1, l2, l3, l4, l5} {
		fmt.Fprintln(&lines, s.line())
		t.Log(s.kinds())
		for i, f := range s.failures {
			if i < 12 {
				t.Error(f)
			}
		}
	}
	t.Logf("L4 compared the bytes of %d of %d transactions", compared, updates)
	t.Logf("L5 had %d recordings of extras", len(extras))
	announce(t, lines.String())
}

// inAnyOrder replays the updates in several orders and formats.
func (fx *fixture) inAnyOrder() error {
	n := len(fx.Updates)
	order := rand.New(rand.NewPCG(1, uint64(n))).Perm(n)
	return firstError(
		func() error { return replay(fx, true) },
		func() error { return fx.replayInOrder(V2, func(i int) []int { return []int{i} }) },
		func() error { return fx.replayInOrder(V1, func(i int) []int { return []int{n - 1 - i, n - 1 - i} }) },
		func() error { return fx.replayInOrder(V2, func(i int) []int { return []int{n - 1 - i} }) },
		func() error { return fx.replayInOrder(V2, func(i int) []int { return []int{order[i], order[i/2]} }) },
	)
}

// announce prints text where whoever called go test sees it. What a passing test of a package named on the command line
// prints, go test throws away unless -v is given; so where the system lets us, the text goes to go test's own output.
func announce(t testing.TB, text string) {
	if !testing.Verbose() && !t.Failed() {
		if out, ok := callersOutput(); ok {
			defer out.Close()
			fmt.Fprint(out, text)
			return
		}
	}
	fmt.Fprint(os.Stdout, text)
}

// extra is one recording of the folder extras.
type extra struct {
	name  string
	check func() error
}

// loadAllExtras lists the recordings there are, those of one kind after the other.
func loadAllExtras(t testing.TB) []extra {
	out := slices.Concat(eventExtras(t), undoExtras(t), snapshotExtras(t), changeExtras(t), carriedExtras(t),
		protocolExtras(t))
	for i := range out {
		name, check := out[i].name, out[i].check
		out[i].check = func() error {
			if err := check(); err != nil {
				return fmt.Errorf("extras, %s: %w", name, err)
			}
			return nil
		}
	}
	return out
}

// TestLevelLine checks that the lines say what was counted.
func TestLevelLine(t *testing.T) {
	s := newScore("L9")
	for i, kind := range []string{"text", "map", "text"} {
		s.count(&fixture{name: "x", Kind: kind}, []error{nil, ErrRange, nil}[i])
	}
	if s.line() != "L9 2/3" || s.kinds() != "L9: map 0/1, text 2/2" || len(s.failures) != 1 {
		t.Error(s.line(), s.kinds(), s.failures)
	}
}
