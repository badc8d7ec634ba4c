package collab

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/keystore/memory"
)

// TestScenario68NothingPrintsSecrets prints everything that a host may log, and the values inside, and looks for the device's
// keys and the invite's code.
func TestScenario68NothingPrintsSecrets(t *testing.T) {
	scenario.Run(t, 68, "a node, a session and all that is in them, printed, logged and as JSON: no seed, key or code", func(t *testing.T) {
		cost.ForTests(t)
		var log lockedBuffer // the network's own goroutines may write to it until the last moment
		n, err := Open(t.Context(), WithMemory(), WithName("Ada"), WithListen("/ip4/127.0.0.1/udp/0/quic-v1"),
			WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		if err != nil {
			t.Fatal(err)
		}
		s, err := n.Create(t.Context(), "The Last Reel", Ceremony{Threshold: 2, Custodians: []Custodian{
			KeyStoreCustodian(memory.New()), KeyStoreCustodian(memory.New()),
		}})
		if err != nil {
			t.Fatal(err)
		}
		code, err := s.Invite(t.Context(), InviteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := s.Doc(t.Context(), "script")
		if err != nil {
			t.Fatal(err)
		}
		secrets := [][]byte{bytes.Clone(n.home.key.Get()[:])}
		for _, name := range []string{vaultIdentity, vaultDevice, vaultRevocation} {
			seed, err := n.home.vault.Get(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, seed)
		}
		secrets = append(secrets, bytes.Clone(n.self.Keys.Peer.Key().Seed()))
		_, joinErr := n.Join(t.Context(), code[:len(code)-1])
		cancelErr := s.CancelInvite(t.Context(), code+"x")
		if joinErr == nil || cancelErr == nil {
			t.Error("a damaged code was taken")
		}
		if err := n.Close(); err != nil { // nothing else touches what is printed now
			t.Fatal(err)
		}
		copy(n.home.key.Get()[:], secrets[0]) // Close has wiped it

		out := log.String()
		for _, v := range []any{
			n, *n.home, n.home, *n.cfg, n.cfg, n.self, n.registry, s, s.membership, s.journal, s.live, s.store, doc,
			*doc.presence, joinErr, cancelErr,
		} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				out += fmt.Sprintf(verb+"\n", v)
			}
			if raw, err := json.Marshal(v); err == nil {
				out += string(raw) + "\n"
			}
		}
		for i, secret := range secrets {
			for _, form := range []string{
				string(secret), hex.EncodeToString(secret), base64.RawStdEncoding.EncodeToString(secret),
				base64.RawURLEncoding.EncodeToString(secret), strings.Trim(fmt.Sprint(secret), "[]"),
				strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte"), "{}"),
			} {
				if strings.Contains(out, form) {
					t.Errorf("secret %d is printed", i)
				}
			}
		}
		if strings.Contains(out, code[len(code)/2:]) || strings.Contains(out, code[:len(code)-1]) {
			t.Error("an invite code is printed")
		}
	})
}

// lockedBuffer is a log that many goroutines write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
