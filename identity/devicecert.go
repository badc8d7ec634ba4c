package identity

import (
	"crypto/ed25519"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// deviceCore is the signed part of a device certificate.
type deviceCore struct {
	wire.Head
	Member      MemberID `cbor:"3,keyasint"`
	DK          []byte   `cbor:"4,keyasint"`
	KEM         []byte   `cbor:"5,keyasint"`
	Peer        [32]byte `cbor:"6,keyasint"`
	MaxRole     uint8    `cbor:"7,keyasint"`
	NotAfter    *uint64  `cbor:"8,keyasint,omitempty"`
	Attestation []byte   `cbor:"9,keyasint,omitempty"`
}

// DeviceCert binds a device's signing, KEM and transport keys to its member. It is immutable and safe for
// concurrent use.
type DeviceCert struct {
	ID          DeviceID        // H("device-cert", core)
	Member      MemberID        // whose device it is; proved by VerifyIdentity only
	DK          *sign.PublicKey // device key
	KEM         *kem.PublicKey  // first KEM key
	Peer        [32]byte        // Ed25519 transport key
	MaxRole     uint8           // the device never acts above this role, whatever its member's
	NotAfter    *uint64         // Unix seconds, compared with checkpoint time only; nil: no end
	Attestation []byte          // opaque, without meaning in version 1
	Raw         []byte          // the signed certificate as it travels; must not be changed

	core  []byte
	ikSig []byte
}

// peerBinding is what the transport key signs: nobody can claim another's peer ID, and no peer ID stands for two
// devices.
func peerBinding(id DeviceID) []byte { return append(derive.Domain("peer-binding"), id[:]...) }

// NewDeviceCert makes the certificate of a device of member, whose current identity key is ik. maxRole is a role
// number greater than zero.
func NewDeviceCert(ik *sign.PrivateKey, member MemberID, keys *DeviceKeys, maxRole uint8) (*DeviceCert, error) {
	core := wire.Marshal(deviceCore{
		Head: wire.NewHead(), Member: member, DK: keys.DK.Public().Bytes(), KEM: keys.KEM.Public().Bytes(),
		Peer: keys.PeerPublic(), MaxRole: maxRole,
	})
	id := DeviceID(derive.ID(string(sign.DeviceCert), core))
	return ParseDeviceCert(wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{
		ik.Sign(sign.DeviceCert, core),
		keys.DK.Sign(sign.DeviceCert, core),
		ed25519.Sign(keys.Peer.Key(), peerBinding(id)),
	}}))
}

// ParseDeviceCert reads a signed device certificate, at most [MaxDeviceCert] bytes, and verifies the signatures of
// the device key and of the transport key that it names. That of the member's identity key is checked by
// [DeviceCert.VerifyIdentity]. The error wraps [wire.ErrTooLarge], [wire.ErrMalformed], [wire.ErrVersion],
// [sign.ErrPublicKey], [kem.ErrPublicKey] or [sign.ErrSignature].
func ParseDeviceCert(raw []byte) (*DeviceCert, error) {
	c, err := parseDeviceCert(raw)
	if err != nil {
		return nil, fmt.Errorf("identity: device certificate: %w", err)
	}
	return c, nil
}

func parseDeviceCert(raw []byte) (*DeviceCert, error) {
	if len(raw) > MaxDeviceCert { // before it is copied
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(raw), MaxDeviceCert)
	}
	raw = append([]byte(nil), raw...)
	var signed wire.Signed
	if err := wire.Unmarshal(raw, &signed, MaxDeviceCert); err != nil {
		return nil, err
	}
	var core deviceCore
	if err := wire.Unmarshal(signed.Core, &core, MaxDeviceCert); err != nil {
		return nil, err
	}
	if err := core.check(len(signed.Sigs)); err != nil {
		return nil, err
	}
	dk, err := sign.ParsePublicKey(core.DK)
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	box, err := kem.ParsePublicKey(core.KEM)
	if err != nil {
		return nil, err
	}
	c := &DeviceCert{
		ID: DeviceID(derive.ID(string(sign.DeviceCert), signed.Core)), Member: core.Member, DK: dk, KEM: box,
		Peer: core.Peer, MaxRole: core.MaxRole, NotAfter: core.NotAfter, Attestation: core.Attestation, Raw: raw,
		core: signed.Core, ikSig: signed.Sigs[0],
	}
	return c, c.verifyOwn(signed.Sigs[1], signed.Sigs[2])
}

// check verifies everything that needs no key beyond its encoding.
func (c *deviceCore) check(sigs int) error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	if sigs != 3 {
		return fmt.Errorf("%w: %d signatures, need 3", wire.ErrMalformed, sigs)
	}
	if c.Member.IsZero() || c.MaxRole == 0 {
		return fmt.Errorf("%w: no member or no role", wire.ErrMalformed)
	}
	if len(c.Attestation) > MaxAttestation {
		return fmt.Errorf("%w: attestation of %d bytes, at most %d are allowed",
			wire.ErrTooLarge, len(c.Attestation), MaxAttestation)
	}
	if err := sign.CheckEd25519(c.Peer[:]); err != nil {
		return fmt.Errorf("transport key: %w", err)
	}
	return nil
}

func (c *DeviceCert) verifyOwn(dkSig, peerSig []byte) error {
	if err := c.DK.Verify(sign.DeviceCert, c.core, dkSig); err != nil {
		return fmt.Errorf("device key: %w", err)
	}
	if len(peerSig) != ed25519.SignatureSize || !ed25519.Verify(c.Peer[:], peerBinding(c.ID), peerSig) {
		return fmt.Errorf("transport key: %w", sign.ErrSignature)
	}
	return nil
}

// VerifyIdentity checks that the device belongs to the member whose current certificate id is: the member's key
// has signed the certificate, and the certificate names that member. The error wraps [ErrMember] or
// [sign.ErrSignature].
func (c *DeviceCert) VerifyIdentity(id *IdentityCert) error {
	if id.Member().IsZero() || c.Member != id.Member() {
		return fmt.Errorf("%w: device %s names member %s", ErrMember, c.ID.Short(), c.Member.Short())
	}
	if err := id.IK.Verify(sign.DeviceCert, c.core, c.ikSig); err != nil {
		return fmt.Errorf("identity: device %s: identity key: %w", c.ID.Short(), err)
	}
	return nil
}
