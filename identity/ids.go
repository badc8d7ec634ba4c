package identity

import (
	"encoding/binary"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/internal/words"
)

// MemberID names a person for ever: it is the id of his first identity certificate and outlives every key.
type MemberID wire.ID

// String returns the whole identifier in lower-case hex.
func (id MemberID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id MemberID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names nobody.
func (id MemberID) IsZero() bool { return wire.ID(id).IsZero() }

// DeviceID names one device of one member: the id of its device certificate.
type DeviceID wire.ID

// String returns the whole identifier in lower-case hex.
func (id DeviceID) String() string { return wire.ID(id).String() }

// Short returns the first four bytes in hex, for people and logs.
func (id DeviceID) Short() string { return wire.ID(id).Short() }

// IsZero reports whether id is all zeros, which names no device.
func (id DeviceID) IsZero() bool { return wire.ID(id).IsZero() }

// KemID names a KEM public key: H("kem", key).
func KemID(pub *kem.PublicKey) wire.ID { return derive.ID("kem", pub.Bytes()) }

// PeerIDBytes returns the 38 bytes of the transport's peer ID for an Ed25519 key: an identity multihash of the
// key's protobuf encoding, 00 24 08 01 12 20 and the key.
func PeerIDBytes(pub [32]byte) []byte {
	return append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, pub[:]...)
}

// ClientID returns the one Yjs client ID that a chain writes under: the first 32 bits, big-endian, of
// H("clientid", project, device, chain number). Zero is no valid client ID; the device then opens the next chain.
func ClientID(project [32]byte, device DeviceID, chainNo uint32) uint32 {
	id := derive.ListID("clientid", project, device, chainNo)
	return binary.BigEndian.Uint32(id[:4])
}

// ChainRoot returns what the first envelope of a chain names as its predecessor: H("chain", project, device,
// chain number).
func ChainRoot(project [32]byte, device DeviceID, chainNo uint32) wire.ID {
	return derive.ListID("chain", project, device, chainNo)
}

// DocumentID names a document of a project: the first 16 bytes of H("doc", project, name in normal form C).
func DocumentID(project [32]byte, name string) [16]byte {
	id := derive.ListID("doc", project, wire.NFC(name))
	return [16]byte(id[:16])
}

// Fingerprint returns six words, 66 bits, for comparing a member's identity by voice.
func Fingerprint(id MemberID) []string { return words.Fingerprint(id, fingerprintWords) }
