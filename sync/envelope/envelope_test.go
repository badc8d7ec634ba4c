package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

func TestRoundTrip(t *testing.T) {
	c := testChain()
	intro, err := c.Introduce(testDK, wire.ID{0x1d}, testHeads)
	must(t, err)
	edit, err := c.Next(newRandom(1), testDK, sealedDraft(updatePayload("hello")))
	must(t, err)
	unknown := sealedDraft([]byte("?"))
	unknown.Kind = 99
	strange, err := c.Next(newRandom(2), testDK, unknown)
	must(t, err)

	at := Beginning(testProject, testDevice, 0)
	for _, made := range []*Envelope{intro, edit, strange} {
		e, err := Parse(made.Raw)
		must(t, err)
		must(t, e.Verify(testDK.Public()))
		must(t, Follows(at, e))
		at = e.Head()
		if e.ID != made.ID || !bytes.Equal(e.Raw, made.Raw) {
			t.Error("parsed differs from made")
		}
		if len(e.Raw) != wholeSize(e.header, e.Ciphertext) || len(e.Stored()) != e.Size() {
			t.Error("sizes are miscounted")
		}
	}
	if at != c.Head() || at.Seq != 3 {
		t.Error("the chain is elsewhere than its envelopes")
	}
	in, err := intro.Introduction()
	must(t, err)
	if in.Identity != (wire.ID{0x1d}) || in.Device != testDevice {
		t.Error("wrong introduction")
	}
	payload, err := edit.Open(testKey)
	must(t, err)
	u, err := ParseUpdate(payload)
	must(t, err)
	if len(u.Updates) != 1 || string(u.Updates[0]) != "hello" {
		t.Error("wrong update")
	}
	if bytes.Contains(edit.Raw, []byte("hello")) {
		t.Error("the update is readable")
	}
	_, err = edit.Introduction()
	wantErr(t, err, ErrMalformed)
}

func TestParseDoesNotAliasItsInput(t *testing.T) {
	raw := bytes.Clone(write(t, testChain(), testDK, 2)[1].Raw)
	e, err := Parse(raw)
	must(t, err)
	clear(raw)
	must(t, e.Verify(testDK.Public()))
	_, err = Parse(e.Raw)
	must(t, err)
}

// TestOneContentHasOneID: signing is hedged, and no other signature makes another envelope of it.
func TestOneContentHasOneID(t *testing.T) {
	a := write(t, testChain(), testDK, 2)[1]
	b := write(t, testChain(), testDK, 2)[1]
	if bytes.Equal(a.Sig, b.Sig) || a.ID != b.ID {
		t.Error("the id depends on the signature")
	}
}

func TestStoredKeepsAllButTheSignature(t *testing.T) {
	e := write(t, testChain(), testDK, 2)[1]
	s, err := ParseStored(e.Stored())
	must(t, err)
	if s.ID != e.ID || s.Sig != nil || s.Raw != nil || !bytes.Equal(s.Stored(), e.Stored()) {
		t.Error("stored differs")
	}
	_, err = s.Open(testKey)
	must(t, err)
	wantErr(t, s.Verify(testDK.Public()), ErrSignature)
}

func TestAlteredEnvelopeIsRefused(t *testing.T) {
	raw := write(t, testChain(), testDK, 2)[1].Raw
	for at := 0; at < len(raw); at++ {
		if at > 600 && at%97 != 0 {
			continue // inside the signature
		}
		bad := bytes.Clone(raw)
		bad[at] ^= 1 << (at % 8)
		e, err := Parse(bad)
		if err == nil {
			wantErr(t, e.Verify(testDK.Public()), ErrSignature)
		}
	}
	e, err := Parse(raw)
	must(t, err)
	wantErr(t, e.Verify(otherDK.Public()), ErrSignature)
	for _, n := range []int{0, 1, len(raw) / 2, len(raw) - 1} {
		_, err := Parse(raw[:n])
		wantErr(t, err, ErrMalformed)
	}
	_, err = Parse(append(bytes.Clone(raw), 0))
	wantErr(t, err, ErrMalformed)
	_, err = Parse(make([]byte, MaxEnvelope+1))
	wantErr(t, err, ErrTooLarge)
}

func TestHeaderRules(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Header)
		want   error
	}{
		{"newer version", func(h *Header) { h.V = 2 }, ErrVersion},
		{"other suite", func(h *Header) { h.Suite = 2 }, ErrVersion},
		{"kind 0", func(h *Header) { h.Kind = 0 }, ErrMalformed},
		{"number 0", func(h *Header) { h.Seq = 0 }, ErrMalformed},
		{"wrong root", func(h *Header) { h.Seq = 1 }, ErrMalformed},
		{"five heads", func(h *Header) { h.GovHeads = []governance.EventID{{1}, {2}, {3}, {4}, {5}} }, ErrMalformed},
		{"unsorted heads", func(h *Header) { h.GovHeads = []governance.EventID{{2}, {1}} }, ErrMalformed},
		{"repeated heads", func(h *Header) { h.GovHeads = []governance.EventID{{1}, {1}} }, ErrMalformed},
		{"no nonce", func(h *Header) { h.Nonce = nil }, ErrMalformed},
		{"no epoch", func(h *Header) { h.Epoch = nil }, ErrMalformed},
		{"update in clear", func(h *Header) { h.Epoch, h.Nonce = nil, nil }, ErrMalformed},
		{"manifest in clear", func(h *Header) { h.Kind, h.Epoch, h.Nonce = KindManifest, nil, nil }, ErrMalformed},
		{"sealed introduction", func(h *Header) { h.Kind, h.Doc = KindIntroduction, [16]byte{} }, ErrMalformed},
		{"introduction of a document", func(h *Header) { h.Kind, h.Epoch, h.Nonce = KindIntroduction, nil, nil }, ErrMalformed},
		{"no heads", func(h *Header) { h.GovHeads = nil }, nil},
		{"unknown kind in clear", func(h *Header) { h.Kind, h.Epoch, h.Nonce = 77, nil, nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := write(t, testChain(), testDK, 2)[1]
			h := e.Header
			tt.change(&h)
			_, err := Parse(resign(testDK, h, e.Ciphertext))
			wantErr(t, err, tt.want)
		})
	}
}

// resign makes the wire form of any header and content, as an attacker with a device key could.
func resign(dk *sign.PrivateKey, h Header, ct []byte) []byte {
	header := wire.Marshal(h)
	return wire.Marshal(signed{Header: header, Ct: ct, Sig: dk.Sign(sign.Envelope, message(header, ct))})
}

// TestMovedCiphertext is a thief of ciphertext who signs with a key of his own, or even with the author's: wherever
// he puts it, and even under the same content key, it does not open.
func TestMovedCiphertext(t *testing.T) {
	moves := map[string]func(*Header){
		"project":  func(h *Header) { h.Project[0]++ },
		"document": func(h *Header) { h.Doc[0]++ },
		"kind":     func(h *Header) { h.Kind = KindManifest },
		"author":   func(h *Header) { h.Device[0]++ },
		"chain":    func(h *Header) { h.ChainNo++ },
		"number":   func(h *Header) { h.Seq++ },
		"previous": func(h *Header) { h.Prev[0]++ },
		"heads":    func(h *Header) { h.GovHeads = h.GovHeads[:1] },
		"epoch":    func(h *Header) { epoch := *h.Epoch; epoch[0]++; h.Epoch = &epoch },
		"nonce":    func(h *Header) { nonce := *h.Nonce; nonce[0]++; h.Nonce = &nonce },
	}
	for name, move := range moves {
		t.Run(name, func(t *testing.T) {
			e := write(t, testChain(), testDK, 2)[1]
			h := e.Header
			move(&h)
			moved, err := Parse(resign(otherDK, h, e.Ciphertext))
			must(t, err)
			must(t, moved.Verify(otherDK.Public()))
			if moved.ID == e.ID {
				t.Error("the place is not in the id")
			}
			_, err = moved.Open(testKey)
			wantErr(t, err, ErrSealed)
		})
	}
	e := write(t, testChain(), testDK, 2)[1]
	_, err := e.Open([32]byte{})
	wantErr(t, err, ErrSealed)
}

// TestSignatureIsOfOneType: what signs an ephemeral record does not sign an envelope.
func TestSignatureIsOfOneType(t *testing.T) {
	e := write(t, testChain(), testDK, 2)[1]
	sig := testDK.Sign(sign.Ephemeral, message(e.header, e.Ciphertext))
	forged, err := Parse(wire.Marshal(signed{Header: e.header, Ct: e.Ciphertext, Sig: sig}))
	must(t, err)
	wantErr(t, forged.Verify(testDK.Public()), ErrSignature)
}

func TestFollows(t *testing.T) {
	envs := write(t, testChain(), testDK, 4)
	fork := NewChain(envs[1].Head())
	branch, err := fork.Next(newRandom(99), testDK, sealedDraft(updatePayload("other")))
	must(t, err)
	after, err := fork.Next(newRandom(98), testDK, sealedDraft(updatePayload("more")))
	must(t, err)
	otherChain := write(t, NewChain(Beginning(testProject, testDevice, 1)), testDK, 1)[0]
	otherDevice := write(t, NewChain(Beginning(testProject, identity.DeviceID{9}, 0)), otherDK, 1)[0]
	tests := []struct {
		name string
		prev ChainHead
		e    *Envelope
		want error
	}{
		{"first", Beginning(testProject, testDevice, 0), envs[0], nil},
		{"next", envs[1].Head(), envs[2], nil},
		{"gap", envs[0].Head(), envs[2], ErrGap},
		{"gap at the beginning", Beginning(testProject, testDevice, 0), envs[1], ErrGap},
		{"held", envs[1].Head(), envs[1], ErrHeld},
		{"past", envs[2].Head(), envs[0], ErrPast},
		{"two of one number", envs[2].Head(), branch, ErrFork},
		{"goes on after another", envs[2].Head(), after, ErrFork},
		{"other chain", envs[0].Head(), otherChain, ErrOtherChain},
		{"other device", envs[0].Head(), otherDevice, ErrOtherChain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantErr(t, Follows(tt.prev, tt.e), tt.want) })
	}
}

func TestFailedNextDoesNotAdvance(t *testing.T) {
	c := testChain()
	_, err := c.Next(newRandom(1), testDK, sealedDraft(make([]byte, MaxEnvelope)))
	wantErr(t, err, ErrTooLarge)
	bad := sealedDraft(nil)
	bad.GovHeads = make([]governance.EventID, 2)
	_, err = c.Next(newRandom(1), testDK, bad)
	wantErr(t, err, ErrMalformed)
	_, err = c.Next(strings.NewReader("short"), testDK, sealedDraft(nil))
	if err == nil {
		t.Error("a nonce of too little randomness was taken")
	}
	if c.Head() != Beginning(testProject, testDevice, 0) {
		t.Error("the chain advanced")
	}
	full := NewChain(ChainHead{Project: testProject, Device: testDevice, Seq: 1<<64 - 1})
	_, err = full.Next(newRandom(1), testDK, sealedDraft(nil))
	wantErr(t, err, ErrMalformed)
}

func TestLargestEnvelope(t *testing.T) {
	c := testChain()
	e, err := c.Next(newRandom(1), testDK, sealedDraft(make([]byte, 1<<19)))
	must(t, err)
	most := 1<<19 + MaxEnvelope - len(e.Raw)
	_, err = testChain().Next(newRandom(1), testDK, sealedDraft(make([]byte, most+1)))
	wantErr(t, err, ErrTooLarge)
	e, err = testChain().Next(newRandom(1), testDK, sealedDraft(make([]byte, most)))
	must(t, err)
	if len(e.Raw) != MaxEnvelope {
		t.Errorf("the largest has %d bytes", len(e.Raw))
	}
	// The cap is the same where the signature is left out.
	_, err = ParseStored(wire.Marshal(item{Header: e.header, Ct: append(e.Ciphertext, 0)}))
	wantErr(t, err, ErrTooLarge)
}

func TestPayloads(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":       nil,
		"no updates":    (&Update{}).Encode(),
		"empty update":  (&Update{Updates: [][]byte{{1}, {}}}).Encode(),
		"unknown field": {0xa2, 1, 0x81, 0x41, 1, 2, 0},
		"trailing byte": append(updatePayload("x"), 0),
	} {
		_, err := ParseUpdate(raw)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantErr(t, err, ErrMalformed)
	}
	for name, change := range map[string]func(*Introduction){
		"other device": func(i *Introduction) { i.Device[0]++ },
		"other chain":  func(i *Introduction) { i.ChainNo++ },
		"other heads":  func(i *Introduction) { i.GovHeads = nil },
	} {
		in := Introduction{Identity: wire.ID{1}, Device: testDevice, GovHeads: testHeads}
		change(&in)
		e, err := testChain().Next(nil, testDK, Draft{Kind: KindIntroduction, GovHeads: testHeads, Payload: in.Encode()})
		must(t, err)
		if _, err = e.Introduction(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDraftsPrintRedacted(t *testing.T) {
	d := sealedDraft([]byte("secret payload"))
	d.Key = [32]byte([]byte("secret key secret key secret key"))
	e := EphemeralDraft{Kind: Presence, Key: d.Key, Payload: d.Payload}
	for _, v := range []any{d, &d, e, &e} {
		j, err := json.Marshal(v)
		must(t, err)
		for _, out := range []string{fmt.Sprint(v), fmt.Sprintf("%+v %#v %x %q", v, v, v, v), string(j)} {
			if strings.Contains(out, "secret") || strings.Contains(out, "736563726574") || strings.Contains(out, "115 101 99") {
				t.Errorf("printed %s", out)
			}
		}
	}
}
