package governance

import (
	"fmt"
	"testing"

	"github.com/studio-whip/collab/identity"
)

// crowd is a project of some people, by letters from A on, A, B and C managers, and Z, who will sign many events of one number.
func crowd(t *testing.T, people int) *team {
	t.Helper()
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	last := "start"
	for k := 3; k < people; k++ {
		who := string(rune('A' + k))
		tm.add("admit "+who, admitStep("A", who, Editor), last)
		last = "admit " + who
	}
	tm.add("admit Z", admitStep("A", "Z", Editor), last)
	tm.name("all", tm.ids["admit Z"])
	return tm
}

// fork has Z sign events of one number, each on an event of its own choice.
func (tm *team) fork(n int, on func(k int) string) {
	tm.t.Helper()
	for k := range n {
		s := chainStep("Z", 1)
		number := uint64(k)
		s.edit = func(c *eventCore) { c.THint = &number }
		tm.add(fmt.Sprintf("fork %d", k), s, on(k))
	}
}

// settleAll makes the checkpoint that A's program would and B's would sign, and says what B's has against it.
func (tm *team) settleAll() (d *Draft, omitted EventID) {
	tm.t.Helper()
	a, b := tm.person("A"), tm.person("B")
	for range 8 {
		if !tm.log.Crowded(a.device.ID) {
			break
		}
		raw, _, err := tm.log.Propose(a.author(), KindFrontierExtend, &FrontierExtend{})
		if err != nil {
			tm.t.Fatal(err)
		}
		if _, err := tm.log.Add(raw); err != nil {
			tm.t.Fatal(err)
		}
		tm.raws = append(tm.raws, raw)
	}
	body, err := tm.log.NextCheckpoint(a.device.ID, nil, 1)
	if err != nil {
		tm.t.Fatal(err)
	}
	d, err = tm.log.Draft(a.device.ID, []identity.DeviceID{b.device.ID}, KindCheckpoint, body)
	if err != nil {
		tm.t.Fatal(err)
	}
	return d, tm.log.Omits(d, func(EventID) bool { return false })
}

// A device that signs forty events of one number takes nobody's place in a checkpoint: what is sound is in its past, wherever
// the forty stand, and what is left out counts for nothing.
func TestFortyHeads(t *testing.T) {
	for name, on := range map[string]func(int) string{
		"beside everybody": func(int) string { return "all" },
		"on what others did": func(k int) string {
			return fmt.Sprintf("work %c", 'A'+rune(k%20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tm := crowd(t, 20)
			for k := range 20 {
				who := string(rune('A' + k))
				tm.add("work "+who, chainStep(who, 1), "all")
			}
			tm.fork(40, on)
			if n := len(tm.log.Heads()); n < 40 {
				t.Fatalf("%d heads", n)
			}
			d, omitted := tm.settleAll()
			if !omitted.IsZero() {
				t.Errorf("the co-signer misses %s", omitted.Short())
			}
			if len(d.Parents) != MaxParents {
				t.Errorf("%d parents", len(d.Parents))
			}
			for k := range 20 {
				in, err := tm.log.Includes(d.Parents, tm.heads("work "+string(rune('A'+k))))
				if err != nil || !in {
					t.Errorf("what %c did is left out: %v", 'A'+k, err)
				}
			}
			// A draft that names sixteen of the forty instead of what others did is not signed.
			var forks []EventID
			for k := range MaxParents {
				forks = append(forks, tm.ids[fmt.Sprintf("fork %d", k)])
			}
			if o := tm.log.Omits(&Draft{Parents: forks}, func(EventID) bool { return false }); o.IsZero() {
				t.Error("what others did may be left out")
			}
			// Nor one that has room for it and leaves out what is not sound.
			if o := tm.log.Omits(&Draft{Parents: d.Parents[:MaxParents-1]}, func(EventID) bool { return false }); o.IsZero() {
				t.Error("a draft with room leaves something out")
			}
		})
	}
}

// Twenty devices that write at once have more heads than fit, and nothing of it may be left out: it is brought together first.
func TestTwentyHeads(t *testing.T) {
	tm := crowd(t, 20)
	for k := range 20 {
		who := string(rune('A' + k))
		tm.add("work "+who, chainStep(who, 1), "all")
	}
	if !tm.log.Crowded(tm.person("A").device.ID) {
		t.Error("twenty heads fit")
	}
	body, err := tm.log.NextCheckpoint(tm.person("A").device.ID, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	hasty, err := tm.log.Draft(tm.person("A").device.ID, []identity.DeviceID{tm.person("B").device.ID}, KindCheckpoint, body)
	if err != nil {
		t.Fatal(err)
	}
	if tm.log.Omits(hasty, func(EventID) bool { return false }).IsZero() {
		t.Error("a checkpoint that leaves four devices' work out is signed")
	}
	d, omitted := tm.settleAll()
	if !omitted.IsZero() {
		t.Errorf("the co-signer misses %s", omitted.Short())
	}
	if in, err := tm.log.Includes(d.Parents, tm.log.Heads()); err != nil || !in {
		t.Errorf("something is left out: %v", err)
	}
	if tm.log.Crowded(tm.person("A").device.ID) {
		t.Error("still too many")
	}
	tm.expect(nil, map[string]Role{"A": Manager, "T": Editor})
}
