package lib0

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
)

// Bytes of values as Yjs writes them.
func TestAppendAny(t *testing.T) {
	for _, tc := range []struct {
		v    Any
		want string
	}{
		{Undefined(), "7f"},
		{Null(), "7e"},
		{Bool(true), "78"},
		{Bool(false), "79"},
		{Int(0), "7d00"},
		{Int(63), "7d3f"},
		{Int(64), "7d8001"},
		{Int(-64), "7dc001"},
		{Int(math.MaxInt32), "7dbfffffff0f"},
		{Int(1 << 31), "7c4f000000"},
		{Int(-1 << 31), "7ccf000000"},
		{Int(1<<53 - 1), "7b433fffffffffffff"},
		{Float(3), "7d03"},
		{Float(math.Copysign(0, -1)), "7d40"},
		{Float(0.5), "7c3f000000"},
		{Float(0.1), "7b3fb999999999999a"},
		{Float(math.Inf(1)), "7c7f800000"},
		{Float(math.NaN()), "7b7ff8000000000000"},
		{BigInt(1), "7a0000000000000001"},
		{BigInt(-1), "7affffffffffffffff"},
		{String("é"), "7702c3a9"},
		{Bytes([]byte{1, 2}), "74020102"},
		{List(Int(1), Null()), "75027d017e"},
		{Object([]string{"b", "a"}, []Any{Int(1), Int(2)}), "760201627d0101617d02"},
	} {
		got := AppendAny(nil, tc.v)
		if hex.EncodeToString(got) != tc.want {
			t.Errorf("%v %+v: %x, want %s", tc.v.Kind(), tc.v, got, tc.want)
		}
		r := NewReader(got)
		back := r.Any()
		if r.Err() != nil || r.Left() != 0 {
			t.Errorf("%s does not read back: %v", tc.want, r.Err())
		}
		if again := AppendAny(nil, back); !bytes.Equal(again, got) {
			t.Errorf("%s reads back as %x", tc.want, again)
		}
		s := NewReader(got)
		if raw := s.SkipAny(); !bytes.Equal(raw, got) {
			t.Errorf("%s: skipped %x", tc.want, raw)
		}
	}
}

func TestVarints(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 16383, 16384, 1<<32 - 1, MaxSafe} {
		r := NewReader(AppendUvarint(nil, v))
		if got := r.Uvarint(); got != v || r.Err() != nil || r.Left() != 0 {
			t.Errorf("%d reads as %d, %v", v, got, r.Err())
		}
	}
	for _, v := range []int64{0, 1, -1, 63, 64, -63, -64, 8191, 8192, MaxSafe, -MaxSafe} {
		r := NewReader(AppendVarint(nil, v))
		if got, nz := r.Varint(); got != v || nz || r.Err() != nil || r.Left() != 0 {
			t.Errorf("%d reads as %d, %v, %v", v, got, nz, r.Err())
		}
	}
	r := NewReader(AppendNegZero(nil))
	if v, nz := r.Varint(); v != 0 || !nz {
		t.Errorf("minus zero reads as %d, %v", v, nz)
	}
}

func TestMalformed(t *testing.T) {
	deep := func(open string, n int) string { return strings.Repeat(open, n) }
	any := func(r *Reader) { r.Any() }
	skip := func(r *Reader) { r.SkipAny() }
	json := func(r *Reader) { r.JSON() }
	uvar := func(r *Reader) { r.Uvarint() }
	for _, tc := range []struct {
		name, in string
		read     func(*Reader)
		offset   int
	}{
		{"end of integer", "\x80", uvar, 1},
		{"integer above 2^53-1", "\xff\xff\xff\xff\xff\xff\xff\x10", uvar, 0},
		{"padded integer", deep("\x80", 12) + "\x00", uvar, 0},
		{"signed integer above 2^53-1", "\xff\xff\xff\xff\xff\xff\xff\x7f", func(r *Reader) { r.Varint() }, 0},
		{"padded signed integer", deep("\x80", 12) + "\x00", func(r *Reader) { r.Varint() }, 0},
		{"bad UTF-8", "\x01\xff", func(r *Reader) { r.Text() }, 0},
		{"encoded surrogate", "\x03\xed\xa0\x80", func(r *Reader) { r.Text() }, 0},
		{"long buffer", "\x05abc", func(r *Reader) { r.Buffer() }, 0},
		{"huge count", "\xff\xff\xff\xff\x0f", func(r *Reader) { r.Count(1) }, 0},
		{"short float", "abc", func(r *Reader) { r.Float32() }, 0},
		{"unknown tag", "\x10", any, 0},
		{"unknown tag, skipped", "\x10", skip, 0},
		{"deep list", deep("\x75\x01", 200), any, 2 * MaxDepth},
		{"deep list, skipped", deep("\x75\x01", 200), skip, 2 * MaxDepth},
		{"list longer than input", "\x75\x7f\x7e", any, 1},
		{"bad JSON", "\x02{]", json, 0},
		{"empty JSON", "\x00", json, 0},
		{"deep JSON", "\xc8\x01" + deep("[", 200), json, 0},
	} {
		r := NewReader([]byte(tc.in))
		tc.read(&r)
		if r.Err() == nil || r.Err().Offset != tc.offset || r.Err().Error() == "" || r.Left() != 0 {
			t.Errorf("%s: %v", tc.name, r.Err())
		}
	}
}

func TestUTF16(t *testing.T) {
	const s = "aé日😀b and some more ASCII"
	n, ok := UTF16Len([]byte(s))
	if !ok || n != 6+len(" and some more ASCII") {
		t.Fatalf("length %d, %v", n, ok)
	}
	want := map[int]struct {
		at   int
		pair bool
	}{0: {0, false}, 1: {1, false}, 2: {3, false}, 3: {6, false}, 4: {6, true}, 5: {10, false}, 6: {11, false}}
	for units, w := range want {
		if at, pair := UTF16Index([]byte(s), units); at != w.at || pair != w.pair {
			t.Errorf("unit %d is byte %d, %v; want %+v", units, at, pair, w)
		}
	}
}

func TestObjectKeys(t *testing.T) {
	o := Object([]string{"a", "b", "a"}, []Any{Int(1), Int(2), Int(3)})
	if !reflect.DeepEqual(o.Keys(), []string{"a", "b"}) || o.Items()[0].AsInt() != 3 {
		t.Errorf("%v %v", o.Keys(), o.Items())
	}
}

// FuzzAny checks that skipping and reading a value agree, and that a value read is written in a form that reads the
// same.
func FuzzAny(f *testing.F) {
	for _, s := range []string{"\x7f", "\x7d\x40", "\x75\x02\x7e\x78", "\x76\x01\x01a\x77\x01b", "\x74\x01\x00", "\x7a\x00\x00\x00\x00\x00\x00\x00\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, s := NewReader(b), NewReader(b)
		v, raw := r.Any(), s.SkipAny()
		if (r.Err() == nil) != (s.Err() == nil) {
			t.Fatalf("reading: %v, skipping: %v", r.Err(), s.Err())
		}
		if r.Err() != nil {
			return
		}
		if r.Pos() != len(raw) {
			t.Fatalf("reading took %d bytes, skipping %d", r.Pos(), len(raw))
		}
		once := AppendAny(nil, v)
		again := NewReader(once)
		if twice := AppendAny(nil, again.Any()); again.Err() != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x becomes %x, %v", once, twice, again.Err())
		}
	})
}

// FuzzPrimitives reads arbitrary input as every primitive: nothing may panic, and after an error nothing is left.
func FuzzPrimitives(f *testing.F) {
	f.Add([]byte("\x05hello\x80\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(*Reader){
			func(r *Reader) { r.Uvarint() }, func(r *Reader) { r.Varint() }, func(r *Reader) { r.Text() },
			func(r *Reader) { r.Buffer() }, func(r *Reader) { r.JSON() }, func(r *Reader) { r.Float32() },
			func(r *Reader) { r.Float64() }, func(r *Reader) { r.Count(2) },
		} {
			r := NewReader(b)
			for r.OK() && r.Left() > 0 {
				read(&r)
			}
			if !r.OK() && (r.Left() != 0 || r.Err().Offset > len(b)) {
				t.Fatalf("after %v there are %d bytes left", r.Err(), r.Left())
			}
		}
	})
}

// Texts as JSON.stringify writes them.
func TestAppendJSON(t *testing.T) {
	for _, tc := range []struct {
		v    Any
		want string
	}{
		{Undefined(), "null"},
		{Null(), "null"},
		{Bool(true), "true"},
		{Int(-5), "-5"},
		{Float(0.1), "0.1"},
		{Float(1e21), "1e+21"},
		{Float(123456789012345680000), "123456789012345680000"},
		{Float(1e-7), "1e-7"},
		{Float(1.5e-10), "1.5e-10"},
		{Float(0.000001), "0.000001"},
		{Float(math.Copysign(0, -1)), "0"},
		{Float(math.NaN()), "null"},
		{String("a\"\\\b\f\n\r\t\x01é\u2028<"), `"a\"\\\b\f\n\r\t\u0001é` + "\u2028" + `<"`},
		{List(Int(1), String("")), `[1,""]`},
		{Object([]string{"b", "a"}, []Any{Null(), List()}), `{"b":null,"a":[]}`},
	} {
		if got := string(AppendJSON(nil, tc.v)); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}
