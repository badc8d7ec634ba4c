// Package wire is the one encoding of every record that leaves a device or is stored on it: deterministic CBOR
// (RFC 8949, section 4.2.1) with integer map keys and without floats, tags or indefinite lengths.
//
// Encode with [Marshal], decode with [Unmarshal]. Unmarshal is strict: duplicate keys, unknown fields, trailing
// bytes and anything beyond the caps of limits.go are errors, and what it decoded is encoded again and compared
// with the input, so that one value has exactly one encoding. Callers store, hash and verify the bytes they
// received, never a re-serialisation.
//
// A record is a struct whose fields carry `cbor:"N,keyasint"` tags numbered from 1 in the order of its
// specification; an absent optional field is tagged omitempty and keeps its number for ever. Records that stand
// alone embed [Head] as keys 1 and 2.
package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Errors of decoding. Each is wrapped with what was being decoded.
var (
	// ErrTooLarge means that the input is longer than the cap of its kind of record; it was not decoded.
	ErrTooLarge = errors.New("wire: record too large")
	// ErrMalformed means that the input is not the deterministic encoding of a record of this kind.
	ErrMalformed = errors.New("wire: record malformed")
	// ErrVersion means that the record was written by a newer version or under another cipher suite.
	ErrVersion = errors.New("wire: unknown version or suite")
)

var (
	encMode  = newEncMode()
	decMode  = newDecMode(cbor.ExtraDecErrorUnknownField)
	peekMode = newDecMode(cbor.ExtraDecErrorNone)
)

func newEncMode() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	o.TagsMd = cbor.TagsForbidden
	m, err := o.EncMode()
	if err != nil {
		panic("wire: encoder options: " + err.Error())
	}
	return m
}

func newDecMode(extra cbor.ExtraDecErrorCond) cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   MaxNesting,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
		ExtraReturnErrors: extra,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("wire: decoder options: " + err.Error())
	}
	return m
}

// Marshal returns the deterministic encoding of v. It panics if v's type cannot be encoded, which is a mistake of
// the program and never of its input.
func Marshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %T cannot be encoded: %v", v, err))
	}
	return b
}

// Unmarshal decodes data, at most limit bytes, into v, a pointer to the record's struct, which must be zero. The error
// wraps [ErrTooLarge] or [ErrMalformed]; v's content is then undefined. If v embeds [Head] and the record says that it
// is of another version or suite, whose fields may be others, the error wraps [ErrVersion] too.
func Unmarshal(data []byte, v any, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), limit)
	}
	if err := decMode.Unmarshal(data, v); err != nil {
		if foreign := foreignHead(data, v); foreign != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, foreign)
		}
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	defer clear(again) // some records hold secrets
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not in deterministic form", ErrMalformed)
	}
	return nil
}

// foreignHead returns what [Head.Check] says of a record that could not be decoded, if it has a head at all.
func foreignHead(data []byte, v any) error {
	if _, ok := v.(interface{ head() }); !ok {
		return nil
	}
	var h Head
	if peekMode.Unmarshal(data, &h) != nil {
		return nil
	}
	return h.Check()
}

// Version and Suite1 are the only values of [Head] that this build writes and reads. Suite 1 is
// ML-DSA-65+Ed25519, HPKE with X-Wing, HKDF-SHA256 and ChaCha20-Poly1305, XChaCha20-Poly1305, and SHA-256.
const (
	Version uint8  = 1
	Suite1  uint16 = 0x0001
)

// Head begins every record that stands alone: format version and cipher suite, keys 1 and 2.
type Head struct {
	V     uint8  `cbor:"1,keyasint"`
	Suite uint16 `cbor:"2,keyasint"`
}

// NewHead returns the head that this build writes.
func NewHead() Head { return Head{V: Version, Suite: Suite1} }

// head marks every struct that embeds Head.
func (Head) head() {}

// Check fails with [ErrVersion] if this build does not know the version or suite.
func (h Head) Check() error {
	if h.V != Version || h.Suite != Suite1 {
		return fmt.Errorf("%w: version %d, suite %#04x; update the program", ErrVersion, h.V, h.Suite)
	}
	return nil
}
