//go:build !piv

package yubikey

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/keystore"
)

// Tokens fails with [keystore.ErrNotBuilt].
func (Reader) Tokens(context.Context) ([]keystore.Token, error) {
	return nil, fmt.Errorf("%w: YubiKeys need the build tag piv", keystore.ErrNotBuilt)
}
