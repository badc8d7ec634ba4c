package assets

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed means that the project or the server was closed here.
	ErrClosed = errors.New("assets: closed")
	// ErrPath means that a path cannot be a file's: it is not valid for package io/fs, not plain text in Unicode normal
	// form C, too long, or a file stands where it needs a folder or the other way round.
	ErrPath = errors.New("assets: unusable path")
	// ErrTooLarge means that a file is larger than MaxSize.
	ErrTooLarge = errors.New("assets: file is too large")
	// ErrInvalid means that what somebody has written about a file does not fit together: it cannot be read on any device.
	// Whoever has the original should add it again.
	ErrInvalid = errors.New("assets: file was announced wrongly; add it again")
	// ErrDamaged means that a block in this device's store is not what it was. It is fetched again.
	ErrDamaged = errors.New("assets: stored block is damaged")

	// errUnavailable means that nobody who is connected has a block.
	errUnavailable = errors.New("assets: nobody who is connected has the block")
	errFolder      = errors.New("is a folder")
	errNoFolder    = errors.New("is not a folder")
	// errAbsent means that a block is not in the store.
	errAbsent = errors.New("assets: block is not here")
)

func pathError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrPath, fmt.Sprintf(format, args...))
}
