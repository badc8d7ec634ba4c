package membership

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
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
