package envelope

import (
	"bytes"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
)

func testEphemeral(t testing.TB, payload []byte) *Ephemeral {
	t.Helper()
	chain := write(t, testChain(), testDK, 1)[0].Head()
	e, err := SealEphemeral(newRandom(5), testDK, EphemeralDraft{
		Kind: Presence, Chain: chain, N: 3, GovHeads: testHeads,
		Epoch: governance.EpochID{0xec}, Key: testKey, Payload: payload,
	})
	must(t, err)
	return e
}

func TestEphemeral(t *testing.T) {
	made := testEphemeral(t, []byte("cursor at 7"))
	e, err := ParseEphemeral(made.Raw)
	must(t, err)
	must(t, e.Verify(testDK.Public()))
	wantErr(t, e.Verify(otherDK.Public()), ErrSignature)
	payload, err := e.Open(testKey)
	must(t, err)
	if string(payload) != "cursor at 7" || e.ID != made.ID || e.At != 1 || e.N != 3 {
		t.Error("wrong record")
	}
	_, err = e.Open([32]byte{})
	wantErr(t, err, ErrSealed)
	for at := 0; at < len(e.Raw); at++ {
		if at > 600 && at%97 != 0 {
			continue // inside the signature
		}
		bad := bytes.Clone(e.Raw)
		bad[at] ^= 1 << (at % 8)
		if e, err := ParseEphemeral(bad); err == nil {
			wantErr(t, e.Verify(testDK.Public()), ErrSignature)
		}
	}
	if _, err := Parse(made.Raw); err == nil {
		t.Error("an ephemeral record was taken for an envelope")
	}
}

func TestEphemeralCaps(t *testing.T) {
	small := testEphemeral(t, nil)
	most := MaxEphemeral - len(small.Raw) - 2 // a longer byte string has a longer head
	if e := testEphemeral(t, make([]byte, most)); len(e.Raw) != MaxEphemeral {
		t.Errorf("the largest has %d bytes", len(e.Raw))
	}
	_, err := SealEphemeral(newRandom(5), testDK, EphemeralDraft{Kind: Message, Payload: make([]byte, most+300)})
	wantErr(t, err, ErrTooLarge)
	_, err = SealEphemeral(newRandom(5), testDK, EphemeralDraft{})
	wantErr(t, err, ErrMalformed)
	_, err = SealEphemeral(newRandom(5), testDK, EphemeralDraft{Kind: Message, GovHeads: make([]governance.EventID, 2)})
	wantErr(t, err, ErrMalformed)
}

func TestMovedEphemeral(t *testing.T) {
	for name, move := range map[string]func(*EphemeralHeader){
		"project": func(h *EphemeralHeader) { h.Project[0]++ },
		"author":  func(h *EphemeralHeader) { h.Device[0]++ },
		"chain":   func(h *EphemeralHeader) { h.ChainNo++ },
		"kind":    func(h *EphemeralHeader) { h.Kind = Message },
		"at":      func(h *EphemeralHeader) { h.At++ },
		"n":       func(h *EphemeralHeader) { h.N++ },
		"epoch":   func(h *EphemeralHeader) { h.Epoch[0]++ },
		"nonce":   func(h *EphemeralHeader) { h.Nonce[0]++ },
	} {
		e := testEphemeral(t, []byte("x"))
		h := e.EphemeralHeader
		move(&h)
		header := wire.Marshal(h)
		sig := otherDK.Sign(sign.Ephemeral, message(header, e.Ciphertext))
		moved, err := ParseEphemeral(wire.Marshal(signed{Header: header, Ct: e.Ciphertext, Sig: sig}))
		must(t, err)
		must(t, moved.Verify(otherDK.Public()))
		if _, err := moved.Open(testKey); err == nil {
			t.Errorf("moved to another %s it opens", name)
		}
	}
}

func TestEphemeralOrder(t *testing.T) {
	h := EphemeralHeader{At: 5, N: 5}
	for _, tt := range []struct {
		at, n uint64
		after bool
	}{{5, 5, false}, {5, 4, true}, {5, 6, false}, {4, 9, true}, {6, 0, false}} {
		if h.After(tt.at, tt.n) != tt.after {
			t.Errorf("after (%d, %d) is %t", tt.at, tt.n, !tt.after)
		}
	}
}
