package genesis

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// recorder is randomness that remembers what it gave: seeds and salts.
type recorder struct{ given [][]byte }

func (r *recorder) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	r.given = append(r.given, bytes.Clone(p[:n]))
	return n, err
}

// leaks looks for six bytes in a row of any secret in a text, as people print bytes.
func leaks(text string, secrets [][]byte) bool {
	lower := strings.ToLower(text)
	for _, s := range secrets {
		for i := 0; i+6 <= len(s); i += 13 {
			part := s[i : i+6]
			if strings.Contains(text, string(part)) {
				return true
			}
			numbers := strings.Trim(fmt.Sprint(part), "[]")
			for _, form := range []string{
				hex.EncodeToString(part), numbers, strings.ReplaceAll(numbers, " ", ", "), strings.ReplaceAll(numbers, " ", ","),
			} {
				if strings.Contains(lower, form) {
					return true
				}
			}
		}
		if strings.Contains(text, base64.StdEncoding.EncodeToString(s)[:8]) {
			return true
		}
	}
	return false
}

// Scenario 68, as far as it is about ceremonies: whatever happens in one, nothing that comes out of it shows a secret.
func TestScenario68CeremoniesShowNoSecret(t *testing.T) {
	scenario.Run(t, 68, "seeds and shares in errors, %v, JSON and logs of ceremonies that succeed and that fail in every place: none", func(t *testing.T) {
		s := newStudio(t)
		random := new(recorder)
		var results []any
		keep := func(res any, err error) { results = append(results, res, err) }
		broken := errors.New("medium broken")
		change := func(spoil func(*Change)) Change {
			c := s.change()
			spoil(&c)
			return c
		}
		for _, do := range []func(context.Context, io.Reader, Change) (*Reshared, error){Refresh, Rekey} {
			for i := range s.shelves {
				s.shelves[i].keepErr = broken
				res, err := do(t.Context(), random, s.change())
				keep(res, err)
				s.shelves[i].keepErr = nil
				s.shelves[i].recall = func(b []byte) ([]byte, error) { b[20] ^= 1; return b, nil }
				res, err = do(t.Context(), random, s.change())
				keep(res, err)
				s.shelves[i].recall = nil
			}
			res, err := do(t.Context(), random, change(func(c *Change) { c.Ledger = ledgerFunc(func(Signing) error { return broken }) }))
			keep(res, err)
			res, err = do(t.Context(), random, change(func(c *Change) { c.Store = func(context.Context, *Root) error { return broken } }))
			keep(res, err)
			r, err := Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians)
			keep(r, err)
			s.shelves[1].forget = broken
			res, err = do(t.Context(), random, s.change())
			keep(res, err)
			s.shelves[1].forget = nil
			r, err = Resume(t.Context(), s.notes, s.kept.root, nil, s.custodians)
			keep(r, err)
		}
		s.shelves[2].recall = func(b []byte) ([]byte, error) { return append(b, 0), nil }
		keep(CheckShares(t.Context(), s.kept.root, s.custodians), authorize(t, s.kept.root, s.custodians[2], s.custodians[0]))
		s.shelves[2].recall = nil
		condition, err := Inspect(t.Context(), s.notes, s.kept.root)
		keep(condition, err)
		for _, raw := range s.notes.records {
			results = append(results, string(raw))
		}
		secrets := random.given
		for _, shelf := range s.shelves {
			secrets = append(secrets, shareOf(t, shelf).Y[:])
		}
		err = Authorize(t.Context(), s.kept.root, s.custodians, func(a *Authority) error {
			results = append(results, a, *s.kept.root, s.kept.root)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var hidden [][]byte
		for _, x := range secrets {
			if len(x) == 32 { // 16 bytes are of ceremony ids and nonces, which are no secret
				hidden = append(hidden, x)
			}
		}
		if len(hidden) < 20 {
			t.Fatalf("%d secrets were seen", len(hidden))
		}
		if !leaks(fmt.Sprint(hidden[0]), hidden) || !leaks(fmt.Sprintf("%x", hidden[1]), hidden) {
			t.Fatal("a leak would not be found")
		}
		checkPrintsNone(t, results, hidden)
	})
}

func checkPrintsNone(t *testing.T, results []any, secrets [][]byte) {
	t.Helper()
	for _, v := range results {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if leaks(fmt.Sprintf(verb, v), secrets) {
				t.Errorf("%T shows a secret under %s", v, verb)
			}
		}
		if out, err := json.Marshal(v); err == nil && leaks(string(out), secrets) {
			t.Errorf("%T shows a secret as JSON", v)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", v)
		if leaks(log.String(), secrets) {
			t.Errorf("%T shows a secret in a log", v)
		}
	}
}
