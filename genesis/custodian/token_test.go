package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

const testPIN = "271828"

// pin answers every question for a PIN and counts them.
func pin(typed string, asked *int) keystore.Prompt {
	return keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) {
		if asked != nil {
			*asked++
		}
		return []byte(typed), nil
	}}
}

// A token that lacks something is refused with what it lacks, and nothing is left on it.
func TestTokenRefuses(t *testing.T) {
	aborted := errors.New("window closed")
	for _, tt := range []struct {
		name  string
		spoil func(*memory.Token) keystore.Prompt
		want  error
	}{
		{"factory PIN", func(*memory.Token) keystore.Prompt { return pin(memory.FactoryPIN, nil) }, keystore.ErrFactoryPIN},
		{"wrong PIN", func(*memory.Token) keystore.Prompt { return pin("999999", nil) }, keystore.ErrWrongPIN},
		{"nobody to ask", func(*memory.Token) keystore.Prompt { return keystore.Prompt{} }, keystore.ErrDenied},
		{"not plugged in", func(m *memory.Token) keystore.Prompt { m.Unplug(); return pin(testPIN, nil) }, keystore.ErrNoToken},
		{"person gives up", func(*memory.Token) keystore.Prompt {
			return keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return nil, aborted }}
		}, aborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret := testPIN
			if tt.name == "factory PIN" {
				secret = memory.FactoryPIN
			}
			device := memory.NewToken("4242", secret)
			ask := tt.spoil(device)
			err := Token(device, "4242", ask).Keep(t.Context(), refOf(1, 1), []byte("the share"))
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			device.Plug()
			if _, err := device.Load(t.Context(), shareName(refOf(1, 1))); !errors.Is(err, keystore.ErrNotFound) {
				t.Fatalf("something was left: %v", err)
			}
		})
	}
}

// What is on the token is sealed; it opens with PIN and touch only, in its own place only, and on this token only.
func TestTokenShareIsSealed(t *testing.T) {
	ctx, share := t.Context(), []byte("the share of a test")
	device := memory.NewToken("4242", testPIN)
	c := Token(device, "4242", pin(testPIN, nil))
	if err := c.Keep(ctx, refOf(1, 1), share); err != nil {
		t.Fatal(err)
	}
	sealed, err := device.Load(ctx, shareName(refOf(1, 1)))
	if err != nil || bytes.Contains(sealed, share) {
		t.Fatalf("on the token lies %q, %v", sealed, err)
	}
	if err := device.Store(ctx, pin(testPIN, nil), shareName(refOf(1, 2)), sealed); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Recall(ctx, refOf(1, 2)); !errors.Is(err, keystore.ErrDamaged) {
		t.Errorf("moved to another place it opens to %q, %v", got, err)
	}
	thief := memory.NewToken("6666", testPIN)
	if _, err := thief.Prepare(ctx, pin(testPIN, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Open(ctx, pin(testPIN, nil), sealPurpose(refOf(1, 1)), sealed); !errors.Is(err, keystore.ErrWrongToken) {
		t.Errorf("another token: %v", err)
	}
	device.OnTouch(func(context.Context) error { return errors.New("nobody there") })
	if _, err := c.Recall(ctx, refOf(1, 1)); !errors.Is(err, keystore.ErrNotTouched) {
		t.Errorf("without a touch: %v", err)
	}
	asked := 0
	if _, err := Token(device, "4242", pin(testPIN, &asked)).Recall(ctx, refOf(9, 1)); !errors.Is(err, genesis.ErrNoShare) || asked > 0 {
		t.Errorf("a share that is not there: %v, PIN asked %d times", err, asked)
	}
	device.Rekey()
	if _, err := c.Recall(ctx, refOf(1, 1)); !errors.Is(err, keystore.ErrTokenChanged) {
		t.Errorf("after another program replaced the key: %v", err)
	}
}

// forgetfulToken loses what it is given: a ceremony must not complete on it.
type forgetfulToken struct {
	keystore.Token
	load func([]byte, error) ([]byte, error)
}

func (f forgetfulToken) Load(ctx context.Context, name string) ([]byte, error) {
	return f.load(f.Token.Load(ctx, name))
}

func TestTokenReadsBack(t *testing.T) {
	cost.ForTests(t)
	stored := 0
	for name, load := range map[string]func([]byte, error) ([]byte, error){
		"keeps nothing": func([]byte, error) ([]byte, error) { return nil, keystore.ErrNotFound },
		"truncates": func(b []byte, err error) ([]byte, error) {
			if err != nil {
				return nil, err
			}
			stored++
			return b[:len(b)/2], nil
		},
	} {
		device := memory.NewToken("4242", testPIN)
		c := Token(forgetfulToken{device, load}, "4242", pin(testPIN, nil))
		other := KeyStore(memory.New())
		root, err := genesis.Found(t.Context(), rand.Reader, testTime, founding(t, other, c))
		if root != nil || err == nil || !strings.Contains(err.Error(), "token 4242") {
			t.Errorf("%s: the ceremony ended with %v", name, err)
		}
	}
	if stored == 0 {
		t.Error("nothing was ever stored")
	}
}

// Keychain, token and phrase: the ceremony of one person. Each two rebuild the key, each alone does not.
func TestSoloFactors(t *testing.T) {
	cost.ForTests(t)
	dir, ring, device, p := t.TempDir(), memory.New(), memory.NewToken("4242", testPIN), new(person)
	open := map[string]func() genesis.Custodian{
		"keychain": func() genesis.Custodian { return KeyStore(ring) },
		"token":    func() genesis.Custodian { return Token(device, "4242", pin(testPIN, nil)) },
		"phrase":   func() genesis.Custodian { return Phrase(p.ask, dir+"/recovery") },
	}
	root, err := genesis.Found(t.Context(), rand.Reader, testTime,
		founding(t, open["keychain"](), open["token"](), open["phrase"]()))
	if err != nil {
		t.Fatal(err)
	}
	eachSubset(t, root, open)
}

// eachSubset proves for every set of factors whether it rebuilds the key: two and more do, one does not.
func eachSubset(t *testing.T, root *genesis.Root, open map[string]func() genesis.Custodian) {
	t.Helper()
	names := []string{"keychain", "token", "phrase"}
	for set := 1; set < 8; set++ {
		var from []genesis.Custodian
		var picked []string
		for i, name := range names {
			if set>>i&1 == 1 {
				from = append(from, open[name]())
				picked = append(picked, name)
			}
		}
		t.Run(strings.Join(picked, "+"), func(t *testing.T) {
			elsewhere, err := genesis.ParseRoot(root.Raw)
			if err != nil {
				t.Fatal(err)
			}
			err = useRoot(t, elsewhere, from)
			var q *genesis.QuorumError
			switch {
			case len(from) > 1 && err != nil:
				t.Fatal(err)
			case len(from) == 1 && (!errors.As(err, &q) || q.Have != 1 || q.Need != 2):
				t.Fatalf("one factor: %v, want a *QuorumError with 1 of 2", err)
			}
			for _, h := range genesis.CheckShares(t.Context(), elsewhere, from) {
				if h.Err != nil {
					t.Errorf("drill at %s: %v", h.Custodian, h.Err)
				}
			}
		})
	}
}

func TestTokenPrintsNoSecret(t *testing.T) {
	device := memory.NewToken("4242", testPIN)
	c := Token(device, "4242", pin(testPIN, nil))
	if err := c.Keep(t.Context(), refOf(1, 1), []byte("very secret share")); err != nil {
		t.Fatal(err)
	}
	occupied := c.Keep(t.Context(), refOf(1, 1), []byte("another secret share"))
	if !errors.Is(occupied, ErrOccupied) {
		t.Fatalf("over another share: %v", occupied)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if out := fmt.Sprintf(verb+" "+verb, c, occupied); strings.Contains(out, "secret share") || strings.Contains(out, testPIN) {
			t.Errorf("%s prints %q", verb, out)
		}
	}
}
