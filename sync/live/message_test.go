package live

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/live/messages.json"

// golden is the content of the vector file, all in hex.
type golden struct {
	Comment  string          `json:"comment"`
	Project  string          `json:"project"`
	Topic    string          `json:"topic"` // of the project
	Messages []goldenMessage `json:"messages"`
	Payloads []goldenMessage `json:"payloads"` // of ephemeral records, before sealing
	Refused  []goldenMessage `json:"refused"`
}

type goldenMessage struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // malformed, kind
	Raw   string `json:"raw"`
}

var goldenErrors = map[string]error{"malformed": errMessage, "kind": errKind}

func goldenMessages() map[string]any {
	h := &head{Device: identity.DeviceID(bytes.Repeat([]byte{0xd1}, 32)), ChainNo: 3, Seq: 258, ID: wire.ID(bytes.Repeat([]byte{0x1d}, 32))}
	return map[string]any{
		"envelope":         message{Kind: kindEnvelope, Record: []byte{1, 2, 3}},
		"introduction":     message{Kind: kindIntroduction, Record: []byte{1, 2, 3}, Identity: []byte{4}, Device: []byte{5, 6}},
		"ephemeral record": message{Kind: kindEphemeral, Record: []byte{1, 2, 3}},
		"head":             message{Kind: kindHead, Head: h},
		"head again":       message{Kind: kindHead, Head: h, Salt: 77},
	}
}

func goldenPayloads() map[string]any {
	return map[string]any{
		"presence":            presencePayload{Doc: docID{1, 2}, State: []byte(`{"cursor":7}`)},
		"goodbye":             presencePayload{Doc: docID{1, 2}},
		"application message": messagePayload{Topic: "chat", Payload: []byte("hello")},
		"empty message":       messagePayload{Topic: "ping"},
	}
}

// refusedForms are messages that must not be read, and why.
func refusedForms() []goldenMessage {
	m := goldenMessages()
	h := m["head"].(message).Head
	zero := *h
	zero.Seq = 0
	raw := func(v any) string { return hex.EncodeToString(wire.Marshal(v)) }
	whole := wire.Marshal(m["introduction"])
	return []goldenMessage{
		{"empty", "malformed", ""},
		{"not a map", "malformed", raw([]int{1})},
		{"cut off", "malformed", hex.EncodeToString(whole[:len(whole)-1])},
		{"trailing byte", "malformed", hex.EncodeToString(append(whole, 0))},
		{"number not in shortest form", "malformed", "a201180102410a"},
		{"unsorted keys", "malformed", "a202410a0101"},
		{"unknown field", "malformed", "a3010102410a06410b"},
		{"kind 0", "malformed", raw(message{Record: []byte{1}})},
		{"kind of a later version", "kind", raw(message{Kind: 5, Record: []byte{1}})},
		{"envelope without record", "malformed", raw(message{Kind: kindEnvelope})},
		{"envelope with certificate", "malformed", raw(message{Kind: kindEnvelope, Record: []byte{1}, Identity: []byte{1}})},
		{"envelope with head", "malformed", raw(message{Kind: kindEnvelope, Record: []byte{1}, Head: h})},
		{"envelope with salt", "malformed", raw(message{Kind: kindEnvelope, Record: []byte{1}, Salt: 1})},
		{"introduction without certificates", "malformed", raw(message{Kind: kindIntroduction, Record: []byte{1}})},
		{"introduction with one certificate", "malformed", raw(message{Kind: kindIntroduction, Record: []byte{1}, Device: []byte{1}})},
		{"introduction with head", "malformed", raw(message{Kind: kindIntroduction, Record: []byte{1}, Identity: []byte{1}, Device: []byte{1}, Head: h})},
		{"ephemeral record with certificate", "malformed", raw(message{Kind: kindEphemeral, Record: []byte{1}, Device: []byte{1}})},
		{"ephemeral record missing", "malformed", raw(message{Kind: kindEphemeral})},
		{"head missing", "malformed", raw(message{Kind: kindHead})},
		{"head with record", "malformed", raw(message{Kind: kindHead, Record: []byte{1}, Head: h})},
		{"head of number 0", "malformed", raw(message{Kind: kindHead, Head: &zero})},
	}
}

func topicOfProject(project []byte) string {
	id := derive.ID("topic", project)
	return hex.EncodeToString(id[:])
}

func makeGolden() golden {
	project := bytes.Repeat([]byte{0x7a}, 32)
	g := golden{
		Comment: "Gossip messages and payloads of ephemeral records; hex. Written by go test ./sync/live -run Golden -update",
		Project: hex.EncodeToString(project), Topic: topicOfProject(project), Refused: refusedForms(),
	}
	for _, name := range []string{"envelope", "introduction", "ephemeral record", "head", "head again"} {
		g.Messages = append(g.Messages, goldenMessage{Name: name, Raw: hex.EncodeToString(wire.Marshal(goldenMessages()[name]))})
	}
	for _, name := range []string{"presence", "goodbye", "application message", "empty message"} {
		g.Payloads = append(g.Payloads, goldenMessage{Name: name, Raw: hex.EncodeToString(wire.Marshal(goldenPayloads()[name]))})
	}
	return g
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	if *update {
		goldenfile.Write(t, goldenPath, makeGolden())
	}
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	if got := topicOfProject(unhex(t, g.Project)); got != g.Topic || len(got) != topicNameSize {
		t.Errorf("topic %s, want %s", got, g.Topic)
	}
	if len(g.Messages) != 5 || len(g.Payloads) != 4 || len(g.Refused) != len(refusedForms()) {
		t.Errorf("%d messages, %d payloads, %d refused", len(g.Messages), len(g.Payloads), len(g.Refused))
	}
	for _, v := range g.Messages {
		want := goldenMessages()[v.Name].(message)
		m, err := parseMessage(unhex(t, v.Raw))
		if err != nil || !bytes.Equal(wire.Marshal(m), wire.Marshal(want)) {
			t.Errorf("%s: %+v, %v", v.Name, m, err)
		}
		if got := hex.EncodeToString(wire.Marshal(want)); got != v.Raw {
			t.Errorf("%s is written as %s", v.Name, got)
		}
	}
	for _, v := range g.Payloads {
		if got := hex.EncodeToString(wire.Marshal(goldenPayloads()[v.Name])); got != v.Raw {
			t.Errorf("%s is written as %s", v.Name, got)
		}
	}
	for _, v := range g.Refused {
		if _, err := parseMessage(unhex(t, v.Raw)); !errors.Is(err, goldenErrors[v.Error]) || v.Error == "" {
			t.Errorf("%s: %v, want %s", v.Name, err, v.Error)
		}
	}
}

func TestApplicationPayloads(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    messagePayload
		ok   bool
	}{
		{"the largest", messagePayload{Topic: strings.Repeat("t", MaxTopic), Payload: make([]byte, MaxApplication)}, true},
		{"too large", messagePayload{Topic: "t", Payload: make([]byte, MaxApplication+1)}, false},
		{"topic too long", messagePayload{Topic: strings.Repeat("t", MaxTopic+1)}, false},
		{"topic not plain text", messagePayload{Topic: "a\x00b"}, false},
	} {
		got, err := parseApplication(wire.Marshal(tc.m))
		if (err == nil) != tc.ok || tc.ok && (got.Topic != tc.m.Topic || !bytes.Equal(got.Payload, tc.m.Payload)) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err := checkApplication(tc.m.Topic, tc.m.Payload); (err == nil) != tc.ok {
			t.Errorf("%s is sent: %v", tc.name, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range goldenMessages() {
		f.Add(wire.Marshal(m))
	}
	for _, m := range goldenPayloads() {
		f.Add(wire.Marshal(m))
	}
	for _, r := range refusedForms() {
		raw, _ := hex.DecodeString(r.Raw)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseMessage(raw); err == nil && !bytes.Equal(wire.Marshal(m), raw) {
			t.Error("one message has two encodings")
		}
		if p, err := parsePresence(raw); err == nil && len(p.State) > MaxPresence {
			t.Error("a presence state beyond the cap")
		}
		if m, err := parseApplication(raw); err == nil && (len(m.Payload) > MaxApplication || len(m.Topic) > MaxTopic) {
			t.Error("an application message beyond the cap")
		}
	})
}
