package osring

import (
	"errors"
	"fmt"
	"os/exec"

	"github.com/studio-whip/collab/keystore"
)

func translatePlatform(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %w", securityExit(exit.ExitCode()), err)
	}
	return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
}
