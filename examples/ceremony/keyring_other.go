//go:build !linux

package main

import (
	"context"
	"errors"
)

// startKeyring fails: only Linux has keychains that can be started apart from a person's own.
func startKeyring(context.Context, string) (stop func() error, err error) {
	return nil, errors.New("this system has one keychain only, a person's own")
}
