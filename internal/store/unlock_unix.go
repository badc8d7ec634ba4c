//go:build unix && !solaris && !aix

package store

import (
	"os"
	"syscall"
)

// unlock gives back bbolt's lock on the file. Closing is not enough while the file is mapped: the mapping keeps the
// open file, and with it the lock, alive.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
