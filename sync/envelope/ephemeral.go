package envelope

import (
	"bytes"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// EphemeralKind says what an ephemeral record holds. Records of unknown kinds are ignored.
type EphemeralKind uint8

// The kinds that this build knows.
const (
	Presence        EphemeralKind = 1
	Message         EphemeralKind = 2
	Acknowledgement EphemeralKind = 3
)

// EphemeralHeader is the part of an ephemeral record that is not sealed, SPEC.md 5.
type EphemeralHeader struct {
	wire.Head
	Project  genesis.ProjectID    `cbor:"3,keyasint"`
	Device   identity.DeviceID    `cbor:"4,keyasint"`
	ChainNo  uint32               `cbor:"5,keyasint"`
	Kind     EphemeralKind        `cbor:"6,keyasint"`
	At       uint64               `cbor:"7,keyasint"` // number of the chain's last envelope
	N        uint64               `cbor:"8,keyasint"` // counts the records since that
	GovHeads []governance.EventID `cbor:"9,keyasint"`
	Epoch    governance.EpochID   `cbor:"10,keyasint"`
	Nonce    [24]byte             `cbor:"11,keyasint"`
}

// After reports whether the record is newer than the one numbered (at, n) of its chain. Others are dropped.
func (h *EphemeralHeader) After(at, n uint64) bool { return h.At > at || h.At == at && h.N > n }

func (h *EphemeralHeader) check() error {
	if err := h.Head.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	if len(h.GovHeads) > MaxHeads || !wire.SortedIDs(h.GovHeads) {
		return malformed("governance heads are unsorted, repeated or more than %d", MaxHeads)
	}
	if h.Kind == 0 {
		return malformed("kind 0")
	}
	return nil
}

// Ephemeral is a parsed record that is shown and forgotten: presence, message, acknowledgement. It belongs to a chain
// but is not part of it. It is immutable.
type Ephemeral struct {
	EphemeralHeader
	Ciphertext []byte
	Sig        []byte
	ID         wire.ID // hash of header and content
	Raw        []byte

	header []byte // as received
}

// EphemeralDraft is what a record is made of. It prints without key and payload.
type EphemeralDraft struct {
	Kind     EphemeralKind
	Chain    ChainHead // At is its number
	N        uint64    // greater than that of the last record since
	GovHeads []governance.EventID
	Epoch    governance.EpochID
	Key      [32]byte // content key of (epoch, device, chain, the zero document)
	Payload  []byte
}

// Format keeps key and payload out of logs.
func (d EphemeralDraft) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{ephemeral kind %d, %d bytes, redacted}", d.Kind, len(d.Payload))
}

// MarshalJSON keeps key and payload out of logs.
func (d EphemeralDraft) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// SealEphemeral makes a record. It fails with [ErrTooLarge] or [ErrMalformed].
func SealEphemeral(random io.Reader, dk *sign.PrivateKey, d EphemeralDraft) (*Ephemeral, error) {
	nonce, err := seal.NewNonce(random)
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	h := EphemeralHeader{
		Head:     wire.NewHead(),
		Project:  d.Chain.Project,
		Device:   d.Chain.Device,
		ChainNo:  d.Chain.ChainNo,
		Kind:     d.Kind,
		At:       d.Chain.Seq,
		N:        d.N,
		GovHeads: d.GovHeads,
		Epoch:    d.Epoch,
		Nonce:    nonce,
	}
	header := wire.Marshal(h)
	ct := seal.Seal(d.Key, nonce, header, d.Payload)
	sig := dk.Sign(sign.Ephemeral, message(header, ct))
	return ParseEphemeral(wire.Marshal(signed{Header: header, Ct: ct, Sig: sig}))
}

// ParseEphemeral reads a record and checks its structure, not its signature. It fails with [ErrMalformed],
// [ErrTooLarge] or [ErrVersion].
func ParseEphemeral(raw []byte) (*Ephemeral, error) {
	var s signed
	if err := decode("ephemeral record", raw, &s, MaxEphemeral); err != nil {
		return nil, err
	}
	if len(s.Sig) != sign.SignatureSize {
		return nil, malformed("signature of %d bytes", len(s.Sig))
	}
	e := &Ephemeral{Ciphertext: s.Ct, Sig: s.Sig, Raw: bytes.Clone(raw), header: s.Header}
	if err := decode("ephemeral header", s.Header, &e.EphemeralHeader, maxHeader); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	e.ID = recordID(sign.Ephemeral, message(s.Header, s.Ct))
	return e, nil
}

// Verify checks the record's signature by its device's key. It fails with [ErrSignature].
func (e *Ephemeral) Verify(dk *sign.PublicKey) error {
	return checkSig(sign.Ephemeral, dk, message(e.header, e.Ciphertext), e.Sig)
}

// Open decrypts the content under its content key, that of (epoch, device, chain, the zero document). It fails with
// [ErrSealed].
func (e *Ephemeral) Open(key [32]byte) ([]byte, error) {
	return open(key, &e.Nonce, e.header, e.Ciphertext)
}
