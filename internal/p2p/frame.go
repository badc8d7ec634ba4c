package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Kinds of authorisation that a dialer claims in its proof; a listener's own proof always says authRoster.
const (
	authRoster   = 0 // the device is live in the listener's roster
	authInvite   = 1 // guest: knows the secret of an invite that the listener hosts
	authTransfer = 2 // guest: claims a transfer of an identity; decoded, and refused by this version
)

// auth is the union [0] | [1, invite hash, mac] | [2, transfer].
type auth struct {
	kind     uint8
	invite   wire.ID
	mac      [32]byte
	transfer [16]byte
}

type (
	rosterAuth struct {
		_    struct{} `cbor:",toarray"`
		Kind uint8
	}
	inviteAuth struct {
		_      struct{} `cbor:",toarray"`
		Kind   uint8
		Invite wire.ID
		MAC    [32]byte
	}
	transferAuth struct {
		_        struct{} `cbor:",toarray"`
		Kind     uint8
		Transfer [16]byte
	}
)

// MarshalCBOR writes the variant that a.kind names.
func (a auth) MarshalCBOR() ([]byte, error) {
	switch a.kind {
	case authRoster:
		return wire.Marshal(rosterAuth{Kind: authRoster}), nil
	case authInvite:
		return wire.Marshal(inviteAuth{Kind: authInvite, Invite: a.invite, MAC: a.mac}), nil
	case authTransfer:
		return wire.Marshal(transferAuth{Kind: authTransfer, Transfer: a.transfer}), nil
	}
	return nil, fmt.Errorf("p2p: unknown kind of authorisation %d", a.kind)
}

// UnmarshalCBOR reads the variant that the array's length and first element name.
func (a *auth) UnmarshalCBOR(data []byte) error {
	const arrayOf = 0x80 // major type 4; all variants are shorter than 24 elements
	if len(data) < 2 {
		return fmt.Errorf("%w: empty authorisation", wire.ErrMalformed)
	}
	switch {
	case data[0] == arrayOf|1 && data[1] == authRoster:
		*a = auth{kind: authRoster}
		return wire.Unmarshal(data, &rosterAuth{}, len(data))
	case data[0] == arrayOf|3 && data[1] == authInvite:
		var v inviteAuth
		err := wire.Unmarshal(data, &v, len(data))
		*a = auth{kind: authInvite, invite: v.Invite, mac: v.MAC}
		return err
	case data[0] == arrayOf|2 && data[1] == authTransfer:
		var v transferAuth
		err := wire.Unmarshal(data, &v, len(data))
		*a = auth{kind: authTransfer, transfer: v.Transfer}
		return err
	}
	return fmt.Errorf("%w: unknown kind of authorisation", wire.ErrMalformed)
}

// frame is the proof that each side sends, the dialer first.
type frame struct {
	wire.Head
	DeviceCert []byte `cbor:"3,keyasint"`
	Auth       auth   `cbor:"4,keyasint"`
	Sig        []byte `cbor:"5,keyasint"`
}

// parseFrame decodes a frame strictly. Nothing in it is verified yet.
func parseFrame(raw []byte) (*frame, error) {
	var f frame
	if err := wire.Unmarshal(raw, &f, MaxFrame); err != nil {
		return nil, fmt.Errorf("p2p: proof frame: %w", err)
	}
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("p2p: proof frame: %w", err)
	}
	if len(f.Sig) != sign.SignatureSize {
		return nil, fmt.Errorf("p2p: proof frame: %w: signature of %d bytes", wire.ErrMalformed, len(f.Sig))
	}
	return &f, nil
}

// Roles inside what a proof signs; a proof of one role never stands for the other.
const (
	roleDialer   = 0
	roleListener = 1
)

// transcript is what a proof signs: this one connection, both ends of it, and the authorisation claimed.
type transcript struct {
	_              struct{} `cbor:",toarray"`
	Role           uint8
	Exporter       [32]byte
	DialerPeer     [32]byte
	ListenerPeer   [32]byte
	DialerDevice   identity.DeviceID
	ListenerDevice identity.DeviceID
	Auth           auth
}

var errFrameLength = errors.New("p2p: proof frame is longer than allowed; the peer does not speak this protocol")

// writeFrame sends the length as a big-endian u32, then the frame.
func writeFrame(w io.Writer, raw []byte) error {
	if len(raw) > MaxFrame {
		return errFrameLength
	}
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(raw)), uint32(len(raw)))
	if _, err := w.Write(append(buf, raw...)); err != nil {
		return fmt.Errorf("p2p: send proof: %w", err)
	}
	return nil
}

// readFrame reads what writeFrame sent, and not a byte more.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("p2p: read proof: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return nil, errFrameLength
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("p2p: read proof: %w", err)
	}
	return raw, nil
}
