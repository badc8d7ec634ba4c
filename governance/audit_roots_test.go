package governance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// movedAuditFile is the log of auditMoved as an audit file.
var movedAuditFile = filepath.Join("..", "testdata", "governance", "audit-moved.clba")

// auditMoved is a log whose root goes from A to B and on to C, with removals, an equivocation, acts of old roots that fall,
// and a rival of version 2 in which the old holder tries to stay.
func auditMoved(t *testing.T) (m *moved, v2, v3, rival *genesis.Root) {
	m = newMoved(t, 2)
	m.managers("B", "C")
	m.add("V", admitStep("A", "V", Viewer), "start")
	m.act("first", m.root, grantStep("A", "V", Editor).byRoot(), "V")
	v2 = m.moveTo("B", m.root, func(d *genesis.Draft) { m.at("first")(d); d.Reason = "A goes on leave" })
	rival = m.move(m.root, m.at("first"))
	m.tell(v2)
	m.act("stays out", m.root, revokeStep("B", "V").byRoot(), "first") // the old root, once it is none
	m.act("f", v2, admitStep("C", "F", Editor), "first")
	m.act("g", v2, admitStep("C", "G", Editor), "first") // C signs two of one number
	m.act("drop", v2, dropStep("A", "C", Editor).and("B"), "f", "g")
	m.act("settle", v2, checkStep("A", 1, 1_800_000_100).and("B"), "drop", "stays out")
	m.settleByCheckpoint("settle")
	m.tell(rival)
	m.act("of the rival", rival, grantStep("A", "V", Manager).byRoot(), "settle")
	v3 = m.moveTo("C", v2, m.at("settle"))
	m.tell(v3)
	m.act("out", v3, revokeStep("B", "V").byRoot(), "settle")
	m.act("last", v3, chainStep("B", 1), "out")
	return m, v2, v3, rival
}

// settleByCheckpoint settles the root that a checkpoint settles, as a replica does.
func (m *moved) settleByCheckpoint(name string) {
	m.t.Helper()
	id, ok := m.log.SettledBy(m.ids[name])
	if !ok {
		m.t.Fatal("it settles nothing")
	}
	if err := m.chain.Settle(id); err != nil {
		m.t.Fatal(err)
	}
	m.tell()
}

// file exports the log.
func (tm *team) file() []byte {
	tm.t.Helper()
	var file bytes.Buffer
	if err := tm.log.ExportAudit(&file); err != nil {
		tm.t.Fatal(err)
	}
	return file.Bytes()
}

// place is where an event stands among those of the file.
func (tm *team) place(name string) int { return tm.log.h.byID[tm.ids[name]] - 1 }

func verified(t *testing.T, file []byte) *AuditReport {
	t.Helper()
	r, err := VerifyAudit(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A file of a project whose root has moved twice holds all records, and the report says how it moved.
func TestAuditOfAMovedRoot(t *testing.T) {
	m, v2, v3, rival := auditMoved(t)
	r := verified(t, m.file())
	if r.Root != v3.ID || r.RootVersion != 3 || r.Events != len(m.raws) || r.Log.State().Digest() != m.log.State().Digest() {
		t.Errorf("%+v", r)
	}
	held := func(name string) RootHolders { return RootHolders{[]identity.MemberID{m.member(name)}, 1} }
	first, known := m.place("first")+1, m.place("settle")+1
	want := []Migration{
		{2, m.root.ID, v2.ID, "A goes on leave", held("A"), held("B"), true, first, first},
		{3, v2.ID, v3.ID, "", held("B"), held("C"), true, known, known},
	}
	same := func(a, b Migration) bool {
		return a.Version == b.Version && a.From == b.From && a.To == b.To && a.Reason == b.Reason && a.Counts == b.Counts &&
			a.After == b.After && a.Knows == b.Knows && a.Old.Threshold == b.Old.Threshold && a.New.Threshold == b.New.Threshold &&
			slices.Equal(a.Old.Members, b.Old.Members) && slices.Equal(a.New.Members, b.New.Members)
	}
	if !slices.EqualFunc(r.Migrations, want, same) {
		t.Errorf("migrations\n%+v, want\n%+v", r.Migrations, want)
	}
	late := genesis.LateFork{Version: 2, Settled: v2.ID, Rival: rival.ID}
	if r.Fork != nil || !slices.Equal(r.LateForks, []genesis.LateFork{late}) || r.RootSettled != 2 || r.RootProved != 2 || len(r.RootDisputed) > 0 {
		t.Errorf("fork %v, late %v, settled %d, proved %d", r.Fork, r.LateForks, r.RootSettled, r.RootProved)
	}
	if len(r.Equivocation) != 2 || len(r.Suspended) != 1 || r.Suspended[0] != m.person("C").device.ID {
		t.Errorf("equivocation %v, suspended %v", r.Equivocation, r.Suspended)
	}
	for name, want := range map[string]Reason{"first": ReasonNone, "stays out": ReasonSuperseded, "of the rival": ReasonSuperseded, "out": ReasonNone} {
		if x, err := r.Log.Explain(m.ids[name]); err != nil || x.Reason != want {
			t.Errorf("%s: %v, %v, want %v", name, x.Reason, err, want)
		}
	}
	var again bytes.Buffer
	if err := r.Log.ExportAudit(&again); err != nil || !bytes.Equal(again.Bytes(), m.file()) {
		t.Errorf("exported again it differs: %v", err)
	}
}

// While two records claim to follow, the report names both and nothing has moved.
func TestAuditOfAFork(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	a, b := m.move(m.root, m.at("start")), m.move(m.root, m.at("start"))
	m.tell(a)
	m.act("of a", a, admitStep("A", "V", Viewer).byRoot(), "start")
	m.tell(b)
	r := verified(t, m.file())
	if r.Fork == nil || r.Fork.Version != 2 || len(r.Fork.Records) != 2 || len(r.Migrations) != 0 || r.RootVersion != 1 || r.Void != 1 {
		t.Fatalf("%+v", r)
	}
	// By the writer's word alone it is settled: the report tells that from what managers have settled.
	if err := m.chain.Settle(a.ID); err != nil {
		t.Fatal(err)
	}
	m.tell()
	if r = verified(t, m.file()); r.RootVersion != 2 || r.RootSettled != 2 || r.RootProved != 1 || len(r.LateForks) != 1 || r.Void != 0 {
		t.Errorf("%+v", r)
	}
	// The managers settle the one, the writer has pinned the other.
	m.act("settle", a, checkStep("A", 1, 1_800_000_100).and("B"), "of a")
	if err := m.chain.Repin(b.ID); err != nil {
		t.Fatal(err)
	}
	m.tell()
	if r = verified(t, m.file()); r.Root != b.ID || !slices.Equal(r.RootDisputed, []genesis.RootID{a.ID}) || r.RootProved != 1 {
		t.Errorf("%s counts, disputed by %v, %d proved", r.Root.Short(), r.RootDisputed, r.RootProved)
	}
}

// A version whose record or frontier the writer does not hold is reported as such, and does not keep him from exporting.
func TestAuditOfAnUnfinishedMove(t *testing.T) {
	m := newMoved(t, 2)
	m.managers("B")
	a := m.move(m.root, func(d *genesis.Draft) { d.Frontier = []wire.ID{{7}} })
	b := m.move(m.root, m.at("start"))
	m.tell(a, b)
	m.act("on", a, grantStep("A", "B", Viewer).byRoot(), "start") // taken while a counts nowhere, whatever it awaits
	if err := m.chain.Settle(a.ID); err != nil {
		t.Fatal(err)
	}
	m.tell()
	r := verified(t, m.file())
	if len(r.Migrations) != 1 || r.Migrations[0].Counts || r.Migrations[0].To != a.ID || r.RootVersion != 1 || r.Void != 1 {
		t.Errorf("%+v", r)
	}
	n := newMoved(t, 2)
	n.managers("B")
	if err := n.chain.Settle(genesis.RootID{1}); err != nil {
		t.Fatal(err)
	}
	n.tell(n.move(n.root, n.at("start")))
	if r := verified(t, n.file()); r.RootAwaits != (genesis.RootID{1}) || len(r.Migrations) != 0 || r.RootVersion != 1 || len(r.RootDisputed) > 0 {
		t.Errorf("%+v", r)
	}
}

// Whatever is changed, left out, added or moved, the first wrong record is named by its place and its kind.
func TestAuditOfAMovedRootNamesTheFirstBadRecord(t *testing.T) {
	m, _, v3, rival := auditMoved(t)
	parts := split(m.file())[1:] // record i is parts[i]
	roots, end := 4, len(parts)-1
	place := func(name string) int { return roots + m.place(name) }
	ranks := m.chain.Records() // 1, the two of version 2, 3
	rivalAt := slices.IndexFunc(ranks, func(r *genesis.Root) bool { return r.ID == rival.ID })
	heldAt := 3 - rivalAt // the one in force
	without := func(k int) [][]byte { return slices.Delete(slices.Clone(parts), k, k+1) }
	edited := func(k int, f func([]byte) []byte) [][]byte {
		out := slices.Clone(parts)
		out[k] = f(bytes.Clone(out[k]))
		return out
	}
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { b[at] ^= 1; return b } }
	swapped := func(i, j int) [][]byte {
		out := slices.Clone(parts)
		out[i], out[j] = out[j], out[i]
		return out
	}
	ended := func(f func(*auditTrailer)) [][]byte {
		return edited(end, func(b []byte) []byte {
			var x auditTrailer
			if err := wire.Unmarshal(b[5:], &x, maxAuditEnd); err != nil {
				t.Fatal(err)
			}
			f(&x)
			return record(AuditEnd, wire.Marshal(x))
		})
	}
	stranger := newMoved(t, 1)
	foreign := stranger.move(stranger.root, func(*genesis.Draft) {})
	for _, tc := range []struct {
		name   string
		parts  [][]byte
		record int
		kind   AuditKind
		want   error
	}{
		{"first root record changed", edited(0, flip(400)), 0, AuditRoot, nil},
		{"signature on the first record changed", edited(0, flip(len(parts[0])-1)), 0, AuditRoot, sign.ErrSignature},
		{"signature on a later record changed", edited(heldAt, flip(len(parts[heldAt])-1)), heldAt, AuditRoot, sign.ErrSignature},
		{"rival changed", edited(rivalAt, flip(len(parts[rivalAt])-1)), rivalAt, AuditRoot, sign.ErrSignature},
		{"newest record changed", edited(3, flip(300)), 3, AuditRoot, nil},
		{"first root record left out", without(0), 0, AuditRoot, genesis.ErrUnsupportedVersion},
		{"root record in force left out", without(heldAt), 2, AuditRoot, genesis.ErrUnknownRoot},
		{"rival left out, an event names it", without(rivalAt), place("of the rival") - 1, AuditEvent, ErrUnknownRoot},
		{"newest root record left out", without(3), place("out") - 1, AuditEvent, ErrUnknownRoot},
		{"root records in another order", swapped(1, 2), 2, AuditRoot, ErrAudit},
		{"a later root record first", swapped(heldAt, 3), heldAt, AuditRoot, genesis.ErrUnknownRoot},
		{"first root record twice", slices.Insert(slices.Clone(parts), 1, parts[0]), 1, AuditRoot, ErrAudit},
		{"root record twice", slices.Insert(slices.Clone(parts), 4, parts[3]), 4, AuditRoot, ErrAudit},
		{"another project's root record", slices.Insert(slices.Clone(parts), 1, record(AuditRoot, foreign.Raw)), 1, AuditRoot, genesis.ErrUnknownRoot},
		{"another project's first record", slices.Insert(slices.Clone(parts), 1, record(AuditRoot, stranger.root.Raw)), 1, AuditRoot, genesis.ErrForeignRoot},
		{"root record among the events", slices.Insert(slices.Clone(parts), 7, parts[3]), 7, AuditRoot, ErrAudit},
		{"event among the root records", swapped(3, 4), 4, AuditRoot, ErrAudit},
		{"event changed", edited(place("drop"), flip(len(parts[place("drop")])-1)), place("drop"), AuditEvent, nil},
		{"root act changed", edited(place("out"), flip(len(parts[place("out")])-1)), place("out"), AuditEvent, sign.ErrSignature},
		{"event left out", without(place("V")), place("V"), AuditEvent, ErrAudit},
		{"half of the equivocation left out", without(place("g")), place("drop") - 1, AuditEvent, ErrAudit},
		{"last event left out", without(place("last")), end - 1, AuditEnd, ErrAudit},
		{"child before its parent", swapped(place("out"), place("last")), place("out"), AuditEvent, ErrAudit},
		{"event twice", slices.Insert(slices.Clone(parts), end, parts[end-1]), end, AuditEvent, ErrAudit},
		{"events of one past in another order", swapped(place("f"), place("g")), -1, 0, nil},
		{"end among the events", swapped(end-1, end), end - 1, AuditEnd, ErrAudit},
		{"the end missing", parts[:end], end, 0, ErrAudit},
		{"cut in a root record", append(slices.Clone(parts[:2]), parts[2][:50]), 2, AuditRoot, ErrAudit},
		{"cut in an event", append(slices.Clone(parts[:7]), parts[7][:50]), 7, AuditEvent, ErrAudit},
		{"record of an unknown kind", slices.Insert(slices.Clone(parts), 5, record(9, nil)), 5, 9, ErrAudit},
		{"root record too large", [][]byte{record(AuditRoot, make([]byte, genesis.MaxRoot+1))}, 0, AuditRoot, wire.ErrTooLarge},
		{"event too large", append(slices.Clone(parts[:4]), record(AuditEvent, make([]byte, MaxEvent+1))), 4, AuditEvent, wire.ErrTooLarge},
		{"no events' end", [][]byte{record(AuditEnd, nil)}, 0, AuditEnd, ErrAudit},
		{"the end counts fewer root records", ended(func(x *auditTrailer) { x.Roots-- }), end, AuditEnd, ErrAudit},
		{"the end counts more events", ended(func(x *auditTrailer) { x.Events++ }), end, AuditEnd, ErrAudit},
		{"the end names other heads", ended(func(x *auditTrailer) { x.Heads[0][0] ^= 1 }), end, AuditEnd, ErrAudit},
		{"the end claims another state", ended(func(x *auditTrailer) { x.State[0] ^= 1 }), end, AuditEnd, ErrAudit},
		{"the end settles the rival", ended(func(x *auditTrailer) { x.Settled = &rival.ID }), end, AuditEnd, ErrAudit},
		{"the end settles the first version", ended(func(x *auditTrailer) { x.Settled = &m.root.ID }), end, AuditEnd, ErrAudit},
		{"the end settles nothing", ended(func(x *auditTrailer) { x.Settled = &genesis.RootID{} }), end, AuditEnd, ErrAudit},
		{"the end settles what is not there", ended(func(x *auditTrailer) { x.Settled = &genesis.RootID{1} }), end, AuditEnd, ErrAudit},
		{"the end leaves the fork open", ended(func(x *auditTrailer) { x.Settled = nil }), end, AuditEnd, ErrAudit},
		{"the end settles more", ended(func(x *auditTrailer) { x.Settled = &v3.ID }), -1, 0, nil}, // his word, and told as such
	} {
		_, err := VerifyAudit(bytes.NewReader(append([]byte(auditMagic), slices.Concat(tc.parts...)...)))
		var bad *AuditError
		switch {
		case tc.record < 0 && err == nil:
		case !errors.As(err, &bad) || bad.Record != tc.record || bad.Kind != tc.kind || tc.want != nil && !errors.Is(err, tc.want):
			t.Errorf("%s: %v, want record %d (%v) named: %v", tc.name, err, tc.record, tc.kind, tc.want)
		}
	}
}

// record frames one.
func record(kind AuditKind, content []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{byte(kind)}, uint32(len(content))), content...)
}

// Where very many events wait for one that was left out, the first of them is named.
func TestAuditNamesTheFirstThatMissesItsParent(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	last := "start"
	for i := range MaxPeerOrphans + 2 {
		name := "c" + string(rune('0'+i))
		tm.add(name, chainStep("A", uint32(1+i)), last)
		last = name
	}
	parts := split(tm.file())
	_, err := VerifyAudit(bytes.NewReader(slices.Concat(slices.Delete(parts, 4, 5)...)))
	var bad *AuditError
	if !errors.As(err, &bad) || bad.Record != 3 || bad.Kind != AuditEvent {
		t.Errorf("%v", err)
	}
}

// The vector verifies, and exporting what was read gives its bytes.
func TestGoldenAuditOfAMovedRoot(t *testing.T) {
	if *update {
		m, _, _, _ := auditMoved(t)
		if err := os.WriteFile(movedAuditFile, m.file(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(movedAuditFile)
	if err != nil {
		t.Fatal(err)
	}
	r := verified(t, file)
	var again bytes.Buffer
	if err := r.Log.ExportAudit(&again); err != nil || !bytes.Equal(again.Bytes(), file) {
		t.Errorf("exported again it differs: %v", err)
	}
	if len(r.Migrations) != 2 || len(r.LateForks) != 1 || r.RootProved != 2 || len(r.Equivocation) != 2 {
		t.Errorf("%+v", r)
	}
}

// What a reader would refuse is not written.
func TestExportAuditIsBounded(t *testing.T) {
	m := newMoved(t, 2)
	view, many := m.chain.View(), []*genesis.Root{m.root}
	for i := range maxAuditRoots {
		r := *m.root
		r.N, r.ID[0], r.ID[1], r.ID[2] = 2, byte(i), byte(i>>8), ^m.root.ID[2] // none is the first one's
		many = append(many, &r)
	}
	m.log.SetRoots(view, many)
	if err := m.log.ExportAudit(&bytes.Buffer{}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("%d root records: %v", len(many), err)
	}
	view.Upgrade = genesis.ErrUpgradeRequired
	m.log.SetRoots(view, many[:1])
	if err := m.log.ExportAudit(&bytes.Buffer{}); !errors.Is(err, genesis.ErrUpgradeRequired) {
		t.Errorf("a root that this build cannot judge: %v", err)
	}
}
