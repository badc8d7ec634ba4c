package osring

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/studio-whip/collab/keystore"
)

func translatePlatform(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return fmt.Errorf("%w: %w", credentialError(uintptr(number)), err)
	}
	return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
}
