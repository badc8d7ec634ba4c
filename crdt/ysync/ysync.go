// Package ysync frames the messages of the Yjs sync protocol, as y-websocket and most Yjs servers speak it. It only
// frames: what is inside is made and read by packages crdt and awareness, and carried by whoever has a connection.
//
//	A                                   B
//	Step1 {state vector of A}  ───────▶
//	                           ◀─────── Step2 {what A lacks}, Step1 {state vector of B}
//	Step2 {what B lacks}       ───────▶
//	Update {an edit}           ◀──────▶ as they happen
//
// Sync messages travel inside y-websocket messages beside awareness updates:
//
//	0 sync │ 0 step 1, 1 step 2, 2 update │ payload with its length
//	1 awareness │ update with its length
//	2 auth │ 0 │ reason, if access is denied
//	3 query awareness
//
// Read is strict about lengths and never allocates: a Message's Payload aliases the input.
package ysync

import (
	"fmt"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crdt/lib0"
)

// Kind is what a message is.
type Kind uint8

// The kinds of messages.
const (
	Step1          Kind = iota + 1 // payload: the sender's state vector
	Step2                          // payload: the update the receiver lacks; nothing follows from it
	Update                         // payload: an update
	Awareness                      // payload: an awareness update
	Denied                         // payload: the reason, as text
	QueryAwareness                 // no payload: the receiver is to send its awareness states
)

var names = [...]string{"unknown", "step 1", "step 2", "update", "awareness", "denied", "query awareness"}

func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}

// Message is one message.
type Message struct {
	Kind    Kind
	Payload []byte
}

const (
	outerSync = iota
	outerAwareness
	outerAuth
	outerQuery
)

// Append appends a message in the y-websocket framing.
func Append(b []byte, m Message) []byte {
	switch m.Kind {
	case Step1, Step2, Update:
		return AppendSync(append(b, outerSync), m)
	case Awareness:
		return lib0.AppendBuffer(append(b, outerAwareness), m.Payload)
	case Denied:
		return lib0.AppendBuffer(append(b, outerAuth, 0), m.Payload)
	case QueryAwareness:
		return append(b, outerQuery)
	}
	panic(fmt.Sprintf("ysync: no message of kind %d", m.Kind))
}

// AppendSync appends a Step1, Step2 or Update without the outer framing.
func AppendSync(b []byte, m Message) []byte {
	return lib0.AppendBuffer(append(b, byte(m.Kind-Step1)), m.Payload)
}

// Read reads a message in the y-websocket framing from the start of b and returns what follows it. Malformed input is a
// *crdt.DecodeError.
func Read(b []byte) (m Message, rest []byte, err error) {
	r := lib0.NewReader(b)
	switch r.Uvarint() {
	case outerSync:
		m = readSync(&r)
	case outerAwareness:
		m = Message{Awareness, r.Buffer()}
	case outerAuth:
		if r.Uvarint() != 0 {
			r.Fail(1, "unknown kind of auth message")
		}
		reason, _ := r.Text()
		m = Message{Denied, reason}
	case outerQuery:
		m = Message{Kind: QueryAwareness}
	default:
		r.Fail(0, "unknown kind of message")
	}
	return finish(m, b, &r)
}

// ReadSync reads a Step1, Step2 or Update without the outer framing, like Read.
func ReadSync(b []byte) (m Message, rest []byte, err error) {
	r := lib0.NewReader(b)
	return finish(readSync(&r), b, &r)
}

func readSync(r *lib0.Reader) Message {
	at := r.Pos()
	k := r.Uvarint()
	if k > 2 {
		r.Fail(at, "unknown kind of sync message")
		return Message{}
	}
	return Message{Step1 + Kind(k), r.Buffer()}
}

func finish(m Message, b []byte, r *lib0.Reader) (Message, []byte, error) {
	if err := r.Err(); err != nil {
		return Message{}, nil, &crdt.DecodeError{Offset: err.Offset, Reason: err.Reason}
	}
	return m, b[r.Pos():], nil
}

// Hello returns the message to begin with: Step1 with the document's state vector.
func Hello(d *crdt.Doc) Message { return Message{Step1, d.StateVector()} }

// Handle does what a sync message asks for: it answers Step1 with Step2, and applies Step2 and Update. For other kinds it
// does nothing. answer is nil if there is none.
func Handle(d *crdt.Doc, m Message, opts ...crdt.ApplyOption) (answer *Message, err error) {
	switch m.Kind {
	case Step1:
		lacks, err := d.EncodeUpdate(m.Payload)
		if err != nil {
			return nil, fmt.Errorf("ysync: state vector: %w", err)
		}
		return &Message{Step2, lacks}, nil
	case Step2, Update:
		if _, err := d.ApplyUpdate(m.Payload, opts...); err != nil {
			return nil, fmt.Errorf("ysync: %v: %w", m.Kind, err)
		}
	}
	return nil, nil
}
