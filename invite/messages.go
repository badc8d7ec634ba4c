package invite

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// message0 gives a joiner with a compact code the host's KEM key, whose hash the code has.
type message0 struct {
	KEM []byte `cbor:"1,keyasint"`
}

// message1 opens the handshake: it proves that the joiner holds the code, on this channel.
type message1 struct {
	wire.Head
	Suites []uint16 `cbor:"3,keyasint"` // ascending
	Invite [16]byte `cbor:"4,keyasint"`
	Nonce  [32]byte `cbor:"5,keyasint"`
	CT1    []byte   `cbor:"6,keyasint"`           // session key, sealed to the host's KEM key
	MAC    []byte   `cbor:"7,keyasint,omitempty"` // absent while the MAC is computed
}

// message2 is the host's answer.
type message2 struct {
	Identity []byte   `cbor:"1,keyasint"`
	Device   []byte   `cbor:"2,keyasint"`
	Records  [][]byte `cbor:"3,keyasint"` // root records from the pin on
	Sig      []byte   `cbor:"4,keyasint"`
}

// message3 is who the joiner is, and the code's proof for exactly this person and device.
type message3 struct {
	Identity []byte `cbor:"1,keyasint"`
	Device   []byte `cbor:"2,keyasint"`
	Proof    []byte `cbor:"3,keyasint"`
	Sig      []byte `cbor:"4,keyasint"`
	ProofPub []byte `cbor:"5,keyasint"` // hosts know its hash only
}

// message4 is the outcome.
type message4 struct {
	Result     Result             `cbor:"1,keyasint"`
	Reason     Reason             `cbor:"2,keyasint,omitempty"`
	Admit      []byte             `cbor:"3,keyasint,omitempty"`
	Heads      []wire.ID          `cbor:"4,keyasint"`
	Checkpoint []byte             `cbor:"5,keyasint,omitempty"`
	Boxes      []wire.Signed      `cbor:"6,keyasint"` // each an array within this record
	Addrs      [][]byte           `cbor:"7,keyasint"`
	First      *identity.MemberID `cbor:"8,keyasint,omitempty"` // who used the invite first
}

// message5 confirms that the joiner has the outcome.
type message5 struct {
	MAC [32]byte `cbor:"1,keyasint"`
}

// Result is the outcome of a handshake.
type Result uint8

// The outcomes.
const (
	Admitted Result = 1
	Pending  Result = 2
	Refused  Result = 3
)

func decode(msg []byte, v any, name string, limit int) error {
	if err := wire.Unmarshal(msg, v, limit); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
	}
	return nil
}

func decode0(msg []byte) (*message0, error) {
	var m message0
	return &m, decode(msg, &m, "M0", maxSmall)
}

func decode1(msg []byte) (*message1, error) {
	var m message1
	if err := decode(msg, &m, "M1", maxSmall); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%w: M1: %w", ErrInvalid, err)
	}
	if len(m.MAC) != 32 || len(m.CT1) > maxCT1 {
		return nil, fmt.Errorf("%w: M1: %d bytes of MAC, %d of sealed key", ErrInvalid, len(m.MAC), len(m.CT1))
	}
	ascending := slices.IsSorted(m.Suites) && len(slices.Compact(slices.Clone(m.Suites))) == len(m.Suites)
	if len(m.Suites) > maxSuites || !ascending || !slices.Contains(m.Suites, wire.Suite1) {
		return nil, fmt.Errorf("%w: M1: no common cipher suite", ErrInvalid)
	}
	return &m, nil
}

// withoutMAC is what the MAC and the first key are computed over.
func (m *message1) withoutMAC() []byte {
	bare := *m
	bare.MAC = nil
	return wire.Marshal(bare)
}

func decode2(msg []byte) (*message2, error) {
	var m message2
	if err := decode(msg, &m, "M2", maxLarge); err != nil {
		return nil, err
	}
	if len(m.Identity) > identity.MaxIdentityCert || len(m.Device) > identity.MaxDeviceCert ||
		len(m.Records) == 0 || len(m.Records) > maxRecords || len(m.Sig) != sign.SignatureSize {
		return nil, fmt.Errorf("%w: M2: a part is too large or missing", ErrInvalid)
	}
	return &m, nil
}

func (m *message2) signed(th1 wire.ID) []byte {
	return wire.Marshal([]any{th1, m.Identity, m.Device, m.Records})
}

func decode3(msg []byte) (*message3, error) {
	var m message3
	if err := decode(msg, &m, "M3", maxLarge); err != nil {
		return nil, err
	}
	if len(m.Identity) > identity.MaxIdentityCert || len(m.Device) > identity.MaxDeviceCert ||
		len(m.ProofPub) != sign.PublicKeySize || len(m.Proof) != sign.SignatureSize || len(m.Sig) != sign.SignatureSize {
		return nil, fmt.Errorf("%w: M3: a part has a wrong size", ErrInvalid)
	}
	return &m, nil
}

func (m *message3) signed(th2 wire.ID) []byte { return wire.Marshal([]any{th2, m.Proof}) }

func decode4(msg []byte) (*message4, error) {
	var m message4
	if err := decode(msg, &m, "M4", maxLarge); err != nil {
		return nil, err
	}
	if m.Result < Admitted || m.Result > Refused {
		return nil, fmt.Errorf("%w: M4: result %d", ErrInvalid, m.Result)
	}
	if len(m.Heads) > maxHeads || len(m.Boxes) > maxBoxes || len(m.Addrs) > maxAddrs {
		return nil, fmt.Errorf("%w: M4: %d heads, %d boxes, %d addresses", ErrInvalid, len(m.Heads), len(m.Boxes), len(m.Addrs))
	}
	if m.Result == Admitted && (len(m.Admit) == 0 || len(m.Heads) == 0) {
		return nil, fmt.Errorf("%w: M4: admitted, but by no event", ErrInvalid)
	}
	return &m, nil
}

// signedBoxes reads boxes for a message4.
func signedBoxes(boxes [][]byte) ([]wire.Signed, error) {
	out := make([]wire.Signed, len(boxes))
	for i, b := range boxes {
		if err := wire.Unmarshal(b, &out[i], maxLarge); err != nil {
			return nil, fmt.Errorf("%w: M4: box %d: %w", ErrInvalid, i+1, err)
		}
	}
	return out, nil
}

// boxes returns the boxes as records of their own. A record has one encoding, so these are the bytes that came.
func (m *message4) boxes() [][]byte {
	var out [][]byte
	for _, b := range m.Boxes {
		out = append(out, wire.Marshal(b))
	}
	return out
}

// err returns the refusal that the joiner is told, or nil.
func (m *message4) err() error {
	switch {
	case m.Result == Refused && m.Reason == ReasonUsed && m.First != nil:
		return &UsedError{First: *m.First}
	case m.Result == Refused:
		return m.Reason.Err()
	}
	return nil
}

func decode5(msg []byte) (*message5, error) {
	var m message5
	return &m, decode(msg, &m, "M5", maxSmall)
}
