package envelope

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Kind says what an envelope holds. Envelopes of unknown kinds are kept and linked, and have no effect.
type Kind uint8

// The kinds that this build knows.
const (
	KindIntroduction Kind = 1 // [Introduction], in clear
	KindUpdate       Kind = 2 // [Update], sealed
	KindManifest     Kind = 3 // of an asset, sealed; set aside: assets are listed in a document
)

func (k Kind) String() string {
	switch k {
	case KindIntroduction:
		return "introduction"
	case KindUpdate:
		return "update"
	case KindManifest:
		return "manifest"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Header is the part of an envelope that is not sealed, SPEC.md 1. It is what the ciphertext is bound to.
type Header struct {
	wire.Head
	Project  genesis.ProjectID    `cbor:"3,keyasint"`
	Doc      [16]byte             `cbor:"4,keyasint"` // zero if the envelope is of no document
	Kind     Kind                 `cbor:"5,keyasint"`
	Device   identity.DeviceID    `cbor:"6,keyasint"`
	ChainNo  uint32               `cbor:"7,keyasint"`
	Seq      uint64               `cbor:"8,keyasint"` // place in the chain, from 1
	Prev     wire.ID              `cbor:"9,keyasint"` // id of the envelope before it; the chain's root if Seq is 1
	GovHeads []governance.EventID `cbor:"10,keyasint"`
	Epoch    *governance.EpochID  `cbor:"11,keyasint,omitempty"` // nil if the content is not sealed
	Nonce    *[24]byte            `cbor:"12,keyasint,omitempty"`
}

// Sealed reports whether the content is sealed under an epoch's key.
func (h *Header) Sealed() bool { return h.Epoch != nil }

func (h *Header) check() error {
	if err := h.Head.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	switch {
	case len(h.GovHeads) > MaxHeads || !wire.SortedIDs(h.GovHeads):
		return malformed("governance heads are unsorted, repeated or more than %d", MaxHeads)
	case h.Seq == 0:
		return malformed("number 0")
	case h.Seq == 1 && h.Prev != identity.ChainRoot(h.Project, h.Device, h.ChainNo):
		return malformed("the first of a chain does not name its root")
	case (h.Epoch == nil) != (h.Nonce == nil):
		return malformed("epoch without nonce or nonce without epoch")
	}
	return h.checkKind()
}

func (h *Header) checkKind() error {
	switch h.Kind {
	case 0:
		return malformed("kind 0")
	case KindIntroduction:
		if h.Sealed() || h.Doc != [16]byte{} {
			return malformed("an introduction is sealed or of a document")
		}
	case KindUpdate, KindManifest:
		if !h.Sealed() {
			return malformed("an %s in clear", h.Kind)
		}
	}
	return nil
}

// signed is what travels: header and content, and the signature over both.
type signed struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Ct     []byte
	Sig    []byte
}

// message is what the signature of a header and its content is over, and what their id is the hash of.
func message(header, ct []byte) []byte {
	sum := sha256.Sum256(ct)
	return wire.Marshal([]any{header, sum[:]})
}

func recordID(typ sign.Type, msg []byte) wire.ID { return derive.ID(string(typ), msg) }

// open decrypts what is bound to header.
func open(key [32]byte, nonce *[24]byte, header, ct []byte) ([]byte, error) {
	plain, err := seal.Open(key, *nonce, header, ct)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return plain, nil
}

// checkSig verifies a signature by a device key.
func checkSig(typ sign.Type, dk *sign.PublicKey, msg, sig []byte) error {
	if sig == nil {
		return fmt.Errorf("%w: there is none", ErrSignature)
	}
	if err := dk.Verify(typ, msg, sig); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}
