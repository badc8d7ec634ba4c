package invite

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

const redacted = "[redacted]"

// Secret is what a code gives its holder: 32 random bytes. It must be kept secret and prints as "[redacted]".
type Secret [32]byte

// NewSecret draws a secret; production passes crypto/rand.Reader.
func NewSecret(random io.Reader) (Secret, error) {
	var s Secret
	if _, err := io.ReadFull(random, s[:]); err != nil {
		s.Wipe()
		return Secret{}, fmt.Errorf("invite: draw a secret: %w", err)
	}
	return s, nil
}

// Wipe overwrites this copy of the secret with zeros.
func (s *Secret) Wipe() {
	clear(s[:])
	runtime.KeepAlive(s)
}

// MACKey derives s_mac, the part of the secret that hosts keep: enough to recognise the code's holder, not enough to
// be one. It must be kept secret.
func MACKey(s Secret) [32]byte {
	defer s.Wipe()
	return derive.Key(s[:], nil, "invite-mac")
}

// ProofKey derives the key that only the code's holder has. It signs one invite proof.
func ProofKey(s Secret) *sign.PrivateKey {
	pq := derive.Key(s[:], nil, "invite-proof-mldsa")
	ed := derive.Key(s[:], nil, "invite-proof-ed25519")
	defer func() { s.Wipe(); clear(pq[:]); clear(ed[:]); runtime.KeepAlive(&pq); runtime.KeepAlive(&ed) }()
	return sign.NewPrivateKey(pq, ed)
}

// ProofHash names the public half of a [ProofKey]: H("invite-proof", key).
func ProofHash(pub *sign.PublicKey) wire.ID { return derive.ID("invite-proof", pub.Bytes()) }

// Hash is how a newcomer names an invite on the wire before it is known to be welcome: H("invite", invite).
func Hash(invite [16]byte) wire.ID { return derive.ID("invite", invite[:]) }

// SealMAC seals an invite's s_mac to a further host's device, for the event that announces the invite.
func SealMAC(random io.Reader, mac [32]byte, invite [16]byte, device identity.DeviceID, pub *kem.PublicKey) ([]byte, error) {
	box, err := pub.Seal(random, boxInfo(invite), device[:], mac[:])
	if err != nil {
		return nil, fmt.Errorf("invite: seal to host %s: %w", device.Short(), err)
	}
	return box, nil
}

// OpenMAC opens what [SealMAC] sealed. It fails with [kem.ErrOpen].
func OpenMAC(box []byte, invite [16]byte, device identity.DeviceID, key *kem.PrivateKey) ([32]byte, error) {
	mac, err := key.Open(boxInfo(invite), device[:], box)
	if err != nil {
		return [32]byte{}, fmt.Errorf("invite: open the host's share: %w", err)
	}
	if len(mac) != 32 {
		return [32]byte{}, fmt.Errorf("invite: the host's share has %d bytes: %w", len(mac), kem.ErrOpen)
	}
	return [32]byte(mac), nil
}

func boxInfo(invite [16]byte) []byte { return append(derive.Domain("invite"), invite[:]...) }

func hmac256(key [32]byte, msg []byte) [32]byte {
	m := hmac.New(sha256.New, key[:])
	m.Write(msg)
	return [32]byte(m.Sum(nil))
}

// proofMessage is what the proof key signs: this newcomer, at this host, in this handshake.
func proofMessage(project wire.ID, invite [16]byte, identityCert wire.ID, joiner, host identity.DeviceID, th2 wire.ID) []byte {
	return wire.Marshal([]any{project, invite, identityCert, joiner, host, th2})
}

// VerifyProof checks the proof that an admission carries: that the holder of the code whose proof key is named by
// proofHash vouches for this certificate and device, at this host. Every member of the project checks it, so that a
// host cannot admit anybody else. The error wraps [sign.ErrPublicKey] or [sign.ErrSignature].
func VerifyProof(proofHash wire.ID, pub, proof []byte, project wire.ID, invite [16]byte, identityCert wire.ID, joiner, host identity.DeviceID, th2 wire.ID) error {
	key, err := sign.ParsePublicKey(pub)
	if err != nil {
		return fmt.Errorf("invite: proof key: %w", err)
	}
	if ProofHash(key) != proofHash {
		return fmt.Errorf("invite: proof key is not the invite's: %w", sign.ErrSignature)
	}
	msg := proofMessage(project, invite, identityCert, joiner, host, th2)
	if err := key.Verify(sign.InviteProof, msg, proof); err != nil {
		return fmt.Errorf("invite: proof: %w", err)
	}
	return nil
}
