package membership

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/wire"
)

func fuzzMessage[T any, P interface {
	*T
	checker
}](f *testing.F, seeds ...T) {
	for _, s := range seeds {
		f.Add(wire.Marshal(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := P(new(T))
		if err := decodeMessage(b, m); err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if !bytes.Equal(wire.Marshal(m), b) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

func FuzzHello(f *testing.F) {
	fuzzMessage(f, hello{}, hello{Have: []governance.EventID{{1}}, Book: []bookEntry{{Seq: 1}}, Events: [][]byte{{1}}})
}

func FuzzBatch(f *testing.F) {
	fuzzMessage(f, batch{Last: true}, batch{Events: [][]byte{{1}}, Boxes: [][]byte{{2}}, Addrs: [][]byte{{3}}})
}

func FuzzRootHello(f *testing.F) {
	fuzzMessage(f, rootHello{}, rootHello{Have: []genesis.RootID{{1}, {2}}})
}

func FuzzRootBatch(f *testing.F) {
	fuzzMessage(f, rootBatch{Last: true}, rootBatch{Records: [][]byte{{1}}, Proposals: [][]byte{{2}}, Offers: [][]byte{{3}}, Last: true})
}

func FuzzAddressRecord(f *testing.F) {
	s := selfOf(f, "anna")
	r, err := newAddressRecord(s.Keys, addressCore{Device: s.Device.ID, Seq: 1, Addrs: []string{"/ip4/192.0.2.1/tcp/1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseAddressRecord(b)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(r.addressCore), r.core) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

func FuzzActHello(f *testing.F) {
	fuzzMessage(f, actHello{}, actHello{Have: []wire.ID{{1}, {2}}})
}

func FuzzActBatch(f *testing.F) {
	fuzzMessage(f, actBatch{Last: true}, actBatch{Proposals: [][]byte{{1}}, Votes: [][]byte{{2}}})
}

func FuzzCosignRequest(f *testing.F) {
	fuzzMessage(f, cosignRequest{}, cosignRequest{Act: &ActID{1}, Core: []byte{1}})
}

func FuzzCosignAnswer(f *testing.F) {
	fuzzMessage(f, cosignAnswer{Result: cosignLater}, cosignAnswer{Result: cosignSigned, Signature: make([]byte, sign.SignatureSize)})
}

func FuzzActRecord(f *testing.F) {
	s := selfOf(f, "anna")
	c := actCore{
		Kind: governance.KindRevoke, Terms: wire.Marshal(governance.Revoke{}), Device: s.Device.ID, Since: []governance.EventID{{1}}, Note: "x",
	}
	asRoot := c
	asRoot.Draft = wire.Marshal(forge.Core{
		Head: wire.NewHead(), Kind: c.Kind, Device: c.Device, Aseq: 1, Parents: c.Since, Depth: 1,
		Cosigners: []governance.Cosigner{}, Holders: []identity.MemberID{{1}}, Body: wire.Marshal(governance.Revoke{}),
	})
	for _, c := range []actCore{c, asRoot} {
		r, err := newActRecord(s.Keys, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseActRecord(b)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(r.actCore), r.core) || !proposable(r.Kind, r.draft != nil) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

func FuzzVoteRecord(f *testing.F) {
	s := selfOf(f, "anna")
	holder := identity.MemberID{2}
	for _, c := range []voteCore{
		{Act: ActID{1}, Device: s.Device.ID, N: 1, Approve: 1},
		{Act: ActID{1}, Device: s.Device.ID, N: 1, Approve: 1, Holder: &holder, Signature: make([]byte, sign.SignatureSize)},
	} {
		r, err := newVoteRecord(s.Keys, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseVoteRecord(b)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(r.voteCore), r.core) || r.N == 0 || len(r.Signature) > 0 && r.Holder == nil {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

// FuzzStoredAct reads what a store holds of a proposed act.
func FuzzStoredAct(f *testing.F) {
	s := selfOf(f, "anna")
	r, err := newActRecord(s.Keys, actCore{
		Kind: governance.KindRoleGrant, Terms: wire.Marshal(governance.RoleGrant{}), Device: s.Device.ID, Since: []governance.EventID{{1}},
	})
	if err != nil {
		f.Fatal(err)
	}
	v, err := newVoteRecord(s.Keys, voteCore{Act: r.id, Device: s.Device.ID, N: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire.Marshal(storedAct{Record: r.raw, Votes: [][]byte{v.raw}, Declined: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := readAct(b); err == nil && (o.actRecord == nil || o.votes == nil) {
			t.Fatal("read in part")
		}
	})
}

// FuzzSignedPoint reads what a store holds of the checkpoint that was signed last.
func FuzzSignedPoint(f *testing.F) {
	f.Add(wire.Marshal(signedPoint{Number: 1, Draft: governance.EventID{2}, Aseq: 3, At: 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s signedPoint
		if err := wire.Unmarshal(b, &s, maxSignedPoint); err == nil && !bytes.Equal(wire.Marshal(s), b) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}
