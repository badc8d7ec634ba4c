//go:build unix

package file

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/studio-whip/collab/keystore"
)

// checkFile refuses a file that somebody else owns, reads or writes.
func checkFile(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %04o; make it readable to its owner alone (chmod 600)",
			keystore.ErrExposed, path, info.Mode().Perm())
	}
	if uid, ok := owner(info); ok && uid != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to another user", keystore.ErrExposed, path)
	}
	return nil
}

// checkFolder refuses a folder in which others can replace files: writable for group or all and not sticky, or
// belonging to a user other than this one and root.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("keystore: vault: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%w: folder %s is writable for others; put the vault into one of its own (chmod 700)",
			keystore.ErrExposed, path)
	}
	if uid, ok := owner(info); ok && uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%w: folder %s belongs to another user", keystore.ErrExposed, path)
	}
	return nil
}

func owner(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
