package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab/keystore"
)

// readPrivate reads a regular file of at most limit bytes that only its owner may touch, and no symbolic link.
func readPrivate(path string, limit int64) ([]byte, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", keystore.ErrExposed, path)
	}
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	if !os.SameFile(before, info) {
		return nil, fmt.Errorf("%w: %s was replaced while it was opened", keystore.ErrExposed, path)
	}
	if err := checkFile(path, info); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("keystore: vault: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes and is no vault", keystore.ErrDamaged, path, limit)
	}
	return raw, nil
}

// writeAtomic puts data in place of the file at path, durably: a crash leaves the old file or the new one. replaced
// tells whether the new one is in place, which an error may leave uncertain after a power cut only.
func writeAtomic(path string, data []byte) (replaced bool, err error) {
	// The vault's lock makes the name ours; what a crash left under it goes first.
	name := path + ".tmp"
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("keystore: vault: %w", err)
	}
	tmp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, fmt.Errorf("keystore: vault: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		_ = os.Remove(name)
		return false, fmt.Errorf("keystore: vault: write: %w", err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return true, fmt.Errorf("keystore: vault: written, but it may not survive a power cut: %w", err)
	}
	return true, nil
}
