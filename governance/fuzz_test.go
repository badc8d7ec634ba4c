package governance

import (
	"bytes"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/wire"
)

// FuzzParseEvent: whatever parses is encoded again as it was, and no log takes it with a panic.
func FuzzParseEvent(f *testing.F) {
	v := readVectors(f)
	root, err := genesis.ParseRoot(unbase64(f, v.Root))
	if err != nil {
		f.Fatal(err)
	}
	l := NewLog(root)
	for _, x := range v.Events {
		raw := unbase64(f, x.Raw)
		f.Add(raw)
		if _, err := l.Add(raw); err != nil {
			f.Fatal(err)
		}
	}
	for _, x := range v.Refused {
		f.Add(unbase64(f, x.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEvent(raw)
		if err != nil {
			return
		}
		if again := wire.Marshal(wire.Signed{Core: e.core, Sigs: e.sigs}); !bytes.Equal(again, raw) {
			t.Fatal("encoded again it differs")
		}
		if _, err := l.AddFrom("fuzzer", raw); err == nil {
			l.State()
		}
	})
}

// FuzzEventCore reaches further than signed bytes let the fuzzer.
func FuzzEventCore(f *testing.F) {
	for _, x := range readVectors(f).Events {
		e, err := ParseEvent(unbase64(f, x.Raw))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.core)
	}
	f.Fuzz(func(t *testing.T, core []byte) {
		e, err := parseEventCore(core)
		if err != nil {
			return
		}
		if len(e.Parents) == 0 || len(e.Parents) > MaxParents || len(e.Cosigners) > MaxCosigners {
			t.Fatal("a cap does not hold")
		}
		if e.body != nil && !bytes.Equal(wire.Marshal(e.body), e.Body) {
			t.Fatal("the body encoded again differs")
		}
	})
}

// fuzzBody fuzzes the body of one kind.
func fuzzBody(f *testing.F, kind Kind) {
	for _, x := range readVectors(f).Events {
		if x.Kind == kind {
			e, err := ParseEvent(unbase64(f, x.Raw))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(e.Body)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := rules[kind].body()
		if err := decodeBody(raw, b); err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(b), raw) {
			t.Fatal("encoded again it differs")
		}
	})
}

func FuzzKeyEpoch(f *testing.F)     { fuzzBody(f, KindKeyEpoch) }
func FuzzInviteCreate(f *testing.F) { fuzzBody(f, KindInviteCreate) }
func FuzzAdmit(f *testing.F)        { fuzzBody(f, KindAdmit) }
func FuzzRoleGrant(f *testing.F)    { fuzzBody(f, KindRoleGrant) }
func FuzzRevoke(f *testing.F)       { fuzzBody(f, KindRevoke) }
func FuzzChainOpen(f *testing.F)    { fuzzBody(f, KindChainOpen) }
func FuzzInviteRevoke(f *testing.F) { fuzzBody(f, KindInviteRevoke) }

func FuzzCheckpoint(f *testing.F)        { fuzzBody(f, KindCheckpoint) }
func FuzzRoleDrop(f *testing.F)          { fuzzBody(f, KindRoleDrop) }
func FuzzDeviceRemove(f *testing.F)      { fuzzBody(f, KindDeviceRemove) }
func FuzzLeave(f *testing.F)             { fuzzBody(f, KindLeave) }
func FuzzKeyUpdate(f *testing.F)         { fuzzBody(f, KindKeyUpdate) }
func FuzzCarry(f *testing.F)             { fuzzBody(f, KindCarry) }
func FuzzFrontierExtend(f *testing.F)    { fuzzBody(f, KindFrontierExtend) }
func FuzzEndorse(f *testing.F)           { fuzzBody(f, KindEndorse) }
func FuzzEquivocationProof(f *testing.F) { fuzzBody(f, KindEquivocationProof) }
func FuzzQuarantinePropose(f *testing.F) { fuzzBody(f, KindQuarantinePropose) }
func FuzzQuarantineVote(f *testing.F)    { fuzzBody(f, KindQuarantineVote) }
func FuzzLiftQuarantine(f *testing.F)    { fuzzBody(f, KindLiftQuarantine) }
