package governance

import (
	"slices"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

// addRaw adds an event that a log has made itself.
func (tm *team) addRaw(raw []byte) EventID {
	tm.t.Helper()
	res, err := tm.log.Add(raw)
	if err != nil || len(res.Added) != 1 {
		tm.t.Fatalf("add: %v, %v", res, err)
	}
	tm.raws = append(tm.raws, raw)
	return res.Added[0]
}

// settle makes and adds the next checkpoint of A and B.
func (tm *team) settle(content []Cut, unix uint64) (EventID, *Checkpoint) {
	tm.t.Helper()
	c, err := tm.log.NextCheckpoint(tm.device("A"), content, unix)
	if err != nil {
		tm.t.Fatal(err)
	}
	raw, _, err := tm.log.Propose(tm.person("A").author(), KindCheckpoint, c, WithCosigners(tm.person("B").author()))
	if err != nil {
		tm.t.Fatal(err)
	}
	return tm.addRaw(raw), c
}

// The next checkpoint follows those that count, settles what is there, and its clock never goes back.
func TestNextCheckpoint(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	if u := tm.log.Unsettled(); u.Events != 3 || u.Urgent {
		t.Errorf("before the first: %+v", u)
	}
	first, c := tm.settle(nil, 100)
	if c.Number != 1 || len(c.Prev) != 0 || c.Time != 100 || tm.log.State().Settled().Event != first {
		t.Errorf("first: %+v", c)
	}
	if u := tm.log.Unsettled(); u.Events != 0 {
		t.Errorf("after the first: %+v", u)
	}
	tm.name("C1", first)
	// Two of one number beside each other: the next has both before it.
	at := func(by, name string, on ...string) {
		tm.add(name, chainStep(by, 1), on...)
	}
	at("B", "b", "C1")
	at("C", "c", "C1")
	tm.add("C2a", checkStep("A", 2, 110, "C1").and("B"), "b")
	tm.add("C2b", checkStep("C", 2, 120, "C1").and("B"), "c")
	if s := tm.log.State().Settled(); s.Number != 1 {
		t.Errorf("rivals have settled checkpoint %d", s.Number)
	}
	if u := tm.log.Unsettled(); u.Events != 2 {
		t.Errorf("beside rivals: %+v", u)
	}
	id, c := tm.settle(nil, 50)
	if c.Number != 3 || c.Time != 120 || !slices.Equal(c.Prev, wire.SortIDs([]EventID{tm.ids["C2a"], tm.ids["C2b"]})) {
		t.Errorf("after rivals: %+v", c)
	}
	if s := tm.log.State().Settled(); s.Event != id || tm.log.Unsettled().Events != 0 {
		t.Errorf("settled: %+v", s)
	}
}

// What is settled of the documents grows only, never beyond a cut, and never by chains that are unknown.
func TestNextCheckpointContent(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	chain := func(who string, seq uint64) Cut {
		return Cut{Device: tm.device(who), Seq: seq, Envelope: wire.ID{byte(seq)}}
	}
	content := func(cuts ...Cut) []Cut { slices.SortFunc(cuts, compareCuts); return cuts }
	_, c := tm.settle(content(chain("A", 4), chain("C", 2), Cut{Device: wireDevice(9), Seq: 1}), 10)
	if !slices.Equal(c.Content, content(chain("A", 4), chain("C", 2))) {
		t.Errorf("first: %+v", c.Content)
	}
	tm.name("C1", tm.log.Heads()[0])
	tm.add("out", revokeStep("A", "C", chain("C", 3)).and("B"), "C1")
	if u := tm.log.Unsettled(); !u.Urgent || u.Events != 1 {
		t.Errorf("a manager was removed: %+v", u)
	}
	next, err := tm.log.NextCheckpoint(tm.device("A"), content(chain("A", 4), chain("B", 1), chain("C", 5)), 20)
	if err != nil || !slices.Equal(next.Content, content(chain("B", 1))) {
		t.Errorf("second: %+v, %v", next, err)
	}
}

func wireDevice(b byte) (d [32]byte) { d[0] = b; return d }

// Acts that came late and were lawful can be brought back; others cannot, and none twice.
func TestEndorsable(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.add("e", admitStep("A", "E", Editor), "start")
	tm.add("C1", checkStep("A", 1, 10).and("B"), "e")
	tm.add("late", admitStep("C", "F", Viewer), "start")
	tm.add("unlawful", grantStep("E", "E", Manager), "e")
	tm.add("manager", grantStep("C", "E", Manager).and("B"), "late", "e")
	tm.add("end", chainStep("A", 1), "C1", "manager", "unlawful")
	for _, name := range []string{"late", "manager"} {
		if x, err := tm.log.Explain(tm.ids[name]); err != nil || x.Reason != ReasonLate {
			t.Fatalf("%s: %+v, %v", name, x, err)
		}
	}
	if got := tm.log.Endorsable(tm.device("A")); !slices.Equal(got, []EventID{tm.ids["late"], tm.ids["manager"]}) {
		t.Errorf("endorsable: %v", got)
	}
	if got := tm.log.Endorsable(tm.device("E")); len(got) != 0 {
		t.Errorf("by an editor: %v", got)
	}
	raw, _, err := tm.log.Propose(tm.person("A").author(), KindEndorse, &Endorse{Events: []EventID{tm.ids["late"]}})
	if err != nil {
		t.Fatal(err)
	}
	tm.addRaw(raw)
	if got := tm.log.Endorsable(tm.device("A")); !slices.Equal(got, []EventID{tm.ids["manager"]}) {
		t.Errorf("after one: %v", got)
	}
}
