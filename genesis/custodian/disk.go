package custodian

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/disk"
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

// writeFile replaces the file at path durably. The folder must exist: a missing one means that the medium is not there.
func writeFile(path string, data []byte) error {
	if _, err := disk.Replace(path, data); err != nil {
		return fmt.Errorf("custodian: %w", err)
	}
	return nil
}

// removeFile deletes the file at path for good.
func removeFile(path string) error {
	if err := disk.Remove(path); err != nil {
		return fmt.Errorf("custodian: remove %s: %w", path, err)
	}
	return nil
}
