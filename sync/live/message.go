package live

import (
	"errors"
	"fmt"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// kind says what a gossip message carries.
type kind uint8

const (
	kindEnvelope     kind = 1 // a whole envelope
	kindIntroduction kind = 2 // an introduction envelope with the certificates that it names
	kindEphemeral    kind = 3 // presence or an application message
	kindHead         kind = 4 // a hint that an envelope too large for gossip can be pulled
)

// message is what is published on a project's topic. It is not signed itself: what it carries is.
type message struct {
	Kind     kind   `cbor:"1,keyasint"`
	Record   []byte `cbor:"2,keyasint,omitempty"`
	Identity []byte `cbor:"3,keyasint,omitempty"`
	Device   []byte `cbor:"4,keyasint,omitempty"`
	Head     *head  `cbor:"5,keyasint,omitempty"`
}

// head names the newest envelope of a chain.
type head struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
}

// errMessage means that a gossip message is malformed.
var errMessage = errors.New("live: malformed gossip message")

func parseMessage(data []byte) (*message, error) {
	var m message
	if err := wire.Unmarshal(data, &m, MaxMessage); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	var ok bool
	switch m.Kind {
	case kindEnvelope, kindEphemeral:
		ok = m.Record != nil && m.Identity == nil && m.Device == nil && m.Head == nil
	case kindIntroduction:
		ok = m.Record != nil && m.Identity != nil && m.Device != nil && m.Head == nil
	case kindHead:
		ok = m.Record == nil && m.Identity == nil && m.Device == nil && m.Head != nil
	}
	if !ok {
		return nil, fmt.Errorf("%w: kind %d", errMessage, m.Kind)
	}
	return &m, nil
}
