package file

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab/internal/disk"
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

// writeAtomic puts data in place of the file at path, durably; see [disk.Replace]. The vault's lock makes the path ours.
func writeAtomic(path string, data []byte) (replaced bool, err error) {
	if replaced, err = disk.Replace(path, data); err != nil {
		err = fmt.Errorf("keystore: vault: %w", err)
	}
	return replaced, err
}
