// Package derive makes identifiers and keys with domain separation: two uses never share a hash input or a key.
//
// [ID] and [ListID] are SHA-256 over "collab/v1/" || type || 0x00 || input. [Key] and [Bytes] are HKDF-SHA256
// (RFC 5869) with info "collab/v1/" || label || 0x00 || the CBOR array of the context.
package derive

import (
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/studio-whip/collab/internal/wire"
)

// KeySize is the size in bytes of what [Key] returns.
const KeySize = 32

const prefix = "collab/v1/"

// Domain returns "collab/v1/" || label || 0x00, the prefix that separates every hash, key and encryption context.
func Domain(label string) []byte {
	return append(append(make([]byte, 0, len(prefix)+len(label)+1), prefix...), label+"\x00"...)
}

// ID hashes x under a type name.
func ID(typ string, x []byte) wire.ID {
	h := sha256.New()
	h.Write(Domain(typ))
	h.Write(x)
	return wire.ID(h.Sum(nil))
}

// ListID hashes the CBOR array of args under a type name.
func ListID(typ string, args ...any) wire.ID { return ID(typ, wire.Marshal(args)) }

// Key derives a 32-byte key from ikm, which must be secret and have at least 128 bits of entropy. salt may be nil.
func Key(ikm, salt []byte, label string, context ...any) [KeySize]byte {
	return [KeySize]byte(Bytes(KeySize, ikm, salt, label, context...))
}

// Bytes is [Key] for n bytes, at most 8160.
func Bytes(n int, ikm, salt []byte, label string, context ...any) []byte {
	info := append(Domain(label), wire.Marshal(context)...)
	out, err := hkdf.Key(sha256.New, ikm, salt, string(info), n)
	if err != nil {
		panic("derive: " + err.Error()) // n is a constant of the caller
	}
	return out
}
