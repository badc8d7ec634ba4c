package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

// record has a field of every kind that records use.
type record struct {
	Head
	Num   uint64            `cbor:"3,keyasint"`
	ID    ID                `cbor:"4,keyasint"`
	Data  []byte            `cbor:"5,keyasint"`
	Text  string            `cbor:"6,keyasint"`
	Opt   *uint64           `cbor:"7,keyasint,omitempty"`
	Prev  *ID               `cbor:"8,keyasint,omitempty"`
	IDs   []ID              `cbor:"9,keyasint,omitempty"`
	Pairs []pair            `cbor:"10,keyasint,omitempty"`
	Names map[string]uint16 `cbor:"11,keyasint,omitempty"`
	Flag  bool              `cbor:"12,keyasint,omitempty"`
}

type pair struct {
	_ struct{} `cbor:",toarray"`
	A uint8
	B []byte
}

// small is a record without a head.
type small struct {
	N  uint64   `cbor:"1,keyasint"`
	ID *[4]byte `cbor:"2,keyasint,omitempty"`
	B  []byte   `cbor:"3,keyasint,omitempty"`
	S  string   `cbor:"4,keyasint,omitempty"`
	O  *uint64  `cbor:"5,keyasint,omitempty"`
	L  []uint64 `cbor:"6,keyasint,omitempty"`
}

func ptr[T any](v T) *T { return &v }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func randomRecord(r *rand.Rand) record {
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	number := func() uint64 { return r.Uint64() >> r.IntN(64) }
	v := record{Head: NewHead(), Num: number(), ID: ID(bytesOf(32)), Data: bytesOf(r.IntN(300)), Flag: r.IntN(2) == 0}
	v.Text = strings.Repeat("aä€😀", r.IntN(20))
	if r.IntN(2) == 0 {
		v.Opt = ptr(number() >> r.IntN(64))
	}
	if r.IntN(2) == 0 {
		v.Prev = ptr(ID(bytesOf(32)))
	}
	for range r.IntN(3) {
		v.IDs = append(v.IDs, ID(bytesOf(32)))
	}
	for range r.IntN(3) {
		v.Pairs = append(v.Pairs, pair{A: byte(r.Uint32()), B: bytesOf(r.IntN(4))})
	}
	for range r.IntN(5) {
		if v.Names == nil {
			v.Names = make(map[string]uint16)
		}
		v.Names[string('a'+rune(r.IntN(26)))+strings.Repeat("x", r.IntN(30))] = uint16(r.Uint32())
	}
	return v
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		v := randomRecord(r)
		raw := Marshal(v)
		if err := canonical(raw); err != nil {
			t.Fatalf("%x is not deterministic: %v", raw, err)
		}
		var got record
		if err := Unmarshal(raw, &got, len(raw)); err != nil {
			t.Fatalf("%+v: %v", v, err)
		}
		if !reflect.DeepEqual(got, v) {
			t.Fatalf("got %+v; want %+v", got, v)
		}
		if again := Marshal(got); !bytes.Equal(again, raw) {
			t.Fatalf("encoded again: %x; want %x", again, raw)
		}
	}
}

// Whatever is altered, what still decodes is in deterministic form and is another value.
func TestAlteredRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 200 {
		v := randomRecord(r)
		raw := Marshal(v)
		for range 20 {
			bad := bytes.Clone(raw)
			switch i := r.IntN(len(bad)); r.IntN(3) {
			case 0:
				bad[i] ^= 1 << r.IntN(8)
			case 1:
				bad = append(bad[:i], bad[i+1:]...)
			case 2:
				bad = append(bad[:i], append([]byte{byte(r.Uint32())}, bad[i:]...)...)
			}
			if bytes.Equal(bad, raw) {
				continue
			}
			var got record
			err := Unmarshal(bad, &got, math.MaxInt)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("untyped error: %v", err)
				}
				continue
			}
			accepted++
			if err := canonical(bad); err != nil {
				t.Fatalf("%x was accepted: %v", bad, err)
			}
			if reflect.DeepEqual(got, v) {
				t.Fatalf("%x and %x are one value", bad, raw)
			}
		}
	}
	if accepted == 0 {
		t.Error("no altered record was accepted; the test has lost its use")
	}
}

// The vectors of testdata/wire/decode.json: "sample" is [small], "signed" is [Signed].
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/wire/decode.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Record, Hex, Result string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	results := map[string]error{"ok": nil, "malformed": ErrMalformed}
	for _, c := range vectors {
		var v any
		switch c.Record {
		case "sample":
			v = new(small)
		case "signed":
			v = new(Signed)
		default:
			t.Fatalf("%s: unknown kind of record %q", c.Name, c.Record)
		}
		want, known := results[c.Result]
		if !known {
			t.Fatalf("%s: unknown result %q", c.Name, c.Result)
		}
		data := unhex(t, c.Hex)
		if err := Unmarshal(data, v, 1<<20); !errors.Is(err, want) {
			t.Errorf("%s %s: %v, %+v; want %s", c.Record, c.Name, err, v, c.Result)
		}
		// The slow model may accept what is no record of this kind, never the other way round.
		if err := canonical(data); want == nil && err != nil {
			t.Errorf("%s %s: %v", c.Record, c.Name, err)
		}
	}
	if len(vectors) < 60 {
		t.Errorf("only %d vectors", len(vectors))
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      small
	}{
		{"smallest", "a10100", small{}},
		{"largest number", "a1011bffffffffffffffff", small{N: math.MaxUint64}},
		{"fixed bytes", "a20101 024401020304", small{N: 1, ID: &[4]byte{1, 2, 3, 4}}},
		{"fixed bytes of zeros", "a20101 024400000000", small{N: 1, ID: &[4]byte{}}},
		{"optional number", "a20101 0507", small{N: 1, O: ptr(uint64(7))}},
		{"optional number that is zero", "a20101 0500", small{N: 1, O: ptr(uint64(0))}},
		{"bytes", "a20101 034178", small{N: 1, B: []byte("x")}},
		{"text", "a20101 0462c3a4", small{N: 1, S: "ä"}},
		{"array", "a20101 0682001818", small{N: 1, L: []uint64{0, 24}}},
	} {
		raw := unhex(t, c.hex)
		var v small
		if err := Unmarshal(raw, &v, len(raw)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !reflect.DeepEqual(v, c.want) {
			t.Errorf("%s: %+v; want %+v", c.name, v, c.want)
		}
		if got := Marshal(c.want); !bytes.Equal(got, raw) {
			t.Errorf("%s: encoded %x; want %x", c.name, got, raw)
		}
	}
}

func TestIDField(t *testing.T) {
	type record struct {
		ID ID `cbor:"1,keyasint"`
	}
	for n := range 70 {
		raw := Marshal(map[int][]byte{1: bytes.Repeat([]byte{7}, n)})
		var v record
		err := Unmarshal(raw, &v, len(raw))
		if n == 32 && err != nil {
			t.Errorf("32 bytes: %v", err)
		}
		if n != 32 && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v; want ErrMalformed", n, err)
		}
	}
}

func TestSigned(t *testing.T) {
	want := Signed{Core: []byte{1, 2}, Sigs: [][]byte{{3}, {}}}
	raw := Marshal(want)
	if hex.EncodeToString(raw) != "83420102410340" {
		t.Fatalf("encoded %x", raw)
	}
	var got Signed
	if err := Unmarshal(raw, &got, len(raw)); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
}

func TestCaps(t *testing.T) {
	raw := Marshal(small{N: 1, B: make([]byte, 100)})
	var v small
	if err := Unmarshal(raw, &v, len(raw)); err != nil {
		t.Errorf("as long as the limit: %v", err)
	}
	if err := Unmarshal(raw, &v, len(raw)-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("longer than the limit: %v; want ErrTooLarge", err)
	}

	if err := Unmarshal(Marshal(small{L: make([]uint64, MaxElements)}), new(small), 1<<20); err != nil {
		t.Errorf("longest array: %v", err)
	}
	if err := Unmarshal(Marshal(small{L: make([]uint64, MaxElements+1)}), new(small), 1<<20); !errors.Is(err, ErrMalformed) {
		t.Errorf("array too long: %v; want ErrMalformed", err)
	}

	pairs := make(map[uint64]uint64)
	for i := range uint64(MaxElements) {
		pairs[i] = i
	}
	if err := Unmarshal(Marshal(pairs), new(map[uint64]uint64), 1<<20); err != nil {
		t.Errorf("largest map: %v", err)
	}
	pairs[MaxElements] = 0
	if err := Unmarshal(Marshal(pairs), new(map[uint64]uint64), 1<<20); !errors.Is(err, ErrMalformed) {
		t.Errorf("map too large: %v; want ErrMalformed", err)
	}
}

type nest struct {
	_     struct{} `cbor:",toarray"`
	Inner []nest
}

func TestNesting(t *testing.T) {
	encode := func(levels int) []byte {
		return append(bytes.Repeat([]byte{0x81}, levels-1), 0x80)
	}
	if err := Unmarshal(encode(MaxNesting), new(nest), 100); err != nil {
		t.Errorf("%d levels: %v", MaxNesting, err)
	}
	if err := Unmarshal(encode(MaxNesting+1), new(nest), 100); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d levels: %v; want ErrMalformed", MaxNesting+1, err)
	}
	if err := Unmarshal(bytes.Repeat([]byte{0x81}, 1<<20), new(nest), 1<<20); !errors.Is(err, ErrMalformed) {
		t.Errorf("a million levels: %v; want ErrMalformed", err)
	}
}

func TestHead(t *testing.T) {
	if err := NewHead().Check(); err != nil {
		t.Error(err)
	}
	for _, h := range []Head{{}, {V: 1}, {V: 2, Suite: 1}, {V: 1, Suite: 2}, {V: 0, Suite: 1}} {
		if err := h.Check(); !errors.Is(err, ErrVersion) {
			t.Errorf("%+v: %v; want ErrVersion", h, err)
		}
	}
}

// A record of a later version, whose fields are not known here, must not look like damage.
func TestLaterVersion(t *testing.T) {
	later := func(head Head, extra map[int]any) []byte {
		extra[1], extra[2] = head.V, head.Suite
		return Marshal(extra)
	}
	for _, c := range []struct {
		name  string
		raw   []byte
		later bool
	}{
		{"version 2, a new field", later(Head{V: 2, Suite: 1}, map[int]any{99: 1}), true},
		{"suite 2, a field of another type", later(Head{V: 1, Suite: 2}, map[int]any{3: "text"}), true},
		{"version 1, a new field", later(NewHead(), map[int]any{99: 1}), false},
		{"version 2, cut", later(Head{V: 2, Suite: 1}, map[int]any{99: 1})[:5], false},
	} {
		err := Unmarshal(c.raw, new(record), 1000)
		if !errors.Is(err, ErrMalformed) || errors.Is(err, ErrVersion) != c.later {
			t.Errorf("%s: %v; want ErrVersion: %v", c.name, err, c.later)
		}
	}
	// A record without a head has no version to differ in.
	if err := Unmarshal(unhex(t, "a3010202011863 01"), new(small), 100); errors.Is(err, ErrVersion) {
		t.Errorf("record without head: %v", err)
	}
}

func TestMarshalPanicsOnWhatCannotBeEncoded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Marshal(make(chan int))
}
