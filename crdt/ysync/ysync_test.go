package ysync_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crdt/ysync"
)

// TestYjsMessages compares messages with those recorded from y-protocols.
func TestYjsMessages(t *testing.T) {
	f, err := os.Open("../../testdata/yjs/extras/protocols.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Sync struct{ D1, D2, Step1, Step2FromD2, UpdateFromD1 []byte }
	}
	if err := json.NewDecoder(z).Decode(&rec); err != nil {
		t.Fatal(err)
	}
	load := func(u []byte, id uint64) *crdt.Doc {
		d := crdt.New(crdt.WithClientID(id))
		if _, err := d.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d1, d2 := load(rec.Sync.D1, 11), load(rec.Sync.D2, 12)
	if got := ysync.AppendSync(nil, ysync.Hello(d1)); !bytes.Equal(got, rec.Sync.Step1) {
		t.Errorf("step 1 is %x, want %x", got, rec.Sync.Step1)
	}
	m, rest, err := ysync.ReadSync(rec.Sync.Step1)
	if err != nil || len(rest) > 0 || m.Kind != ysync.Step1 {
		t.Fatalf("%v %x %v", m, rest, err)
	}
	answer, err := ysync.Handle(d2, m)
	if err != nil || answer == nil {
		t.Fatal(err)
	}
	if got := ysync.AppendSync(nil, *answer); !bytes.Equal(got, rec.Sync.Step2FromD2) {
		t.Errorf("step 2 is %x, want %x", got, rec.Sync.Step2FromD2)
	}
	if answer, err := ysync.Handle(d1, *answer); answer != nil || err != nil {
		t.Errorf("step 2 was answered: %v, %v", answer, err)
	}
	full, err := load(rec.Sync.D1, 13).EncodeUpdate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ysync.AppendSync(nil, ysync.Message{Kind: ysync.Update, Payload: full}); !bytes.Equal(got, rec.Sync.UpdateFromD1) {
		t.Errorf("update is %x, want %x", got, rec.Sync.UpdateFromD1)
	}
	m, _, err = ysync.ReadSync(rec.Sync.UpdateFromD1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ysync.Handle(d2, m); err != nil {
		t.Fatal(err)
	}
	if d1.Digest() != d2.Digest() {
		t.Error("the documents differ")
	}
}

func TestFraming(t *testing.T) {
	var stream []byte
	messages := []ysync.Message{
		{Kind: ysync.Step1, Payload: []byte{0}},
		{Kind: ysync.Step2, Payload: []byte{0, 0}},
		{Kind: ysync.Update, Payload: []byte{0, 0}},
		{Kind: ysync.Awareness, Payload: []byte{0}},
		{Kind: ysync.Denied, Payload: []byte("no")},
		{Kind: ysync.QueryAwareness},
	}
	for _, m := range messages {
		stream = ysync.Append(stream, m)
	}
	if want := "\x00\x00\x01\x00" + "\x00\x01\x02\x00\x00" + "\x00\x02\x02\x00\x00" + "\x01\x01\x00" + "\x02\x00\x02no" + "\x03"; string(stream) != want {
		t.Errorf("stream is %x", stream)
	}
	for _, want := range messages {
		var m ysync.Message
		var err error
		if m, stream, err = ysync.Read(stream); err != nil || m.Kind != want.Kind || !bytes.Equal(m.Payload, want.Payload) {
			t.Fatalf("read %v, %v; want %v", m, err, want)
		}
	}
	for _, bad := range []string{"", "\x04", "\x00", "\x00\x03\x00", "\x00\x00\x05a", "\x01\x02a", "\x02\x01\x00", "\x02\x00\x01\xff"} {
		var de *crdt.DecodeError
		if m, _, err := ysync.Read([]byte(bad)); !errors.As(err, &de) || de.Reason == "" {
			t.Errorf("%x reads as %v, %v", bad, m, err)
		}
	}
	d := crdt.New(crdt.WithClientID(1))
	for _, k := range []ysync.Kind{ysync.Step1, ysync.Step2, ysync.Update} {
		var de *crdt.DecodeError
		if _, err := ysync.Handle(d, ysync.Message{Kind: k, Payload: []byte{9}}); !errors.As(err, &de) {
			t.Errorf("%v of rubbish: %v", k, err)
		}
	}
}

// FuzzRead reads arbitrary input: what reads is written the same, if its numbers were written without padding.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x00\x00\x03"))
	f.Add([]byte("\x02\x00\x02no"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := ysync.Read(b)
			if err != nil {
				return
			}
			again, left, err := ysync.Read(ysync.Append(nil, m))
			if err != nil || len(left) > 0 || again.Kind != m.Kind || !bytes.Equal(again.Payload, m.Payload) {
				t.Fatalf("%v became %v, %v", m, again, err)
			}
			b = rest
		}
	})
}

// FuzzHandle has a document that holds something handle arbitrary sync messages: it answers or says what is wrong, and
// what it answers and holds can be read.
func FuzzHandle(f *testing.F) {
	d := crdt.New(crdt.WithClientID(9))
	if err := d.Update(func(tx *crdt.Txn) error { return d.Text("t").Insert(tx, 0, "hello") }); err != nil {
		f.Fatal(err)
	}
	full, err := d.EncodeUpdate(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []ysync.Message{ysync.Hello(d), {Kind: ysync.Step2, Payload: full}, {Kind: ysync.Update, Payload: full}} {
		f.Add(ysync.AppendSync(nil, m))
	}
	f.Add([]byte("\x00\x03\x01\x09\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, e := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
		if err := d.Update(func(tx *crdt.Txn) error { return d.Text("t").Insert(tx, 0, "here") }); err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			m, rest, err := ysync.ReadSync(b)
			if err != nil {
				return
			}
			b = rest
			answer, err := ysync.Handle(d, m)
			var de *crdt.DecodeError
			if err != nil && !errors.As(err, &de) {
				t.Fatalf("%v: %v", m.Kind, err)
			}
			if answer == nil {
				continue
			}
			if _, err := ysync.Handle(e, *answer); err != nil {
				t.Fatalf("the answer to %v cannot be read: %v", m.Kind, err)
			}
		}
	})
}

func Example() {
	server, client := crdt.New(crdt.WithClientID(1)), crdt.New(crdt.WithClientID(2))
	_ = server.Update(func(tx *crdt.Txn) error { return server.Text("t").Insert(tx, 0, "hello") })

	sent := ysync.Append(nil, ysync.Hello(client)) // over a websocket, say
	m, _, _ := ysync.Read(sent)
	answer, _ := ysync.Handle(server, m)
	_, _ = ysync.Handle(client, *answer)
	fmt.Println(client.Digest() == server.Digest())
	// Output: true
}

// Two programs keep one document in step, as y-websocket clients and servers do: both say what they have, each answers
// with what the other lacks, and from then on every edit goes out as it happens.
func Example_session() {
	type program struct {
		doc   *crdt.Doc
		inbox [][]byte // stands for a connection
	}
	ann, ben := &program{doc: crdt.New(crdt.WithClientID(1))}, &program{doc: crdt.New(crdt.WithClientID(2))}
	write := func(p *program, s string) {
		_ = p.doc.Update(func(tx *crdt.Txn) error { return p.doc.Text("t").Insert(tx, 0, s) })
	}
	connect := func(from, to *program) {
		send := func(m ysync.Message) { to.inbox = append(to.inbox, ysync.Append(nil, m)) }
		send(ysync.Hello(from.doc))
		from.doc.OnUpdate(func(u []byte, o crdt.Origin) {
			if o.Local { // what came from others goes no further
				send(ysync.Message{Kind: ysync.Update, Payload: u})
			}
		})
	}
	receive := func(p, other *program) {
		for ; len(p.inbox) > 0; p.inbox = p.inbox[1:] {
			m, _, err := ysync.Read(p.inbox[0])
			if err != nil {
				return // and close the connection
			}
			if answer, err := ysync.Handle(p.doc, m); err == nil && answer != nil {
				other.inbox = append(other.inbox, ysync.Append(nil, *answer))
			}
		}
	}

	write(ann, "tea ")
	write(ben, "cake")
	connect(ann, ben)
	connect(ben, ann)
	write(ann, "more ")
	for len(ann.inbox)+len(ben.inbox) > 0 {
		receive(ann, ben)
		receive(ben, ann)
	}
	_ = ben.doc.View(func(tx *crdt.ReadTxn) error {
		fmt.Println(ben.doc.Text("t").String(tx))
		return nil
	})
	fmt.Println(ann.doc.Digest() == ben.doc.Digest())
	// Output:
	// more tea cake
	// true
}
