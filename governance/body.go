package governance

import (
	"bytes"
	"fmt"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// body is what the bodies of events have in common: check verifies caps and form, not authority.
type body interface{ check() error }

// InviteID names an invite; its creator draws it at random.
type InviteID [16]byte

// InviteCreate lets the holder of a secret become a member through one of the listed hosts.
type InviteCreate struct {
	Invite    InviteID           `cbor:"1,keyasint"`
	ProofHash wire.ID            `cbor:"2,keyasint"` // [ProofHash] of the key that the secret yields
	Role      Role               `cbor:"3,keyasint"` // highest role given
	MaxUses   uint16             `cbor:"4,keyasint"`
	Expires   uint64             `cbor:"5,keyasint"` // Unix seconds, compared with checkpoint time only; 0: never
	Approval  uint8              `cbor:"6,keyasint"` // 1: a person at the host must agree
	Hosts     []InviteHost       `cbor:"7,keyasint"` // first has precedence when the invite is used too often
	MacBoxes  [][]byte           `cbor:"8,keyasint"` // the hosts' secret, sealed to each host but the author's device
	ForMember *identity.MemberID `cbor:"9,keyasint,omitempty"`
}

// InviteHost is a device that may serve an invite, with the KEM key that the code prints.
type InviteHost struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	KemID  wire.ID
}

func (b *InviteCreate) check() error {
	switch {
	case b.MaxUses == 0:
		return fmt.Errorf("%w: invite without a use", ErrEvent)
	case b.Approval > 1:
		return fmt.Errorf("%w: approval %d", ErrEvent, b.Approval)
	case len(b.Hosts) == 0 || len(b.Hosts) > MaxHosts:
		return fmt.Errorf("%w: %d hosts, need 1 to %d", ErrEvent, len(b.Hosts), MaxHosts)
	case len(b.MacBoxes) > MaxHosts:
		return fmt.Errorf("%w: %d sealed host secrets, at most %d", ErrEvent, len(b.MacBoxes), MaxHosts)
	}
	seen := map[identity.DeviceID]bool{}
	for _, h := range b.Hosts {
		if seen[h.Device] {
			return fmt.Errorf("%w: host %s is listed twice", ErrEvent, h.Device.Short())
		}
		seen[h.Device] = true
	}
	for _, box := range b.MacBoxes {
		if len(box) > maxMacBox {
			return fmt.Errorf("%w: sealed host secret of %d bytes", wire.ErrTooLarge, len(box))
		}
	}
	return nil
}

// Admit makes a person a member, with one device whose chain 0 it opens. With an invite it is authored by a listed
// host and carries the proof that the holder of the secret wanted exactly these certificates.
type Admit struct {
	Invite   *InviteID `cbor:"1,keyasint,omitempty"`
	Role     Role      `cbor:"2,keyasint"`
	Identity []byte    `cbor:"3,keyasint"` // whole signed IdentityCert
	Device   []byte    `cbor:"4,keyasint"` // whole signed DeviceCert
	ProofPub []byte    `cbor:"5,keyasint,omitempty"`
	Proof    []byte    `cbor:"6,keyasint,omitempty"` // by ProofPub over [InviteProof]
	Th       *wire.ID  `cbor:"7,keyasint,omitempty"` // transcript hash of the invite handshake
	Epoch    *KeyEpoch `cbor:"8,keyasint,omitempty"` // without effect while newcomers may read everything
}

func (b *Admit) check() error {
	if len(b.Identity) > identity.MaxIdentityCert || len(b.Device) > identity.MaxDeviceCert {
		return fmt.Errorf("%w: certificate", wire.ErrTooLarge)
	}
	if b.Invite == nil && (b.ProofPub != nil || b.Proof != nil || b.Th != nil) {
		return fmt.Errorf("%w: proof without an invite", ErrEvent)
	}
	if b.Invite != nil && (len(b.ProofPub) != sign.PublicKeySize || len(b.Proof) != sign.SignatureSize || b.Th == nil) {
		return fmt.Errorf("%w: invite without a proof", ErrEvent)
	}
	if b.Epoch != nil {
		return b.Epoch.check()
	}
	return nil
}

// RoleGrant raises a member.
type RoleGrant struct {
	Member identity.MemberID `cbor:"1,keyasint"`
	Role   Role              `cbor:"2,keyasint"`
}

func (b *RoleGrant) check() error { return nil }

// Revoke removes a member with all devices. What the removed wrote counts up to the cuts.
type Revoke struct {
	Member identity.MemberID `cbor:"1,keyasint"`
	Cuts   []Cut             `cbor:"2,keyasint"` // ascending by device and chain; 0 for a chain not listed
	Reason string            `cbor:"3,keyasint"`
	Notify uint8             `cbor:"4,keyasint"` // 1: the removed may be told
	Epoch  *KeyEpoch         `cbor:"5,keyasint,omitempty"`
}

func (b *Revoke) check() error {
	if err := checkCuts(b.Cuts); err != nil {
		return err
	}
	if err := wire.CheckText(b.Reason, MaxReason); err != nil {
		return err
	}
	if b.Notify > 1 {
		return fmt.Errorf("%w: notify %d", ErrEvent, b.Notify)
	}
	if b.Epoch != nil {
		return b.Epoch.check()
	}
	return nil
}

// Cut is the end of a chain: the envelope named and its ancestors count, nothing later.
type Cut struct {
	_        struct{} `cbor:",toarray"`
	Device   identity.DeviceID
	ChainNo  uint32
	Seq      uint64 // 0: nothing of the chain counts
	Envelope wire.ID
}

// compareCuts orders cuts by device and chain.
func compareCuts(a, b Cut) int {
	if c := bytes.Compare(a.Device[:], b.Device[:]); c != 0 {
		return c
	}
	switch {
	case a.ChainNo < b.ChainNo:
		return -1
	case a.ChainNo > b.ChainNo:
		return 1
	}
	return 0
}

// ChainOpen opens a further chain of the author's device, for a program that must write on its own.
type ChainOpen struct {
	ChainNo uint32 `cbor:"1,keyasint"` // one more than the device's last, from 1
}

func (b *ChainOpen) check() error {
	if b.ChainNo == 0 {
		return fmt.Errorf("%w: chain 0 is opened by the device's admission", ErrEvent)
	}
	return nil
}

// InviteRevoke cancels an invite: who was not admitted on it before is not admitted any more.
type InviteRevoke struct {
	Invite InviteID `cbor:"1,keyasint"`
}

func (b *InviteRevoke) check() error { return nil }

// DecodeBody returns the body of e: a pointer to the type that the kind names, as *[Revoke] for [KindRevoke]. It must
// not be changed. For a kind that this build does not know it fails with [ErrUnknownKind].
func DecodeBody(e *Event) (any, error) {
	if e.body == nil {
		return nil, fmt.Errorf("%w: %v", ErrUnknownKind, e.Kind)
	}
	return e.body, nil
}

func decodeBody(raw []byte, b body) error {
	if err := wire.Unmarshal(raw, b, MaxEventCore); err != nil {
		return err
	}
	return b.check()
}
