package membership

import (
	"encoding/hex"
	"flag"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/membership/records.json"

// The wire forms. Signed records hold hedged signatures, so they are kept, not made again; their signer's keys
// are those of "anna".
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
	act := actCore{
		Head: wire.NewHead(), Project: genesis.ProjectID{1}, Kind: governance.KindRoleGrant,
		Terms: wire.Marshal(governance.RoleGrant{Member: identity.MemberID{2}, Role: governance.Manager}), Device: s.Device.ID,
		Since: []governance.EventID{{3}, {4}}, Expires: 1_800_000_000, Note: "she has earned it",
	}
	vote := voteCore{Head: wire.NewHead(), Project: genesis.ProjectID{1}, Act: ActID{5}, Device: s.Device.ID, N: 1_800_000_000, Approve: 1}
	rootAct, rootVote, holder := act, vote, identity.MemberID{6}
	rootAct.Draft = []byte{7}
	rootVote.Holder, rootVote.Signature = &holder, []byte{8}
	ah := actHello{Project: genesis.ProjectID{1}, Have: []wire.ID{{2}, {3}}}
	ab := actBatch{Proposals: [][]byte{{1}}, Votes: [][]byte{{2}, {3}}, Last: true}
	cq := cosignRequest{Project: genesis.ProjectID{1}, Act: &ActID{2}, Core: []byte{3}}
	ca := cosignAnswer{Result: cosignBehind}
	type vectors struct {
		Hello         string `json:"hello"`
		Batch         string `json:"batch"`
		RootHello     string `json:"root_hello"`
		RootBatch     string `json:"root_batch"`
		ActCore       string `json:"act_core"`
		VoteCore      string `json:"vote_core"`
		RootActCore   string `json:"root_act_core"`
		RootVoteCore  string `json:"root_vote_core"`
		ActHello      string `json:"act_hello"`
		ActBatch      string `json:"act_batch"`
		CosignRequest string `json:"cosign_request"`
		CosignAnswer  string `json:"cosign_answer"`
		ActRecord     string `json:"act_record"`
		ActID         string `json:"act_id"`
		VoteRecord    string `json:"vote_record"`
		AddressCore   string `json:"address_core"`
		AddressRecord string `json:"address_record"`
	}
	if *update {
		rec, err := newAddressRecord(s.Keys, core)
		if err != nil {
			t.Fatal(err)
		}
		ra, err := newActRecord(s.Keys, act)
		if err != nil {
			t.Fatal(err)
		}
		rv, err := newVoteRecord(s.Keys, vote)
		if err != nil {
			t.Fatal(err)
		}
		goldenfile.Write(t, goldenPath, vectors{
			hex.EncodeToString(wire.Marshal(h)), hex.EncodeToString(wire.Marshal(b)),
			hex.EncodeToString(wire.Marshal(rh)), hex.EncodeToString(wire.Marshal(rb)),
			hex.EncodeToString(wire.Marshal(act)), hex.EncodeToString(wire.Marshal(vote)),
			hex.EncodeToString(wire.Marshal(rootAct)), hex.EncodeToString(wire.Marshal(rootVote)),
			hex.EncodeToString(wire.Marshal(ah)), hex.EncodeToString(wire.Marshal(ab)),
			hex.EncodeToString(wire.Marshal(cq)), hex.EncodeToString(wire.Marshal(ca)),
			hex.EncodeToString(ra.raw), wire.ID(ra.id).String(), hex.EncodeToString(rv.raw),
			hex.EncodeToString(wire.Marshal(core)), hex.EncodeToString(rec.raw),
		})
	}
	var v vectors
	goldenfile.Read(t, goldenPath, &v)
	for name, pair := range map[string][2]string{
		"hello": {v.Hello, hex.EncodeToString(wire.Marshal(h))}, "batch": {v.Batch, hex.EncodeToString(wire.Marshal(b))},
		"root hello": {v.RootHello, hex.EncodeToString(wire.Marshal(rh))}, "root batch": {v.RootBatch, hex.EncodeToString(wire.Marshal(rb))},
		"act": {v.ActCore, hex.EncodeToString(wire.Marshal(act))}, "vote": {v.VoteCore, hex.EncodeToString(wire.Marshal(vote))},
		"root act": {v.RootActCore, hex.EncodeToString(wire.Marshal(rootAct))}, "root vote": {v.RootVoteCore, hex.EncodeToString(wire.Marshal(rootVote))},
		"act hello": {v.ActHello, hex.EncodeToString(wire.Marshal(ah))}, "act batch": {v.ActBatch, hex.EncodeToString(wire.Marshal(ab))},
		"cosign request": {v.CosignRequest, hex.EncodeToString(wire.Marshal(cq))},
		"cosign answer":  {v.CosignAnswer, hex.EncodeToString(wire.Marshal(ca))},
		"address core":   {v.AddressCore, hex.EncodeToString(wire.Marshal(core))},
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
	if rec, err = hex.DecodeString(v.ActRecord); err != nil {
		t.Fatal(err)
	}
	if r, err := parseActRecord(rec); err != nil || wire.ID(r.id).String() != v.ActID || hex.EncodeToString(r.core) != v.ActCore || r.verify(s.Device.DK) != nil {
		t.Errorf("proposed act: %v", err)
	}
	if rec, err = hex.DecodeString(v.VoteRecord); err != nil {
		t.Fatal(err)
	}
	if r, err := parseVoteRecord(rec); err != nil || hex.EncodeToString(r.core) != v.VoteCore || r.verify(s.Device.DK) != nil {
		t.Errorf("vote: %v", err)
	}
}
