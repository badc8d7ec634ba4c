package governance

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

var vectorFile = filepath.Join("..", "testdata", "governance", "events.json")

// auditFile is the same log as an audit file.
var auditFile = filepath.Join("..", "testdata", "governance", "audit.clba")

// vectors is a whole small log that holds an event of every kind, and events that must be refused.
type vectors struct {
	Comment string
	Root    string // signed root record, base64
	Events  []vector
	Digest  string // of the state of all events, hex
	Refused []refusal
}

type vector struct {
	Name   string
	Kind   Kind
	ID     string // hex
	Body   string // hex
	Raw    string // base64
	Reason Reason // why it is void among all events; 0: it counts
}

type refusal struct {
	Name  string
	Class string // malformed, too large, version, event, foreign, device, signature
	Raw   string
}

var classes = map[string]error{
	"malformed": wire.ErrMalformed, "too large": wire.ErrTooLarge, "version": wire.ErrVersion, "event": ErrEvent,
	"foreign": ErrForeign, "device": ErrUnknownDevice, "signature": sign.ErrSignature,
}

// vectorTeam makes the log that the vectors hold.
func vectorTeam(t *testing.T) *team {
	tm := newTeam(t, 2)
	full := epochStep("A")
	full.body = func(tm *team, s *State) any {
		k := epochStep("A").body(tm, s).(*KeyEpoch)
		hash := wire.ID{7}
		k.Boxes = []EpochBox{{Device: tm.person("A").device.ID, KemID: wire.ID{8}, Box: []byte("a sealed key")}}
		k.BoxesHash, k.EncPrev = &hash, []byte("sealed earlier keys")
		return k
	}
	tm.draw(`
		G -> key -> manager -> invite -> use -> again -> chain -> grant
		grant -> out
		grant -> lost
		out, lost -> root -> cancel -> odd
		odd -> first -> peer -> late
		peer -> other
		late, other -> proof -> quarantine -> vote -> lift -> spare -> drop -> update -> leave -> carry -> settle -> extend
		carry -> missed
		extend, missed -> endorse -> gone`, map[string]step{
		"key": full, "manager": admitStep("A", "B", Manager),
		"invite": inviteStep("A", "i", Editor, 1, "A", "B"), "use": useStep("B", "C", "i", Viewer),
		"again": useStep("B", "D", "i", Viewer), "chain": chainStep("C", 1), "grant": grantStep("A", "C", Editor),
		"out":  revokeStep("A", "C", Cut{Device: tm.person("C").device.ID, ChainNo: 1, Seq: 3, Envelope: wire.ID{5}}),
		"lost": chainStep("C", 2), "root": grantStep("B", "B", Manager).byRoot(),
		"cancel": cancelStep("B", "i"),
		"first":  checkStep("A", 1, 1_800_000_100).and("B"), "peer": admitStep("A", "E", Editor),
		"late": chainStep("E", 1), "other": chainStep("E", 2),
		"proof": proofStep("B", "late", "other"), "quarantine": proposeStep("B", "E", 1_800_001_000), "vote": voteStep("A", "quarantine"),
		"lift": liftStep("A", "E"), "spare": liftDeviceStep("A", "E"),
		"drop":   dropStep("A", "E", Viewer, Cut{Device: tm.person("E").device.ID, Seq: 2, Envelope: wire.ID{6}}),
		"update": updateStep("A", "F"), "leave": leaveStep("E"), "carry": carryStep("B", "E", map[string]uint64{"E": 1}),
		"settle": checkStep("A", 2, 1_800_000_200).and("B"), "missed": admitStep("A", "F", Viewer),
		"extend":  extendStep("B", Cut{Device: tm.person("E").device.ID, Seq: 3, Envelope: wire.ID{7}}),
		"endorse": endorseStep("B", "missed"), "gone": removeStep("A", "F", 0),
		"odd": {by: "B", kind: 900, body: func(*team, *State) any { return []any{"unknown"} }},
	})
	return tm
}

func writeVectors(t *testing.T) {
	tm := vectorTeam(t)
	v := vectors{
		Comment: "One log with an event of every kind of version 1. Keys come from seeds in team_test.go; signatures are hedged, so writing it anew changes the bytes and not the ids of what does not contain a signature.",
		Root:    base64.StdEncoding.EncodeToString(tm.root.Raw), Digest: tm.log.State().Digest().String(),
	}
	for _, raw := range tm.raws {
		e, err := ParseEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		x, err := tm.log.Explain(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		v.Events = append(v.Events, vector{
			Name: tm.names[e.ID], Kind: e.Kind, ID: e.ID.String(), Body: hex.EncodeToString(e.Body),
			Raw: base64.StdEncoding.EncodeToString(raw), Reason: x.Reason,
		})
	}
	refuse := func(name, class string, raw []byte) {
		v.Refused = append(v.Refused, refusal{name, class, base64.StdEncoding.EncodeToString(raw)})
	}
	last := tm.raws[len(tm.raws)-1]
	edit := func(f func(*eventCore)) []byte {
		s := chainStep("B", 1)
		s.edit = f
		return tm.make(s, "gone")
	}
	altered := edit(nil)
	altered[len(altered)-1] ^= 1
	refuse("last byte missing", "malformed", last[:len(last)-1])
	refuse("a byte more", "malformed", append(bytes.Clone(last), 0))
	refuse("signature altered", "signature", altered)
	refuse("version 2", "version", edit(func(c *eventCore) { c.V = 2 }))
	refuse("another project", "foreign", edit(func(c *eventCore) { c.Project[0]++ }))
	refuse("depth too great", "event", edit(func(c *eventCore) { c.Depth++ }))
	refuse("author unknown", "device", tm.make(chainStep("G", 1), "gone"))
	var file bytes.Buffer
	if err := tm.log.ExportAudit(&file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(auditFile, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	goldenfile.Write(t, vectorFile, v)
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var v vectors
	goldenfile.Read(t, vectorFile, &v)
	return v
}

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The wire form of every kind, and the state that a log comes to, stay what they were.
func TestGoldenEvents(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	v := readVectors(t)
	root, err := genesis.ParseRoot(unbase64(t, v.Root))
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(root)
	kinds := map[Kind]bool{}
	for _, x := range v.Events {
		checkVector(t, l, x)
		kinds[x.Kind] = true
	}
	for k := range rules {
		if !kinds[k] {
			t.Errorf("no vector of %v", k)
		}
	}
	if got := l.State().Digest().String(); got != v.Digest {
		t.Errorf("state digest %s, want %s", got, v.Digest)
	}
	for _, x := range v.Events {
		id, err := wire.ParseID(x.ID)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := l.Explain(EventID(id)); err != nil || e.Reason != x.Reason {
			t.Errorf("%s: %v, want %v", x.Name, e.Reason, x.Reason)
		}
	}
	for _, x := range v.Refused {
		if _, err := l.Add(unbase64(t, x.Raw)); err == nil || !errors.Is(err, classes[x.Class]) {
			t.Errorf("%s: %v, want it refused as %s", x.Name, err, x.Class)
		}
	}
}

// The audit file of the vectors verifies, and exporting what was read gives its bytes.
func TestGoldenAudit(t *testing.T) {
	file, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyAudit(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := r.Log.ExportAudit(&again); err != nil || !bytes.Equal(again.Bytes(), file) {
		t.Errorf("exported again it differs: %v", err)
	}
	if want := readVectors(t).Digest; r.Log.State().Digest().String() != want {
		t.Errorf("state digest %s, want %s", r.Log.State().Digest(), want)
	}
}

func checkVector(t *testing.T, l *Log, x vector) {
	t.Helper()
	raw := unbase64(t, x.Raw)
	e, err := ParseEvent(raw)
	if err != nil {
		t.Fatalf("%s: %v", x.Name, err)
	}
	if e.ID.String() != x.ID || e.Kind != x.Kind || hex.EncodeToString(e.Body) != x.Body || !bytes.Equal(e.Raw, raw) {
		t.Errorf("%s was read as %v %s", x.Name, e.Kind, e.ID)
	}
	if e.Kind.Known() {
		b, err := DecodeBody(e)
		if err != nil {
			t.Fatal(err)
		}
		if again := hex.EncodeToString(wire.Marshal(b)); again != x.Body {
			t.Errorf("%s: body is encoded as %s", x.Name, again)
		}
	} else if _, err := DecodeBody(e); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("%s: %v", x.Name, err)
	}
	if res, err := l.Add(raw); err != nil || len(res.Added) != 1 {
		t.Errorf("%s: %+v, %v", x.Name, res, err)
	}
}

// The small bodies byte by byte.
func TestBodiesByteByByte(t *testing.T) {
	id := bytes.Repeat([]byte{0xab}, 32)
	hexID := hex.EncodeToString(id)
	for _, tc := range []struct {
		body any
		want string
	}{
		{ChainOpen{ChainNo: 300}, "a1" + "01" + "19012c"},
		{InviteRevoke{Invite: [16]byte(id)}, "a1" + "01" + "50" + hexID[:32]},
		{RoleGrant{Member: [32]byte(id), Role: Manager}, "a2" + "01" + "5820" + hexID + "02" + "181e"},
		{Revoke{Member: [32]byte(id), Reason: "x", Cuts: []Cut{{Device: [32]byte(id), ChainNo: 1, Seq: 2, Envelope: [32]byte(id)}}},
			"a4" + "01" + "5820" + hexID + "02" + "81" + "84" + "5820" + hexID + "01" + "02" + "5820" + hexID + "03" + "6178" + "04" + "00"},
		{InviteCreate{Invite: [16]byte(id), ProofHash: [32]byte(id), Role: Editor, MaxUses: 1, Expires: 9,
			Hosts: []InviteHost{{Device: [32]byte(id), KemID: [32]byte(id)}}, MacBoxes: [][]byte{{1}}},
			"a8" + "01" + "50" + hexID[:32] + "02" + "5820" + hexID + "03" + "14" + "04" + "01" + "05" + "09" + "06" + "00" +
				"07" + "81" + "82" + "5820" + hexID + "5820" + hexID + "08" + "81" + "4101"},
		{Admit{Role: Viewer, Identity: []byte{1}, Device: []byte{2}}, "a3" + "02" + "0a" + "03" + "4101" + "04" + "4102"},
		{RoleDrop{Member: [32]byte(id), Role: Viewer}, "a3" + "01" + "5820" + hexID + "02" + "0a" + "03" + "80"},
		{DeviceRemove{Device: [32]byte(id), Stolen: 1}, "a3" + "01" + "5820" + hexID + "02" + "80" + "03" + "01"},
		{Leave{}, "a1" + "01" + "80"},
		{FrontierExtend{}, "a1" + "01" + "80"},
		{KeyUpdate{KEM: []byte{1}}, "a1" + "01" + "4101"},
		{Carry{SelfRevoke: []byte{1}}, "a2" + "01" + "4101" + "02" + "80"},
		{Endorse{Events: []EventID{[32]byte(id)}}, "a1" + "01" + "81" + "5820" + hexID},
		{EquivocationProof{A: []byte{1}, B: []byte{2}}, "a2" + "01" + "4101" + "02" + "4102"},
		{ancestor{Nonce: (*[24]byte)(id[:24]), Content: [32]byte(id)}, "a2" + "06" + "5818" + hexID[:48] + "07" + "5820" + hexID},
		{ancestor{Doc: (*[16]byte)(id[:16]), Kind: new(uint8), Heads: &[]EventID{}, Epoch: []EpochID{[32]byte(id)}, Content: [32]byte(id)},
			"a5" + "01" + "50" + hexID[:32] + "02" + "00" + "03" + "80" + "04" + "81" + "5820" + hexID + "07" + "5820" + hexID},
		{ancestor{Plain: true, Content: [32]byte(id)}, "a2" + "05" + "f5" + "07" + "5820" + hexID},
		{QuarantinePropose{Member: [32]byte(id), Reason: "x", Expires: 9}, "a5" + "01" + "5820" + hexID + "02" + "6178" + "03" + "80" + "04" + "09" + "05" + "80"},
		{QuarantineVote{Proposal: [32]byte(id)}, "a3" + "01" + "5820" + hexID + "02" + "80" + "03" + "00"},
		{LiftQuarantine{Device: (*identity.DeviceID)(id)}, "a1" + "02" + "5820" + hexID},
		{Checkpoint{Number: 2, Prev: []EventID{[32]byte(id)}, State: [32]byte(id), Time: 9}, "a5" + "01" + "02" + "02" + "81" + "5820" + hexID + "03" + "5820" + hexID + "04" + "80" + "05" + "09"},
		{KeyEpoch{Core: []byte{3}, Boxes: []EpochBox{{Device: [32]byte(id), KemID: [32]byte(id), Box: []byte{4}}}},
			"a2" + "01" + "4103" + "02" + "81" + "83" + "5820" + hexID + "5820" + hexID + "4104"},
	} {
		if got := hex.EncodeToString(wire.Marshal(tc.body)); got != tc.want {
			t.Errorf("%T is\n%s, want\n%s", tc.body, got, tc.want)
		}
	}
}
