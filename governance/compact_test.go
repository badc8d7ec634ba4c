package governance

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/studio-whip/collab/genesis"

	"github.com/studio-whip/collab/internal/wire"
)

// longTeam is a project with two managers, an editor whom a host let in, one who was removed, and n checkpoints, between which
// people change their keys.
//
//	start -> d (A admits) -> i (an invite) -> e (A lets E in) -> f (A admits) -> out (A removes F) -> k1 -> c1 -> k2 -> c2 …
func longTeam(t testing.TB, n int) *team {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.draw(`start -> d -> i -> e -> f -> out`, map[string]step{
		"d": admitStep("A", "D", Editor), "i": inviteStep("A", "i", Editor, 1, "A"), "e": useStep("A", "E", "i", Editor),
		"f": admitStep("B", "F", Editor), "out": revokeStep("A", "F"),
	})
	at := "out"
	for k := range n {
		key, c := fmt.Sprint("k", k+1), fmt.Sprint("c", k+1)
		tm.add(key, updateStep([]string{"D", "E"}[k%2], "G"), at)
		tm.add(c, checkStep("A", uint64(k+1), uint64(k+1)).and("B"), key)
		at = c
	}
	return tm
}

// rawsOf are the events of a log as it would send them.
func rawsOf(l *Log) [][]byte {
	var out [][]byte
	for e := range l.All() {
		out = append(out, e.Raw)
	}
	return out
}

func stop(int, error) bool { return false }

// Compaction drops the signatures of what an old checkpoint attests and nothing else; ids, states and what happens later are
// the same, here, at a newcomer, and after a restart.
func TestCompact(t *testing.T) {
	tm := longTeam(t, 26)
	s := &MemoryStorage{}
	l := NewLog(tm.root)
	if err := l.Restore(s); err != nil {
		t.Fatal(err)
	}
	if _, errs := l.AddAll("", tm.raws); errs != nil {
		t.Fatal(errs)
	}
	size := func(raws [][]byte) int { return len(bytes.Join(raws, nil)) }
	before, whole := l.State().Digest(), size(s.raws)
	gone, err := l.Compact()
	if err != nil {
		t.Fatal(err)
	}
	var want []EventID
	for _, name := range []string{"key", "d", "i", "e", "f", "out", "k1", "k2"} {
		want = append(want, tm.ids[name])
	}
	// Who admits managers is known by what signed it; what D and E did needs no signature any more.
	if slices.Contains(gone, tm.ids["start"]) || !slices.Contains(gone, tm.ids["k2"]) || slices.Contains(gone, tm.ids["k3"]) ||
		slices.Contains(gone, tm.ids["c1"]) || !slices.Equal(wire.SortIDs(slices.Clone(gone)), wire.SortIDs(want)) {
		t.Fatalf("%d events lost their signatures: %v, want %v", len(gone), tm.called(gone), tm.called(want))
	}
	if l.State().Digest() != before || l.Attested() != len(gone) {
		t.Errorf("another state, or %d attested", l.Attested())
	}
	if again, err := l.Compact(); err != nil || len(again) != 0 {
		t.Errorf("compacted again: %v, %v", tm.called(again), err)
	}
	t.Logf("%d of %d events: %d bytes before, %d after", len(gone), l.Len(), whole, size(s.raws))
	restarted := NewLog(tm.root)
	if err := restarted.Restore(s); err != nil || restarted.State().Digest() != before || restarted.Attested() != len(gone) {
		t.Fatalf("after a restart: %v", err)
	}
	newcomer := NewLog(tm.root)
	im := newcomer.Import()
	for _, raw := range rawsOf(l) {
		if err := im.Add([][]byte{raw}); err != nil {
			t.Fatal(err)
		}
	}
	if res, err := im.Adopt(stop); err != nil || len(res.Added) != l.Len() || newcomer.State().Digest() != before {
		t.Fatalf("a newcomer: %d of %d, %v", len(res.Added), l.Len(), err)
	}
	next := tm.make(chainStep("D", 1), "c26")
	for _, log := range []*Log{l, restarted, newcomer} {
		if res, err := log.Add(next); err != nil || len(res.Added) != 1 || log.State().Digest() == before {
			t.Errorf("the next event: %+v, %v", res, err)
		}
	}
}

func (tm *team) called(ids []EventID) (out []string) {
	for _, id := range ids {
		out = append(out, tm.names[id])
	}
	slices.Sort(out)
	return out
}

// Somebody who was away holds the beginning with signatures, and gets the rest from one who has dropped them.
func TestImportOnTopOfSigned(t *testing.T) {
	tm := longTeam(t, 27)
	away := NewLog(tm.root)
	if _, errs := away.AddAll("", tm.raws[:6]); errs != nil {
		t.Fatal(errs)
	}
	if _, err := tm.log.Compact(); err != nil {
		t.Fatal(err)
	}
	im := away.Import()
	if err := im.Add(rawsOf(tm.log)); err != nil {
		t.Fatal(err)
	}
	res, err := im.Adopt(stop)
	if err != nil || len(res.Added) != tm.log.Len()-6 || away.State().Digest() != tm.log.State().Digest() {
		t.Fatalf("%d added, %v", len(res.Added), err)
	}
	if signed := tm.log.Attested() - away.Attested(); signed <= 0 {
		t.Errorf("%d events more are signed where they were held", signed)
	}
}

// What no old checkpoint attests needs its signatures.
func TestNotAttested(t *testing.T) {
	tm := longTeam(t, 26)
	all := func(bare ...string) [][]byte {
		var out [][]byte
		for e := range tm.log.All() {
			if slices.Contains(bare, tm.names[e.ID]) {
				e = e.compacted()
			}
			out = append(out, e.Raw)
		}
		return out
	}
	adopt := func(raws [][]byte) error {
		im := NewLog(tm.root).Import()
		if err := im.Add(raws); err != nil {
			t.Fatal(err)
		}
		_, err := im.Adopt(stop)
		return err
	}
	if err := adopt(all("k1", "k2", "e")); err != nil {
		t.Errorf("what the second checkpoint attests: %v", err)
	}
	for name, bare := range map[string]string{
		"after the checkpoint": "k3", "the newest": "k26", "a checkpoint": "c1", "the checkpoint itself": "c2", "a manager's admission": "start",
	} {
		if err := adopt(all(bare)); !errors.Is(err, ErrNotAttested) {
			t.Errorf("%s: %v", name, err)
		}
	}
	few := all("k1")
	if err := adopt(few[:len(few)-4]); !errors.Is(err, ErrNotAttested) {
		t.Errorf("a checkpoint that is not old enough: %v", err)
	}
	if _, err := NewLog(tm.root).Add(tm.log.Get(tm.ids["key"]).compacted().Raw); !errors.Is(err, ErrCompacted) {
		t.Errorf("by itself: %v", err)
	}
	if _, errs := NewLog(tm.root).AddAll("", all("k1")); errs == nil || !errors.Is(slices.Concat(errs)[slices.IndexFunc(errs, func(e error) bool { return e != nil })], ErrCompacted) {
		t.Errorf("without a checkpoint: %v", errs)
	}
	tampered := all("k1", "k2")
	k := slices.IndexFunc(tampered, IsCompacted)
	tampered[k] = bytes.Clone(tampered[k])
	tampered[k][len(tampered[k])-1] ^= 1
	if err := adopt(tampered); err == nil {
		t.Error("a changed core is taken")
	}
	if err := NewLog(tm.root).Import().Add(make([][]byte, MaxImportEvents+1)); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too many wait: %v", err)
	}
}

// A single manager cannot make a past in which he alone is one: that takes the signatures of those who would have left it.
//
//	start -> left: B leaves, without B's signature -> c1 … c25: A settles alone
func TestForgedPastIsNotAttested(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	tm.add("left", leaveStep("B"), "start")
	at := "left"
	for k := range 26 {
		c := fmt.Sprint("c", k+1)
		tm.add(c, checkStep("A", uint64(k+1), uint64(k+1)), at)
		at = c
	}
	var raws [][]byte
	for e := range tm.log.All() {
		if e.ID == tm.ids["left"] {
			e = e.compacted()
		}
		raws = append(raws, e.Raw)
	}
	if s := tm.log.State().Settled(); s.Number != 26 {
		t.Fatalf("A settled %d", s.Number)
	}
	im := NewLog(tm.root).Import()
	if err := im.Add(raws); err != nil {
		t.Fatal(err)
	}
	if _, err := im.Adopt(stop); !errors.Is(err, ErrNotAttested) {
		t.Fatalf("a forged past: %v", err)
	}
}

// A rival of the newest checkpoint unsettles that one, not what was compacted by its number: the log opens again, and a
// newcomer takes it.
//
//	… -> k26 -> c26
//	     k26 -> rival
func TestRivalAfterCompaction(t *testing.T) {
	tm := longTeam(t, 26)
	s := &MemoryStorage{}
	l := NewLog(tm.root)
	if err := l.Restore(s); err != nil {
		t.Fatal(err)
	}
	if _, errs := l.AddAll("", tm.raws); errs != nil {
		t.Fatal(errs)
	}
	gone, err := l.Compact()
	if err != nil || len(gone) == 0 {
		t.Fatalf("compacted %d, %v", len(gone), err)
	}
	tm.add("rival", checkStep("B", 26, 27).and("A"), "k26")
	if _, err := l.Add(tm.raws[len(tm.raws)-1]); err != nil {
		t.Fatal(err)
	}
	if n := l.State().Settled().Number; n != 25 {
		t.Fatalf("checkpoint %d is settled beside a rival of 26", n)
	}
	restarted := NewLog(tm.root)
	if err := restarted.Restore(s); err != nil || restarted.State().Digest() != l.State().Digest() {
		t.Errorf("after a restart: %v", err)
	}
	newcomer := NewLog(tm.root)
	if res, err := newcomer.AddAttested(rawsOf(l), stop); err != nil || len(res.Added) != l.Len() || newcomer.State().Digest() != l.State().Digest() {
		t.Errorf("a newcomer: %d of %d, %v", len(res.Added), l.Len(), err)
	}
}

// Where a manager's device signed two events of one number, everything keeps its signatures.
func TestDoubtfulPastIsNotCompacted(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.draw(`start -> x
	start -> y`, map[string]step{"x": chainStep("C", 1), "y": updateStep("C", "G")})
	tm.add("c1", checkStep("A", 1, 1).and("B"), "x", "y")
	for k := range 25 {
		tm.add(fmt.Sprint("c", k+2), checkStep("A", uint64(k+2), uint64(k+2)).and("B"), fmt.Sprint("c", k+1))
	}
	if gone, err := tm.log.Compact(); err != nil || len(gone) != 0 {
		t.Errorf("compacted %v, %v", tm.called(gone), err)
	}
}

// An audit of a compacted log counts what is attested only, and points at what is not.
func TestAuditOfCompacted(t *testing.T) {
	tm := longTeam(t, 26)
	gone, err := tm.log.Compact()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := tm.log.ExportAudit(&file); err != nil {
		t.Fatal(err)
	}
	r, err := VerifyAudit(bytes.NewReader(file.Bytes()))
	if err != nil || r.Attested != len(gone) || r.Events != tm.log.Len() {
		t.Fatalf("%+v, %v", r, err)
	}
	last := tm.log.Get(tm.ids["k25"])
	i := tm.log.h.byID[last.ID]
	tm.log.h.entries[i].event = last.compacted()
	file.Reset()
	if err := tm.log.ExportAudit(&file); err != nil {
		t.Fatal(err)
	}
	var bad *AuditError
	if _, err := VerifyAudit(bytes.NewReader(file.Bytes())); !errors.As(err, &bad) || !errors.Is(err, ErrNotAttested) || bad.Record != i {
		t.Fatalf("record %d is not attested: %v", i, err)
	}
}

// compactedAuditFile is a compacted log as an audit file.
var compactedAuditFile = filepath.Join("..", "testdata", "governance", "audit-compacted.clba")

// The wire form of an event without signatures, and an audit file with such, stay what they were.
func TestGoldenCompacted(t *testing.T) {
	if *update {
		tm := longTeam(t, 26)
		if _, err := tm.log.Compact(); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := tm.log.ExportAudit(&file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(compactedAuditFile, file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := hex.EncodeToString(wire.Marshal(compactEvent{V: 1, Core: []byte{7}})); got != "a2"+"01"+"01"+"02"+"4107" {
		t.Errorf("an event without signatures is %s", got)
	}
	file, err := os.ReadFile(compactedAuditFile)
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyAudit(bytes.NewReader(file))
	if err != nil || r.Attested != 8 || r.Settled.Number != 26 {
		t.Fatalf("%+v, %v", r, err)
	}
	var again bytes.Buffer
	if err := r.Log.ExportAudit(&again); err != nil || !bytes.Equal(again.Bytes(), file) {
		t.Errorf("exported again it differs: %v", err)
	}
	for e := range r.Log.All() {
		if !e.Compacted() {
			continue
		}
		if x, err := ParseCompacted(e.Raw); err != nil || x.ID != e.ID || e.ProofHalf() != nil {
			t.Errorf("%v: %v", e.Kind, err)
		}
		if _, err := ParseEvent(e.Raw); err == nil {
			t.Errorf("%v passes as a signed event", e.Kind)
		}
	}
}

// FuzzCompacted: whatever parses is encoded again as it was, is no signed event, and no import takes it with a panic or
// without a checkpoint.
func FuzzCompacted(f *testing.F) {
	v := readVectors(f)
	root, err := genesis.ParseRoot(unbase64(f, v.Root))
	if err != nil {
		f.Fatal(err)
	}
	l := NewLog(root)
	for _, x := range v.Events {
		raw := unbase64(f, x.Raw)
		e, err := ParseEvent(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.compacted().Raw)
		if _, err := l.Add(raw); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseCompacted(raw)
		if err != nil {
			return
		}
		if !IsCompacted(raw) || !bytes.Equal(e.compacted().Raw, raw) {
			t.Fatal("encoded again it differs")
		}
		if _, err := ParseEvent(raw); err == nil {
			t.Fatal("it passes as a signed event")
		}
		im := l.Import()
		if err := im.Add([][]byte{raw}); err != nil {
			t.Fatal(err)
		}
		if res, _ := im.Adopt(stop); len(res.Added) > 0 {
			t.Fatalf("taken without a checkpoint: %v", res.Added)
		}
	})
}
