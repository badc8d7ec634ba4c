package governance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
)

// auditTeam is a log with a removal, a drop, a checkpoint and an equivocation.
func auditTeam(t *testing.T) *team {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.draw(`
		start -> e -> settle -> out
		settle -> f
		settle -> g
		out, f, g -> drop`, map[string]step{
		"e": admitStep("A", "E", Editor), "settle": checkStep("A", 1, 100).and("B"), "out": revokeStep("A", "E"),
		"f": admitStep("C", "F", Editor), "g": admitStep("C", "G", Editor), "drop": dropStep("A", "C", Editor).and("B"),
	})
	return tm
}

// split cuts an audit file into its magic and its records.
func split(file []byte) [][]byte {
	out := [][]byte{file[:len(auditMagic)]}
	for rest := file[len(auditMagic):]; len(rest) > 0; {
		n := 5 + int(binary.BigEndian.Uint32(rest[1:]))
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

func TestAuditFile(t *testing.T) {
	tm := auditTeam(t)
	var file bytes.Buffer
	if err := tm.log.ExportAudit(&file); err != nil {
		t.Fatal(err)
	}
	r, err := VerifyAudit(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	roles := map[identity.MemberID]Role{}
	for _, m := range r.Members {
		roles[m.ID] = m.Role
	}
	if r.Project != tm.root.Project || r.Events != tm.log.Len() || r.Void != 2 || r.Settled.Number != 1 || len(r.Equivocation) != 2 ||
		roles[tm.member("E")] != None || roles[tm.member("C")] != Editor || roles[tm.member("A")] != Manager {
		t.Errorf("%+v", r)
	}
	if len(r.Suspended) != 1 || r.Suspended[0] != tm.person("C").device.ID {
		t.Errorf("suspended %v", r.Suspended)
	}
	if r.Log.State().Digest() != tm.log.State().Digest() {
		t.Error("another state")
	}
}

// Whatever is changed, left out, added or moved, the first wrong record is named.
func TestAuditNamesTheFirstBadRecord(t *testing.T) {
	tm := auditTeam(t)
	var file bytes.Buffer
	if err := tm.log.ExportAudit(&file); err != nil {
		t.Fatal(err)
	}
	parts := split(file.Bytes())
	last := len(parts) - 1 // parts[0] is the magic, so record i is parts[i+1]
	refuse := func(name string, parts [][]byte, record int) {
		t.Helper()
		_, err := VerifyAudit(bytes.NewReader(slices.Concat(parts...)))
		var bad *AuditError
		if !errors.As(err, &bad) || bad.Record != record {
			t.Errorf("%s: %v, want record %d named", name, err, record)
		}
	}
	edited := func(k int, f func([]byte) []byte) [][]byte {
		out := slices.Clone(parts)
		out[k] = f(bytes.Clone(out[k]))
		return out
	}
	for k := 1; k < last; k++ {
		for _, at := range []int{40, len(parts[k]) / 2, len(parts[k]) - 1} {
			refuse("a byte changed", edited(k, func(b []byte) []byte { b[at] ^= 1; return b }), k-1)
		}
		if k > 1 && k < last-1 {
			refuse("a record left out", slices.Delete(slices.Clone(parts), k, k+1), firstChild(tm, k))
		}
	}
	refuse("the end missing", parts[:last], last-1)
	refuse("a record cut", edited(last, func(b []byte) []byte { return b[:len(b)-1] }), last-1)
	refuse("something after the end", append(slices.Clone(parts), []byte{0}), last-1)
	refuse("the end claims another state", edited(last, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), last-1)
	refuse("no audit file", [][]byte{[]byte("hello")}, 0)
}

// firstChild returns the place of the first event that misses its parent once record k-1 is gone, or of the end.
func firstChild(tm *team, k int) int {
	var gone EventID
	place := 1
	for e := range tm.log.All() {
		if place == k-1 {
			gone = e.ID
		} else if slices.Contains(e.Parents, gone) {
			return place - 1
		}
		place++
	}
	return place - 1
}

// Who knows of a removal: whose events rest on it, or who says so.
func TestCoverage(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B", "C")
	tm.draw(`
		start -> e -> d -> out -> chain
		d -> other`, map[string]step{
		"e": admitStep("A", "E", Editor), "d": admitStep("A", "D", Viewer), "out": revokeStep("A", "D"),
		"chain": chainStep("B", 1), "other": chainStep("C", 1),
	})
	seen := map[identity.MemberID][]EventID{tm.member("C"): tm.heads("other")}
	knows, unknown, err := tm.log.Coverage(tm.ids["out"], seen)
	if err != nil || len(knows) != 2 || len(unknown) != 2 || !slices.Contains(unknown, tm.member("C")) {
		t.Errorf("%d know, %d do not: %v", len(knows), len(unknown), err)
	}
	seen[tm.member("C")] = tm.heads("chain")
	if knows, _, _ := tm.log.Coverage(tm.ids["out"], seen); len(knows) != 3 {
		t.Errorf("%d know", len(knows))
	}
	if _, _, err := tm.log.Coverage(EventID{1}, nil); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("%v", err)
	}
}

// A log is restored from a storage and goes on keeping what it takes.
func TestStorage(t *testing.T) {
	tm := auditTeam(t)
	s := &MemoryStorage{}
	first := NewLog(tm.root)
	if err := first.Restore(s); err != nil {
		t.Fatal(err)
	}
	for _, raw := range slices.Backward(tm.raws) { // all wait for the first
		if _, err := first.Add(raw); err != nil {
			t.Fatal(err)
		}
	}
	again := NewLog(tm.root)
	if err := again.Restore(s); err != nil || again.State().Digest() != tm.log.State().Digest() || again.Len() != len(tm.raws) {
		t.Fatalf("restored %d of %d events: %v", again.Len(), len(tm.raws), err)
	}
	s.raws[3] = bytes.Clone(s.raws[3])
	s.raws[3][len(s.raws[3])-1] ^= 1
	if err := NewLog(tm.root).Restore(s); err == nil {
		t.Error("a damaged storage is restored")
	}
	if res, errs := NewLog(tm.root).AddAll("peer", s.raws); errs[3] == nil || errs[2] != nil || len(res.Added) != 3 {
		t.Errorf("%d added, %v", len(res.Added), errs)
	}
}

// FuzzAudit: no file makes the verification panic; what is accepted is exported again as it was; what is refused is refused
// at a record.
func FuzzAudit(f *testing.F) {
	f.Add([]byte(auditMagic))
	f.Add([]byte(auditMagic + "\x01\x00\x00\x00\x01\x00"))
	for _, name := range []string{auditFile, movedAuditFile, compactedAuditFile} {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := VerifyAudit(bytes.NewReader(file))
		var bad *AuditError
		if err != nil {
			if !errors.As(err, &bad) || bad.Record < 0 {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		if err := r.Log.ExportAudit(&again); err != nil || !bytes.Equal(again.Bytes(), file) {
			t.Fatalf("exported again it differs: %v", err)
		}
	})
}

// FuzzAuditRecords reaches further than a whole file lets the fuzzer: one record of a file in which the root has moved is
// replaced, or one is put before it.
func FuzzAuditRecords(f *testing.F) {
	file, err := os.ReadFile(movedAuditFile)
	if err != nil {
		f.Fatal(err)
	}
	parts := split(file)[1:]
	for i, p := range parts {
		f.Add(uint8(i), p[0], p[5:], false)
		f.Add(uint8(i+1), p[0], p[5:], true)
	}
	f.Fuzz(func(t *testing.T, at, kind uint8, content []byte, insert bool) {
		i := int(at) % len(parts)
		changed := slices.Insert(slices.Clone(parts), i, record(AuditKind(kind), content))
		if !insert {
			changed = slices.Delete(changed, i+1, i+2)
		}
		r, err := VerifyAudit(bytes.NewReader(append([]byte(auditMagic), slices.Concat(changed...)...)))
		var bad *AuditError
		if err != nil && (!errors.As(err, &bad) || bad.Record < i) {
			t.Fatalf("record %d was changed: %v", i, err)
		}
		if err == nil && r.RootVersion < 1 {
			t.Fatal("no root counts")
		}
	})
}

// FuzzSelfRevoke: whatever parses is encoded again as it was.
func FuzzSelfRevoke(f *testing.F) {
	r, err := NewSelfRevoke(revocationKeyOf(f, "A"), identity.MemberID{1}, []LastGood{{Device: identity.DeviceID{2}, Aseq: 3}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := ParseSelfRevoke(raw); err == nil && r.ID().IsZero() {
			t.Fatal("no id")
		}
	})
}

// AddUntil stops at the first event that is refused; what was before it stays, what was let pass is left out.
func TestAddUntil(t *testing.T) {
	tm := newTeam(t, 2)
	now := uint64(1000)
	tm.draw(`G -> key -> b -> ahead -> c`, map[string]step{
		"key": epochStep("A"), "b": admitStep("A", "B", Editor), "ahead": checkStep("A", 1, now+3600), "c": admitStep("A", "C", Viewer),
	})
	var raws [][]byte
	for e := range tm.log.All() {
		raws = append(raws, e.Raw)
	}
	log := NewLog(tm.root)
	log.SetClock(func() time.Time { return time.Unix(int64(now), 0) })
	res, err := log.AddUntil("peer", raws, func(_ int, err error) bool { return errors.Is(err, ErrAhead) })
	if err != nil || len(res.Added) != 2 || !slices.Equal(log.Missing(), []EventID{tm.ids["ahead"]}) {
		t.Fatalf("%d added, missing %v, %v", len(res.Added), log.Missing(), err)
	}
	forged := bytes.Clone(raws[1])
	forged[len(forged)-1] ^= 1
	log = NewLog(tm.root)
	res, err = log.AddUntil("peer", [][]byte{raws[0], forged, raws[1], raws[2]}, func(int, error) bool { return false })
	if !errors.Is(err, sign.ErrSignature) || len(res.Added) != 1 || log.Len() != 1 {
		t.Fatalf("a forged event: %d added, %v", len(res.Added), err)
	}
	res, err = log.AddUntil("peer", [][]byte{raws[0], raws[1], raws[1], raws[2], raws[3]}, func(int, error) bool { return false })
	if err != nil || len(res.Added) != 3 {
		t.Fatalf("the good copies: %d added, %v", len(res.Added), err)
	}
}
