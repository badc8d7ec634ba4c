package yubikey_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/yubikey"
)

// A share is sealed to the token that is plugged in, and kept on it.
func ExampleReader() {
	ctx := context.Background()
	ask := keystore.Prompt{
		PIN: func(ctx context.Context, r keystore.PINRequest) ([]byte, error) {
			fmt.Printf("PIN of %s, serial number %s, to %s:\n", r.Token.Label, r.Token.Serial, r.Action)
			return []byte("271828"), nil
		},
		Touch: func(keystore.TokenInfo) { fmt.Println("touch the token") },
	}
	tokens, err := yubikey.Reader{}.Tokens(ctx)
	if errors.Is(err, keystore.ErrNotBuilt) || errors.Is(err, keystore.ErrUnavailable) {
		return // build with -tags piv; start the card reader service
	}
	for _, token := range tokens {
		key, err := token.Prepare(ctx, ask)
		if err != nil {
			fmt.Println(err)
			continue
		}
		sealed, err := key.Seal([]byte("what it is for"), []byte("the share"))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(token.Store(ctx, ask, "share", sealed))
	}
}
