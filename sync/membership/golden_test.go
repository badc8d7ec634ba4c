package membership

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/membership/records.json"

// The wire forms. The address record holds a hedged signature, so it is kept, not made again; its signer's keys are
// those of "anna".
func TestGoldenRecords(t *testing.T) {
	s := selfOf(t, "anna")
	core := addressCore{
		Head: wire.NewHead(), Project: genesis.ProjectID{1}, Device: s.Device.ID, Seq: 1_800_000_000,
		Addrs: []string{"/ip4/192.0.2.1/udp/4001/quic-v1", "/ip6/2001:db8::1/tcp/4001"},
	}
	h := hello{
		Project: genesis.ProjectID{1}, Have: []governance.EventID{{2}, {3}}, Needs: []governance.EpochID{{4}},
		Book: []bookEntry{{Device: identity.DeviceID{5}, Seq: 6}}, Events: [][]byte{{7}},
	}
	b := batch{Events: [][]byte{{1}, {2}}, Boxes: [][]byte{{3}}, Addrs: [][]byte{{4}}, Last: true}
	rh := rootHello{Project: genesis.ProjectID{1}, Have: []genesis.RootID{{2}, {3}}}
	rb := rootBatch{Records: [][]byte{{1}, {2}}, Proposals: [][]byte{{3}}, Offers: [][]byte{{4}}, Last: true}
	type vectors struct {
		Hello         string `json:"hello"`
		Batch         string `json:"batch"`
		RootHello     string `json:"root_hello"`
		RootBatch     string `json:"root_batch"`
		AddressCore   string `json:"address_core"`
		AddressRecord string `json:"address_record"`
	}
	if *update {
		rec, err := newAddressRecord(s.Keys, core)
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.MarshalIndent(vectors{
			hex.EncodeToString(wire.Marshal(h)), hex.EncodeToString(wire.Marshal(b)),
			hex.EncodeToString(wire.Marshal(rh)), hex.EncodeToString(wire.Marshal(rb)),
			hex.EncodeToString(wire.Marshal(core)), hex.EncodeToString(rec.raw),
		}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(goldenPath), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenPath, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]string{
		"hello": {v.Hello, hex.EncodeToString(wire.Marshal(h))}, "batch": {v.Batch, hex.EncodeToString(wire.Marshal(b))},
		"root hello": {v.RootHello, hex.EncodeToString(wire.Marshal(rh))}, "root batch": {v.RootBatch, hex.EncodeToString(wire.Marshal(rb))},
		"address core": {v.AddressCore, hex.EncodeToString(wire.Marshal(core))},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s has another form:\n%s\n%s", name, pair[0], pair[1])
		}
	}
	rec, err := hex.DecodeString(v.AddressRecord)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseAddressRecord(rec)
	if err != nil || hex.EncodeToString(r.core) != v.AddressCore || r.verify(s.Device.DK) != nil {
		t.Errorf("address record: %v", err)
	}
}
