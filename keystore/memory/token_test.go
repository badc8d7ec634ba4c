package memory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

func typed(pin string) keystore.Prompt {
	return keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return []byte(pin), nil }}
}

func TestToken(t *testing.T) {
	tok := NewToken("1", "271828")
	key, err := tok.Prepare(t.Context(), typed("271828"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal([]byte("purpose"), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Store(t.Context(), typed("271828"), "share", sealed); err != nil {
		t.Fatal(err)
	}
	back, err := tok.Load(t.Context(), "share")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tok.Open(t.Context(), typed("271828"), []byte("purpose"), back)
	if err != nil || string(got) != "secret" {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if _, err := tok.Open(t.Context(), typed("1"), []byte("purpose"), back); !errors.Is(err, keystore.ErrWrongPIN) {
		t.Fatalf("wrong PIN: %v", err)
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
