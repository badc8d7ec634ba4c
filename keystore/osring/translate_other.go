//go:build !linux && !darwin && !windows

package osring

import (
	"fmt"

	"github.com/studio-whip/collab/keystore"
)

func translatePlatform(err error) error { return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err) }
