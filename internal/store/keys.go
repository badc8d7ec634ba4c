package store

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
)

// Sizes in bytes of what stands in the file.
const (
	saltSize   = 16
	checkSize  = 16
	sumSize    = 8
	headerSize = 1 + saltSize + checkSize + sumSize
	nameSize   = 16 // keyed hash of a name or key
	indexSize  = 8
)

const formatVersion = 1

// keys are all that hides the content of one file: one key for the keyed hashes of names, one for sealing.
type keys struct {
	salt  [saltSize]byte
	check [checkSize]byte
	name  [derive.KeySize]byte
	seal  [derive.KeySize]byte
}

// newKeys draws a salt and derives the keys of a new file.
func newKeys(key [32]byte) (*keys, error) {
	var salt [saltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("store: salt: %w", err)
	}
	return deriveKeys(key, salt), nil
}

func deriveKeys(key [32]byte, salt [saltSize]byte) *keys {
	return &keys{
		salt:  salt,
		check: [checkSize]byte(derive.Bytes(checkSize, key[:], salt[:], "store-check")),
		name:  derive.Key(key[:], salt[:], "store-name"),
		seal:  derive.Key(key[:], salt[:], "store-seal"),
	}
}

// header is the one record in plain: version, salt, key check, checksum. The checksum tells a damaged header from
// one of another key.
func (k *keys) header() []byte {
	h := append([]byte{formatVersion}, k.salt[:]...)
	h = append(h, k.check[:]...)
	sum := sha256.Sum256(h)
	return append(h, sum[:sumSize]...)
}

// openHeader derives the keys of an existing file.
func openHeader(key [32]byte, header []byte) (*keys, error) {
	if len(header) != headerSize {
		return nil, damaged("header of %d bytes", len(header))
	}
	body := header[:headerSize-sumSize]
	if sum := sha256.Sum256(body); string(sum[:sumSize]) != string(header[headerSize-sumSize:]) {
		return nil, damaged("header fails its checksum")
	}
	if body[0] != formatVersion {
		return nil, damaged("format version %d is unknown; update the program", body[0])
	}
	k := deriveKeys(key, [saltSize]byte(body[1:1+saltSize]))
	if subtle.ConstantTimeCompare(k.check[:], body[1+saltSize:]) != 1 {
		return nil, ErrWrongKey
	}
	return k, nil
}

// The domains of the keyed hash.
const (
	hashName  = 1 // of a log or map
	hashKey   = 2 // of a map entry
	hashStart = 3 // of a log: where its numbers start
)

func (k *keys) hash(domain byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, k.name[:])
	m.Write([]byte{domain})
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)[:nameSize]
}

// start is the number that stands for index 0 of a log: keyed, below 2^62, so that keys ascend with the index,
// records of one log lie together, and no key starts with 0xff.
func (k *keys) start(bucket []byte) uint64 {
	return binary.BigEndian.Uint64(k.hash(hashStart, bucket)) >> 2
}

// sealValue binds a value to its place.
func (k *keys) sealValue(bucket, key, value []byte) ([]byte, error) {
	return seal.Random(rand.Reader, k.seal, place(bucket, key), value)
}

func (k *keys) openValue(bucket, key, sealed []byte) ([]byte, error) {
	value, err := seal.OpenRandom(k.seal, place(bucket, key), sealed)
	if err != nil {
		return nil, damaged("a record does not open")
	}
	return value, nil
}

// place is unambiguous, as bucket names have a fixed size.
func place(bucket, key []byte) []byte { return append(append(make([]byte, 0, 40), bucket...), key...) }
