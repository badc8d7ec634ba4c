package store

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// Errors of opening.
var (
	// ErrInUse means that the store is open already, in this process or another. Close it there first.
	ErrInUse = errors.New("store: in use; close the other program or session that has it open")
	// ErrWrongKey means that the file was sealed under another key.
	ErrWrongKey = errors.New("store: sealed under another key; use the key it was created with")
)

// Errors of opening and of every use.
var (
	// ErrDamaged means that the file is truncated, foreign or altered. Restore it from a backup, or remove it and
	// fetch its content from other members again.
	ErrDamaged = errors.New("store: file damaged; restore it from a backup, or remove it and fetch its content again")
	// ErrDiskFull means that the disk has no room. Make room, then close and open the store again.
	ErrDiskFull = errors.New("store: disk full; make room, then open again")
	// ErrClosed means that the store, or the transaction, has ended.
	ErrClosed = errors.New("store: closed")
)

// Errors of a transaction.
var (
	// ErrReadOnly means that a View tried to write.
	ErrReadOnly = errors.New("store: a view cannot write; use Update or Queue")
	// ErrNotFound means that a log has no record of this number.
	ErrNotFound = errors.New("store: no such record")
	// ErrTooLarge means that a name, key or record is above the caps of limits.go.
	ErrTooLarge = errors.New("store: too large")
	// ErrKind means that a log was opened as a map, or a map as a log.
	ErrKind = errors.New("store: name belongs to the other kind of collection")
)

// damaged wraps ErrDamaged with what was found; nothing of the file's content enters the text.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w (%s)", ErrDamaged, fmt.Sprintf(format, args...))
}

// classify gives an error of the file system its type.
func classify(doing string, err error) error {
	for _, known := range []error{ErrInUse, ErrWrongKey, ErrDamaged, ErrDiskFull, ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	const windowsDiskFull = syscall.Errno(112) // ERROR_DISK_FULL
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		runtime.GOOS == "windows" && errors.Is(err, windowsDiskFull)
	if full {
		return fmt.Errorf("%w: %s: %w", ErrDiskFull, doing, err)
	}
	return fmt.Errorf("store: %s: %w", doing, err)
}
