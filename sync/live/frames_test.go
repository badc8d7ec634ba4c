package live

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// part is a field with bytes.
func part(num byte, value []byte) []byte {
	return append(binary.AppendUvarint([]byte{num<<3 | bytesField}, uint64(len(value))), value...)
}

func gossiped(topic, data string) []byte {
	return part(rpcMessage, append(part(2, []byte(data)), part(messageTopic, []byte(topic))...))
}

func TestPermitted(t *testing.T) {
	ours := func(topic string) bool { return topic == "film" }
	control := part(3, part(3, part(1, []byte("comic")))) // a graft; whom to graft is decided elsewhere
	other := append([]byte{4<<3 | varintField, 7, 5<<3 | fixed32, 1, 2, 3, 4}, 6<<3|fixed64, 1, 2, 3, 4, 5, 6, 7, 8)
	film, comic := gossiped("film", "scene 1"), gossiped("comic", "panel 1")
	twice := part(rpcMessage, append(part(messageTopic, []byte("film")), part(messageTopic, []byte("comic"))...))
	for _, tc := range []struct {
		name string
		rpc  []byte
		want []byte
	}{
		{"nothing", nil, nil},
		{"permitted", film, film},
		{"forbidden", comic, nil},
		{"without a topic", part(rpcMessage, part(2, []byte("data"))), nil},
		{"a topic that is written twice", twice, nil},
		{"mixed", slices.Concat(film, comic, control, film, other), slices.Concat(film, control, film, other)},
		{"subscriptions", appendSubscription(appendSubscription(nil, "comic"), "film"), appendSubscription(nil, "film")},
	} {
		got, err := permitted(tc.rpc, ours)
		if err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("%s: %x, %v; want %x", tc.name, got, err, tc.want)
		}
	}
	for name, bad := range map[string][]byte{
		"cut off":          film[:len(film)-1],
		"a group":          {2<<3 | 3},
		"no length":        {rpcMessage<<3 | bytesField},
		"huge length":      binary.AppendUvarint([]byte{rpcMessage<<3 | bytesField}, 1<<63),
		"cut off within":   part(rpcMessage, []byte{messageTopic<<3 | bytesField, 9, 'f'}),
		"endless number":   bytes.Repeat([]byte{0xff}, 20),
		"endless value":    append([]byte{4<<3 | varintField}, bytes.Repeat([]byte{0xff}, 20)...),
		"no value":         {4<<3 | varintField},
		"cut off fixed 64": {4<<3 | fixed64, 1, 2},
	} {
		if got, err := permitted(bad, func(string) bool { return true }); err == nil {
			t.Errorf("%s: passes as %x", name, got)
		}
	}
}

func TestCutFrame(t *testing.T) {
	two := append(binary.AppendUvarint(nil, 3), "abc"...)
	two = append(append(two, 0), binary.AppendUvarint(nil, 200)...)
	rpc, rest, err := cutFrame(two)
	if err != nil || string(rpc) != "abc" {
		t.Fatalf("%q, %v", rpc, err)
	}
	if rpc, rest, err = cutFrame(rest); err != nil || rpc == nil || len(rpc) != 0 {
		t.Fatalf("an empty frame: %q, %v", rpc, err)
	}
	if rpc, _, err = cutFrame(rest); err != nil || rpc != nil {
		t.Fatalf("an incomplete one: %q, %v", rpc, err)
	}
	for _, bad := range [][]byte{binary.AppendUvarint(nil, maxFrame+1), bytes.Repeat([]byte{0xff}, 11)} {
		if _, _, err := cutFrame(bad); err == nil {
			t.Errorf("%x passes", bad)
		}
	}
}

func FuzzPermitted(f *testing.F) {
	f.Add(slices.Concat(gossiped("film", "a"), gossiped("comic", "b"), part(3, nil), appendSubscription(nil, "film")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, rpc []byte) {
		all, err := permitted(rpc, func(string) bool { return true })
		if err != nil {
			return
		}
		if !bytes.Equal(all, rpc) {
			t.Error("something is lost though all is permitted")
		}
		some, err := permitted(rpc, func(topic string) bool { return topic == "film" })
		if err != nil {
			t.Fatal(err)
		}
		again, err := permitted(some, func(topic string) bool {
			if topic != "film" {
				t.Errorf("topic %q has passed", topic)
			}
			return true
		})
		if err != nil || !bytes.Equal(again, some) {
			t.Error("what has passed does not pass")
		}
	})
}
