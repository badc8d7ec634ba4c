//go:build linux || darwin

package secmem

import (
	"os"
	"syscall"
)

// lockedPage maps a page of its own, outside of the garbage collector's memory: locking that would get into the way of
// giving it back to the system. It returns nil if the page cannot be locked; the limit is RLIMIT_MEMLOCK.
func lockedPage() []byte {
	page, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	if err := syscall.Mlock(page); err != nil {
		_ = syscall.Munmap(page)
		return nil
	}
	keepOutOfDumps(page)
	return page
}
