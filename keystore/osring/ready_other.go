//go:build !linux

package osring

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/keystore"
)

// ready cannot ask here without reading an item; the first call tells.
func ready(ctx context.Context) error { return ctx.Err() }

func translatePlatform(err error) error { return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err) }
