//go:build piv

package custodian

import (
	"testing"
	"time"

	"github.com/studio-whip/collab/internal/testbed/pivcard"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/yubikey"
)

// startToken puts a card into a reader.
func startToken(t *testing.T) {
	t.Helper()
	pivcard.Need(t)
	card := pivcard.New(4242)
	card.Personalize(testPIN, "31415926")
	pivcard.Start(t, "Yubico YubiKey collab ceremony").Insert(t, 0, card)
}

// realToken returns the token that is plugged in, as soon as the reader service has noticed it.
func realToken(t *testing.T) keystore.Token {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		tokens, err := yubikey.Reader{}.Tokens(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(tokens) > 0 {
			return tokens[0]
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the card does not appear")
		}
	}
}
