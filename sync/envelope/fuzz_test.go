package envelope

import (
	"bytes"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

func FuzzParse(f *testing.F) {
	for _, e := range write(f, testChain(), testDK, 2) {
		f.Add(e.Raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Raw, raw) || !bytes.Equal(wire.Marshal(signed{Header: e.header, Ct: e.Ciphertext, Sig: e.Sig}), raw) {
			t.Error("one envelope has two encodings")
		}
		if len(raw) != wholeSize(e.header, e.Ciphertext) {
			t.Error("its size is miscounted")
		}
		s, err := ParseStored(e.Stored())
		if err != nil || s.ID != e.ID {
			t.Error("it cannot be stored", err)
		}
		_, _ = e.Introduction()
		_, _ = e.Open(testKey)
		_ = Follows(Beginning(e.Project, e.Device, e.ChainNo), e)
	})
}

func FuzzDecodeRun(f *testing.F) {
	raw, err := EncodeRun(write(f, testChain(), testDK, 3))
	must(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRun(raw)
		if err != nil {
			return
		}
		again, err := EncodeRun(r.Envelopes)
		if err != nil || !bytes.Equal(again, raw) {
			t.Error("one run has two encodings", err)
		}
	})
}

func FuzzParseEphemeral(f *testing.F) {
	f.Add(testEphemeral(f, []byte("x")).Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEphemeral(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(signed{Header: e.header, Ct: e.Ciphertext, Sig: e.Sig}), raw) {
			t.Error("one record has two encodings")
		}
		_, _ = e.Open(testKey)
	})
}

func FuzzParseUpdate(f *testing.F) {
	f.Add(updatePayload("x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := ParseUpdate(raw)
		if err == nil && !bytes.Equal(u.Encode(), raw) {
			t.Error("one update has two encodings")
		}
	})
}
