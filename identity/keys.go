package identity

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"runtime"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// RevocationAlg1 is the only revocation algorithm of version 1: SLH-DSA-SHA2-128s (FIPS 205).
const RevocationAlg1 uint8 = 1

// NewIdentityKey derives the identity key of an identity seed. It signs identity and device certificates only.
func NewIdentityKey(seed Seed) *sign.PrivateKey {
	defer seed.Wipe()
	return signingKey(&seed, "ik-mldsa", "ik-ed25519")
}

// signingKey derives a composite key of a seed under two labels.
func signingKey(seed *Seed, mldsaLabel, ed25519Label string) *sign.PrivateKey {
	pq := derive.Key(seed[:], nil, mldsaLabel)
	ed := derive.Key(seed[:], nil, ed25519Label)
	defer func() { clear(pq[:]); clear(ed[:]); runtime.KeepAlive(&pq); runtime.KeepAlive(&ed) }()
	return sign.NewPrivateKey(pq, ed)
}

// DeviceKeys are the secret keys of one device. They never leave it, are in no backup, and print as "[redacted]".
type DeviceKeys struct {
	DK   *sign.PrivateKey // signs everything that the device says
	Peer PeerKey          // the transport's identity; its public half gives the peer ID
	KEM  *kem.PrivateKey  // opens what is sealed to the key that the certificate names; nil or wiped once that is erased
}

// NewDeviceKeys derives a device's signing and transport keys of its own seed; equal seeds give equal keys. first is the KEM key
// that its certificate names. It must be randomness of its own: what is derived of a seed that is kept cannot be erased.
func NewDeviceKeys(seed Seed, first *kem.PrivateKey) *DeviceKeys {
	defer seed.Wipe()
	peer := derive.Key(seed[:], nil, "peer")
	defer func() { clear(peer[:]); runtime.KeepAlive(&peer) }()
	return &DeviceKeys{
		DK:   signingKey(&seed, "dk-mldsa", "dk-ed25519"),
		Peer: PeerKey{secmem.Hide(ed25519.NewKeyFromSeed(peer[:]))},
		KEM:  first,
	}
}

// PeerKey is the secret transport key of a device. It is out of the sight of packages that print, also where it lies within
// other values, whose methods they do not ask.
type PeerKey struct {
	key secmem.Hidden[ed25519.PrivateKey]
}

// Key returns the key itself, which must be kept secret; nil if there is none.
func (k PeerKey) Key() ed25519.PrivateKey {
	if key := k.key.Get(); key != nil {
		return *key
	}
	return nil
}

// String returns "[redacted]".
func (PeerKey) String() string { return redacted }

// GoString returns "[redacted]".
func (PeerKey) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb.
func (PeerKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (PeerKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// PeerPublic returns the public half of the transport key.
func (k *DeviceKeys) PeerPublic() [32]byte {
	return [32]byte(k.Peer.Key().Public().(ed25519.PublicKey))
}

// String returns "[redacted]".
func (DeviceKeys) String() string { return redacted }

// GoString returns "[redacted]".
func (DeviceKeys) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb.
func (DeviceKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (DeviceKeys) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// NewRevocationKey derives the offline key that ends an identity from a seed of its own, which must not be the
// identity seed: who finds a device must not find this key. It takes about 0.1 s.
func NewRevocationKey(seed Seed) (*sign.RevocationKey, error) {
	defer seed.Wipe()
	material := [sign.RevocationMaterialSize]byte(derive.Bytes(sign.RevocationMaterialSize, seed[:], nil, "revocation"))
	defer func() { clear(material[:]); runtime.KeepAlive(&material) }()
	key, err := sign.NewRevocationKey(material)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return key, nil
}

// RevocationCommit is what an identity certificate holds of the revocation key: H("rev", algorithm, public key).
func RevocationCommit(pub []byte) wire.ID { return derive.ListID("rev", RevocationAlg1, pub) }
