package collab

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/keystore/memory"
)

// stage is two people at work on a document, with everything that must not be seen of them.
type stage struct {
	nodes    [2]*Node
	sessions [2]*Session
	secrets  map[string]string // by what they are
}

// perform has two people found, invite, join, write, show their cursors, talk, err and leave. The host's options apply
// to both nodes.
func perform(t *testing.T, opts ...Option) *stage {
	t.Helper()
	cost.ForTests(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st := &stage{secrets: map[string]string{
		"founder's name": "Quintessa Nightingale", "guest's name": "Bartholomew Figgis", "title": "The Clandestine Reel",
		"document's name": "unreleased-draft", "text": "INT. LABORATORY", "other text": "EXT. HARBOUR",
		"presence": "periwinkle", "message": "meet at the pier", "message's topic": "rendezvous", "text's name": "dialogue",
		"file's name": "teaser-cut.mov", "file's content": "FOOTAGE HEADER",
	}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"founder's name", "guest's name"} {
		n, err := Open(ctx, append([]Option{
			WithMemory(), WithName(st.secrets[name]), WithListen("/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"),
		}, opts...)...)
		must(err)
		t.Cleanup(func() { _ = n.Close() })
		st.nodes[i] = n
		st.addKeys(t, i)
	}
	s, err := st.nodes[0].Create(ctx, st.secrets["title"], Ceremony{Threshold: 2, Custodians: []Custodian{
		KeyStoreCustodian(memory.New()), KeyStoreCustodian(memory.New()),
	}})
	must(err)
	code, err := s.Invite(ctx, InviteOptions{})
	must(err)
	st.secrets["invite code"], st.secrets["part of the code"] = code, code[len(code)/2:]
	_, err = st.nodes[1].Join(ctx, code[:len(code)-1])
	if err == nil {
		t.Fatal("a damaged code was taken")
	}
	joined, err := st.nodes[1].Join(ctx, code)
	must(err)
	st.sessions = [2]*Session{s, joined}
	_, err = st.nodes[0].Join(ctx, code) // used up, and one's own
	must(err)
	for i, text := range []string{"text", "other text"} {
		doc, err := st.sessions[i].Doc(ctx, st.secrets["document's name"])
		must(err)
		must(doc.Presence().Set(map[string]string{"colour": st.secrets["presence"]}))
		must(doc.Update(func(tx *crdt.Txn) error {
			return doc.Text(st.secrets["text's name"]).Insert(tx, 0, st.secrets[text])
		}))
		must(doc.WaitSynced(ctx))
		must(st.sessions[i].Broadcast(ctx, st.secrets["message's topic"], []byte(st.secrets["message"])))
	}
	_, err = s.Assets().Add(ctx, st.secrets["file's name"], strings.NewReader(strings.Repeat(st.secrets["file's content"], 1000)))
	must(err)
	must(waitForFile(ctx, joined, st.secrets["file's name"]))
	f, err := joined.Assets().Open(ctx, st.secrets["file's name"])
	must(err)
	_, err = io.Copy(io.Discard, f)
	must(errors.Join(err, f.Close()))
	if epoch, key, ok := s.membership.SendingEpoch(); ok {
		st.addKey("project key", key[:])
		st.secrets["epoch"] = hex.EncodeToString(epoch[:])
	}
	return st
}

// waitForFile returns when a session knows of a file.
func waitForFile(ctx context.Context, s *Session, path string) error {
	changes := Subscribe[AssetChanged](ctx, s)
	for {
		if _, err := s.Assets().Stat(path); err == nil {
			return nil
		}
		if _, ok := <-changes; !ok {
			return ctx.Err()
		}
	}
}

// addKeys adds what a node keeps in its vault.
func (st *stage) addKeys(t *testing.T, i int) {
	t.Helper()
	home := st.nodes[i].home
	st.addKey(fmt.Sprint("key of node ", i), bytes.Clone(home.key.Get()[:]))
	for _, name := range []string{vaultIdentity, vaultDevice, vaultRevocation} {
		seed, err := home.vault.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		st.addKey(fmt.Sprint(name, " of node ", i), seed)
	}
}

func (st *stage) addKey(what string, key []byte) {
	st.secrets[what] = string(key)
	st.secrets[what+" in hex"] = hex.EncodeToString(key)
	st.secrets[what+" in base64"] = base64.RawStdEncoding.EncodeToString(key)
	st.secrets[what+" in URL base64"] = base64.RawURLEncoding.EncodeToString(key)
	st.secrets[what+" in decimal"] = strings.Trim(fmt.Sprint(key), "[]")
}

// shows fails if any of the secrets is in what was written. The words of a name are looked for alone, too.
func (st *stage) shows(t *testing.T, where, out string) {
	t.Helper()
	for what, secret := range st.secrets {
		for _, part := range append(strings.Fields(secret), secret) {
			if len(part) >= 5 && strings.Contains(strings.ToLower(out), strings.ToLower(part)) {
				t.Errorf("%s shows the %s", where, what)
			}
		}
	}
}

// A whole session is logged at every level: short identifiers under fixed keys, and nothing that is somebody's.
func TestLogHidesWhatIsPrivate(t *testing.T) {
	var log lockedBuffer
	st := perform(t, WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	st.sessions[0].storeFailed(wrap("save", ErrDiskFull))
	for _, n := range st.nodes {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	out := log.String()
	st.shows(t, "the log", out)

	keys := []string{"time", "level", "msg", "project", "device", "member", "peer", "addr", "class", "kind", "chain", "seq", "reason", "verdict", "err"}
	short := regexp.MustCompile(`^[0-9a-f]{8}$`)
	room := regexp.MustCompile(`^(collab|coordinator|foundation|journal|live|membership|p2p): `)
	levels := map[string]int{}
	said := map[string]string{}
	for line := range strings.Lines(out) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		msg := record["msg"].(string)
		if !room.MatchString(msg) {
			continue // of the router below
		}
		level := record["level"].(string)
		levels[level]++
		said[msg] = level
		for key, v := range record {
			if !slices.Contains(keys, key) {
				t.Errorf("%q has the key %q", msg, key)
			}
			if (key == "project" || key == "device" || key == "member") && !short.MatchString(fmt.Sprint(v)) {
				t.Errorf("%q: %s is %v", msg, key, v)
			}
		}
	}
	for msg, level := range map[string]string{
		"collab: node open": "INFO", "collab: node closed": "INFO", "collab: project founded": "INFO",
		"collab: project joined": "INFO", "collab: project open": "INFO", "collab: project closed": "INFO",
		"collab: something was not kept on this device": "WARN", "p2p: connected": "DEBUG", "p2p: disconnected": "DEBUG",
	} {
		if said[msg] != level {
			t.Errorf("%q is logged at %q, want %s", msg, said[msg], level)
		}
	}
	if levels["ERROR"] != 0 || levels["INFO"] > 20 {
		t.Errorf("records by level: %v", levels)
	}
}
