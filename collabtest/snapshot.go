package collabtest

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// files is what a folder held at one moment, by path within it; a nil content is a folder.
type files map[string][]byte

// snapshot reads a folder that is being written to. It reads until two readings in a row are equal: then nothing was
// written between the first's end and the second's begin, and that is the moment.
func snapshot(dir string) (files, error) {
	last, err := read(dir)
	for err == nil {
		var next files
		if next, err = read(dir); err == nil && maps.EqualFunc(last, next, bytes.Equal) {
			return next, nil
		}
		last = next
	}
	return nil, err
}

func read(dir string) (files, error) {
	f := files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was a draft
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() {
			f[name] = nil
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		f[name] = append([]byte{}, content...)
		return err
	})
	return f, err
}

// write makes a folder of the files.
func (f files) write(dir string) error {
	for name, content := range f {
		path := filepath.Join(dir, name)
		if content == nil {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
