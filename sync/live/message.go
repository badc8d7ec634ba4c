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
	kindHead         kind = 4 // a hint that an envelope can be pulled, as it is too large or was published too soon
)

// message is what is published on a project's topic, SPEC.md 2. It is not signed itself: what it carries is.
type message struct {
	Kind     kind   `cbor:"1,keyasint"`
	Record   []byte `cbor:"2,keyasint,omitempty"`
	Identity []byte `cbor:"3,keyasint,omitempty"`
	Device   []byte `cbor:"4,keyasint,omitempty"`
	Head     *head  `cbor:"5,keyasint,omitempty"`
	Salt     uint64 `cbor:"6,keyasint,omitempty"` // tells hints of one head apart, as equal bytes are published once
}

// head names the newest envelope of a chain.
type head struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
}

// Errors of reading a gossip message.
var (
	errMessage = errors.New("live: malformed gossip message")
	errKind    = errors.New("live: gossip message of an unknown kind")
)

func parseMessage(data []byte) (*message, error) {
	var m message
	if err := wire.Unmarshal(data, &m, MaxMessage); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	record, certs, hint := m.Record != nil, m.Identity != nil && m.Device != nil, m.Head != nil
	none := m.Identity == nil && m.Device == nil
	plain := !hint && m.Salt == 0
	var ok bool
	switch m.Kind {
	case 0:
	case kindEnvelope, kindEphemeral:
		ok = record && none && plain
	case kindIntroduction:
		ok = record && certs && plain
	case kindHead:
		ok = !record && none && hint && m.Head.Seq > 0
	default:
		return nil, fmt.Errorf("%w: %d", errKind, m.Kind)
	}
	if !ok {
		return nil, fmt.Errorf("%w: kind %d with other fields than it has", errMessage, m.Kind)
	}
	return &m, nil
}

// presencePayload is the sealed content of a presence record; no state means that the client has gone.
type presencePayload struct {
	Doc   docID  `cbor:"1,keyasint"`
	State []byte `cbor:"2,keyasint,omitempty"`
}

// messagePayload is the sealed content of an application message.
type messagePayload struct {
	Topic   string `cbor:"1,keyasint"`
	Payload []byte `cbor:"2,keyasint"`
}

// payloadOverhead is more than the encoding of a payload adds to its parts.
const payloadOverhead = 64

func parsePresence(b []byte) (p presencePayload, err error) {
	if err := wire.Unmarshal(b, &p, MaxPresence+payloadOverhead); err != nil {
		return p, fmt.Errorf("%w: presence: %w", errMessage, err)
	}
	if string(p.State) == "null" {
		p.State = nil // gone, as in y-protocols
	}
	if len(p.State) > 0 {
		err = checkState(p.State)
	}
	return p, err
}

func parseApplication(b []byte) (m messagePayload, err error) {
	if err := wire.Unmarshal(b, &m, MaxApplication+MaxTopic+payloadOverhead); err != nil {
		return m, fmt.Errorf("%w: application message: %w", errMessage, err)
	}
	return m, checkApplication(m.Topic, m.Payload)
}
