package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"
)

// canonical is the slow model: it reads CBOR by the letter of RFC 8949 and fails on all that this package forbids,
// without knowing what record it reads.
func canonical(raw []byte) error {
	rest, err := item(raw, 0)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes follow", len(rest))
	}
	return nil
}

var errShort = errors.New("cut short")

// argument reads an initial byte and its argument.
func argument(raw []byte) (major byte, n uint64, rest []byte, err error) {
	if len(raw) == 0 {
		return 0, 0, nil, errShort
	}
	major, info, rest := raw[0]>>5, raw[0]&31, raw[1:]
	if info < 24 {
		return major, uint64(info), rest, nil
	}
	if info > 27 {
		return 0, 0, nil, errors.New("indefinite or reserved length")
	}
	size := 1 << (info - 24)
	if len(rest) < size {
		return 0, 0, nil, errShort
	}
	var full [8]byte
	copy(full[8-size:], rest)
	n = binary.BigEndian.Uint64(full[:])
	least := []uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]
	if n < least {
		return 0, 0, nil, fmt.Errorf("%d in %d bytes is longer than needed", n, size)
	}
	return major, n, rest[size:], nil
}

func item(raw []byte, depth int) (rest []byte, err error) {
	major, n, rest, err := argument(raw)
	if err != nil {
		return nil, err
	}
	switch major {
	case 0, 1:
		return rest, nil
	case 2, 3:
		if n > uint64(len(rest)) {
			return nil, errShort
		}
		if major == 3 && !utf8.Valid(rest[:n]) {
			return nil, errors.New("text is not UTF-8")
		}
		return rest[n:], nil
	case 4:
		return list(rest, n, depth)
	case 5:
		return mapping(rest, n, depth)
	case 6:
		return nil, errors.New("tag")
	}
	if raw[0] == 0xf4 || raw[0] == 0xf5 {
		return rest, nil
	}
	return nil, errors.New("float, null or other simple value")
}

func list(rest []byte, n uint64, depth int) ([]byte, error) {
	if n > MaxElements || depth >= MaxNesting {
		return nil, errors.New("array too long or too deep")
	}
	var err error
	for range n {
		if rest, err = item(rest, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func mapping(rest []byte, n uint64, depth int) ([]byte, error) {
	if n > MaxElements || depth >= MaxNesting {
		return nil, errors.New("map too large or too deep")
	}
	var last []byte
	for i := range n {
		after, err := item(rest, depth+1)
		if err != nil {
			return nil, err
		}
		key := rest[:len(rest)-len(after)]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return nil, errors.New("keys out of order or twice")
		}
		last = key
		if rest, err = item(after, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// What is decoded is in deterministic form, is within the limit, and encodes to the bytes that were read.
func FuzzUnmarshal(f *testing.F) {
	f.Add(Marshal(record{Head: NewHead(), Data: []byte("x"), Text: "y", Opt: ptr(uint64(0)), Prev: &ID{1}, IDs: []ID{{}, {1}},
		Pairs: []pair{{A: 1}}, Names: map[string]uint16{"a": 1, "b": 2}, Flag: true}))
	f.Add(Marshal(record{Head: NewHead()}))
	f.Add([]byte{0xbf, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v record
		err := Unmarshal(raw, &v, 1000)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if len(raw) > 1000 {
			t.Fatal("longer than the limit")
		}
		if err := canonical(raw); err != nil {
			t.Fatalf("not deterministic: %v", err)
		}
		if !bytes.Equal(Marshal(v), raw) {
			t.Fatal("encodes to other bytes")
		}
	})
}
