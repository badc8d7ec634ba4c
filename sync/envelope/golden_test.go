package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"slices"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/envelope/vectors.json"

// golden is the content of the vector file. Signatures are hedged, so whole records are kept as they were made once;
// headers, contents and ids are computed anew and compared.
type golden struct {
	Comment    string         `json:"comment"`
	DeviceSeed string         `json:"device_seed"`
	ContentKey string         `json:"content_key"`
	Envelopes  []goldenRecord `json:"envelopes"`
	Ephemeral  []goldenRecord `json:"ephemeral"`
	Run        string         `json:"run"` // of all envelopes
	Refused    []goldenBad    `json:"refused"`
}

type goldenRecord struct {
	Name    string `json:"name"`
	Header  string `json:"header"`
	Content string `json:"content"`
	ID      string `json:"id"`
	Payload string `json:"payload"`
	Raw     string `json:"raw"`
}

// goldenBad is a record that must be refused, and how.
type goldenBad struct {
	Name  string `json:"name"`
	Parse string `json:"parse"` // envelope, ephemeral, run
	Error string `json:"error"`
	Raw   string `json:"raw"`
}

var goldenErrors = map[string]error{
	"malformed": ErrMalformed, "version": ErrVersion, "signature": ErrSignature, "sealed": ErrSealed, "gap": ErrGap,
}

// goldenChain writes the envelopes of the vectors: fixed seeds and nonces make all but the signatures repeatable.
func goldenChain(t *testing.T) (names []string, envs []*Envelope) {
	c, random := testChain(), newRandom(42)
	add := func(name string, e *Envelope, err error) {
		must(t, err)
		names, envs = append(names, name), append(envs, e)
	}
	e, err := c.Introduce(testDK, wire.ID{0x1d}, testHeads)
	add("introduction", e, err)
	e, err = c.Next(random, testDK, sealedDraft((&Update{Updates: [][]byte{{1, 2, 3}, {0, 0}}}).Encode()))
	add("update", e, err)
	d := sealedDraft([]byte("manifest"))
	d.Kind, d.Doc, d.GovHeads = KindManifest, [16]byte{}, nil
	e, err = c.Next(random, testDK, d)
	add("manifest without heads", e, err)
	d = Draft{Kind: 200, GovHeads: testHeads, Payload: []byte("later")}
	e, err = c.Next(random, testDK, d)
	add("unknown kind in clear", e, err)
	return names, envs
}

func makeGolden(t *testing.T) golden {
	g := golden{
		Comment: "Envelopes of chain 0; refused ones say which check fails. hex. " +
			"Written by go test ./sync/envelope -run Golden -update",
		DeviceSeed: hex.EncodeToString(bytes.Repeat([]byte{1}, 32)),
		ContentKey: hex.EncodeToString(testKey[:]),
	}
	names, envs := goldenChain(t)
	for i, e := range envs {
		payload, err := e.Open(testKey)
		must(t, err)
		g.Envelopes = append(g.Envelopes, goldenRecord{names[i], hex.EncodeToString(e.header),
			hex.EncodeToString(e.Ciphertext), e.ID.String(), hex.EncodeToString(payload), hex.EncodeToString(e.Raw)})
	}
	for kind, name := range map[EphemeralKind]string{Presence: "presence", Message: "message", Acknowledgement: "acknowledgement"} {
		e := goldenEphemeral(t, kind, envs[1].Head())
		g.Ephemeral = append(g.Ephemeral, goldenRecord{name, hex.EncodeToString(e.header),
			hex.EncodeToString(e.Ciphertext), e.ID.String(), hex.EncodeToString([]byte("now")), hex.EncodeToString(e.Raw)})
	}
	slices.SortFunc(g.Ephemeral, func(a, b goldenRecord) int { return len(a.Name) - len(b.Name) })
	raw, err := EncodeRun(envs)
	must(t, err)
	g.Run = hex.EncodeToString(raw)
	g.Refused = goldenRefused(t, envs, raw)
	return g
}

func goldenEphemeral(t *testing.T, kind EphemeralKind, chain ChainHead) *Ephemeral {
	e, err := SealEphemeral(newRandom(43), testDK, EphemeralDraft{Kind: kind, Chain: chain, N: uint64(kind),
		GovHeads: testHeads, Epoch: governance.EpochID{0xec}, Key: testKey, Payload: []byte("now")})
	must(t, err)
	return e
}

// goldenRefused makes one record for each way to fail.
func goldenRefused(t *testing.T, envs []*Envelope, run []byte) []goldenBad {
	var bad []goldenBad
	add := func(name, parse, class string, raw []byte) {
		bad = append(bad, goldenBad{name, parse, class, hex.EncodeToString(raw)})
	}
	e := envs[1]
	rehead := func(change func(*Header)) []byte {
		h := e.Header
		change(&h)
		return resign(testDK, h, e.Ciphertext)
	}
	add("version 2", "envelope", "version", rehead(func(h *Header) { h.V = 2 }))
	add("unsorted heads", "envelope", "malformed", rehead(func(h *Header) {
		h.GovHeads = []governance.EventID{{2}, {1}}
	}))
	add("update in clear", "envelope", "malformed", rehead(func(h *Header) { h.Epoch, h.Nonce = nil, nil }))
	add("moved to another document", "envelope", "sealed", rehead(func(h *Header) { h.Doc[0]++ }))
	add("moved to another epoch", "envelope", "sealed", rehead(func(h *Header) { h.Epoch = &governance.EpochID{9} }))
	add("signed by another device", "envelope", "signature", resign(otherDK, e.Header, e.Ciphertext))
	add("trailing byte", "envelope", "malformed", append(bytes.Clone(e.Raw), 0))
	long := append([]byte{e.Raw[0], 0x5a, 0, 0}, e.Raw[2:]...) // the header's length in four bytes, where two do
	add("length not in shortest form", "envelope", "malformed", long)
	flipped := bytes.Clone(run)
	flipped[len(flipped)-1] ^= 1
	add("run with an altered signature", "run", "signature", flipped)
	later, err := EncodeRun(envs[1:])
	must(t, err)
	add("run that begins later", "run", "gap", later)
	ep := goldenEphemeral(t, Presence, e.Head())
	h := ep.EphemeralHeader
	h.N++
	header := wire.Marshal(h)
	add("presence renumbered without signing", "ephemeral", "signature",
		wire.Marshal(signed{Header: header, Ct: ep.Ciphertext, Sig: ep.Sig}))
	return bad
}

func TestGolden(t *testing.T) {
	if *update {
		goldenfile.Write(t, goldenPath, makeGolden(t))
	}
	var want golden
	goldenfile.Read(t, goldenPath, &want)
	got := makeGolden(t)
	compareGolden(t, got.Envelopes, want.Envelopes)
	compareGolden(t, got.Ephemeral, want.Ephemeral)
	checkGolden(t, want)
}

// compareGolden compares all that is repeatable.
func compareGolden(t *testing.T, got, want []goldenRecord) {
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		got[i].Raw = want[i].Raw
		if got[i] != want[i] {
			t.Errorf("%s: got %+v, want %+v", want[i].Name, got[i], want[i])
		}
	}
}

// checkGolden reads the kept records: those written by any version 1 must be read for ever.
func checkGolden(t *testing.T, g golden) {
	for _, r := range g.Envelopes {
		e, err := Parse(unhex(t, r.Raw))
		must(t, err)
		must(t, e.Verify(testDK.Public()))
		payload, err := e.Open(testKey)
		must(t, err)
		if e.ID.String() != r.ID || hex.EncodeToString(payload) != r.Payload {
			t.Errorf("%s reads otherwise", r.Name)
		}
	}
	for _, r := range g.Ephemeral {
		e, err := ParseEphemeral(unhex(t, r.Raw))
		must(t, err)
		must(t, e.Verify(testDK.Public()))
		payload, err := e.Open(testKey)
		must(t, err)
		if e.ID.String() != r.ID || hex.EncodeToString(payload) != r.Payload {
			t.Errorf("%s reads otherwise", r.Name)
		}
	}
	begin := Beginning(testProject, testDevice, 0)
	envs, err := ParseRun(unhex(t, g.Run), begin, testDK.Public())
	must(t, err)
	if len(envs) != len(g.Envelopes) || envs[len(envs)-1].ID.String() != g.Envelopes[len(envs)-1].ID {
		t.Error("the run reads otherwise")
	}
	for _, b := range g.Refused {
		if err := readBad(unhex(t, b.Raw), b.Parse); !errors.Is(err, goldenErrors[b.Error]) || err == nil {
			t.Errorf("%s: got error %v, want %s", b.Name, err, b.Error)
		}
	}
}

// readBad takes a record through all checks.
func readBad(raw []byte, parse string) error {
	switch parse {
	case "envelope":
		e, err := Parse(raw)
		if err == nil {
			err = e.Verify(testDK.Public())
		}
		if err == nil {
			_, err = e.Open(testKey)
		}
		return err
	case "ephemeral":
		e, err := ParseEphemeral(raw)
		if err == nil {
			err = e.Verify(testDK.Public())
		}
		return err
	}
	_, err := ParseRun(raw, Beginning(testProject, testDevice, 0), testDK.Public())
	return err
}

func unhex(t *testing.T, s string) []byte {
	raw, err := hex.DecodeString(s)
	must(t, err)
	return raw
}
