package envelope

import (
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Introduction is the payload of KindIntroduction, SPEC.md 3: who writes on this chain from here on.
type Introduction struct {
	Identity wire.ID              `cbor:"1,keyasint"` // id of the member's present identity certificate
	Device   identity.DeviceID    `cbor:"2,keyasint"`
	ChainNo  uint32               `cbor:"3,keyasint"`
	GovHeads []governance.EventID `cbor:"4,keyasint"`
}

// Encode returns the payload's bytes.
func (i *Introduction) Encode() []byte { return wire.Marshal(i) }

// Introduction reads the payload of an introduction, which must say what the header says. It fails with
// [ErrMalformed] if it does not, or if the envelope is of another kind.
func (e *Envelope) Introduction() (*Introduction, error) {
	if e.Kind != KindIntroduction {
		return nil, malformed("%s is no introduction", e.Kind)
	}
	var i Introduction
	if err := decode("introduction", e.Ciphertext, &i, maxHeader); err != nil {
		return nil, err
	}
	if i.Device != e.Device || i.ChainNo != e.ChainNo || !slices.Equal(i.GovHeads, e.GovHeads) {
		return nil, malformed("an introduction does not match its envelope")
	}
	return &i, nil
}

// Update is the payload of KindUpdate: Yjs v1 updates, to be applied in this order in one transaction.
type Update struct {
	Updates [][]byte `cbor:"1,keyasint"`
}

// Encode returns the payload's bytes.
func (u *Update) Encode() []byte { return wire.Marshal(u) }

// ParseUpdate reads the opened content of a KindUpdate. It fails with [ErrMalformed].
func ParseUpdate(payload []byte) (*Update, error) {
	var u Update
	if err := decode("update", payload, &u, MaxEnvelope); err != nil {
		return nil, err
	}
	if len(u.Updates) == 0 || slices.ContainsFunc(u.Updates, func(b []byte) bool { return len(b) == 0 }) {
		return nil, malformed("an update is empty")
	}
	return &u, nil
}
