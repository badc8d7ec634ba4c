package assets

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// FS returns a read-only view of the project's files, with the folders that their paths make. Its files are those of
// [Assets.Open], so that reads may wait for the network until ctx ends; they can seek, as http.FileServerFS needs. Where
// a file and a folder have one name, which two people at a time can bring about, the file is shown.
func (a *Assets) FS(ctx context.Context) fs.FS { return &fileSystem{a, ctx} }

type fileSystem struct {
	a   *Assets
	ctx context.Context
}

var (
	_ fs.ReadDirFS = (*fileSystem)(nil)
	_ fs.StatFS    = (*fileSystem)(nil)
)

func (s *fileSystem) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	list, info, err := s.look("open", name)
	if err != nil {
		return nil, err
	}
	if info.dir {
		return &folder{info: info, path: name, list: list}, nil
	}
	return s.a.Open(s.ctx, name)
}

func (s *fileSystem) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	_, info, err := s.look("stat", name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (s *fileSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	list, info, err := s.look("readdir", name)
	if err != nil {
		return nil, err
	}
	if !info.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoFolder}
	}
	return list, nil
}

// look finds a file, or a folder and what is in it.
func (s *fileSystem) look(op, name string) ([]fs.DirEntry, fileInfo, error) {
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	missing := &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	if a.closed {
		missing.Err = ErrClosed
		return nil, fileInfo{}, missing
	}
	if a.hidden(name) {
		return nil, fileInfo{}, missing
	}
	if f := a.files[name]; f != nil {
		return nil, fileInfo{name: path.Base(name), size: f.entry.Size, time: f.entry.Time}, nil
	}
	children := a.children(name)
	if len(children) == 0 && name != "." {
		return nil, fileInfo{}, missing
	}
	list := make([]fs.DirEntry, 0, len(children))
	for _, child := range slices.Sorted(maps.Keys(children)) {
		list = append(list, fs.FileInfoToDirEntry(children[child]))
	}
	return list, fileInfo{name: path.Base(name), dir: true}, nil
}

// hidden reports whether a path lies below a file; a.mu is held.
func (a *Assets) hidden(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if a.files[dir] != nil {
			return true
		}
	}
	return false
}

// children lists what is in a folder; a.mu is held.
func (a *Assets) children(dir string) map[string]fileInfo {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	out := map[string]fileInfo{}
	for name, f := range a.files {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		child, _, below := strings.Cut(rest, "/")
		if !below {
			out[child] = fileInfo{name: child, size: f.entry.Size, time: f.entry.Time}
		} else if _, known := out[child]; !known {
			out[child] = fileInfo{name: child, dir: true}
		}
	}
	return out
}

// folder is an open folder.
type folder struct {
	info fileInfo
	path string
	list []fs.DirEntry
}

var _ fs.ReadDirFile = (*folder)(nil)

func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errFolder}
}

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		list := d.list
		d.list = nil
		return list, nil
	}
	if len(d.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.list))
	list := d.list[:n:n]
	d.list = d.list[n:]
	return list, nil
}
