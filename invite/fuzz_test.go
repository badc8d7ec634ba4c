package invite

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

func FuzzCode(f *testing.F) {
	w := newWorld(f)
	compact := *w.code
	compact.KEM = nil
	for _, s := range []string{w.code.Text(), compact.Text(), compact.Text()[:300], "", "VEAQCAQB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrNotACode) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		again, err := Parse(c.Text())
		if err != nil || again.Text() != c.Text() {
			t.Fatalf("does not survive a round: %v", err)
		}
	})
}

// fuzzMessage checks that what decodes is in its one form, and that what does not has a type.
func fuzzMessage[T any](f *testing.F, seed any, decode func([]byte) (*T, error)) {
	f.Add(wire.Marshal(seed))
	f.Add([]byte{0xa0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if !bytes.Equal(wire.Marshal(m), b) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

func FuzzM0(f *testing.F) { fuzzMessage(f, message0{KEM: make([]byte, 1216)}, decode0) }

func FuzzM1(f *testing.F) {
	fuzzMessage(f, message1{
		Head: wire.NewHead(), Suites: []uint16{1}, CT1: make([]byte, 1168), MAC: make([]byte, 32),
	}, decode1)
}

func FuzzM2(f *testing.F) {
	fuzzMessage(f, message2{Identity: []byte{1}, Device: []byte{2}, Records: [][]byte{{3}}, Sig: make([]byte, 3373)}, decode2)
}

func FuzzM3(f *testing.F) {
	fuzzMessage(f, message3{
		Identity: []byte{1}, Device: []byte{2}, ProofPub: make([]byte, 1984), Proof: make([]byte, 3373), Sig: make([]byte, 3373),
	}, decode3)
}

func FuzzM4(f *testing.F) {
	fuzzMessage(f, message4{
		Result: Admitted, Admit: []byte{1}, Heads: []wire.ID{{1}}, Boxes: []wire.Signed{{Core: []byte{1}, Sigs: [][]byte{{2}}}}, Addrs: [][]byte{{1}},
	}, decode4)
}

func FuzzM5(f *testing.F) { fuzzMessage(f, message5{MAC: [32]byte{1}}, decode5) }

// A host given anything at all must neither panic nor answer.
func FuzzServe(f *testing.F) {
	w := newWorld(f)
	hash := Hash(w.code.Invite)
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Add(append([]byte{0, 0, 0, 32}, bytes.Repeat([]byte{1}, 32)...))
	f.Add(append([]byte{0, 0, 0, 32}, hash[:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := play(w.server(), b)
		asked := bytes.HasPrefix(b, append([]byte{0, 0, 0, 32}, hash[:]...))
		if err == nil || p.out.Len() != 0 && !asked {
			t.Fatalf("%v, %d bytes of answer", err, p.out.Len())
		}
	})
}
