package memory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
)

func TestTokenConformance(t *testing.T) {
	serial := 0
	keystoretest.RunToken(t, func(t *testing.T) *keystoretest.Bench {
		serial++
		tok := NewToken(fmt.Sprint(serial), "271828")
		return &keystoretest.Bench{
			Token: tok, PIN: "271828", Unplug: tok.Unplug, Plug: tok.Plug, Unblock: tok.Unblock, Replace: tok.Rekey,
			OnTouch: func(fn func(<-chan struct{}) bool) {
				tok.OnTouch(func(ctx context.Context) error {
					if !fn(ctx.Done()) {
						return errors.New("nobody came")
					}
					return nil
				})
			},
		}
	})
}

func TestFactoryPIN(t *testing.T) {
	ask := keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return []byte(FactoryPIN), nil }}
	if _, err := NewToken("1", FactoryPIN).Prepare(t.Context(), ask); !errors.Is(err, keystore.ErrFactoryPIN) {
		t.Errorf("%v; want ErrFactoryPIN", err)
	}
}

func TestTokens(t *testing.T) {
	a, b := NewToken("1", "271828"), NewToken("2", "271828")
	reader := Tokens{a, b}
	b.Unplug()
	found, err := reader.Tokens(t.Context())
	if err != nil || len(found) != 1 || found[0] != a {
		t.Errorf("with one of two plugged in: %v, %v", found, err)
	}
	a.Unplug()
	if found, err := reader.Tokens(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("with none: %v, %v", found, err)
	}
}

func TestTokenHidesItsPIN(t *testing.T) {
	tok := NewToken("1", "271828")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(verb, tok); strings.Contains(out, "271828") || strings.Contains(out, "32 37 31") {
			t.Errorf("%s shows the PIN: %s", verb, out)
		}
	}
}
