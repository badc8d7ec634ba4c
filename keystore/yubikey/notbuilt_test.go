//go:build !piv

package yubikey

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

func TestNotBuilt(t *testing.T) {
	if _, err := (Reader{}).Tokens(t.Context()); !errors.Is(err, keystore.ErrNotBuilt) {
		t.Errorf("%v; want ErrNotBuilt", err)
	}
}
