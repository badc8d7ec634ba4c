package lib0

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// Bytes of columns as Yjs writes them.
func TestColumns(t *testing.T) {
	var runs RunsWriter
	for _, v := range []uint64{0, 0, 0, 5, 7, 7} {
		runs.Write(v)
	}
	var diffs DiffsWriter
	for _, v := range []uint64{1, 2, 3, 2} {
		diffs.Write(v)
	}
	var bytes ByteRunsWriter
	for _, v := range []byte{1, 1, 1, 7} {
		bytes.Write(v)
	}
	var texts StringsWriter
	for _, s := range []string{"a", "b😀", ""} {
		texts.Write([]byte(s), len(utf16.Encode([]rune(s))))
	}
	var none StringsWriter
	for _, tc := range []struct {
		name, want string
		got        []byte
	}{
		{"runs", "4001054700", runs.Bytes()},
		{"diffs", "030142", diffs.Bytes()},
		{"bytes", "010207", bytes.Bytes()},
		{"strings", "066162f09f9880010300", texts.Bytes()},
		{"no strings", "00", none.Bytes()},
	} {
		if hex.EncodeToString(tc.got) != tc.want {
			t.Errorf("%s: %x, want %s", tc.name, tc.got, tc.want)
		}
	}
}

// TestColumnsReadBack writes random values and reads them.
func TestColumnsReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var vs []uint64
		for n := rng.IntN(30); len(vs) < n; {
			v := rng.Uint64N([]uint64{3, 200, 1 << 52}[rng.IntN(3)])
			step := uint64(rng.IntN(2))
			for k := range 1 + rng.Uint64N(4) {
				vs = append(vs, v+k*step)
			}
		}
		var runs RunsWriter
		var diffs DiffsWriter
		var bytes ByteRunsWriter
		for _, v := range vs {
			runs.Write(v)
			diffs.Write(v)
			bytes.Write(byte(v))
		}
		r, d, b := Runs{Reader: NewReader(runs.Bytes())}, Diffs{Reader: NewReader(diffs.Bytes())}, ByteRuns{Reader: NewReader(bytes.Bytes())}
		for i, v := range vs {
			if x, y, z := r.Next(), d.Next(), b.Next(); x != v || y != v || z != byte(v) {
				t.Fatalf("value %d of %v reads %d, %d, %d", i, vs, x, y, z)
			}
		}
		if r.Left()+d.Left()+b.Left() != 0 || r.Err() != nil || d.Err() != nil || b.Err() != nil {
			t.Fatalf("%v: %d %d %d bytes left, %v %v %v", vs, r.Left(), d.Left(), b.Left(), r.Err(), d.Err(), b.Err())
		}
		if r.Next(); r.Err() == nil {
			t.Fatal("runs go on after their end")
		}
		if d.Next(); d.Err() == nil {
			t.Fatal("differences go on after their end")
		}
	}
}

// TestStringsCutPairs cuts a text at every unit: halves of a pair become U+FFFD, everything else stays.
func TestStringsCutPairs(t *testing.T) {
	const text = "aé😀b日𝒳"
	units := utf16.Encode([]rune(text))
	for cut := range len(units) + 1 {
		b := AppendString(nil, text)
		for _, n := range []int{cut, 0, len(units) - cut} {
			b = AppendVarint(b, int64(n))
		}
		r := NewReader(b)
		c := r.Strings()
		for _, want := range []string{string(utf16.Decode(units[:cut])), "", string(utf16.Decode(units[cut:]))} {
			p := c.Next()
			got := string(b[p.From:p.To])
			if p.Head {
				got = "\uFFFD" + got
			}
			if p.Tail {
				got += "\uFFFD"
			}
			if got != want || p.Units != len(utf16.Encode([]rune(want))) {
				t.Errorf("cut at %d: %q of %d units, want %q", cut, got, p.Units, want)
			}
		}
		if c.Next(); c.Err() == nil {
			t.Error("the column goes on after its end")
		}
	}
}

func TestMalformedColumns(t *testing.T) {
	const most = "\xbf\xff\xff\xff\xff\xff\xff\x1f" // 2^53-1
	for _, tc := range []struct {
		name string
		err  func() *Error
	}{
		{"empty runs", func() *Error { c := Runs{}; c.Next(); return c.Err() }},
		{"empty differences", func() *Error { c := Diffs{}; c.Next(); return c.Err() }},
		{"empty bytes", func() *Error { c := ByteRuns{}; c.Next(); return c.Err() }},
		{"run without a count", func() *Error { c := Runs{Reader: NewReader([]byte{0x41})}; c.Next(); return c.Err() }},
		{"below zero", func() *Error { c := Diffs{Reader: NewReader([]byte{0x42})}; c.Next(); return c.Err() }},
		{"above 2^53-1", func() *Error {
			c := Diffs{Reader: NewReader([]byte(most + "\x7f"))}
			for range 5 {
				c.Next()
			}
			return c.Err()
		}},
		{"string longer than the text", func() *Error {
			r := NewReader([]byte("\x01a\x02"))
			c := r.Strings()
			c.Next()
			return c.Err()
		}},
		{"sub-stream longer than the input", func() *Error {
			r := NewReader([]byte("\x05abc"))
			s := r.Sub()
			return s.Err()
		}},
	} {
		if err := tc.err(); err == nil || err.Reason == "" {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// FuzzColumns reads arbitrary input as every column; what reads without an error is written in a form that reads the
// same.
func FuzzColumns(f *testing.F) {
	for _, s := range []string{"\x40\x01\x05\x47\x00", "\x03\x01\x42", "\x01\x02\x07", "\x06ab\xf0\x9f\x98\x80\x01\x03\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1000
		runs, diffs, bytes := Runs{Reader: NewReader(b)}, Diffs{Reader: NewReader(b)}, ByteRuns{Reader: NewReader(b)}
		var rv, dv []uint64
		for len(rv) < most && (runs.Left() > 0 || runs.left > 0) && runs.OK() {
			rv = append(rv, runs.Next())
		}
		for len(dv) < most && (diffs.Left() > 0 || diffs.left > 0) && diffs.OK() {
			dv = append(dv, diffs.Next())
		}
		for range most {
			bytes.Next()
		}
		if runs.OK() {
			var w RunsWriter
			for _, v := range rv {
				w.Write(v)
			}
			again := Runs{Reader: NewReader(w.Bytes())}
			if !slices.EqualFunc(rv, rv, func(v, _ uint64) bool { return again.Next() == v }) {
				t.Fatal("runs read back otherwise")
			}
		}
		if diffs.OK() && len(dv) > 0 && slices.Max(dv) < 1<<52 {
			var w DiffsWriter
			for _, v := range dv {
				w.Write(v)
			}
			again := Diffs{Reader: NewReader(w.Bytes())}
			if !slices.EqualFunc(dv, dv, func(v, _ uint64) bool { return again.Next() == v }) {
				t.Fatal("differences read back otherwise")
			}
		}
		r := NewReader(b)
		c := r.Strings()
		var sb strings.Builder
		for i := 0; i < most && c.Err() == nil; i++ {
			p := c.Next()
			sb.Write(b[p.From:p.To])
		}
	})
}
