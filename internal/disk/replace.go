// Package disk writes small files so that neither a crash nor a loss of power leaves less than the old content or the
// new.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace puts data in place of the file at path, readable to its owner alone. When it returns nil, the new content
// survives a loss of power. replaced tells whether the new content is in place: with an error it may be lost again in a
// power cut. The folder must exist. One writer at a time may replace a path.
func Replace(path string, data []byte) (replaced bool, err error) {
	scratch := Scratch(path)
	if err := os.Remove(scratch); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a crash
		return false, err
	}
	f, err := os.OpenFile(scratch, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(scratch, path)
	}
	if err != nil {
		_ = os.Remove(scratch)
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	if err := SyncFolder(filepath.Dir(path)); err != nil {
		return true, fmt.Errorf("%s is written, but may not survive a power cut: %w", path, err)
	}
	return true, nil
}

// Remove deletes the file at path for good, and what a crash left beside it. That there is none is no error.
func Remove(path string) error {
	for _, p := range []string{Scratch(path), path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return SyncFolder(filepath.Dir(path))
}

// Scratch names the file that is written before it takes path's place. The name is fixed, so that a crash leaves at
// most one, which the next write removes.
func Scratch(path string) string { return path + ".new" }
