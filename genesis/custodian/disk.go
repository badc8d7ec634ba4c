package custodian

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/studio-whip/collab/genesis"
)

// rewriting serialises read, change and write of custodians' files within this process.
var rewriting sync.Mutex

// readFile reads a regular file of at most limit bytes. If there is none the error wraps genesis.ErrNoShare and
// fs.ErrNotExist.
func readFile(path string, limit int64) ([]byte, error) {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", genesis.ErrNoShare, err)
	}
	if err != nil {
		return nil, fmt.Errorf("custodian: %w", err)
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file", ErrDamaged, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("custodian: %w", err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("custodian: %w", err)
	}
	if !os.SameFile(before, opened) {
		return nil, fmt.Errorf("%w: %s was exchanged while it was opened", ErrDamaged, path)
	}
	if opened.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrDamaged, path, opened.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("custodian: read %s: %w", path, err)
	}
	return data, nil
}

// writeFile replaces the file at path by data, readable to its owner alone. When it returns nil, the new content
// survives a loss of power; at no moment is there less than the old content or the new. The folder must exist: a
// missing one means that the medium is not there.
func writeFile(path string, data []byte) (err error) {
	scratch := scratchOf(path)
	if err := os.Remove(scratch); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a crash
		return fmt.Errorf("custodian: %w", err)
	}
	f, err := os.OpenFile(scratch, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("custodian: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(scratch)
		}
	}()
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
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("custodian: write %s: %w", path, err)
	}
	return nil
}

// removeFile deletes the file at path for good, and what a crash left beside it.
func removeFile(path string) error {
	for _, p := range []string{scratchOf(path), path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("custodian: %w", err)
		}
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("custodian: remove %s: %w", path, err)
	}
	return nil
}

// scratchOf names the file that is written before it takes path's place. The name is fixed, so that a crash leaves
// at most one, which the next write removes.
func scratchOf(path string) string { return path + ".new" }
