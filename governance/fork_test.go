package governance

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// branchOf makes what somebody's device signs of n envelopes of its first chain that follow a place: the statements, and
// the envelopes' ids.
func branchOf(tm *team, who, mark string, after uint64, prev wire.ID, n int) (statements [][]byte, ids []wire.ID) {
	for k := range n {
		header := wire.Marshal(envelopeHeader{
			Head: wire.NewHead(), Project: tm.root.Project, Kind: 2, Device: tm.person(who).device.ID,
			Seq: after + uint64(k) + 1, Prev: prev, GovHeads: []EventID{},
		})
		s := wire.Marshal(envelopeMark{Header: header, Content: wire.ID{mark[0]}})
		prev = derive.ID(string(sign.Envelope), s)
		statements, ids = append(statements, s), append(ids, prev)
	}
	return statements, ids
}

// shown is one half of a proof that a branch was written: its end, the signature of that, and what lies before.
func shown(tm *team, who string, branch [][]byte) []byte {
	last := branch[len(branch)-1]
	var before [][]byte
	for k := len(branch) - 2; k >= 0; k-- {
		before = append(before, branch[k])
	}
	return NewProofHalf(last, tm.person(who).keys.DK.Sign(sign.Envelope, last), before...)
}

func forkProof(tm *team, who string, x, y [][]byte) *EquivocationProof {
	if bytes.Compare(x[0], y[0]) > 0 {
		x, y = y, x
	}
	return &EquivocationProof{A: shown(tm, who, x), B: shown(tm, who, y)}
}

// TestProofOfAFork: two branches of one place are shown by whatever later envelopes of theirs are signed.
func TestProofOfAFork(t *testing.T) {
	tm := newTeam(t, 1)
	_, trunk := branchOf(tm, "E", "t", 0, wire.ID{}, 3)
	one, _ := branchOf(tm, "E", "1", 3, trunk[2], 4)
	two, _ := branchOf(tm, "E", "2", 3, trunk[2], 1)
	other, _ := branchOf(tm, "E", "3", 3, wire.ID{5}, 3)
	good := forkProof(tm, "E", one, two)
	if err := good.check(); err != nil || good.place.n != 4 || !good.place.envelope {
		t.Fatalf("%v %+v", err, good.place)
	}
	if err := good.verify(tm.root.Project, tm.person("E").device.DK); err != nil {
		t.Error(err)
	}
	if err := good.verify(tm.root.Project, tm.person("A").device.DK); err == nil {
		t.Error("another device's key verifies it")
	}
	event := NewProofHalf([]byte{0xa0}, make([]byte, sign.SignatureSize), one[0])
	for name, p := range map[string]*EquivocationProof{
		"other places":       {A: good.A, B: shown(tm, "E", one[1:])},
		"one branch":         {A: good.A, B: good.A},
		"halves swapped":     {A: good.B, B: good.A},
		"a gap":              {A: shown(tm, "E", [][]byte{one[0], one[2]}), B: shown(tm, "E", two)},
		"of another branch":  {A: shown(tm, "E", [][]byte{one[0], other[1]}), B: shown(tm, "E", two)},
		"no signature":       {A: wire.Marshal(wire.Signed{Core: one[0], Sigs: [][]byte{one[0]}}), B: good.B},
		"event and ancestor": {A: event, B: good.B},
	} {
		if err := p.check(); err == nil {
			t.Errorf("%s: taken", name)
		} else if !errors.Is(err, ErrEvent) && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProofWithManyHeads: a proof is read before anybody's signature is looked at. Envelopes between its signed one and the place
// that repeat thousands of governance heads, which no envelope has, would make that dear.
func TestProofWithManyHeads(t *testing.T) {
	tm := newTeam(t, 1)
	branch := func(mark string, heads, between int) (out [][]byte) {
		prev := wire.ID{}
		for k := range between + 1 {
			header := wire.Marshal(envelopeHeader{
				Head: wire.NewHead(), Project: tm.root.Project, Kind: 2, Device: tm.person("E").device.ID,
				Seq: uint64(k) + 1, Prev: prev, GovHeads: make([]EventID, heads),
			})
			s := wire.Marshal(envelopeMark{Header: header, Content: wire.ID{mark[0]}})
			prev = derive.ID(string(sign.Envelope), s)
			out = append(out, s)
		}
		return out
	}
	for heads, good := range map[int]bool{maxEnvelopeHeads: true, maxEnvelopeHeads + 1: false, 1300: false} {
		if err := manyHeads(tm, branch("1", heads, maxAncestors), branch("2", 1, 0)).check(); good != (err == nil) || !good && !errors.Is(err, ErrEvent) {
			t.Errorf("%d heads: %v", heads, err)
		}
	}
	few, many := branch("1", 1, 1), branch("1", maxEnvelopeHeads+1, 0) // only in what lies between
	top, _, err := parseMark(few[1])
	if err != nil {
		t.Fatal(err)
	}
	top.Prev = derive.ID(string(sign.Envelope), many[0])
	few[0], few[1] = many[0], wire.Marshal(envelopeMark{Header: wire.Marshal(top), Content: wire.ID{1}})
	if err := manyHeads(tm, few, branch("2", 1, 0)).check(); !errors.Is(err, ErrEvent) {
		t.Errorf("many heads in between: %v", err)
	}
}

// manyHeads is forkProof of envelopes with any number of heads: what lies between is written without looking at it.
func manyHeads(tm *team, x, y [][]byte) *EquivocationProof {
	if bytes.Compare(x[0], y[0]) > 0 {
		x, y = y, x
	}
	half := func(branch [][]byte) []byte {
		last := branch[len(branch)-1]
		sigs := [][]byte{tm.person("E").keys.DK.Sign(sign.Envelope, last)}
		headerOf := func(statement []byte) (h envelopeHeader, content wire.ID) {
			var mark envelopeMark
			if err := errors.Join(wire.Unmarshal(statement, &mark, MaxEventCore), wire.Unmarshal(mark.Header, &h, MaxEventCore)); err != nil {
				tm.t.Fatal(err)
			}
			return h, mark.Content
		}
		after, _ := headerOf(last)
		for k := len(branch) - 2; k >= 0; k-- {
			h, content := headerOf(branch[k])
			sigs = append(sigs, wire.Marshal(h.differs(after, content)))
			after = h
		}
		if len(branch) > 1 {
			sigs = append(sigs, after.Prev[:])
		}
		return wire.Marshal(wire.Signed{Core: last, Sigs: sigs})
	}
	return &EquivocationProof{A: half(x), B: half(y)}
}

// TestForkedChain: a proof ends a chain before its fork, the last FrontierExtend picks a branch, and nothing goes below
// what is settled.
func TestForkedChain(t *testing.T) {
	tm := newTeam(t, 2)
	tm.managers("B")
	_, trunk := branchOf(tm, "E", "t", 0, wire.ID{}, 3)
	one, ones := branchOf(tm, "E", "1", 3, trunk[2], 9)
	two, twos := branchOf(tm, "E", "2", 3, trunk[2], 9)
	dev := tm.person("E").device.ID
	at := func(seq uint64, branch []wire.ID) Cut { return Cut{Device: dev, Seq: seq, Envelope: branch[seq-4]} }
	end := func(what string, want Cut) {
		t.Helper()
		s := tm.log.State()
		c, _ := s.Chain(dev, 0)
		if got, ok := s.Cut(dev, 0); !ok || got != want || c.Forked != 4 {
			t.Errorf("%s: the chain ends at %d %s, want %d; forked at %d", what, got.Seq, got.Envelope.Short(), want.Seq, c.Forked)
		}
	}
	proof := step{by: "E", kind: KindEquivocationProof, body: func(tm *team, _ *State) any { return forkProof(tm, "E", one, two[:2]) }}
	tm.draw(`start -> e -> early -> proof`, map[string]step{
		"e": admitStep("A", "E", Editor), "early": extendStep("A", at(4, ones)), "proof": proof,
	})
	// An extension from before the fork was known picks, too.
	end("proof and an older extension", at(4, ones))
	tm.draw(`proof -> pick`, map[string]step{"pick": extendStep("A", at(6, ones))})
	end("picked", at(6, ones))
	tm.draw(`pick -> x
		pick -> y`, map[string]step{"x": extendStep("A", at(8, twos)), "y": extendStep("B", at(7, ones))})
	want := at(8, twos)
	if wire.ID(tm.ids["y"]).Compare(wire.ID(tm.ids["x"])) < 0 {
		want = at(7, ones)
	}
	end("picked by two at once", want)
	tm.draw(`x, y -> last`, map[string]step{"last": extendStep("B", at(5, twos))})
	end("picked by the last", at(5, twos))
	if role := tm.log.State().Role(tm.member("E")); role != Editor {
		t.Errorf("who forked a chain is %v", role)
	}

	tm.draw(`last -> settled -> low`, map[string]step{
		"settled": checkStep("A", 1, 10).and("B").settling(at(5, twos)), "low": extendStep("A", at(5, ones)),
	})
	end("a pick that undoes what is settled", at(5, twos))
	tm.draw(`low -> high`, map[string]step{"high": extendStep("A", at(9, twos))})
	end("a pick beyond what is settled", at(9, twos))
}

// TestForkBeyondACut: whoever was removed gets nothing back by forking their chain beyond the cut and having it proven.
func TestForkBeyondACut(t *testing.T) {
	for name, c := range map[string]struct{ cut, want uint64 }{"before the fork": {2, 2}, "beyond the fork": {5, 3}} {
		t.Run(name, func(t *testing.T) {
			tm := newTeam(t, 2)
			tm.managers("B")
			_, trunk := branchOf(tm, "E", "t", 0, wire.ID{}, 3)
			one, ones := branchOf(tm, "E", "1", 3, trunk[2], 3)
			two, _ := branchOf(tm, "E", "2", 3, trunk[2], 3)
			whole := append(trunk, ones...)
			dev := tm.person("E").device.ID
			at := func(seq uint64) Cut { return Cut{Device: dev, Seq: seq, Envelope: whole[seq-1]} }
			tm.draw(`start -> e -> out -> friend -> proof`, map[string]step{
				"e": admitStep("A", "E", Editor), "out": revokeStep("A", "E", at(c.cut)), "friend": admitStep("A", "F", Viewer),
				"proof": {by: "F", kind: KindEquivocationProof, body: func(tm *team, _ *State) any { return forkProof(tm, "E", one, two) }},
			})
			if got, ok := tm.log.State().Cut(dev, 0); !ok || got != at(c.want) {
				t.Errorf("the chain ends at %d, want %d", got.Seq, c.want)
			}
			tm.draw(`proof -> more`, map[string]step{"more": extendStep("A", at(6))})
			if got, ok := tm.log.State().Cut(dev, 0); !ok || got != at(6) {
				t.Errorf("extended, the chain ends at %d, want 6", got.Seq)
			}
		})
	}
}

// TestProofOfALongBranch: two whole runs fit one event.
func TestProofOfALongBranch(t *testing.T) {
	tm := newTeam(t, 1)
	long := func(mark byte) (out [][]byte) {
		prev := wire.ID{1}
		epochs := []*EpochID{nil, {2}, {2}, {3}}
		for k := range 256 {
			e := envelopeHeader{
				Head: wire.NewHead(), Project: tm.root.Project, Kind: uint8(1 + k%2), Device: tm.person("E").device.ID, ChainNo: 3,
				Seq: uint64(k) + 10, Prev: prev, GovHeads: []EventID{{byte(k / 100)}}, Epoch: epochs[k*len(epochs)/256], Nonce: &[24]byte{byte(k)},
			}
			if e.Doc[0] = byte(k / 50); e.Epoch == nil {
				e.Nonce = nil
			}
			out = append(out, wire.Marshal(envelopeMark{Header: wire.Marshal(e), Content: wire.ID{mark, byte(k)}}))
			prev = derive.ID(string(sign.Envelope), out[k])
		}
		return out
	}
	p := forkProof(tm, "E", long(1), long(2))
	if err := p.check(); err != nil || p.place.n != 10 || p.place.chain != 3 {
		t.Fatalf("%v %+v", err, p.place)
	}
	if err := p.verify(tm.root.Project, tm.person("E").device.DK); err != nil {
		t.Error(err)
	}
	if size := len(p.A) + len(p.B); size > MaxEventCore-4<<10 {
		t.Errorf("a proof of %d bytes", size)
	}
}
