package live

import (
	"encoding/binary"
	"errors"
)

// What is known here of the router's own wire form, protocol buffers: RPC {1: subscription, 2: message, others},
// subscription {1: subscribe, 2: topic}, message {4: topic, others}.
const (
	rpcSubscription   = 1
	rpcMessage        = 2
	subscriptionFlag  = 1
	subscriptionTopic = 2
	messageTopic      = 4

	varintField = 0
	fixed64     = 1
	bytesField  = 2
	fixed32     = 5
)

// errFrame means that the router writes something else than it did when this was made; nothing goes out then.
var errFrame = errors.New("live: unknown form of a router's message")

// cutFrame cuts the first frame off b: its length as varint and so many bytes. rpc is nil if it is not complete.
func cutFrame(b []byte) (rpc, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	switch {
	case n < 0 || n > 0 && size > maxFrame:
		return nil, nil, errFrame
	case n == 0 || uint64(len(b)-n) < size:
		return nil, b, nil
	}
	return b[n : n+int(size) : n+int(size)], b[n+int(size):], nil
}

// field reads the first field of a message; value is nil unless it has bytes.
func field(b []byte) (num uint64, value, rest []byte, err error) {
	key, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, nil, errFrame
	}
	b = b[n:]
	size := uint64(0)
	switch key & 7 {
	case varintField:
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, nil, nil, errFrame
		}
		return key >> 3, nil, b[n:], nil
	case fixed64:
		size = 8
	case fixed32:
		size = 4
	case bytesField:
		if size, n = binary.Uvarint(b); n <= 0 {
			return 0, nil, nil, errFrame
		}
		b = b[n:]
	default:
		return 0, nil, nil, errFrame
	}
	if uint64(len(b)) < size {
		return 0, nil, nil, errFrame
	}
	if key&7 == bytesField {
		value = b[:size:size]
	}
	return key >> 3, value, b[size:], nil
}

// topicOf returns the topic that a subscription or message is about.
func topicOf(b []byte, at uint64) (topic string, err error) {
	for len(b) > 0 {
		num, value, rest, err := field(b)
		if err != nil {
			return "", err
		}
		if num == at {
			topic = string(value) // the last one counts
		}
		b = rest
	}
	return topic, nil
}

// permitted returns an RPC without the subscriptions and messages of topics that may refuses.
func permitted(rpc []byte, may func(topic string) bool) ([]byte, error) {
	kept := make([]byte, 0, len(rpc))
	for b := rpc; len(b) > 0; {
		num, value, rest, err := field(b)
		if err != nil {
			return nil, err
		}
		ok := true
		if at := topicField(num); at > 0 {
			topic, err := topicOf(value, at)
			if err != nil {
				return nil, err
			}
			ok = may(topic)
		}
		if ok {
			kept = append(kept, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	return kept, nil
}

// topicField says which field of an RPC's part holds its topic; 0: none is looked at.
func topicField(part uint64) uint64 {
	switch part {
	case rpcSubscription:
		return subscriptionTopic
	case rpcMessage:
		return messageTopic
	}
	return 0
}

// appendSubscription adds to an RPC that a topic is subscribed to.
func appendSubscription(rpc []byte, topic string) []byte {
	sub := []byte{subscriptionFlag<<3 | varintField, 1, subscriptionTopic<<3 | bytesField}
	sub = append(binary.AppendUvarint(sub, uint64(len(topic))), topic...)
	rpc = append(rpc, rpcSubscription<<3|bytesField)
	return append(binary.AppendUvarint(rpc, uint64(len(sub))), sub...)
}
